# Everything needs Python >= 3.11 only; each target sets up .venv by itself.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
HOST ?= 127.0.0.1
PORT ?= 8080
DATA_DIR ?= .jobcast
# Of a chaos run; SEED repeats one.
SECONDS ?= 60
# Test processes; each has a Valkey and ports of its own. One more than processors: tests wait a lot.
JOBS ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )))
PYTEST = $(BIN)/pytest -n $(JOBS) --dist loadgroup

# Tests start hundreds of Python processes, each of which would compile its modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run demo test test-fast test-slow chaos bench-jobs bench-push lint format docs clean

run: $(VENV)/.installed
	@exec $(BIN)/jobcast dev --host $(HOST) --port $(PORT) --data-dir $(DATA_DIR)

demo: $(VENV)/.installed
	@exec $(BIN)/jobcast demo

test: $(VENV)/.installed-test
	@$(MAKE) --no-print-directory --jobs 2 lint test-fast

test-fast: $(VENV)/.installed-test
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/.installed-test
	$(PYTEST) -m slow

# Kills everything all the time and proves that nothing was lost; a run prints its seed.
chaos: $(VENV)/.installed-test
	@$(BIN)/python -m tests.chaos.run $(if $(SEED),--seed $(SEED)) --seconds $(SECONDS)

bench-jobs: $(VENV)/.installed
	$(BIN)/python -m bench.jobs

bench-push: $(VENV)/.installed
	$(BIN)/python -m bench.push $(ARGS)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: $(VENV)/.installed
	$(BIN)/python -m hub.settings_page > docs/settings.md
	$(BIN)/python -m worker.cli_page > docs/cli.md
	$(BIN)/python -m hub.api_page > docs/api.md

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Jobcast needs Python 3.11 or later, and $(PYTHON) is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[examples]'
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $(VENV)/.installed $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
