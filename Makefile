# The front door. `make help` lists what there is.

# How `make build` and `make demo` build: release or debug.
CONFIGURATION ?= release
# Existing programs to use instead of building any: the directory of tetherfs and tetherfs-server.
TETHERFS_BIN_DIR ?=
SWIFT ?= swift
PYTHON ?= python3
# Where `make install` puts things, and below which folder.
PREFIX ?= /usr/local
DESTDIR ?=
# How many processes share the tests that mount: much of their time is waiting. 0: none but pytest's own.
PYTEST_JOBS ?= 3
# More for pytest, such as: make test-e2e PYTEST_ARGS="-k demo -x"
PYTEST_ARGS ?=
# More for the benchmarks, such as: make bench-quick BENCH_ARGS="--only sequential"
BENCH_ARGS ?=

BIN := $(if $(TETHERFS_BIN_DIR),$(abspath $(TETHERFS_BIN_DIR)),$(CURDIR)/.build/$(CONFIGURATION))
TEST_BIN := $(if $(TETHERFS_BIN_DIR),$(abspath $(TETHERFS_BIN_DIR)),$(CURDIR)/.build/debug)
SWIFT_SOURCES := Package.swift Sources Tests $(wildcard Benchmarks)

export SWIFT PYTHON

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help build install deb demo demo-stop test test-unit test-e2e faults test-sanitize bench bench-quick bench-build profile fuse lint format check

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

build: ## Build tetherfs and tetherfs-server (CONFIGURATION=debug for a debug build)
	@scripts/packages.sh build run
	@scripts/build.sh $(CONFIGURATION)

install: ## Install what `make build` built (PREFIX=/usr/local, DESTDIR=)
	@scripts/install.sh "$(BIN)" "$(DESTDIR)" "$(PREFIX)"

deb: ## Build, and make a Debian package of it in dist/
	@$(if $(TETHERFS_BIN_DIR),true,$(MAKE) --no-print-directory build)
	@scripts/deb.sh "$(BIN)" dist

demo: ## Start a server and mount a filesystem of it at demo/mnt
	@scripts/packages.sh $(if $(TETHERFS_BIN_DIR),run,build run)
	@$(if $(TETHERFS_BIN_DIR),true,scripts/build.sh $(CONFIGURATION))
	@scripts/demo.sh start "$(BIN)"

demo-stop: ## Unmount demo/mnt, stop its server, remove demo/
	@scripts/demo.sh stop

test: fuse test-unit test-e2e ## Run all tests

test-unit: ## Build for debugging and run the unit tests
	@scripts/packages.sh build run
	@scripts/build.sh tests
	$(SWIFT) test --skip-build

test-e2e: fuse ## Run the tests that mount, with real tools (PYTEST_ARGS="-k demo")
	@scripts/packages.sh $(if $(TETHERFS_BIN_DIR),run test,build run test)
	@scripts/venv.sh
	@$(if $(TETHERFS_BIN_DIR),true,scripts/build.sh debug)
	TETHERFS_BIN_DIR="$(TEST_BIN)" .venv/bin/python -m pytest Tests/e2e -n $(PYTEST_JOBS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-sanitize: fuse ## Run the unit tests and tests of mounts with the thread and address sanitizers
	@scripts/packages.sh build run test
	@scripts/venv.sh
	@scripts/sanitize.sh thread
	@scripts/sanitize.sh address

faults: ## See what programs get when the server fails, and write docs/faults.md (about 4 minutes)
	@TETHERFS_WRITE_FAULTS=1 $(MAKE) --no-print-directory test-e2e PYTEST_ARGS="-k test_faults $(PYTEST_ARGS)"

bench: bench-build ## Measure with the full sizes and write docs/performance.md (about 10 minutes)
	@scripts/packages.sh peers
	TETHERFS_BIN_DIR="$(BIN)" $(PYTHON) Benchmarks/bench.py --full $(BENCH_ARGS)

bench-quick: bench-build ## The same with small sizes (under 2 minutes; BENCH_ARGS="--only small_files")
	TETHERFS_BIN_DIR="$(BIN)" $(PYTHON) Benchmarks/bench.py $(BENCH_ARGS)

profile: bench-build ## Show what keeps it from being faster and write docs/performance-limits.md (perf, root)
	TETHERFS_BIN_DIR="$(BIN)" $(PYTHON) Benchmarks/limits.py

bench-build: fuse
	@scripts/packages.sh $(if $(TETHERFS_BIN_DIR),run bench,build run bench)
	@$(if $(TETHERFS_BIN_DIR),true,scripts/build.sh release)
	@scripts/build.sh benchmarks

# Before the long build: without it the tests cannot pass.
fuse:
	@scripts/check-fuse.sh

lint: ## Check the format of the Swift sources
	$(SWIFT) format lint --strict --parallel --recursive $(SWIFT_SOURCES)

format: ## Format the Swift sources
	$(SWIFT) format --in-place --parallel --recursive $(SWIFT_SOURCES)

check: lint test ## Lint and test, as CI does
