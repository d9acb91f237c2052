"""Random histories, gone through by the library in both APIs and by `tests.reference`.

`histories` makes histories up: plain data that shrinks, prints and travels as JSON. `scripts` are
what access methods do in them. `library` runs the actions of a history with Django, on the models
of `stage`; `expected` runs them on the reference. `results` goes through a history on one side, and
`test_histories` compares the sides. `tests.oracle` runs the same histories with djem.
"""
