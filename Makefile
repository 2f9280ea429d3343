# Every target sets up what it needs; only Python >= 3.11 and make have to be there.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
UV_VERSION := 0.13.8
BIN := .venv/bin
WORKERS ?= 2

# Without what Python keeps of a module once compiled, every process and every worker of the tests compiles it all again.
unexport PYTHONDONTWRITEBYTECODE

export UV_PROJECT_ENVIRONMENT := .venv
export UV_PYTHON_DOWNLOADS := never
export UV_NO_PROGRESS := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test test-pythons check format schema reference interop bench clean
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

$(BIN)/uv: Makefile
	@test -n "$(PYTHON)" || { echo "provender needs Python 3.11 or newer; set PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet "uv==$(UV_VERSION)"
	@touch $@

.venv/.runtime: pyproject.toml uv.lock $(BIN)/uv
	@$(BIN)/uv sync --quiet --frozen --no-default-groups --inexact --python $(BIN)/python
	@touch $@

.venv/.development: .venv/.runtime
	@$(BIN)/uv sync --quiet --frozen --inexact --python $(BIN)/python
	@touch $@

demo: .venv/.runtime ## provision an example project, break it, repair it
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh examples/quickstart/demo.sh

test: .venv/.development ## the unit tests
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not interop"

test-pythons: .venv/.development ## the unit tests, on every other Python >= 3.11 that is here
	@$(BIN)/python tools/pythons.py --workers $(WORKERS)

check: .venv/.development ## lint, format, types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache | tail -n 8

format: .venv/.development ## put the sources in shape
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .

schema: .venv/.development ## write the JSON Schema of provender.yaml
	@$(BIN)/python tools/write_schema.py

reference: .venv/.development ## write the reference of the commands from their help texts
	@$(BIN)/python tools/write_commands.py

interop: .venv/.development ## against real registries and peers
	@$(BIN)/python tools/peers.py install --for interop
	@$(BIN)/pytest -m interop -n 1 -rs --timeout 600 --reruns 1 tests/interop

bench: .venv/.development ## side by side with peers; figures as ratios
	@$(BIN)/python tools/peers.py install --for bench
	@$(BIN)/python -m bench

clean: ## remove the environments and caches of this checkout
	rm -rf .venv .venvs .mypy_cache .ruff_cache .hypothesis .import_linter_cache bench/results
