# Two commands do everything on a fresh machine: `make run` and `make test`. `make help` lists the others.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help run test check format bench clean

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

run: $(VENV)/installed ## Run the exporter on the embedded default, http://localhost:10965 (more options: make run ARGS="...")
	$(BIN)/configmgr-endpoint-exporter serve $(ARGS)

test: check ## Set up what is missing, check the code, run all tests
	sh tests/lab/install.sh
	$(BIN)/pytest $(ARGS)

check: $(VENV)/developer ## Format, lint, types, import direction
	$(BIN)/ruff format --check .
	$(BIN)/ruff check --output-format=concise .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/developer ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/developer ## Measure: CPU per probe, milliseconds per scrape
	sh tests/lab/install.sh
	$(BIN)/python -m tests.bench $(ARGS)

clean: ## Remove the virtual environment and all caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage htmlcov

# Debian ships Python without `ensurepip` unless python3-venv is there.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); apt-get install -y python3-venv && $(PYTHON) -m venv $(VENV); }

$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --retries 5 --constraint constraints.txt --editable .
	@touch $@

$(VENV)/developer: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --retries 5 --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/installed
