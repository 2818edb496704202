# Two commands: `make demo` shows what the project does, `make test` checks it. Both make .venv first, once.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
SOURCES := pyproject.toml constraints.txt

.PHONY: install install-dev demo test test-slow lint bench fuzz record constraints clean

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "codesign needs Python 3.11 or later: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

# Says itself what it does, and that it takes a while.
COMPILE := $(BIN)/python -m codesign.compiling

$(VENV)/.installed: $(SOURCES) | $(BIN)/python
	$(PIP) -c constraints.txt -e '.[xla-gpu,nnvmc]'
	@$(COMPILE)
	touch $@

$(VENV)/.installed-dev: $(SOURCES) | $(BIN)/python
	$(PIP) -c constraints.txt -e '.[xla-gpu,nnvmc,torch,dev]'
	@$(COMPILE)
	touch $@ $(VENV)/.installed

demo: install
	$(BIN)/python -m studies.demo

# Files of tests run side by side, those that take long first (tests/conftest.py): `make test JOBS=1` runs them one after the other.
JOBS ?= auto
test: install-dev lint
	$(BIN)/python -m pytest -m 'not slow' -n $(JOBS) --dist loadfile --no-loadscope-reorder

test-slow: install-dev
	$(BIN)/python -m pytest -m slow

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install-dev
	$(BIN)/python -m benchmarks

# Random machines and programs: `make fuzz SEED=1 N=5000`; a run that was ended goes on (build/fuzz-SEED.json).
SEED ?= 0
N ?= 5000
fuzz: install-dev
	mkdir -p build
	$(BIN)/python -m tests.fuzz --seed $(SEED) --count $(N) --state build/fuzz-$(SEED).json

record: install
	$(BIN)/python -m traces.record

# Resolves all extras in a fresh environment and writes what came out.
constraints:
	rm -rf build/constraints && $(PYTHON) -m venv build/constraints
	build/constraints/bin/python -m pip install --quiet --disable-pip-version-check -e '.[xla-gpu,nnvmc,torch,dev]'
	build/constraints/bin/python -m pip freeze --all --exclude pip --exclude-editable | sed -E 's/ @ .*//; s/\+[A-Za-z0-9.]+$$//' | grep -E '^[A-Za-z0-9._-]+==' > constraints.tmp
	mv constraints.tmp constraints.txt && rm -rf build/constraints

# Compiled code too: numba does not notice when a function changes that compiled code of another file calls.
clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find traces arch schedulers codesign studies benchmarks tests -name __pycache__ -prune -exec rm -rf {} +
