"""Random histories, gone through by the library in both APIs and by `tests.reference`.

* `histories`: what a history is (plain data, so that it shrinks, prints and travels as JSON), and
  the Hypothesis strategies that make them up.
* `scripts`: what access methods do in a history: log, check, clear, answer.
* `stage`: the models, rows and backends of the library's side.
* `library`, `expected`: the actions of a history on the side of the library, and of the reference.
* `results`: goes through a history on one side, and says what came of each step.
* `test_histories`: compares the sides.

`tests.oracle` runs the same histories with djem.
"""
