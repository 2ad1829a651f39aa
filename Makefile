# Everything a developer runs. Needs git, make and Python 3.11 or newer; the first use of any target fills .venv.
# `make test ARGS="-k limits -x"` passes ARGS on; `make demo PYTHON=/path/to/python3` chooses the interpreter.

PYTHON ?=
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_ROOT_USER_ACTION = ignore
export PIP_NO_INPUT = 1

.PHONY: help setup demo test lint types contracts check wheel coverage bench bench-guard bench-litellm estimates fuzz jaeger jaeger-binary test-jaeger test-partition test-gateways test-llama-cpp mutations simulate clean
help:
	@echo "make demo | test | lint | types | contracts | check (all four) | wheel | coverage | mutations | simulate | bench | bench-guard | estimates | fuzz | clean"
	@echo "make test-gateways | bench-litellm (install LiteLLM and others) | test-llama-cpp (compiles it); make jaeger | jaeger-binary | test-jaeger (need Go)"
	@echo "make observability-tools | test-observability (need Go, and Prometheus from Debian)"
	@echo "make test-partition (needs root and iproute2)"

setup: $(READY)

demo: $(READY)
	@$(BIN)/budget-middleware demo $(ARGS)

test: $(READY)
	@$(BIN)/python -m pytest $(ARGS)

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(READY)
	@$(BIN)/mypy

contracts: $(READY)
	@$(BIN)/lint-imports

check: test lint types contracts

wheel: $(READY)
	@$(BIN)/python .ci/check_wheel.py

coverage: $(READY)
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest $(ARGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

# Plants faults and tells which test finds each: the better part of an hour.
mutations: $(READY)
	@$(BIN)/python -m tests.mutations $(ARGS)

# Speed, in an environment of its own: uvicorn with uvloop and httptools, and what we are compared with.
BENCH := .venv-bench

bench: $(BENCH)/.ready
	@$(BENCH)/bin/python -m benchmarks $(ARGS)

# A minute: CPU time in ratios, for CI.
bench-guard: $(BENCH)/.ready
	@$(BENCH)/bin/python -m benchmarks guard $(ARGS)

$(BENCH)/.ready: pyproject.toml $(READY)
	@echo "Installing into $(BENCH): a minute, once."
	@test -x $(BENCH)/bin/python || $(BIN)/python -m venv --clear $(BENCH)
	@$(BENCH)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	@$(BENCH)/bin/python -m pip install --quiet --editable '.[otlp]' --group bench
	@touch $@

# `make simulate SEEDS=1-10000`, `make simulate ARGS=--scripts`, `make simulate SEEDS=42 ARGS=--story`.
SEEDS ?= 1-1000
simulate: $(READY)
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS) $(ARGS)

# A real Jaeger. The script names its version, so a change of it builds anew.
JAEGER := build/jaeger

jaeger: $(JAEGER)
	@bash .ci/jaeger run $(JAEGER)

jaeger-binary: $(JAEGER)

$(JAEGER): .ci/jaeger
	@bash .ci/jaeger build $@

test-jaeger: $(READY) $(JAEGER)
	@$(BIN)/python -m pytest -m jaeger tests/jaeger $(ARGS)

# Workers and a server in network namespaces, and the wire between them cut: needs root, and `ip` of iproute2.
test-partition: $(READY)
	@$(BIN)/python -m pytest -m partition tests/partition $(ARGS)

# A real Prometheus (root: installed from Debian's packages) and a real collector (built with Go).
COLLECTOR := build/collector

observability-tools: $(COLLECTOR)
	@bash .ci/observability prometheus

$(COLLECTOR): .ci/observability $(wildcard .ci/collector/*)
	@bash .ci/observability collector $@

test-observability: $(READY) observability-tools
	@$(BIN)/python -m pytest -m observability tests/observability $(ARGS)

# How far off estimates are, by tokenizers that are in packages.
ESTIMATES := .venv-estimates

estimates: $(ESTIMATES)/.ready
	@$(ESTIMATES)/bin/python -m benchmarks.estimates

$(ESTIMATES)/.ready: pyproject.toml $(READY)
	@echo "Installing tokenizers into $(ESTIMATES): a minute, once."
	@test -x $(ESTIMATES)/bin/python || $(BIN)/python -m venv --clear $(ESTIMATES)
	@$(ESTIMATES)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	@$(ESTIMATES)/bin/python -m pip install --quiet --editable . --group estimates
	@touch $@

# Looks for bytes that break the parsers, led by what they reach. `make fuzz ARGS=-max_total_time=3600`.
fuzz: $(READY)
	@$(BIN)/python -m pip install --quiet --group fuzz
	@mkdir -p build/fuzz
	@$(BIN)/python -m tests.apis.fuzz -max_total_time=60 $(ARGS) build/fuzz

# Other people's gateways and servers, with us in front.
GATEWAYS := .venv-gateways

test-gateways: $(READY) $(GATEWAYS)/.ready
	@GATEWAYS_PYTHON=$(GATEWAYS)/bin/python $(BIN)/python -m pytest -m gateways tests/gateways $(ARGS)

# The LiteLLM proxy alone and guarded, from the environment of `test-gateways`.
bench-litellm: $(BENCH)/.ready $(GATEWAYS)/.ready
	@$(BENCH)/bin/python -m benchmarks compare litellm --litellm $(GATEWAYS)/bin/python $(ARGS)

# Not part of `test-gateways`: pip compiles llama.cpp, ten minutes on two cores.
test-llama-cpp: $(READY) $(GATEWAYS)/.ready
	@$(GATEWAYS)/bin/python -m pip install --quiet --group llama-cpp
	@GATEWAYS_PYTHON=$(GATEWAYS)/bin/python $(BIN)/python -m pytest -m llama_cpp tests/gateways $(ARGS)

$(GATEWAYS)/.ready: pyproject.toml $(READY)
	@echo "Installing gateways into $(GATEWAYS): two minutes, once."
	@test -x $(GATEWAYS)/bin/python || $(BIN)/python -m venv --clear $(GATEWAYS)
	@$(GATEWAYS)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	@$(GATEWAYS)/bin/python -m pip install --quiet --editable . --group gateways
	@touch $@

clean:
	@rm -rf $(VENV) $(ESTIMATES) $(GATEWAYS) $(BENCH) dist build .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A version manager's shim may exist for a version that it does not have, so each candidate is run, not looked up;
# the first is the virtualenv itself, which a second interpreter would spoil.
# pip is upgraded first: the one that comes with Python 3.11 knows no dependency groups.
$(READY): pyproject.toml
	@set -e; found=; \
	for python in $(or $(PYTHON),$(BIN)/python python3 python3.14 python3.13 python3.12 python3.11); do \
	    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	    found=$$python; "$$python" -c 'import ensurepip' 2>/dev/null && break; \
	done; \
	say() { echo "$$1" >&2; exit 1; }; \
	test -n "$$found" || say "Python 3.11 or newer is needed, not $$(python3 -V 2>&1): make PYTHON=/path/to/python3"; \
	"$$found" -c 'import ensurepip' 2>/dev/null || say "$$found has no venv (Debian, Ubuntu: apt install python3-venv)"; \
	echo "Installing into $(VENV) with $$("$$found" -V): a minute, once."; \
	test "$$found" = $(BIN)/python || "$$found" -m venv --clear $(VENV); \
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"; \
	$(BIN)/python -m pip install --quiet --editable '.[brotli,demo,otlp]' --group dev
	@touch $@
