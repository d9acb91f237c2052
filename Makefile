# `make demo` shows the library at work; `make test` runs all that a change must pass.
# CONTRIBUTING.md says more. Only python3 (3.11 or newer), its venv module and the network are needed.

PYTHON ?= python3
ONCE ?=
# What the tests run on: any of sqlite, postgresql and mariadb. .ci/parts.py says what else names a
# server. The matrix runs on SQLite if nothing is named.
DATABASES ?=
# Which pairs it runs: all, or those with some of the tags newest and oldest.
TAGS ?=
# For `make bench`: a short form, CPU time instead of time, some rows only (warm,asgi), and the
# first Python that is installed, because Django 6.1 needs 3.12.
QUICK ?=
CPU ?=
ROWS ?=
BENCH_PYTHON ?= python3.12 python3.13 python3.14 $(PYTHON)

BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' src/djem_async/__init__.py)
WHEEL := dist/djem_async-$(VERSION)-py3-none-any.whl
PACKAGED := pyproject.toml README.md LICENSE $(shell find src -type f ! -name '*.py[co]')
# The shims of pyenv only work for the versions that are switched on, so all of them are.
ALL_PYTHONS = pythons=$$(pyenv versions --bare 2>/dev/null \
		| grep -xE '3\.(1[1-9]|[2-9][0-9])\.[0-9]+' | sort -rV | paste -sd: -); \
	export PYENV_VERSION=$${pythons:-$$PYENV_VERSION}

# The tests are about the wheel, so nothing may lead Python to the source tree.
unexport PYTHONPATH

.PHONY: demo docs test lint types pytest setup coverage matrix frameworks browser bench soak oracle mutation wheel dist format clean
.DELETE_ON_ERROR:

demo: .venv/.demo
	$(BIN)/python demo/run.py $(if $(ONCE),--once)

test:
	@$(PYTHON) .ci/parts.py lint types pytest

# The documentation site, in an environment of its own.
docs: .venv/docs/.made
	.venv/docs/bin/python -m sphinx --builder html --fail-on-warning --keep-going --fresh-env \
		--quiet --doctree-dir .venv/docs/doctrees docs docs/_build
	@echo "Open docs/_build/index.html"

# The tests on all databases that are named, with a coverage report of those on SQLite.
pytest:
	@$(PYTHON) .ci/parts.py pytest

setup: .venv/.dev .venv/.package
	@$(BIN)/coverage erase

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Both check the source; the package is installed because mypy's Django plugin starts Django.
types: .venv/.dev .venv/.package
	$(BIN)/mypy
	$(BIN)/mypy --config-file demo/mypy.ini
	$(BIN)/pyright
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pyright --verifytypes djem_async --ignoreexternal

# The connection is tried first, since without it every test fails. The tests that run on SQLite alone
# cover everything, so coverage is measured there. Those of UNMEASURED would take twice as long.
UNMEASURED := $(addprefix tests/,differential fuzz interleaving test_benchmarks.py \
	test_decision_matrix.py test_demo.py test_docs.py test_memory.py test_tutorial.py)

tests-on-%: .venv/.dev .venv/.package
	@export DJEM_TEST_DB=$* DJANGO_SETTINGS_MODULE=tests.settings; \
	$(BIN)/python -c "import django; django.setup(); \
		django.db.connection.ensure_connection()" && \
	$(if $(filter sqlite,$*),$(BIN)/coverage run -m pytest -n auto $(UNMEASURED:%=--ignore=%) && \
		$(BIN)/python -m pytest -n auto $(UNMEASURED),$(BIN)/python -m pytest -n auto)

coverage:
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# Every supported pair of Python and Django, as far as the Pythons are installed.
matrix: .venv/.dev $(WHEEL)
	$(ALL_PYTHONS); $(BIN)/nox --no-error-on-missing-interpreters $(if $(TAGS),--tags $(TAGS)) -- $(or $(DATABASES),sqlite)

# With the packages that projects have next to this one.
frameworks: .venv/.dev $(WHEEL)
	$(ALL_PYTHONS); $(BIN)/nox --no-error-on-missing-interpreters --session frameworks

# The admin and the demo in a real browser, which is installed if need be.
browser: .venv/.dev $(WHEEL)
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || { \
		apt-get update && apt-get install --yes --no-install-recommends chromium chromium-driver; }
	$(ALL_PYTHONS); $(BIN)/nox --no-error-on-missing-interpreters --session browser

# In an environment of its own. Updates the results in benchmarks/, unless a variable is set.
bench: .venv/bench/.made
	.venv/bench/bin/python -m benchmarks.bench $(if $(QUICK),--quick) $(if $(CPU),--cpu) \
		$(if $(ROWS),--rows=$(ROWS)) $(if $(QUICK)$(CPU)$(ROWS),,--write)

# Needs PostgreSQL. SECONDS is how long, SEED repeats the choices, BUG must make it fail.
soak: .venv/.soak
	cd demo && ../$(BIN)/python -m soak $(if $(SECONDS),--seconds $(SECONDS)) \
		$(if $(SEED),--seed $(SEED)) $(if $(BUG),--bug $(BUG))

# In an environment of its own, with djem.
oracle: .venv/.made
	$(BIN)/python -m tests.oracle

# Changes the functions of modules, MODULES="conf auth.backends" or all, and runs the tests that
# reach them, or TESTS="tests/test_conf.py". Shows the changes that no test has noticed.
mutation: .venv/.mutation
	PYTEST_ADDOPTS="$(TESTS)" $(BIN)/mutmut run $(foreach each,$(MODULES),"djem_async.$(each).*")
	@for mutant in $$($(BIN)/mutmut results | sed -n 's/: survived$$//p'); do \
		$(BIN)/mutmut show $$mutant; done

wheel: $(WHEEL)

# Builds the sdist and the wheel, checks both, and does the tutorial with the wheel on every Python.
dist: .venv/.dev
	rm -rf dist
	$(ALL_PYTHONS); $(BIN)/nox --no-error-on-missing-interpreters --session build dist

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .nox dist docs/_build mutants .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache

$(WHEEL): $(PACKAGED) | .venv/.made
	rm -rf dist
	$(PIP) wheel --no-deps --wheel-dir dist .

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed, and $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
			"Name a newer one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) has no venv module. Install it: apt install python3-venv" >&2; exit 1; }
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(PIP) install --upgrade 'pip>=25.1'
	@touch $@

.venv/.dev: pyproject.toml .venv/.made
	$(PIP) install --group dev
	@touch $@

.venv/.demo .venv/.mutation .venv/.soak: .venv/.package
	$(PIP) install --group $(@:.venv/.%=%)
	@touch $@

.venv/bench/.made: pyproject.toml
	@$(ALL_PYTHONS); \
	for python in $(BENCH_PYTHON); do $$python -c 'import venv' 2>/dev/null && break; done; \
	rm -rf .venv/bench && $$python -m venv .venv/bench
	.venv/bench/bin/python -m pip --quiet --disable-pip-version-check install --upgrade 'pip>=25.1'
	.venv/bench/bin/python -m pip --quiet --disable-pip-version-check install --group bench
	@touch $@

.venv/docs/.made: pyproject.toml .venv/.made
	rm -rf .venv/docs && $(PYTHON) -m venv .venv/docs
	.venv/docs/bin/python -m pip --quiet --disable-pip-version-check install --upgrade 'pip>=25.1'
	.venv/docs/bin/python -m pip --quiet --disable-pip-version-check install --group docs
	@touch $@

# By force, because the version stays the same from one build to the next.
.venv/.package: $(WHEEL) .venv/.made
	$(PIP) install --force-reinstall --no-deps $(WHEEL)
	$(PIP) install $(WHEEL)
	@touch $@
