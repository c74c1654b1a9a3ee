# Two commands are enough: `make run` and `make test`. Everything else is a convenience.
# Needs Python >= 3.11 and make; the rest is brought along (config/runtime/).

.DEFAULT_GOAL := help
export PORTAL_STARTED_AT := $(shell date +%s.%N)
RUNTIME := sh config/runtime/launch.sh

.PHONY: help run test test-fast test-chaos lint format lock migrate shell bench screenshots stop clean

help: ## show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[36mmake %-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  PORT=8001 HOST=0.0.0.0 PYTHON=/path/to/python3 T=\"tests/engine -k lease\""
	@echo "  DATABASE_URL, BROKER_URL, CHANNEL_URL, CACHE_URL replace the embedded servers of make run"

run: ## start the portal with its demo tenants; Ctrl-C stops it
	@exec $(RUNTIME) run

test: ## lint, types, layer rules, all tests, on servers of their own; T=tests/engine selects
	@exec $(RUNTIME) test

test-fast: ## only pytest, without browser and slow tests; T=… selects
	@exec $(RUNTIME) test-fast

test-chaos: ## the long chaos suites (kills, database stops, …); N=200 SEED=7 T=tests/chaos/test_kills.py
	@exec $(RUNTIME) test-chaos

lint: ## ruff, layer rules, mypy
	@exec $(RUNTIME) lint

format: ## put the code in shape
	@exec $(RUNTIME) format

lock: ## lock requirements/*.in anew; A="--upgrade" for newer versions
	@exec $(RUNTIME) lock $(A)

migrate: ## migrate the public schema and every tenant's; A="…" for options
	@exec $(RUNTIME) migrate $(A)

shell: ## a Django shell on the portal's database
	@exec $(RUNTIME) shell $(A)

bench: ## measure loads against COPY, dlt and others; A="…" for options
	@exec $(RUNTIME) bench $(A)

screenshots: ## draw the README's screenshots anew
	@exec $(RUNTIME) screenshots $(A)

stop: ## stop a running portal of this checkout, and what a killed one left behind
	@exec $(RUNTIME) stop

clean: ## remove the environment, the data in .run/, builds and caches
	@exec $(RUNTIME) clean
