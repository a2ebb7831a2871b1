# make help        lists the targets
# PYTHON=...       the Python (3.11 or later) that .venv is made from
# TORCH_INDEX=...  the torch variant, e.g. https://download.pytorch.org/whl/cu126 for NVIDIA GPUs
# DEMO=...         the folder of the demo
# JOBS=...         how many test modules run side by side

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
DEMO ?= demo-output
PRESET ?= auto
JOBS ?= 2

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.made
TORCH := $(shell grep '^torch==' constraints.txt)

# Waiting threads sleep instead of spinning: several times faster where the cores are shared with other work.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help env demo test hostile test-fast lint clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(STAMP)  ## Make .venv with the pinned versions

# torch goes first, from an index of its own that gives nothing else, or else (it cannot be reached, say) from
# PyPI; that choice then stands.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "make: Python 3.11 or later is needed; set PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	install="$(BIN)/python -m pip install --quiet --no-deps --retries 2 $(TORCH)"; \
	    $$install --index-url $(TORCH_INDEX) || $$install
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: env  ## Register the phantom's pairs: Dice, TRE and pictures (no data needed)
	rm -rf $(DEMO)/task $(DEMO)/fields
	$(BIN)/dinoreg phantom --output $(DEMO)/task
	$(BIN)/dinoreg run --dataset $(DEMO)/task/Phantom_dataset.json --output $(DEMO)/fields \
	    --preset $(PRESET) --pictures
	$(BIN)/python -m regeval evaluate --dataset $(DEMO)/task/Phantom_dataset.json --predictions $(DEMO)/fields
	@echo; echo "Pictures:"; find $(DEMO)/fields/pictures -name '*.png' | sort | sed 's/^/  /'

test: env  ## Run all tests
	$(BIN)/python -m pytest -n $(JOBS) --no-loadscope-reorder

hostile: env  ## Run the whole campaign of broken inputs (minutes; make test runs a share)
	$(BIN)/python test/hostile/run.py
	HOSTILE_EXAMPLES=2000 $(BIN)/python -m pytest test/hostile/test_generated.py

test-fast: env  ## Run the quick unit tests, in under a minute (test/conftest.py says which)
	$(BIN)/python -m pytest test/unit --fast

lint: env  ## Check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:  ## Remove .venv, caches and the demo's output
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info $(DEMO)
