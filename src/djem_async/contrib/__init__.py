"""Optional parts, each for projects that use it."""
