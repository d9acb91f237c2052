"""Programs that are type-checked and never run, see `tests.test_static_checking`.

An expected error is marked on its line: ``# E: code "part of the message"`` for mypy with the
plugin, ``# P:`` and a rule for pyright. A line may have several. All other lines must have none.
"""
