# make demo   fine-tune a real model on real text, and see whether it got better
# make test   every test
# make check  what every commit passes: ruff, mypy, import-linter, the fast tests

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The lock is complete, so --no-deps: packages that only carry a model or data would otherwise
# bring inference engines that are compiled on the spot and never used here.
PIP := $(BIN)/pip --disable-pip-version-check
# Two workers on two cores: one thread each, or they fight over the processors.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test check fast lint lock clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

$(VENV)/.installed: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --no-deps -r requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	touch $@

demo: $(VENV)/.installed
	$(BIN)/loratory demo

test: $(VENV)/.installed
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(WORKERS) -q

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
	$(PIP) freeze --exclude-editable | sed 's/+cpu$$//' > requirements.lock

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .hypothesis .import_linter_cache
