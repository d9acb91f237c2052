"""Comparisons with the peers; README.md says which."""
