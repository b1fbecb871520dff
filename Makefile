# sniffer-bot's entry points. `make help` lists them.
python := .venv/bin/python

# The stack and the tests start thousands of short processes: all but the first read what that one has compiled.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo status env down test coverage test-all simulate bench lint format lock docs pictures

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

setup: ## install what is missing (apt packages when root, .venv from requirements.txt with this checkout)
	@local/setup.sh

demo: setup ## start the local stack, train a small model, scan a sample bucket through Airflow
	@$(python) -m sniffer_local.demo

status: ## show what of the demo's stack runs, since when, and how often it was started again; not 0 unless all does
	@if [ -x $(python) ]; then $(python) -m sniffer_local.status; else echo "there is no stack: make demo" >&2; exit 1; fi

env: ## print export lines for a shell on the demo's stack: eval "$(make -s env)"
	@if [ -x $(python) ]; then $(python) -m sniffer_local.env; else echo "there is no stack: make demo" >&2; exit 1; fi

down: ## stop what `make demo` started, and nothing else; its data stays in .local/
	@if [ -x $(python) ]; then $(python) -m sniffer_local.down; else echo "nothing was started: there is no .venv"; fi

# Five workers on two cores: half of the time a test waits for a process, a poll or a deadline.
fast_tests := $(python) -m pytest -m "not slow" -n 5 --dist loadfile

test: setup lint ## lint, types, and all tests but the slow ones
	@$(fast_tests)

coverage: setup lint ## the same, and which lines the tests reach, which takes a third longer
	@$(fast_tests) --cov --cov-report=term:skip-covered

# Slow tests have time limits of their own, of up to an hour: what ends a worker that hangs in C must not be sooner.
test-all: coverage ## the same, then the slow tests, one at a time since some measure time
	@$(python) -m pytest -m slow -o faulthandler_timeout=3900

simulate: setup ## play N seeded histories of a fleet on all cores (N=20000), or one with its story (SEED=4711)
	@cd tests && ../$(python) -m simulation $(if $(SEED),--seed $(SEED),--histories $(or $(N),20000))

bench: setup ## measure the speed figures and write them to .local/bench.json, or one part (ONLY=producer)
	@$(python) -m sniffer_local.bench $(if $(ONLY),--only $(ONLY) --out .local/bench-$(ONLY).json)

lint: setup ## ruff, mypy and the borders between the rooms
	@$(python) -m ruff check .
	@$(python) -m ruff format --check .
	@$(python) -m mypy
	@.venv/bin/lint-imports --no-cache

format: setup ## let ruff format and fix what it can
	@$(python) -m ruff format .
	@$(python) -m ruff check --fix .

lock: setup ## resolve pyproject.toml into requirements.txt and docker/*.txt, keeping the versions that still fit
	@$(python) -m sniffer_local.lock

docs: setup ## write the reference pages of docs/ from the code
	@$(python) -m sniffer_local.reference

pictures: setup ## take the screenshots in docs/pictures again, from the running demo
	@$(python) -m sniffer_local.pictures
