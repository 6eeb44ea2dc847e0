# sysmol: `make demo` is the whole chain, `make test` every test; both set up their own environment on a fresh clone.
# Needs Python 3.11 or newer, a C compiler (cc) and make. gem5 is optional (docs/gem5.md).

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3.11)
VENV ?= .venv
BIN := $(VENV)/bin
# PyTorch from version 2.14 on, or its default build on Linux, may bring gigabytes of GPU libraries; any CPU build
# that pip can see is taken. Name another one with TORCH='torch==...' or a wheel's path.
TORCH ?= torch<=2.13.0
OUT ?= build/demo

# Compiler and font caches stay inside the clone.
export ZIG_GLOBAL_CACHE_DIR ?= $(CURDIR)/build/cache/zig
export ZIG_LOCAL_CACHE_DIR ?= $(CURDIR)/build/cache/zig
export MPLCONFIGDIR ?= $(CURDIR)/build/cache/matplotlib

.PHONY: demo docs wheel test gem5-test test-onnx test-networks test-machines test-kills fuzz verify-gem5 verify-words kernels lint check-generated venv clean help \
  bench-kernels bench-yflows bench-schedules search-small

help:  ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 18

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "sysmol needs Python 3.11 or newer as $(PYTHON): name yours with 'make PYTHON=...'" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '$(TORCH)' -e '.[test]'
	@touch $@

venv: $(VENV)/.installed  ## the virtual environment with all that is needed

demo: $(VENV)/.installed  ## train, export, generate, compile, verify, simulate or estimate, report: build/demo
	$(BIN)/sysmol demo --out $(OUT)

test: $(VENV)/.installed  ## all tests (those that need gem5 skip where there is none)
	$(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile --durations 12

gem5-test: $(VENV)/.installed  ## only the tests that need gem5
	$(BIN)/python -m pytest -q -m gem5

test-onnx: $(VENV)/.installed  ## 210 random networks of all layer kinds: exported to ONNX, same logits
	SYSMOL_TEST_NETWORKS=210 $(BIN)/python -m pytest -q tests/interchange -k layer_kinds

test-networks: $(VENV)/.installed  ## 1,000 random networks and 500 random modules: PyTorch, file, NumPy; 200 and 100 as C, 20 and 100 with sanitizers
	SYSMOL_TEST_NETWORKS=1000 $(BIN)/python -m pytest -q tests/train/test_any_network.py
	SYSMOL_TEST_NETWORKS=500 $(BIN)/python -m pytest -q tests/train/test_any_module.py
	SYSMOL_TEST_NETWORKS=200 $(BIN)/python -m pytest -q -n auto --maxprocesses 4 tests/kernels_c/test_any_network.py

test-machines: $(VENV)/.installed  ## 1,000 random networks on random machines: PyTorch, NumPy, C; every tenth in gem5 on both ISAs
	SYSMOL_TEST_NETWORKS=1000 $(BIN)/python -m pytest -q -n auto --maxprocesses 4 tests/kernels_c/test_drawn_machines.py

test-kills: $(VENV)/.installed  ## train, experiments, codesign, demo and sweep, each killed at 20 random moments: same results, nothing left over
	SYSMOL_KILLS=20 $(BIN)/python -m pytest -q -s tests/workbench/test_kills.py

fuzz: $(VENV)/.installed  ## 20,000 damaged files, half of them networks, most of these with a right checksum: one line each; branches of the readers
	SYSMOL_FUZZ=20000 SYSMOL_FUZZ_BRANCHES=1 $(BIN)/python -m pytest -q -s tests/hostile -k damaged_files

verify-gem5: $(VENV)/.installed  ## random programs in gem5 against the Python model: 100,000 SMOL instructions per ISA
	$(BIN)/sysmol verify-gem5 --out build/verify

verify-words: $(VENV)/.installed  ## in gem5, 100,000 random words of all that is claimed over four core models, and 25,000 each on machines that lack instructions
	SYSMOL_TEST_WORDS=25000 $(BIN)/python -m pytest -q tests/verify/test_legality.py

kernels: $(VENV)/.installed  ## C and executables for host, ARM and RISC-V: make kernels NET=file.network.safetensors
	@test -n "$(NET)" || { echo "name a network file: make kernels NET=build/demo/mixed.network.safetensors" >&2; exit 2; }
	$(BIN)/sysmol compile $(NET)

search-small: $(VENV)/.installed  ## networks and tiles searched together on digits, in minutes: build/search-small
	$(BIN)/sysmol search search/joint/small.toml --out build/search-small

bench-kernels: $(VENV)/.installed  ## measure kernels and networks in gem5, or go on with it: build/bench/kernels.csv
	$(BIN)/python -m sysmol.benchmarks kernels

bench-yflows: $(VENV)/.installed  ## the YFlows experiment in gem5, or go on with it: build/bench/yflows.csv
	$(BIN)/python -m sysmol.benchmarks yflows

bench-schedules: $(VENV)/.installed  ## the schedule heuristic against measured schedules: build/bench/schedules.csv
	$(BIN)/python -m sysmol.benchmarks schedules

# setuptools adds to what an earlier build left, so files that are gone since would be in the wheel.
wheel: $(VENV)/.installed  ## a wheel of the package: build/wheel
	rm -rf build/lib build/bdist.* build/wheel
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir build/wheel .
	rm -rf build/lib build/bdist.*

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@

docs: $(VENV)/.docs  ## the pages and the API reference as a site: build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

lint: $(VENV)/.installed check-generated  ## ruff, mypy, arrows between rooms, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

check-generated: $(VENV)/.installed  ## committed generated files equal what their tables give: instructions, hardware costs, latencies from RTL, the tile's descriptors
	$(BIN)/python -m sysmol.emit --check
	$(BIN)/python -m sysmol.rtl.page --check
	$(BIN)/python -m sysmol.rtl.latency --check
	$(BIN)/python -m sysmol.cim.header --check

clean:  ## remove products (not the virtual environment)
	rm -rf build
