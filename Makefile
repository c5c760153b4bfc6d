# Every target sets up what it needs: a virtual environment in .venv, Python packages, OpenGL libraries.
# The set-up runs again only when the files that it reads change.

.DEFAULT_GOAL := help
.PHONY: help setup eval test lint clean

ARGS ?=
VENV := .venv
READY := $(VENV)/.ready
RUN := scripts/run.sh

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1\t/' | expand -t 14
	@echo 'Options go into ARGS, e.g.  make eval ARGS="--tasks 0,5 --episodes 4"   (make eval ARGS=--help lists them)'

setup: $(READY) ## install everything into .venv

eval: $(READY) ## evaluate the default policy on LIBERO-10
	@$(RUN) -m sim.eval $(ARGS)

test: $(READY) ## run the tests, on two cores
	@$(RUN) -m pytest -n 2 --dist loadfile $(ARGS)

lint: $(READY) ## check style, types and the directions of imports
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports --no-cache

clean: ## remove .venv, so that the next target installs afresh
	rm -rf $(VENV)

$(READY): pyproject.toml requirements-libero.txt scripts/setup.sh
	@scripts/setup.sh $(VENV)
	@touch $@
