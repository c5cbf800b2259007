# Everything happens in .venv of this checkout; `make demo` and `make test` set it up themselves.
PYTHON ?= python3
VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
EXTRAS := train,offline-text,hpc,archives,remote,test

# A STAC API server to test against needs packages of its own, in a venv of its own.
SERVERS := $(wildcard tests/integration/requirements-servers.txt)
SERVER_VENV := $(CURDIR)/.venv-servers
SERVERS_READY := $(if $(SERVERS),$(SERVER_VENV)/.installed)
ifeq ($(LANDMARK_REQUIRE_SERVERS),1)
TEST_NEEDS := $(SERVERS_READY)
endif

# A benchmark's own module reads the common command line; the others there are its parts. train_gpu
# needs a CUDA device, and loader the interpreter of its peers.
BENCHMARKS = $(filter-out recording train_gpu loader,$(basename $(notdir $(shell \
	grep -lwE 'parse_options|benchmark_parser' benchmarks/*.py))))
BENCH_READY := $(VENV)/.installed-bench
PEERS_VENV := $(CURDIR)/.venv-peers
PEERS_READY := $(PEERS_VENV)/.installed

# Unit tests need neither data nor network; the others start servers and run whole commands. A file
# stays in one process: its fixtures are made once, and two files never share a server.
UNIT := not integration and not real and not gpu
PYTEST := $(BIN)/python -m pytest -n auto --dist loadfile

# Where Python may not keep what it compiles, each of the hundreds of commands that tests start
# compiles all modules anew.
unit test: export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup setup-demo servers demo unit test test-gpu lint bench docs clean

help:
	@echo "make demo      set up, then fetch, label, train, search and report on synthetic data"
	@echo "make test      set up, then lint, types, import contracts and all tests"
	@echo "make unit      set up, then only the unit tests: offline, minutes"
	@echo "make test-gpu  only the tests that need a CUDA device"
	@echo "make lint      ruff, mypy, import-linter"
	@echo "make bench     all benchmarks, with the peers they compare with (hours; LANDMARK_TEST_DATA)"
	@echo "make docs      write the generated pages of docs/ again"
	@echo "make servers   what the tests against a real STAC API need"
	@echo "make clean     remove environments, caches and the demo"

setup setup-demo: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

servers: $(SERVERS_READY)

$(SERVER_VENV)/.installed: $(SERVERS)
	$(PYTHON) -m venv $(SERVER_VENV)
	$(SERVER_VENV)/bin/python -m pip install --quiet -r $(SERVERS)
	@touch $@

demo: $(READY)
	$(BIN)/landmark demo data/demo

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(READY)
	$(PYTEST) -m "$(UNIT)"

test: lint unit $(TEST_NEEDS)
	LANDMARK_SERVER_VENV="$(if $(wildcard $(SERVER_VENV)/.installed)$(TEST_NEEDS),$(SERVER_VENV))" \
		$(PYTEST) -m "not ($(UNIT))"

test-gpu: $(READY)
	$(BIN)/python -m pytest -m gpu

$(BENCH_READY): $(READY)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[$(EXTRAS),bench]'
	@touch $@

$(PEERS_READY): benchmarks/requirements-peers.txt
	$(PYTHON) -m venv $(PEERS_VENV)
	$(PEERS_VENV)/bin/python -m pip install --quiet -r $<
	@touch $@

bench: $(BENCH_READY) $(PEERS_READY)
	set -e; for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name; done
	$(BIN)/python -m benchmarks.loader --peers-python $(PEERS_VENV)/bin/python

docs: $(READY)
	$(BIN)/python -m landmark.manifest_docs docs

clean:
	rm -rf $(VENV) $(SERVER_VENV) $(PEERS_VENV) build dist data/demo .mypy_cache .ruff_cache .pytest_cache \
		.hypothesis .import_linter_cache
