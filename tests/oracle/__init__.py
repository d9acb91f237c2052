"""The sync histories of `tests.differential`, run with djem 0.9.0a8 beside this library.

    python -m tests.oracle --examples 2000 --seed 1

Where they differ it has to be on purpose: `tests.oracle.djems` is the reference with the entries of
`tests.oracle.differences`, and predicts what djem does. This library does what the reference does,
djem what it does with the entries, and where the two differ, an entry has had its effect by then.
A difference that is in no entry fails 2 or 3; an entry that explains no difference is reported.
"""
