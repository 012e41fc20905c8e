#!/usr/bin/env bash
# The wheel for this machine and its Python, with the CUDA kernels as machine code, repaired to manylinux, in dist/.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
work=build/wheel
rm -rf "$work"
GANLENS_CUBINS=1 $PYTHON -m pip wheel --quiet --disable-pip-version-check --no-deps ${PIP_WHEEL_ARGS:-} -w "$work" .
PATH=$(cd "$(dirname "$PYTHON")" && pwd):$PATH $PYTHON -m auditwheel repair --plat auto -w dist "$work"/*.whl
