# Every target works from a fresh clone; `make help` lists them.
PYTHON ?= python3
ARGS ?=
ISTIO ?=
VERSIONS ?=
HUB ?=
TAG ?=
VENV := .venv
STAMP := $(VENV)/.installed
BIN := $(VENV)/bin
# Unit tests write some ten thousand small files; where there is a file system in memory, they go there.
FAST_TMPDIR := $(or $(TMPDIR),$(if $(shell test -w /dev/shm && echo yes),/dev/shm,/tmp))

.DEFAULT_GOAL := help
.PHONY: help venv image demo test test-fast faults bench parity docs docs-serve lint type check clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  make %-10s %s\n", $$1, $$2 }'

venv: $(STAMP) ## a virtual environment (.venv) with the project and its tools
	@:

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "istio-build needs Python 3.11 or later: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	    echo "cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: venv ## the main job on the sample tree, without root or Docker: build, push, pull, look, start
	tools/with-engine --if-up $(BIN)/python -m tools.demo

image: venv ## istio-build's own image for both platforms, pushed (HUB=registry.corp.example/tools, TAG=…); needs Docker
	@test -n '$(HUB)' || { echo 'name where it goes: make image HUB=registry.corp.example/tools' >&2; exit 2; }
	$(BIN)/python -m tools.image '$(HUB)' $(TAG)

test: venv ## all tests; as root on Debian, with a Docker engine that it starts (ARGS='-k push' for some of them)
	tools/engine browser
	tools/with-engine --if-possible $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

test-fast: venv ## the unit tests, on all cores: some 50 s on two
	TMPDIR=$(FAST_TMPDIR) $(BIN)/pytest --numprocesses auto tests/unit $(ARGS)

faults: venv ## pushes through all that can go wrong: 10,000 schedules, some minutes (ARGS='--count 500 --seed 1'; '--replay FILE')
	$(BIN)/python -m tests.faults $(ARGS)

bench: venv ## our push beside `go build`, buildx and docker-builder (ARGS='--source DIR' for real Istio; ARGS=scaling)
	tools/with-engine $(BIN)/python -m tools.bench $(ARGS)

parity: venv ## our plans beside Istio's own build files (ISTIO=a clone of istio/istio; VERSIONS='1.20.0 1.29.0' for some)
	@test -n '$(ISTIO)' || { echo 'name a clone of istio/istio with its tags: make parity ISTIO=DIR' >&2; exit 2; }
	$(BIN)/python -m tools.parity --istio '$(ISTIO)' --versions '$(VERSIONS)' $(ARGS)

docs: venv ## the pages of docs/ as a site, in site/: open site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs --quiet build --site-dir site $(ARGS)

docs-serve: venv ## the same on http://127.0.0.1:8000, anew with each change (ARGS='--dev-addr 127.0.0.1:8001')
	$(BIN)/python -m mkdocs serve $(ARGS)

lint: venv ## ruff: style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: venv ## mypy --strict
	$(BIN)/mypy

check: lint type test ## what CI runs

clean: ## stop what `tools/engine up` started; remove it, its downloads and the virtual environment
	tools/engine down
	rm -rf .state $(VENV) dist site .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
