# make venv | test | test-fast | test-processors | lint | docs | demo | demo-torchrec | experiment | clean
# make coverage | mutate | locks | dist | licences | sbom
# make bench-data | bench-draws | bench-draw-speed | bench-analysis | bench-augment | bench-training | bench-peers | bench-torchrec | bench-tiger | bench-prepare | bench-scale | bench-gpu
#
# Everything runs in $(VENV), which `make venv` creates from the lock in requirements/. pip's own settings (PIP_* in the
# environment, pip.conf) are honoured; on Linux the default index serves the CUDA build of torch (several GB): whoever
# wants a CPU build points pip at one, e.g. PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS.
#
#   make venv PYTHON=/path/to/python3.11     another interpreter
#   make venv VARIANT=cuda                   the lock for GPU machines
#   make test ARGS="-k store -x"             arguments for pytest; WORKERS=0 runs them in one process

PYTHON  ?= python3.11
VENV    ?= .venv
VARIANT ?= cpu
WORKERS ?= 2
ARGS    ?=

PY      := $(VENV)/bin/python
PIP     := $(PY) -m pip install --no-input --disable-pip-version-check
# Written when a step has finished, so a killed install leaves none and is done again. Tells our own environment from a
# foreign one, which is never overwritten.
OURS    := $(VENV)/.made-by-make
LOCKED  := $(VENV)/.lock-installed-$(VARIANT)
READY   := $(VENV)/.project-installed

# Waiting OpenMP threads sleep instead of spinning: on two busy cores, spinning makes torch ten times slower.
export OMP_WAIT_POLICY ?= passive

.PHONY: venv test test-fast test-processors lint docs coverage mutate locks dist licences sbom demo demo-torchrec experiment clean
.PHONY: bench-data bench-draws bench-draw-speed bench-analysis bench-augment bench-training bench-peers bench-torchrec bench-tiger bench-prepare bench-scale bench-gpu
.DELETE_ON_ERROR:

venv: $(READY)

# A changed lock rebuilds the environment from nothing: a package dropped from the lock must not linger.
$(LOCKED): requirements/common.txt requirements/hashes.txt requirements/$(VARIANT).txt requirements/no-deps.txt
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is not on PATH. Install Python 3.11, or say which to use: make venv PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test ! -e $(VENV) || test -e $(OURS) || { echo "make: $(VENV) exists and was not made by this Makefile. Remove it, or choose another place: make venv VENV=.venv-genpas" >&2; exit 1; }
	rm -rf $(VENV) && mkdir -p $(VENV) && touch $(OURS)
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes --no-deps -r requirements/hashes.txt
	$(PIP) -r requirements/$(VARIANT).txt
	$(PIP) --no-deps -r requirements/no-deps.txt
	@test $(VARIANT) != cuda || $(PY) -c 'import sys, torch; torch.version.cuda or sys.exit(f"make: pip took torch {torch.__version__}, a CPU build. Remove CPU builds from the settings of pip (PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS) and run make venv VARIANT=cuda again.")'
	@touch $@

# --no-build-isolation: the pinned setuptools builds the project, nothing more is downloaded.
$(READY): $(LOCKED) pyproject.toml
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

# One thread a process: two test processes with a thread pool each would fight over two cores.
test: $(READY)
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) $(ARGS)

# Without tests that take more than ten seconds or start several processes.
test-fast: $(READY)
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) -m "not slow and not distributed" $(ARGS)

# The tests that compare floats, with the instructions and the BLAS kernels of other processors: three long runs.
NUMERIC := $(addprefix tests/genpas_plugins/,analysis augment neural sampling search semantic_ids) tests/recbole_ext tests/torchrec_ext
test-processors: $(READY)
	OMP_NUM_THREADS=1 ATEN_CPU_CAPABILITY=default $(PY) -m pytest -n $(WORKERS) $(NUMERIC) $(ARGS)
	OMP_NUM_THREADS=1 ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 OPENBLAS_CORETYPE=Haswell \
	  NPY_DISABLE_CPU_FEATURES="X86_V4 AVX512_ICL AVX512_SPR" $(PY) -m pytest -n $(WORKERS) $(NUMERIC) $(ARGS)
	OMP_NUM_THREADS=1 ATEN_CPU_CAPABILITY=avx512 ONEDNN_MAX_CPU_ISA=AVX512_CORE MKL_ENABLE_INSTRUCTIONS=SSE4_2 OPENBLAS_CORETYPE=Prescott \
	  NPY_DISABLE_CPU_FEATURES="X86_V3 X86_V4 AVX512_ICL AVX512_SPR" $(PY) -m pytest -n $(WORKERS) $(NUMERIC) $(ARGS)

lint: $(READY)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

# -W: a warning is an error. The site needs no server: open build/site/index.html.
docs: $(READY)
	$(PY) -m sphinx -W --keep-going -q -d build/doctrees docs build/site

# Branches of everything but the compiled kernels, over all processes that the tests start.
coverage: $(READY)
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --cov --cov-report=term $(ARGS)

# Tools in an environment of their own: they look at ours, and are no part of it.
TOOLS := build/tools/bin
$(TOOLS)/python:
	$(PYTHON) -m venv build/tools
	$(TOOLS)/pip install --quiet uv build twine pip-licenses cyclonedx-bom cosmic-ray

# Changes the code in 150 places, one at a time, and counts what the nearest tests notice.
mutate: $(READY) $(TOOLS)/python
	OMP_NUM_THREADS=1 $(PY) -m benchmarks.mutation $(ARGS)

locks: $(TOOLS)/python
	@{ echo "# The pins of common.txt with the hashes of their files, for \`pip install --require-hashes --no-deps\`."; \
	   echo "# Written by \`make locks\`; do not edit."; \
	   $(TOOLS)/uv pip compile --quiet --generate-hashes --no-deps --no-annotate --no-header \
	     --python $(TOOLS)/python requirements/common.txt; } > build/hashes.txt && mv build/hashes.txt requirements/hashes.txt

dist: $(TOOLS)/python
	rm -rf dist && $(TOOLS)/python -m build --quiet && $(TOOLS)/twine check --strict dist/*

licences: $(READY) $(TOOLS)/python
	$(TOOLS)/pip-licenses --python $(PY) --format markdown --order license --ignore-packages genpas-plugins \
	  > build/licences.md

sbom: $(READY) $(TOOLS)/python
	$(TOOLS)/cyclonedx-py environment $(PY) --pyproject pyproject.toml --output-reproducible --of JSON -o build/sbom.json

demo: $(READY)
	$(PY) -m recbole_ext.demo

demo-torchrec: $(READY)
	$(PY) -m torchrec_ext.demo

# GENPAS_DATA_DIR names the folder with beauty/, toys/ and sports/; MINUTES=60 stops after that time, and it goes on later.
# TABLE=operators, or another one of configs/experiment/, goes to a folder of that name; DATASETS=ml-1m instead of its own.
TABLE ?= sasrec
experiment: $(READY)
	$(VENV)/bin/genpas experiment configs/experiment/$(TABLE).yaml $(if $(DATASETS),--datasets $(DATASETS)) --seeds 1,2,3 --out benchmarks/results/$(TABLE) $(if $(MINUTES),--minutes $(MINUTES))
	$(PY) -m benchmarks.readme_table

bench-data: $(READY)
	$(PY) -m benchmarks.bench_data

bench-draws: $(READY)
	$(PY) -m benchmarks.bench_draws

# BASELINE=../older: another checkout of this project, such as `git worktree add ../older COMMIT` makes.
bench-draw-speed: $(READY)
	$(PY) -m benchmarks.bench_draw_speed --baseline $(BASELINE)

bench-analysis: $(READY)
	$(PY) -m benchmarks.bench_analysis

bench-augment: $(READY)
	$(PY) -m benchmarks.bench_augment

bench-training: $(READY)
	$(PY) -m benchmarks.bench_training

bench-prepare: $(READY)
	$(PY) -m benchmarks.bench_prepare

bench-peers: $(READY)
	$(PY) -m benchmarks.bench_peers $(ARGS)

bench-scale: $(READY)
	$(PY) -m benchmarks.bench_scale

# Only a GPU shows these; benchmarks/bench_gpu.py runs without make too, with numpy, pyarrow and torch alone.
bench-gpu: $(READY)
	$(PY) benchmarks/bench_gpu.py --out outputs/gpu.jsonl $(ARGS)

bench-torchrec: $(READY)
	$(PY) -m benchmarks.bench_torchrec

bench-tiger: $(READY)
	$(PY) -m benchmarks.bench_tiger

clean:
	@test ! -e $(VENV) || test -e $(OURS) || { echo "make: $(VENV) was not made by this Makefile; remove it yourself." >&2; exit 1; }
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
