"""Mutation testing: change the library in one place, and see whether a test fails.

    make mutation

lists every change that the operators of cosmic-ray and of `operators.py` can make to the package,
runs for each the tests that reach the changed line, and prints the changes that no test has
noticed. Those that nobody can notice are in `equivalent.txt`, each with the reason. A run that was
interrupted goes on where it was; `make clean` forgets what it has found.

* `mutants.py` lists the changes and makes them, in memory: no file is touched.
* `selection.py` finds out, with one run under coverage, which test reaches which line.
* `runner.py` runs tests against one change, in a process forked from one that has everything loaded
  but the package, so that thousands of changes can be tried in an hour.
"""
