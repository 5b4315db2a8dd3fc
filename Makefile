# Every command does its own set-up: `make run` and `make test` are all a newcomer needs to know.
#
# What has been done already is remembered in stamp files, so a second call starts at once:
#   .venv/bin/pip        the virtual environment
#   .venv/.run           the locked run-time dependencies              requirements/run.lock
#   .venv/.wheel         bhavcast itself, built as a wheel from src/ and web/ and installed from it
#   .venv/.dev           test and lint tools, for check and test only  requirements/dev.lock
#   .venv-fuzz/.fuzz     atheris and schemathesis, and the wheel       requirements/fuzz.lock
#   .venv-bench/.bench   what the benchmarks compare with              requirements/bench.lock
# `make clean` forgets it all.

PYTHON ?= python3
# More arguments for the command behind run, check, test and bench:  make test ARGS="tests/unit -k board"
ARGS ?=
# Processes for the tests that may run side by side.
JOBS ?= 2

VENV := .venv
BIN := $(VENV)/bin
BENCH_VENV := .venv-bench
FUZZ_VENV := .venv-fuzz
# For make fuzz: which target, and for how many seconds.
TARGET ?= http
SECONDS ?= 600
# For make soak.
MINUTES ?= 60
# For make chaos: how many seeds, or the one to repeat.
SEEDS ?= 5
SEED ?=
TOOLS := build/tools
WHEELS := build/wheel

# Folders count too: their time changes when a file is removed or renamed.
SOURCES := $(shell find src web -name __pycache__ -prune -o -print) pyproject.toml hatch_build.py README.md LICENSE

PIP := -m pip --disable-pip-version-check --no-input -qq
LOCKED := install --require-hashes --requirement

# What `make check` leaves out, and what has the machine to itself when it runs.
FAST := not slow and not browser and not acceptance
SHARED := not browser and not acceptance

.PHONY: help run setup check test lint fuzz chaos bench soak docs lock clean FORCE
.DELETE_ON_ERROR:
.NOTPARALLEL:

help:
	@echo "make run     the whole system on simulated trading (Ctrl-C stops it)"
	@echo "make test    every check and every test"
	@echo "make check   format, lint, types, floors and the fast tests, in under a minute"
	@echo "make setup   only the environment: .venv/bin/bhavcast"
	@echo "make bench   the benchmarks"
	@echo "make fuzz    one target of tests/fuzz for ten minutes (TARGET=websocket SECONDS=3600)"
	@echo "make soak    an hour of churn, and whether anything grows with it (MINUTES=10)"
	@echo "make chaos   the whole system under faults, with 200 clients that check it (SEEDS=200, or SEED=7 again)"
	@echo "make docs    write everything again that is made from the product"
	@echo "make lock    make the lock files again (UPGRADE=1 takes the newest releases)"
	@echo "make clean   remove the environments and everything built"

run: $(VENV)/.wheel
	@$(BIN)/bhavcast up $(ARGS)

setup: $(VENV)/.wheel
	@echo "$(BIN)/bhavcast is ready"

lint: $(VENV)/.wheel $(VENV)/.dev
	@$(BIN)/ruff format --check --quiet . || { echo "Not formatted: run $(BIN)/ruff format ."; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo > build/floors.txt || { cat build/floors.txt; exit 1; }

check: lint
	@$(BIN)/python -m pytest -q -n $(JOBS) -m "$(FAST)" $(ARGS)

# The browser's driver keeps an event loop running in its process, where no other test could have one: a pass of its own.
# Exit status 5 means that a pass had no test of its kind to run.
test: lint
	@$(BIN)/python -m pytest -q -n $(JOBS) -m "$(SHARED)" $(ARGS) || [ $$? -eq 5 ]
	@$(BIN)/python -m pytest -q -m "acceptance" $(ARGS) || [ $$? -eq 5 ]
	@$(BIN)/python -m pytest -q -m "browser" $(ARGS) || [ $$? -eq 5 ]

bench: $(VENV)/.wheel $(BENCH_VENV)/.bench
	@$(BIN)/python -m benchmarks $(ARGS)

# What is new goes to build/fuzz; keep in tests/fuzz/corpus what once failed.
fuzz: $(FUZZ_VENV)/.fuzz
	@mkdir -p build/fuzz/$(TARGET)
	@$(FUZZ_VENV)/bin/python -m tests.fuzz $(TARGET) -max_total_time=$(SECONDS) -timeout=20 -rss_limit_mb=3000 \
		-artifact_prefix=build/fuzz/$(TARGET)- build/fuzz/$(TARGET) tests/fuzz/corpus/$(TARGET) $(ARGS)

# Samples and verdict go to build/soak.json.
soak: $(VENV)/.wheel $(VENV)/.dev
	@$(BIN)/python -m tests.soak --minutes $(MINUTES) $(ARGS)

# Each seed takes up to 20 seconds; one that violates something keeps its logs and says how to repeat it.
chaos: $(VENV)/.wheel $(VENV)/.dev
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED),--seeds $(SEEDS)) $(ARGS)

# Tables, transcripts and answers of the written pages, the vectors under tests/wire, the pages of commands and settings.
# The commands' page is made aside: a fault must not leave an empty one.
docs: $(VENV)/.wheel $(VENV)/.dev
	@$(BIN)/python -m bhavcast.cli.page > build/commands.md && mv build/commands.md docs/reference/commands.md
	@$(BIN)/bhavcast config docs > build/settings.md && mv build/settings.md docs/reference/settings.md
	@$(BIN)/python -m tests.docs.refresh

# The newest release of a package is taken only with UPGRADE=1; otherwise pins change only where pyproject.toml does.
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--custom-compile-command "make lock" $(if $(UPGRADE),--upgrade)
lock: $(VENV)/.dev
	$(COMPILE) pyproject.toml --output-file requirements/run.lock
	$(COMPILE) pyproject.toml --group dev --constraint requirements/run.lock --output-file requirements/dev.lock
	$(COMPILE) pyproject.toml --group fuzz --constraint requirements/run.lock --output-file requirements/fuzz.lock
	$(COMPILE) --group bench --output-file requirements/bench.lock
	$(COMPILE) --group kite --output-file requirements/kite.lock
	$(COMPILE) --group build --output-file requirements/build.lock

clean:
	rm -rf $(VENV) $(BENCH_VENV) $(FUZZ_VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# ---------------------------------------------------------------------------------------------------------- set-up

usable = $(shell $(PYTHON) -c 'import sys; print("old" if sys.version_info < (3, 11) else "")' 2>/dev/null || echo none)
equipped = $(shell $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null && echo yes)
define check_python
$(if $(filter none,$(usable)),$(error Bhavcast needs Python 3.11 or newer, and "$(PYTHON)" does not run: install it, or name it: make PYTHON=/path/to/python3))
$(if $(filter old,$(usable)),$(error Bhavcast needs Python 3.11 or newer, and "$(PYTHON)" is older: name a newer one: make PYTHON=python3.12))
$(if $(equipped),,$(error "$(PYTHON)" cannot make virtual environments: install its venv module (on Debian and Ubuntu: apt install python3-venv)))
endef

# pip comes last, so it tells a finished environment from one that was interrupted. Made again, with all that depends on it,
# when the Python it points to is gone.
$(BIN)/pip: $(if $(realpath $(BIN)/python),,FORCE)
	$(check_python)@echo "Setting up $(VENV) (only the first time)"
	@$(PYTHON) -m venv --clear $(VENV)

$(VENV)/.run: requirements/run.lock $(BIN)/pip
	@$(BIN)/python $(PIP) $(LOCKED) $<
	@touch $@

$(VENV)/.dev: requirements/dev.lock $(VENV)/.run
	@echo "Installing the test tools (only the first time)"
	@$(BIN)/python $(PIP) $(LOCKED) $<
	@touch $@

# The build tools stay out of the environment that runs the product.
$(TOOLS)/.build: requirements/build.lock | $(VENV)/.run
	@rm -rf $(TOOLS)
	@$(BIN)/python $(PIP) $(LOCKED) $< --target $(TOOLS)
	@touch $@

$(VENV)/.wheel: $(SOURCES) $(TOOLS)/.build $(VENV)/.run
	@rm -rf $(WHEELS)
	@PYTHONPATH=$(TOOLS) $(BIN)/python -m hatchling build --target wheel --directory $(WHEELS) > build/wheel.log 2>&1 \
		|| { cat build/wheel.log; exit 1; }
	@$(BIN)/python $(PIP) install --no-deps --no-index --force-reinstall $(WHEELS)/bhavcast-*.whl
	@touch $@

$(BENCH_VENV)/bin/pip: $(if $(realpath $(BENCH_VENV)/bin/python),,FORCE)
	$(check_python)@echo "Setting up $(BENCH_VENV) (only the first time)"
	@$(PYTHON) -m venv --clear $(BENCH_VENV)

$(BENCH_VENV)/.bench: requirements/bench.lock $(BENCH_VENV)/bin/pip
	@$(BENCH_VENV)/bin/python $(PIP) $(LOCKED) $<
	@touch $@

$(FUZZ_VENV)/bin/pip: $(if $(realpath $(FUZZ_VENV)/bin/python),,FORCE)
	$(check_python)@echo "Setting up $(FUZZ_VENV) (only the first time)"
	@$(PYTHON) -m venv --clear $(FUZZ_VENV)

$(FUZZ_VENV)/.fuzz: requirements/fuzz.lock $(FUZZ_VENV)/bin/pip $(VENV)/.wheel
	@$(FUZZ_VENV)/bin/python $(PIP) $(LOCKED) $<
	@$(FUZZ_VENV)/bin/python $(PIP) install --no-deps --no-index --force-reinstall $(WHEELS)/bhavcast-*.whl
	@touch $@
