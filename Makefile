# From a fresh clone with Python 3.11+ alone, `make demo` and `make test` set everything up by themselves.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.laneway-setup
PIP    := $(BIN)/python -m pip --quiet --disable-pip-version-check
ARGS   ?=
JOBS   ?= 3

.DEFAULT_GOAL := help
.PHONY: help setup demo up test check crds bench bench-peers parts-up parts-down images bench-operator e2e dashboard

help:        ## list these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP)  ## make .venv with Laneway and all that developing it needs

demo: $(STAMP)  ## run the main job on this machine: a burst and real work, checked
	$(BIN)/laneway demo $(ARGS)

up: $(STAMP)  ## run the quick start's queue on this machine until Ctrl-C
	$(BIN)/laneway up -f examples/quickstart $(ARGS)

test: $(STAMP)  ## run the tests on real servers, JOBS=3 files at a time; ARGS="-k name" chooses
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(STAMP)  ## run the gates: format, lint, types, import layers, Lua headers, CRDs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@if [ -e hack/check_lua.py ]; then echo "$(BIN)/python hack/check_lua.py"; $(BIN)/python hack/check_lua.py; fi
	$(BIN)/python hack/crds.py --check

crds: $(STAMP)  ## write the CRDs and the manifests' reference page from the models
	$(BIN)/python hack/crds.py
	$(BIN)/python hack/docs_manifests.py

dashboard:   ## build the dashboard's pages from their sources (needs node 20 and its npm)
	cd runtime/laneway/dashboard/web && npm ci && npm run build

bench: $(STAMP)  ## measure rates beside a plain Redis loop; fails when one is 20 % under what was recorded
	PYTHONPATH=hack $(BIN)/python benchmarks/short.py $(ARGS)

bench-operator: $(STAMP)  ## measure the operator with 1,000 objects on a real API server; last line JSON
	$(BIN)/python benchmarks/operator_cost.py $(ARGS)

bench-peers: $(STAMP)  ## measure Laneway beside nine other queues (about 40 minutes); ARGS="--quick", "--only NAME,..."
	PYTHONPATH=hack $(BIN)/python -m benchmarks.peers $(ARGS)

parts-up: $(STAMP)  ## start real Redis and Kafka servers on loopback, in the background
	$(BIN)/python hack/parts up $(ARGS)

parts-down: $(STAMP)  ## stop the servers that parts-up started
	$(BIN)/python hack/parts down $(ARGS)

images: $(STAMP)  ## build the images runtime and operator; ARGS="--base IMAGE" chooses what on
	$(BIN)/python hack/images build $(ARGS)

cluster: $(STAMP)  ## start a Kubernetes cluster on this machine (KUBECONFIG, kind, or a node of our own)
	$(BIN)/python hack/cluster up

cluster-down: $(STAMP)  ## end the cluster that `make cluster` started
	$(BIN)/python hack/cluster down

e2e: $(STAMP)  ## run the end-to-end tests on a cluster (KUBECONFIG, kind, or a node of our own); ARGS="-k name" chooses
	$(BIN)/python hack/e2e $(ARGS)

# The stamp makes this quick while neither file changes. Build tools come first, pinned like the rest,
# so that building Laneway itself needs no isolated environment with versions of its own.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Laneway needs Python 3.11 or newer; say which with: make PYTHON=python3.12 ...")'
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "This Python cannot make virtual environments (on Debian: apt-get install python3-venv)"; exit 1; }
	@test -x $(BIN)/python || { echo "Making $(VENV) ..."; $(PYTHON) -m venv $(VENV); }
	@echo "Installing Laneway and its pinned dependencies ..."
	@$(PIP) install -c constraints.txt hatchling editables
	@$(PIP) install -c constraints.txt --no-build-isolation -e '.[dev,embedded,operator,otel]'
	@touch $@
