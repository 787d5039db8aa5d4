# Every target does its own set-up, once, in .venv: Python 3.11 or newer, pip and make are all it needs.

PYTHON      ?= python3
ARGS        ?=
# Two workers, a whole file each: compiled functions are then shared by the tests of a file.
PYTEST_ARGS ?= -n 2 --dist loadfile --no-loadscope-reorder

# Memory stays with the process, where glibc would give it back after each compilation and ask for it again.
MALLOC      := MALLOC_TRIM_THRESHOLD_=2000000000 MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TOP_PAD_=67108864
# Two threads of OpenBLAS, on two cores that two workers keep busy, wait for each other in loops: the eigenvectors of a
# 200 x 200 matrix, which each regret needs, then take 0.4 s of processor time instead of 0.006 s.
THREADS     := OPENBLAS_NUM_THREADS=1

BIN     := .venv/bin
VENV    := .venv/.stamp-venv
RUNTIME := .venv/.stamp-runtime
DEV     := .venv/.stamp-dev
DOCS    := .venv/.stamp-docs

# The versions also hold for what builds the package (hatchling), which -c does not reach: an older pip reads them
# there from PIP_CONSTRAINT, a newer one from PIP_BUILD_CONSTRAINT.
INSTALL := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 \
           $(BIN)/python -m pip install -qq --no-compile
# pip would compile on one core. Some packages hold files that are no Python of this version: what fails stays source.
COMPILE := $(BIN)/python -m compileall -qq -j 0 .venv/lib || true

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-all docs weights check format lint types clean

help:  ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-14s%s\n", $$1, $$2 }'

demo: $(RUNTIME)  ## run the main job and print where its page is; ARGS="--network lstm" passes through
	$(BIN)/promptax demo $(ARGS)

test: $(DEV)  ## run the tests, slow ones aside; PYTEST_ARGS="-x tests/fit/test_fit.py" instead of two workers
	$(MALLOC) $(THREADS) $(BIN)/python -m pytest -m "not slow" $(PYTEST_ARGS)

test-all: $(DEV)  ## run all tests, at once: slow ones share what others compiled
	$(MALLOC) $(THREADS) $(BIN)/python -m pytest $(PYTEST_ARGS)

docs: $(DOCS)  ## build the site into site/, strictly: tutorials run, every public name and link is checked
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo 'Open $(CURDIR)/site/index.html'

weights: $(DEV)  ## fetch a small language model (93 MB, Apache-2.0), whose tests are skipped without it
	$(BIN)/promptax lm fetch

check: format lint types  ## formatting (ruff), lint (ruff), types (pyright); -k to see all three

format: $(DEV)
	$(BIN)/ruff format --check .

lint: $(DEV)
	$(BIN)/ruff check .

types: $(DEV)
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright --pythonpath $(BIN)/python

clean:  ## remove .venv, caches, builds and the site of this repository; runs/ stays
	@grep -qs '^name = "promptax"' pyproject.toml || { echo 'make clean: expected to run in the repository of promptax; got '"$$PWD"; exit 1; }
	rm -rf .venv site build dist promptax.egg-info .pytest_cache .ruff_cache
	find . -path ./.git -prune -o -path ./runs -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# Debian splits ensurepip from Python, and `-m venv` then fails: the pip outside fills the environment instead.
$(VENV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'Expected $(PYTHON) to be Python 3.11 or newer; got: '"$$($(PYTHON) --version 2>&1)"'. Name another: make PYTHON=python3.11'; exit 1; }
	@rm -rf .venv
	@echo 'Setting up .venv, once: some minutes, mostly downloads.'
	@$(PYTHON) -m venv .venv >/dev/null 2>&1 || { \
	  rm -rf .venv && $(PYTHON) -m venv --without-pip .venv && \
	  $(PYTHON) -m pip --disable-pip-version-check --python $(BIN)/python install --quiet pip; } || { \
	  rm -rf .venv; \
	  echo 'Expected a way to make a virtual environment; got neither "$(PYTHON) -m venv" nor "$(PYTHON) -m pip". On Debian: apt-get install python3-venv'; exit 1; }
	@touch $@

$(RUNTIME): pyproject.toml constraints.txt | $(VENV)
	$(INSTALL) -e .
	@$(COMPILE)
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(VENV)
	$(INSTALL) -e '.[dev]'
	@$(COMPILE)
	@touch $(RUNTIME) $@

$(DOCS): pyproject.toml constraints.txt | $(VENV)
	$(INSTALL) -e '.[docs]'
	@$(COMPILE)
	@touch $(RUNTIME) $@
