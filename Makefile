# Everything a person or a CI machine does here. Each target installs what it needs, once, into .venv.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
# python3.11 first: the versions in constraints.txt are tried with it.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# Test files are shared out among processes, each with servers of its own, because most tests wait for servers.
PYTEST = $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help
help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: $(VENV)/local ## Train three optimizers and read who won
	@$(BIN)/descent demo

.PHONY: up
up: $(VENV)/local ## Run the whole service on this machine
	@$(BIN)/descent up

.PHONY: test
test: $(VENV)/dev ## Run the fast tier of the tests, against real servers
	@echo "Testing, with a real PostgreSQL, Redis, Celery and, where there is one, browser: about ten minutes on two cores"
	@$(PYTEST)

.PHONY: test-slow
test-slow: $(VENV)/dev ## Run the slow tier: all combinations of components, all pages of the docs, short chaos and fuzz runs
	@echo "Running the slow tests: about eight minutes on two cores"
	@$(PYTEST) -m 'slow and not chaos'

.PHONY: test-all
test-all: $(VENV)/dev ## Run all tests, including the chaos tests
	@$(PYTEST) -m '' --durations=30

.PHONY: chaos-small
chaos-small: $(VENV)/dev ## Train 60 jobs on both databases while something breaks every two seconds: three minutes
	@$(BIN)/python -m tests.chaos --jobs 60 --fault-seconds 2 --seconds-limit 120

.PHONY: chaos-scenes
chaos-scenes: $(VENV)/dev ## Break everything, one by one, on both databases: a quarter of an hour
	@$(BIN)/python -m pytest -m chaos tests/chaos

.PHONY: chaos
chaos: $(VENV)/dev ## Train 1,000 jobs under faults, and 60 on plain Celery beside them: half an hour
	@$(BIN)/python -m tests.chaos --jobs 1000 --fault-seconds 2 --seconds-limit 1200 --plain-jobs 60

.PHONY: fuzz
fuzz: $(VENV)/dev ## Send twice ten thousand requests made from the OpenAPI document, with an admin's and with an owner's key
	@$(BIN)/python -m tests.fuzz --scope admin
	@$(BIN)/python -m tests.fuzz --scope submit

.PHONY: check
check: $(VENV)/dev ## Lint, types, import contracts, generated docs
	@echo "Checking style"
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .
	@echo "Checking types"
	@$(BIN)/mypy
	@echo "Checking imports"
	@$(BIN)/lint-imports
	@echo "Checking the client that is made of the asynchronous one"
	@$(BIN)/python tools/synchronous.py --check
	@echo "Checking generated docs"
	@$(BIN)/python -m docs.generate --check

.PHONY: format
format: $(VENV)/dev ## Put the code in shape
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --fix --quiet . && $(BIN)/ruff format --quiet .
	@$(BIN)/python tools/synchronous.py

.PHONY: docs
docs: $(VENV)/dev ## Write the generated pages of docs/ anew, and build the site into build/site
	@$(BIN)/python -m docs.generate
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "build/site/index.html"

.PHONY: docs-serve
docs-serve: docs ## Show the site at http://127.0.0.1:8001
	@$(BIN)/python -m http.server --bind 127.0.0.1 --directory build/site 8001

.PHONY: screenshots
screenshots: $(VENV)/dev ## Take the pictures of the README anew, from a real service in a browser
	@$(BIN)/python -m docs.screenshots

.PHONY: labs
labs: $(VENV)/dev ## Run every lab in full, and write docs/labs.md from what came out
	@echo "Running nine labs on a private service: about half an hour on two cores"
	@mkdir -p docs/labs
	@env -u DESCENT_URL $(BIN)/descent lab run --all --store docs/labs
	@$(BIN)/python -m docs.generate

.PHONY: bench
bench: $(VENV)/bench ## Measure the engine against the loops that it replaces, data of your own, comparisons, hostile clients, neighbours, keys, the dashboard
	@$(BIN)/python -m benchmarks.engine
	@$(BIN)/python -m benchmarks.data
	@$(BIN)/python -m benchmarks.comparison
	@$(BIN)/python -m benchmarks.hostile
	@$(BIN)/python -m benchmarks.neighbours
	@$(BIN)/python -m benchmarks.keys
	@$(BIN)/python -m benchmarks.dashboard

.PHONY: gpu-check
gpu-check: $(VENV)/dev ## Check the engine on this machine's CUDA device, and measure it there
	@$(BIN)/python -c 'import sys, torch; torch.cuda.is_available() or sys.exit("PyTorch finds no CUDA device here")'
	@DESCENT_CHECK_DEVICE=cuda $(BIN)/python -m pytest tests/device
	@$(BIN)/python -m benchmarks.engine --device cuda

# Which packages the images get, down to the digests of their files; the code itself and torch come by other ways.
LOCK = $(BIN)/pip-compile --quiet --generate-hashes --constraint constraints.txt --strip-extras --no-header --no-annotate \
	--no-emit-options --no-emit-index-url --no-emit-find-links --unsafe-package descent --unsafe-package torch
.PHONY: lock
lock: $(VENV)/supply ## Write requirements/ anew from pyproject.toml and constraints.txt
	@echo "Looking up the digests of every package of the images: a minute"
	@$(LOCK) --extra api --extra s3 --output-file requirements/api.txt pyproject.toml
	@$(LOCK) --extra worker --extra s3 --output-file requirements/worker.txt pyproject.toml
	@$(LOCK) --only-build-deps --build-deps-for wheel --output-file requirements/build.txt pyproject.toml

.PHONY: sbom
sbom: $(VENV)/supply ## Write the bills of materials of both images, in CycloneDX, to build/sbom/
	@mkdir -p build/sbom
	@cp requirements/api.txt build/sbom/api.txt
	@{ cat requirements/worker.txt; grep '^torch==' constraints.txt; } > build/sbom/worker.txt
	@for image in api worker; do \
		$(BIN)/python -W ignore -m cyclonedx_py requirements build/sbom/$$image.txt --pyproject pyproject.toml \
			--mc-type application --output-reproducible --validate --output-file build/sbom/$$image.cdx.json; \
		rm build/sbom/$$image.txt; \
		echo "build/sbom/$$image.cdx.json"; \
	done

.PHONY: clean
clean: ## Remove what was installed here; histories in .descent stay
	rm -rf $(VENV) *.egg-info

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Descent needs Python 3.11 or newer, with venv. Install one, or say: make PYTHON=/path/to/python"; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)

# One stamp an extra: touched when its packages are in, older than the files that name them when they may not be.
$(VENV)/local $(VENV)/dev $(VENV)/bench $(VENV)/supply: $(VENV)/%: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing Descent with its \"$*\" packages into $(VENV): a minute or two, once"
	@$(INSTALL) --editable '.[$*]'
	@touch $@
