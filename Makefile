# Every target makes .venv first if it has to: `make run` is all that a new machine needs.
#
# PYTHON=...  the interpreter that .venv is made with
# ARGS=...    more arguments: make run ARGS=--drain, make test ARGS="-k flow -x"
# JOBS=...    how many tests run side by side; each process starts the servers that its tests need. On two cores: unit
#             and prove keep them busy with three; test waits for leases, timeouts and processes most of the time
# SIZE=full   make prove at length, by hand; its figures are kept in docs/data/proof.json
# BUT=unit    make test without the folders of make unit: .ci/run has just run them (or without conformance, integration)

SHELL := /bin/bash
export PYTHON
# where it is set, as in many images of containers, every process of every test would compile the whole program again
export PYTHONDONTWRITEBYTECODE :=
ARGS ?=
# in the order of the files but for those that are to run alone, which come last. $(call SIDE_BY_SIDE,HOW MANY)
SIDE_BY_SIDE = -n $(or $(JOBS),$(1)) --no-loadscope-reorder
# a tier is some folders, the quick ones first; pytest keeps this order
UNIT := tests/unit tests/typing
TEST := $(if $(filter unit,$(BUT)),,$(UNIT)) $(patsubst %,tests/%,$(filter-out $(BUT),conformance integration acceptance))
PROVE := tests/simulation tests/proof tests/mutation
# releases of Debian that unit and test have to pass on: CPython 3.11 and 3.13
RELEASES := bookworm trixie
# what of make test is run there: processes, signals and the samples, or all of it where there are hours for it
PROCESSES := $(patsubst %,tests/acceptance/test_%.py,children end harm pool sample service_manager)
ELSEWHERE := $(if $(filter full,$(SIZE)),BUT=unit,TEST="$(PROCESSES)")
# and what depends on the server: RabbitMQ is 3.10 on Debian 12, 4.0 on 13. The long one first
RABBITMQ := tests/proof/kill/test_rabbitmq_kill.py tests/conformance/broker tests/integration/rabbitmq
RABBITMQ += $(patsubst %,tests/acceptance/test_%.py,kill rabbitmq rabbitmq_moves)
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help run unit interpreters test prove check simulate bench bench-python soak figures metrics lock format setup clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: ## start the system: queues, consumers, tasks (Ctrl-C ends it in order)
	@tools/setup.sh run
	@$(BIN)/python main.py --with-sqs-server 9324 $(ARGS)

unit: ## run the tests that need no service and no network: within a minute
	@tools/setup.sh test
	@$(BIN)/python -m pytest $(call SIDE_BY_SIDE,3) $(UNIT) $(ARGS)

interpreters: ## run the unit tests on every other CPython of this machine, in clean clones of HEAD
	@tools/setup.sh test
	@tools/interpreters.sh unit

test: services ## run the unit tests, every broker and ledger, and every promise in small: within ten minutes
	@$(BIN)/python -m pytest $(call SIDE_BY_SIDE,4) $(TEST) $(ARGS)

prove: services ## run the long proofs: kills, crashes, power cuts, simulation, mutations, the other Debian (SIZE=full: for hours)
	@MULLIGAN_TEST_SIZE=$(SIZE) $(BIN)/python $(if $(filter full,$(SIZE)),tools/proof.py,-m pytest) $(call SIDE_BY_SIDE,3) $(PROVE) $(ARGS)
	@for release in $(RELEASES); do tools/chroot.sh $$release sh -c \
		'make unit && make test $(ELSEWHERE) && make test TEST="$(RABBITMQ)" ARGS="-k rabbitmq"' || exit; done

.PHONY: services
services:
	@tools/setup.sh test
	@tools/install/strace.sh
	@tools/install/fuse.sh
	@tools/install/nftables.sh
	@tools/install/postgres.sh
	@tools/install/localemu.sh
	@tools/install/rabbitmq.sh

check: ## lint, format, types, direction of imports, template, generated docs
	@tools/setup.sh test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/template.py
	@if [ -f tools/docs.py ]; then echo "$(BIN)/python tools/docs.py --check"; $(BIN)/python tools/docs.py --check; fi

format: ## format the code, mend what ruff can mend
	@tools/setup.sh test
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

simulate: ## run simulated histories (SEEDS=1000), or tell the story of one (SEED=17)
	@tools/setup.sh test
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1000)) $(ARGS)

bench: ## run the benchmarks: a table, and JSON in bench/results (ARGS="core sqs.drain": some of them)
	@tools/setup.sh test
	@$(BIN)/python -m bench $(ARGS)

bench-python: ## build the optimised CPython that the benchmarks run on where there is none (10 to 20 minutes)
	@bench/python.sh

soak: ## kill and break real processes for a while: BROKER=sqlite|sqs|rabbitmq MINUTES=30 SEED=k
	@tools/setup.sh test
	@$(if $(filter sqs rabbitmq,$(BROKER)),tools/install/postgres.sh)
	@$(if $(filter rabbitmq,$(BROKER)),tools/install/rabbitmq.sh)
	@$(BIN)/python -m tests.soak --broker $(or $(BROKER),sqlite) --minutes $(or $(MINUTES),30) $(if $(SEED),--seed $(SEED)) $(ARGS)

figures: ## run the tests that tell a figure of the promise, and write the table in docs/reliability.md
	@tools/setup.sh test
	@$(BIN)/python tools/figures.py $(call SIDE_BY_SIDE,3) $(ARGS)

metrics: ## print how src/ is built, in numbers (ARGS="BEFORE ." compares two checkouts, ARGS=--json prints JSON)
	@tools/setup.sh test
	@$(BIN)/python tools/metrics.py $(ARGS)

lock: ## write the lock files again (ARGS=--upgrade: with the newest versions)
	@tools/lock.sh $(ARGS)

setup: ## make .venv with everything that work on the project needs
	@tools/setup.sh test

clean: ## remove .venv and caches; queues and ledger in var/ stay
	rm -rf .venv .venv-localemu .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
