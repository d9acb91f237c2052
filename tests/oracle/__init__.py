"""The sync histories of `tests.differential`, run with djem 0.9.0a8 beside this library.

    python -m tests.oracle --examples 2000 --seed 1

djem is what this library replaces, and where they differ it has to be on purpose. So each purpose
is an entry of `tests.oracle.differences`, and `tests.oracle.djems` is the reference with these
entries and nothing else: it predicts what djem does. Three things are demanded of each history.

1. This library does what the reference does.
2. djem does what the reference does with the entries.
3. Where the two differ, an entry has had its effect by then.

A difference that is in no entry fails 2 or 3; an entry that explains no difference is reported.
"""
