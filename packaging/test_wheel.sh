#!/usr/bin/env bash
# Two fresh environments with the wheel in dist/, one with the bindings of CUDA 12.9 and one with those of 13, no NVRTC in
# either: the GPU is opened over the stub driver, and the kernels are loaded from the wheel.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=$(realpath -s "${PYTHON:-.venv/bin/python}")
repository=$PWD
wheel=$(ls -t dist/ganlens-*_x86_64.whl | head -1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/open.py" <<'PROGRAM'
import importlib.util
import cuda.bindings
from ganlens.engine.cuda import Device, images
from ganlens.engine.cuda.compiler import load_kernels, shipped_image

assert importlib.util.find_spec("nvidia") is None, "NVRTC is installed"
assert all(shipped_image(target) for target in (*images.TARGETS, 130)), "machine code is missing"
device = Device()
print(f"bindings {cuda.bindings.__version__}: {device.name}, {load_kernels(device).kernel('prepare_float32').name}")
PROGRAM

for bindings in 'cuda-bindings>=12.9,<13' 'cuda-bindings>=13.0,<14'; do
  rm -rf "$work/venv"
  "$PYTHON" -m venv "$work/venv"
  "$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$wheel" "$bindings"
  major=$("$work/venv/bin/python" -c 'import cuda.bindings as b; print(b.__version__.split(".")[0])')
  # The stub is built by the environment that has the tests' packages.
  PYTHONPATH=$repository "$PYTHON" -c "
from tests.fakes.stub_driver import stub_environment
for item in stub_environment(version=$major * 1000).items(): print('export %s=%s' % item)" >"$work/environment"
  (cd "$work" && . ./environment && ./venv/bin/python open.py)
done
