# Everything runs in an environment of its own, .venv, made on first use. To use one that is already there
# (a GPU machine with its own CuPy, say): make gpu PY=python3

PY = $(VENV)/bin/python
VENV ?= .venv
# A process that dies is replaced once: xdist gives the test in which it died to the next one as well.
PYTEST_ARGS ?= -n 2 --dist loadfile --max-worker-restart 1

# The extra for the CUDA that the driver knows: none without a driver, 13 from driver 580 on.
DRIVER := $(shell nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1 | cut -d. -f1)
CUDA := $(if $(DRIVER),$(shell [ "$(DRIVER)" -ge 580 ] 2>/dev/null && echo cuda13 || echo cuda12))
comma := ,
extras = $(1)$(addprefix $(comma),$(CUDA))

# Installed is what the target needs, once: a stamp for each set of extras. With PY given nothing is installed.
ifeq ($(origin PY),file)
STAMP = $(VENV)/.installed-
endif
need = $(if $(STAMP),$(STAMP)$(1))

# On a machine without a network: make gpu WHEELS=folder, which holds what pip would download.
PIP = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check
PIP_ARGS = $(if $(WHEELS),--no-index --find-links $(WHEELS))

.PHONY: demo test check format bench gpu gpu-sanitize docker docker-cuda clean help

help:
	@echo "make demo    compute on an array larger than the memory it may use, and draw it"
	@echo "make test    run the tests"
	@echo "make check   lint, formatting, types, who imports whom"
	@echo "make format  format the code, mend what can be mended, and write what is made from the code"
	@echo "make bench   run the benchmarks        (BENCH_ARGS=...)"
	@echo "make gpu     run the tests that need a GPU, then its benchmarks, in nine minutes (DRY=1: without a GPU)"
	@echo "make gpu-sanitize  run the tests of the kernels under compute-sanitizer"
	@echo "make docker  build the CPU image, docker-cuda the CUDA image       (BASE_IMAGE=...)"
	@echo "make lock    renew docker/*.lock, what the images have installed (UV=uv)"
	@echo "make clean   remove everything that was made here"

demo: $(call need,io$(comma)plot)
	$(PY) -m gpuarray demo $(DEMO_ARGS)

# Where there is no driver, the CUDA kernels are compiled and simulated all the same.
test: $(call need,test$(if $(DRIVER),,$(comma)ptx))
	$(PY) -m pytest $(PYTEST_ARGS)

check: $(call need,dev)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -c "from importlinter.cli import lint_imports_command as run; run()"

format: $(call need,dev)
	$(PY) docs/names/stubs.py
	$(PY) docs/names/table.py
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

bench: $(call need,bench)
	$(PY) -m gpuarray bench $(BENCH_ARGS)

# Tests first, by several processes, because most of their time is compiling; then everybody in the table in turns.
GPU_TEST_SECONDS ?= 230
# Named, because reading the others' files needs all that the test extra has, which a machine with a GPU may lack.
GPU_TESTS = tests/gpu tests/kernels/test_cuda_gpu.py
GPU_BENCH_SECONDS ?= 240
GPU_IS_THERE = $(PY) -c "import sys, cupy; sys.exit(not cupy.cuda.is_available())" 2>/dev/null
NO_GPU = { $(PY) -m gpuarray info | grep "compute on a GPU"; echo "There is no GPU that can be used: nothing was run."; }

gpu: $(call need,test)
ifdef DRY
	$(PY) -m benchmarks.gpu --device fake --output build/gpu-dry-run $(GPU_ARGS)
else
	@if $(GPU_IS_THERE); then \
		workers="$$($(PY) -c "import os, xdist; print('-n', min(12, os.cpu_count()), '--dist load')" 2>/dev/null)"; \
		timeout $(GPU_TEST_SECONDS) $(PY) -m pytest -m gpu $$workers --maxfail 20 $(GPU_TESTS) $(GPU_PYTEST_ARGS); status=$$?; \
		if [ $$status -eq 124 ]; then echo "The tests were stopped after $(GPU_TEST_SECONDS) s."; fi; \
		$(PY) -m benchmarks.gpu --seconds $(GPU_BENCH_SECONDS) $(GPU_ARGS) && exit $$status; \
	else \
		$(NO_GPU); \
	fi
endif

gpu-sanitize: $(call need,test)
	@if $(GPU_IS_THERE); then \
		for tool in memcheck racecheck synccheck; do \
			compute-sanitizer --tool $$tool --error-exitcode 3 --target-processes all \
				$(PY) -m pytest -m gpu -p no:xdist -p tests.gpu.no_pool -x -q tests/kernels/test_cuda_gpu.py $(GPU_PYTEST_ARGS) || exit $$?; \
		done; \
	else \
		$(NO_GPU); \
	fi

# podman builds them too: BUILDAH_FORMAT=docker make docker DOCKER=podman
DOCKER ?= docker
docker:
	$(DOCKER) build --file docker/Dockerfile --tag gpuarray:cpu $(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) .

docker-cuda:
	$(DOCKER) build --file docker/Dockerfile --tag gpuarray:cuda12 --build-arg LOCK=cuda12.lock \
		--build-arg BASE_IMAGE=$(or $(BASE_IMAGE),nvidia/cuda:12.9.1-base-ubuntu24.04) .

# Every version and hash, for Python 3.11 and later: https://docs.astral.sh/uv/
UV ?= uv
COMPILE = $(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 --upgrade --no-header
lock:
	$(COMPILE) pyproject.toml docker/build.in --extra io --extra plot --extra cluster --output-file docker/cpu.lock
	$(COMPILE) pyproject.toml docker/build.in --extra io --extra plot --extra cluster-cuda12 --output-file docker/cuda12.lock

$(VENV)/bin/python:
	@python=; for candidate in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
		if $$candidate -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "gpuarray needs Python 3.11 or newer; name it: make PYTHON=/path/to/python3" >&2; exit 1; fi; \
	echo "$$python -m venv $(VENV)"; $$python -m venv $(VENV)

$(VENV)/.installed-%: pyproject.toml | $(VENV)/bin/python
	$(PIP) $(PIP_ARGS) --editable '.[$(call extras,$*)]'
	@touch $@

clean:
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
