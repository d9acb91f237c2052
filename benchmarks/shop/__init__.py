"""The project that is measured: the same models for every library, set up in its own way."""
