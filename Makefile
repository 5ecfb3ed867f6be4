# Two commands do everything on a fresh machine: `make run` and `make test`. `make help` lists the others.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=

# Also what pip builds with, by whichever of these it reads: the second from version 25.3 on.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_BUILD_CONSTRAINT := $(CURDIR)/constraints.txt
# Images of containers often set it; the tests start hundreds of programs, each of which would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

# Tests that neither need the laboratory, another Python or Windows, nor bound time.
IN_PROCESS := not lab and not windows and not other_python and not timing

.DEFAULT_GOAL := help
.PHONY: help run lab demo test check coverage lowest truth fuzz attack soak outages format bench image unit schema articles lock audit sbom wheel windows release clean

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

run: $(VENV)/installed ## Run the exporter on the embedded default, http://localhost:10965 (more options: make run ARGS="...")
	$(BIN)/configmgr-endpoint-exporter serve $(ARGS)

# What measures or bounds time runs alone, one after the other; it waits most of its time. Beside it, with less claim to
# the processor, run those of the laboratory, in more processes, since they wait as well; and with the least those that
# only compute, and whose branches are counted. A file stays in one process, for its tests share what they set up.
# Status 5: no test.
BESIDE := $(BIN)/pytest --dist=loadfile --no-loadscope-reorder
INSIDE := nice -n 10 $(BESIDE) --numprocesses=3 -m "$(IN_PROCESS)" --cov $(if $(ARGS),--cov-fail-under=0)
OUTSIDE := nice -n 5 $(BESIDE) --numprocesses=3 -m "not timing and not ($(IN_PROCESS))"

# What installs into one environment is not run beside what reads it.
SIDE_BY_SIDE := @$(MAKE) --no-print-directory --jobs=2 --output-sync

test: ## Set up what is missing, check the code, run all tests
	$(SIDE_BY_SIDE) $(VENV)/laboratory $(VENV)/other
	$(SIDE_BY_SIDE) check $(VENV)/wine
	$(INSIDE) --cov-report= $(ARGS) >$(VENV)/inside.log 2>&1 & inside=$$!; \
	    $(OUTSIDE) $(ARGS) >$(VENV)/outside.log 2>&1 & outside=$$!; \
	    $(BIN)/pytest -m timing $(ARGS); all=$$?; \
	    wait $$inside; all="$$all $$?"; wait $$outside; all="$$all $$?"; cat $(VENV)/inside.log $(VENV)/outside.log; \
	    case "$$all" in *[!\ 05]*) exit 1 ;; *0*) ;; *) exit 1 ;; esac

lab: $(VENV)/laboratory ## Open a shell in the laboratory: the tutorial begins there
	@$(BIN)/python -m tests.lab $(ARGS)

demo: $(VENV)/laboratory ## Break things in the laboratory one after the other, and print what is paged
	$(BIN)/python -m tests.tools.demo $(ARGS)

truth: $(VENV)/wine $(VENV)/other ## Inject every fault and compare the reported reasons with the true ones
	$(BIN)/python -m tests.tools.truth $(ARGS)

check: $(VENV)/developer ## Format, lint, types, import direction, workflows
	$(BIN)/ruff format --check .
	$(BIN)/ruff check --output-format=concise .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/zizmor --offline --quiet --strict-collection .github

coverage: $(VENV)/developer ## Run the tests without the laboratory, and print the branches that they leave out
	$(INSIDE) --cov-report=term-missing $(ARGS)

# What pyproject.toml says is enough. Where the laboratory would only repeat that, it is left out; and the bill of materials
# is that of constraints.txt.
lowest: $(VENV)/lowest ## Run the tests without the laboratory on the lowest versions of everything that is needed
	$(VENV)/lowest/bin/python -m pytest -p no:cacheprovider -m "$(IN_PROCESS)" --numprocesses=3 --dist=loadfile \
	    --deselect tests/test_supply.py::test_the_bill_of_materials_names_all_that_runs_and_nothing_else $(ARGS)

format: $(VENV)/developer ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

schema: $(VENV)/developer ## Write the JSON Schemas anew from the models
	for file in config/schema/*.schema.json; do \
	    $(BIN)/configmgr-endpoint-exporter config schema $$(basename $$file .schema.json) >$$file.new || exit 1; \
	    mv $$file.new $$file; done

articles: $(VENV)/developer ## Fetch Microsoft's articles from GitHub and compare them with the catalogue
	$(BIN)/python -m tests.tools.articles $(ARGS)

fuzz: $(VENV)/developer ## Feed 100,000 broken answers, certificates and configurations to what reads them
	$(BIN)/python -m tests.tools.fuzz $(ARGS)

attack: $(VENV)/developer ## Attack it for ten minutes from its port, servers, proxy and certificates, and print what that cost
	$(BIN)/python -m tests.tools.attack $(ARGS)

soak: $(VENV)/laboratory ## Break things at random for 15 minutes, and see that the exporter is as before
	$(BIN)/python -m tests.tools.soak $(ARGS)

outages: $(VENV)/wine ## Watch the service on Windows for ten minutes among hosts that hang, reset and come back
	$(BIN)/python -m tests.windows.outages $(ARGS)

bench: $(VENV)/bench ## Measure cost and truth beside blackbox_exporter, half an hour
	$(BIN)/python -m benchmarks $(ARGS)

image: $(VENV)/developer ## Build the container image, run it confined, and print what is true of it (root, Debian)
	sh tests/lab/install.sh tests/tools/image-packages.txt
	$(BIN)/python -m tests.tools.image $(ARGS)

unit: $(VENV)/developer ## Boot systemd in a container, and print how the exporter's unit does there (root, Debian)
	sh tests/lab/install.sh tests/tools/image-packages.txt
	$(BIN)/python -m tests.tools.unit

# Every file of each version has its hash, whatever the system: none is downloaded for that. The tools come from pyproject.toml.
LOCK := $(BIN)/uv pip compile --no-config --quiet --universal --python-version 3.11 --constraint constraints.txt \
    --generate-hashes --no-header --no-annotate

lock: $(VENV)/developer ## Write the hashes of what is installed anew, for the versions of constraints.txt
	$(LOCK) --extra fast --output-file locked/run.txt pyproject.toml
	$(LOCK) --extra fast --extra negotiate --output-file locked/negotiate.txt pyproject.toml
	$(BIN)/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['build-system']['requires'], sep='\n')" \
	    | $(LOCK) --output-file locked/build.txt -

audit: $(VENV)/audit ## Look up known flaws of the pinned packages; asks PyPI
	$(VENV)/audit/bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt $(ARGS)

sbom: $(VENV)/developer $(VENV)/runtime ## Write the bill of materials to dist/sbom.cdx.json
	mkdir -p dist
	$(BIN)/cyclonedx-py environment --output-reproducible --output-file dist/sbom.cdx.json $(VENV)/runtime/bin/python

wheel: $(VENV)/developer ## Build wheel and source distribution to dist/, the same bytes everywhere
	$(BIN)/hatchling build --directory dist

windows: $(VENV)/developer ## Write the bundle for Windows to dist/ (PYTHON_ZIP=FILE packs another Python than the pinned one)
	sh tests/lab/install.sh config/windows/packages.txt
	$(BIN)/python -m config.windows.bundle $(if $(PYTHON_ZIP),--python-zip "$(PYTHON_ZIP)") \
	    $(if $(PYTHON_SHA256),--python-sha256 $(PYTHON_SHA256)) dist

release: wheel sbom windows ## Write everything that a release consists of to dist/, with its checksums
	cd dist && rm -f SHA256SUMS && sha256sum -- * >../SHA256SUMS.new && mv ../SHA256SUMS.new SHA256SUMS

clean: ## Remove the virtual environment and all caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage* htmlcov

# Debian ships Python without `ensurepip` unless python3-venv is there.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); apt-get install -y python3-venv && $(PYTHON) -m venv $(VENV); }

$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --retries 5 --constraint constraints.txt --editable .
	@touch $@

# What is needed to run and nothing else, not even pip.
$(VENV)/runtime: pyproject.toml constraints.txt | $(BIN)/python
	rm -rf $@ && $(BIN)/python -m venv --without-pip $@
	$(BIN)/python -m pip --python $@/bin/python install --quiet --retries 5 --constraint constraints.txt .

# Dependencies of dependencies are the newest: their bounds are not ours.
$(VENV)/lowest: pyproject.toml $(VENV)/developer
	$(BIN)/uv venv --quiet --clear --seed --python $(BIN)/python $@
	$(BIN)/uv pip install --quiet --python $@/bin/python --compile-bytecode \
	    --resolution lowest-direct --editable '.[dev]'
	@touch $@

# By itself, so that it is not taken for a part of the product.
$(VENV)/audit: constraints.txt | $(BIN)/python
	rm -rf $@ && $(BIN)/python -m venv --without-pip $@
	$(BIN)/python -m pip --python $@/bin/python install --quiet --retries 5 --constraint constraints.txt pip-audit

# Kerberos has no wheels for Linux, so it is built, unoptimised, as soon as its headers are there; elsewhere its tests say
# what is missing.
$(VENV)/laboratory: tests/lab/packages.txt tests/lab/install.sh $(VENV)/developer
	sh tests/lab/install.sh
	if command -v krb5-config >/dev/null; then CFLAGS='-O0 -g0' $(BIN)/python -m pip install --quiet --retries 5 \
	    --constraint constraints.txt --editable '.[dev,negotiate]'; fi
	@touch $@

# Never a file of that name: what is missing or old it sees by itself.
$(VENV)/wine: $(VENV)/laboratory
	$(BIN)/python -m tests.lab.make_windows

# What is true must not depend on the Python: the newest one that is supported is asked as well, where it is found.
$(VENV)/other: pyproject.toml constraints.txt tests/other_python.sh | $(BIN)/python
	sh tests/other_python.sh $(VENV)/python3.13
	@touch $@

$(VENV)/bench: $(VENV)/laboratory
	$(BIN)/python -m pip install --quiet --retries 5 --constraint constraints.txt --editable '.[dev,bench]'
	@touch $@

$(VENV)/developer: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --retries 5 --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/installed
