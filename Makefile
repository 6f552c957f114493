# `make up` runs everything on embedded servers; `make test` passes the tests. Both set up what they need first.
# Standard output belongs to what is run (`up` prints addresses there, for scripts); everything else goes to standard error.
MAKEFLAGS += --no-print-directory
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOCKS := requirements/build.txt requirements/bootstrap.txt requirements/runtime.txt requirements/dev.txt requirements/apart.txt
ARGS ?=

# Each candidate is tried, not only found: a version manager's shim may exist for a Python that is not installed, and some
# distributions ship Python without `ensurepip`. Every folder of PATH is asked, because a shim hides what comes after it.
FITS := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell IFS=:; for name in python3.13 python3.12 python3.11 python3 python; do for folder in $$PATH; do \
	[ -x "$$folder/$$name" ] && "$$folder/$$name" -c '$(FITS)' >/dev/null 2>&1 && { echo "$$folder/$$name"; exit; }; done; done)

PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python --no-build-isolation-package plaid-python
# plaid-python is published as source only; it is built with the setuptools that the lock names.
LOCKED := --require-hashes --only-binary :all: --no-binary plaid-python
# What asks for an older cryptography than the lock has, and works with it (tests/sandbox uses both sides of it): installed by itself.
APART := --no-deps --require-hashes --only-binary :all: -r requirements/apart.txt
# Compiled by importing them once, which takes 3 s: uv compiles nothing, and the first `up` would do it in four processes at once.
COMPILED := isthmus.app.wiring, isthmus.auth.provider.asgi, isthmus.cli.demo_data, isthmus.migrations, isthmus.runtime.serving, \
	isthmus.runtime.up, isthmus.runtime.work
OURSELVES := --no-deps --no-build-isolation --editable .

.PHONY: help setup up test check audit openbao lock playground clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed 's/:.*##/\t/' | expand -t 12

setup: $(STAMP) ## make .venv with the locked requirements
	@:

# uv installs in seconds what pip needs a minute for; where there is no uv for this machine, or it fails, pip does the same work.
# uv does not read pip's settings, so an index that is set for pip is handed on.
$(STAMP): $(LOCKS) pyproject.toml
	@test -n "$(PYTHON)" || { echo "isthmus needs Python 3.11, 3.12 or 3.13 (with venv and ensurepip); none was found." >&2; \
		echo "Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 2; }
	@"$(PYTHON)" -c '$(FITS)' 2>/dev/null || { echo "$(PYTHON) is not a Python 3.11, 3.12 or 3.13 with venv and ensurepip" >&2; exit 2; }
	@echo "setting up $(VENV) with $$("$(PYTHON)" --version), once" >&2
	@"$(PYTHON)" -m venv --clear $(VENV) >&2
	@$(PIP) $(LOCKED) -r requirements/build.txt >&2
	@index=$${UV_DEFAULT_INDEX:-$${UV_INDEX_URL:-$${PIP_INDEX_URL:-$$($(BIN)/python -m pip config get global.index-url 2>/dev/null)}}}; \
		if [ -n "$$index" ]; then export UV_DEFAULT_INDEX="$$index"; fi; \
		if $(PIP) $(LOCKED) -r requirements/bootstrap.txt && $(UV) $(LOCKED) -r requirements/dev.txt && $(UV) $(APART) && $(UV) $(OURSELVES); then :; else \
			echo "uv did not do; pip takes a minute longer" >&2; \
			$(PIP) $(LOCKED) --no-build-isolation -r requirements/dev.txt && $(PIP) $(APART) && $(PIP) $(OURSELVES); fi >&2
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -c 'import $(COMPILED)' >/dev/null 2>&1 || :
	@touch $@

# In the shell's place, so that a signal that make hands on reaches it: whatever ends make ends everything.
up: $(STAMP) ## start everything; the last line is `ready <url>` (ARGS="--port 8000 --no-demo")
	@exec $(BIN)/isthmus up $(ARGS)

# Types are checked beside the tests: both cores are busy either way, and a cold check takes as long as a third of the tests.
# What was compiled is kept, whatever the shell says: pytest reads every file of tests anew otherwise, ten seconds for each process.
test: $(STAMP) ## lint, types, import contract, and every test on real servers (ARGS="tests/domain -k money")
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet . && $(BIN)/lint-imports --no-logo
	@log=$$(mktemp); $(BIN)/python -m mypy > "$$log" 2>&1 & types=$$!; \
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest --numprocesses 2 $(ARGS); tests=$$?; \
	wait $$types; typed=$$?; cat "$$log"; rm -f "$$log"; \
	test $$tests -eq 0 && test $$typed -eq 0

check: $(STAMP) ## what CI runs before the tests: format, lint, types, import contract
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/python -m mypy && $(BIN)/lint-imports

audit: $(STAMP) ## npm's audit of GraphQL over HTTP, against the running product (needs Node and the network)
	@$(BIN)/python -m tests.audit.run

openbao: $(STAMP) ## install OpenBao (170 MB), which the tests of the vault ask where it is there
	@$(PIP) --require-hashes --only-binary :all: -r requirements/openbao.txt

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links
lock: $(STAMP) ## make the lock files anew from pyproject.toml
	$(LOCK) pyproject.toml -o requirements/runtime.txt
	$(LOCK) pyproject.toml --group dev -c requirements/runtime.txt -o requirements/dev.txt
	$(LOCK) --group openbao -o requirements/openbao.txt
	printf 'hvac>=2.4\n' | $(LOCK) - -c requirements/runtime.txt -o requirements/vault.txt
	printf 'setuptools>=80\n' | $(LOCK) - -o requirements/build.txt
	printf 'uv\n' | $(LOCK) - -o requirements/bootstrap.txt
	printf 'truelayer-signing>=0.4\n' | $(LOCK) --no-deps - -o requirements/apart.txt

playground: ## make the playground's files anew from web/ (needs Node 20; they ship with the package, so `up` does not)
	cd web && npm ci && npm run build

clean: ## remove the virtual environment (data directories stay)
	rm -rf $(VENV)
