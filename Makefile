# Needs make and python3 (3.11 or later) with pip; everything else is set up in .venv.
# PYTHON=/path/to/python3 chooses the interpreter that .venv is made from.

.DEFAULT_GOAL := help
.PHONY: help demo test check mutants faults bench bench-stores clean

BIN := .venv/bin
# For the commands that a test or the demo starts by name.
WITH_VENV := PATH="$$PWD/$(BIN):$$PATH"

# Tests that start processes and servers, and mostly wait for them: several files at a time.
REAL := tests/cli tests/demo tests/faults tests/fencing tests/runtime tests/stores tests/testing

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo: .venv/.package  ## three candidates, a killed leader, a frozen one: under a minute
	@$(WITH_VENV) $(BIN)/elector demo

test: .venv/.dev  ## every test, with branch coverage of core and protocols at 100 %
	$(WITH_VENV) $(BIN)/python -m coverage run -m pytest $(REAL:%=--ignore=%)
	$(BIN)/python -m coverage report
	$(WITH_VENV) $(BIN)/python -m pytest --numprocesses 3 --dist loadfile $(REAL)

check: .venv/.dev  ## lint, format, types, layers, public API, examples in the documents
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(WITH_VENV) $(BIN)/python -m pytest tests/api tests/docs

mutants: .venv/.dev  ## which bug, put in on purpose, is found by which engine, and how soon
	$(WITH_VENV) $(BIN)/python -m tests.mutants

# For each store, in turn; to try one: make faults FAULTS_STORES=redis FAULTS_CYCLES=50
FAULTS_CYCLES ?= 200
faults: .venv/.dev  ## real servers, networks and processes broken for an hour, and nothing else breaks
	@$(WITH_VENV) $(BIN)/python -m tests.faults --cycles $(FAULTS_CYCLES) \
		$(if $(FAULTS_STORES),--stores $(FAULTS_STORES)) $(if $(FAULTS_SEED),--seed $(FAULTS_SEED))

bench: .venv/.bench  ## measure, and print tables; the figures also go to bench/results as JSON
	$(WITH_VENV) $(BIN)/python bench/run.py

bench-stores: .venv/.bench  ## the same for PostgreSQL, Redis, etcd and S3, on servers of its own
	$(WITH_VENV) $(BIN)/python bench/run.py --stores

clean:  ## remove what was made here, .venv included
	rm -rf .venv .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One virtual environment, filled in steps: the demo needs no development tools.
$(BIN)/python:
	@sh tools/setup.sh venv

.venv/.package: $(BIN)/python pyproject.toml constraints.txt
	@sh tools/setup.sh install .
	@touch $@

.venv/.dev: .venv/.package
	@sh tools/setup.sh install '.[dev]'
	@touch $@

.venv/.bench: .venv/.package
	@sh tools/setup.sh install '.[bench]'
	@touch $@
