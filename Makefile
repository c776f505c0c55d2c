# make demo        a virtual environment, isogloss in it, and the demo
# make test        the same, and the tests
# make check       format, lint, types, import contracts
# make test-slow   kills, faults and other minutes-long tests
#
# PYTHON=python3.12 make test   chooses the interpreter; VENV=… the environment's folder.
# With torch installed in VENV beforehand (say for one's CUDA), nothing here replaces it if it
# meets constraints.txt; see README.md.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test test-slow check format clean

demo: $(VENV)/.installed
	$(BIN)/isogloss demo

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest

test-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest --slow -m slow

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip setuptools wheel

# torch comes first and alone: with its pin, pip takes a CPU wheel where one is offered.
$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -c constraints.txt torch
	$(PIP) -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) -c constraints.txt -e ".[dev]"
	touch $@
