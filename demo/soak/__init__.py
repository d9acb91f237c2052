"""The demo's models under load, with faults: `python -m soak`, see `__main__`."""
