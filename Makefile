# `make up` runs everything on embedded servers; `make test` passes the tests. Both set up what they need first.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOCKS := requirements/bootstrap.txt requirements/runtime.txt requirements/dev.txt
ARGS ?=

.PHONY: help setup up test check lock clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

setup: $(STAMP) ## make .venv with the locked requirements

# uv installs in seconds what pip needs a minute for; where there is no uv for this machine, pip does the same work.
$(STAMP): $(LOCKS) pyproject.toml
	@test -n "$(PYTHON)" || { echo "isthmus needs Python 3.11, 3.12 or 3.13; none was found. Name one: make PYTHON=/path/to/python3.12" >&2; exit 2; }
	@echo "setting up $(VENV) with $$($(PYTHON) --version)" >&2
	@$(PYTHON) -m venv --clear $(VENV) >&2
	@{ $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements/bootstrap.txt \
		&& $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --only-binary :all: -r requirements/dev.txt; } >&2 \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements/dev.txt >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . >&2
	@touch $@

up: $(STAMP) ## start everything; the last line is `ready <url>` (ARGS="--port 8000 --no-demo")
	@exec $(BIN)/isthmus up $(ARGS)

test: $(STAMP) ## lint, types, import contract, and every test on real servers
	@$(BIN)/python -m pytest $(ARGS)

check: $(STAMP) ## what CI runs before the tests: format, lint, types, import contract
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links
lock: $(STAMP) ## make the lock files anew from pyproject.toml
	$(LOCK) pyproject.toml -o requirements/runtime.txt
	$(LOCK) pyproject.toml --group dev -c requirements/runtime.txt -o requirements/dev.txt
	printf 'setuptools>=80\nuv\n' | $(LOCK) - -o requirements/bootstrap.txt

clean: ## remove the virtual environment (data directories stay)
	rm -rf $(VENV)
