# Every target installs what it needs into .venv first. None of them deletes db/ or pools/.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PORT ?= 7860
WORKSPACE ?= .

.PHONY: help install demo test check soak bench serve screenshots lock

help: ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

install: $(STAMP) ## install the pinned packages into .venv

# Bytecode is compiled now: where it cannot be written at run time, every start would compile it anew.
$(STAMP): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --compile --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps -e .
	$(BIN)/python -m compileall -q labeler
	touch $@

demo: install ## draw faces, run three rounds with an oracle, print the learning curve
	$(BIN)/labeler demo

test: install ## run the checks and the tests
	$(MAKE) check
	$(BIN)/python -m pytest -n 3 --dist loadscope --durations 25

check: install ## lint, types, layers, dependencies and what is known against them, migrations
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/deptry labeler
	$(BIN)/python -m tests.audit
	folder=$$(mktemp -d) && LABELER_DATABASE=sqlite:///$$folder/empty.db && export LABELER_DATABASE && \
	  $(BIN)/alembic -c db/alembic.ini upgrade head && $(BIN)/alembic -c db/alembic.ini check; \
	  status=$$?; rm -rf $$folder; exit $$status

KILLS ?= 200
SEED ?= 6
FUZZ_SECONDS ?= 600
soak: install ## break it on purpose: 200 kills (15 to 40 minutes), then long fuzzing (KILLS, SEED, FUZZ_SECONDS)
	$(BIN)/python -m tests.crash.soak --kills $(KILLS) --seed $(SEED) --minutes 40
	LABELER_FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python -m pytest -q tests/hostile

bench: install ## the benchmarks, one after the other
	for bench in tests/bench/*.py; do echo "== $$bench"; $(BIN)/python $$bench || exit 1; done

serve: install ## the review page of the workspace WORKSPACE (default: here)
	$(BIN)/labeler serve --workspace $(WORKSPACE) --port $(PORT)

screenshots: install ## the pictures of the README, made anew from the real page (needs Chromium)
	$(BIN)/python -m tests.browser.screenshots

lock: ## pin every package anew (needs uv)
	uv pip compile pyproject.toml --extra dev --extra onnx --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-annotate --no-header --upgrade -o requirements.lock
