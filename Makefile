# What a person or a CI runs. Every target that needs .venv prepares it first; when it is ready that costs milliseconds.

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format bench lock clean venv

help:  ## Show this list
	@sed -n 's/^\([a-z]*\):[^#]*##  *\(.*\)/  make \1 | \2/p' Makefile | awk -F ' [|] ' '{ printf "%-14s %s\n", $$1, $$2 }'

setup: venv  ## Prepare .venv with the command .venv/bin/touchstone
	@echo "Ready. Next: make demo, or .venv/bin/touchstone --help"

# $(value) keeps a dollar sign; the shell takes the path from the environment, so spaces and quotes are only characters.
demo: override export REPO := $(value REPO)
demo: venv  ## Try it out on sample data, or on a git repository: make demo REPO=path
	@.venv/bin/touchstone demo $${REPO:+--repo "$$REPO"}

test: venv  ## Run the tests; make test ARGS="-k name" for some of them, "-n 0" in one process
	@.venv/bin/pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: venv  ## Check style, types and the arrows between folders
	@status=0; \
	for check in "ruff check" "ruff format --check" mypy lint-imports; do \
		echo "== $$check"; \
		.venv/bin/$$check || status=1; \
	done; \
	exit $$status

format: venv  ## Mend what ruff can mend
	@.venv/bin/ruff check --fix-only
	@.venv/bin/ruff format

bench: venv  ## Measure speed; ARGS are its options
	@.venv/bin/python -m bench $(ARGS)

lock:  ## Write requirements.lock anew; ARGS=--upgrade takes newer versions
	@command -v uv >/dev/null || { echo "make lock needs uv on the PATH (pipx install uv)" >&2; exit 1; }
	uv pip compile pyproject.toml --extra embedded --group dev --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --quiet -o requirements.lock $(ARGS)

clean:  ## Remove .venv and caches; .touchstone, which holds data, stays
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . \( -name .git -o -name .touchstone \) -prune -o -name __pycache__ -prune -exec rm -rf {} +

venv:
	@scripts/setup.sh
