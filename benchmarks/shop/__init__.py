"""The project that every contender has: the same models, each with its own means."""
