# Every target sets up what it needs. The virtual environment is made from the lock files and only touched when they change.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
TEST_WORKERS ?= 2
STORIES ?= 300
ORDERS ?= 3000
STEPS ?= 60
SALES ?= 10
UV_VERSION := 0.13.9

# The first interpreter that starts and is new enough (a shim on PATH may exist and not start).
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then echo $$p; break; fi; done)

export PYTHONUNBUFFERED := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help run test check race simulate audit bench demo migrate schema verify doctor format lock venv hooks clean

help: ## list the targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: $(VENV)/.run ## set everything up and start the store (Ctrl-C stops it all)
	@exec $(PY) server.py run

test: $(VENV)/.dev ## run every test (two processes; TEST_WORKERS=4 for more)
	@$(PY) -m pytest -n $(TEST_WORKERS) --dist loadgroup $(ARGS)

check: $(VENV)/.dev ## format, lint, types, import rules, house tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(PY) -m pytest -q tests/house

race: $(VENV)/.dev ## only the race tests, each with its control
	@$(PY) -m pytest tests/races $(ARGS)

simulate: $(VENV)/.dev ## tell many long stories over the store, trade, and hold sales in misfortune (STORIES=300 STEPS=60 ORDERS=3000 SALES=10 SEED=1 does the same again)
	@seed=$${SEED:-$$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}; echo "SEED=$$seed STORIES=$(STORIES) STEPS=$(STEPS) ORDERS=$(ORDERS) SALES=$(SALES)"; \
		YOULI_SIMULATE_SEED=$$seed YOULI_SIMULATE_STORIES=$(STORIES) YOULI_SIMULATE_STEPS=$(STEPS) \
		YOULI_SIMULATE_ORDERS=$(ORDERS) YOULI_SIMULATE_SALES=$(SALES) YOULI_SIMULATE_MISFORTUNES=7 \
		$(PY) -m pytest tests/simulation --timeout 0 $(ARGS)

audit: $(VENV)/.dev ## the GraphQL-over-HTTP audit of both endpoints (needs node and npm)
	@$(PY) -m pytest -q -rs tests/schema/test_http_audit.py

bench: $(VENV)/.dev ## measure, side by side with the ceilings
	@$(PY) -m bench $(ARGS)

demo: $(VENV)/.run ## play the main story through HTTP, as the mini-program would
	@$(PY) server.py demo $(ARGS)

migrate: $(VENV)/.run ## bring the database to the newest migration
	@$(PY) server.py migrate

schema: $(VENV)/.run ## write the committed SDL of both schemas and the list of declared constraints
	@$(PY) server.py schema
	@$(PY) -m models.declared

verify: $(VENV)/.run ## check every invariant of the stored truth
	@$(PY) server.py verify

doctor: $(VENV)/.run ## effective settings without secrets, engines, migrations, catalogue
	@$(PY) server.py doctor

format: $(VENV)/.dev ## format and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: $(VENV)/.base ## resolve the lock files again from pyproject.toml (UPGRADE=--upgrade for newer versions)
	@$(PY) -m pip install -q uv==$(UV_VERSION)
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" $(UPGRADE) --extra engines -o requirements.lock pyproject.toml
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" $(UPGRADE) --extra engines --extra dev -c requirements.lock \
		-o requirements-dev.lock pyproject.toml

venv: $(VENV)/.dev ## only make the virtual environment, with the development tools

hooks: $(VENV)/.dev ## install the pre-commit hook
	@$(BIN)/pre-commit install

clean: ## remove the virtual environment and caches (var/, where your store lives, stays)
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.base:
	@test -n "$(PYTHON)" || { echo "Youli needs Python 3.11 or newer; none was found on PATH. Name one: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV) || { \
		echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@touch $@

# The development lock holds everything the runtime lock holds, at the same versions, so either stamp serves the runtime.
$(VENV)/.run: requirements.lock | $(VENV)/.base
	@echo "Installing the runtime libraries from requirements.lock ..."
	@$(PY) -m pip install -q --require-hashes --only-binary :all: -r requirements.lock
	@touch $@

$(VENV)/.dev: requirements-dev.lock requirements.lock | $(VENV)/.base
	@echo "Installing the libraries and tools from requirements-dev.lock ..."
	@$(PY) -m pip install -q --require-hashes --only-binary :all: -r requirements-dev.lock
	@touch $(VENV)/.run $@
