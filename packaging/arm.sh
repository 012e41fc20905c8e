#!/usr/bin/env bash
# The aarch64 wheel, cross-built on x86-64 Debian or Ubuntu, and the tests of its kernels under qemu.
#
#     apt-get install g++-aarch64-linux-gnu qemu-user
#     packaging/arm.sh wheel     the wheel, in dist/
#     packaging/arm.sh test      the wheel, and its kernel tests
#
# Python for aarch64, of the host's own version, is taken from the system's archive into build/arm; nothing is installed.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
what=${1:-wheel}
work=$PWD/build/arm
root=$work/root

for program in aarch64-linux-gnu-g++ qemu-aarch64 apt-get dpkg-deb; do
  command -v $program >/dev/null || {
    echo "$program is missing. On Debian and Ubuntu: apt-get install g++-aarch64-linux-gnu qemu-user" >&2
    exit 1
  }
done
version=$($PYTHON -c 'import sys; print("%d.%d" % sys.version_info[:2])')
soabi=cpython-${version/./}-aarch64-linux-gnu

if [ ! -e "$root/done" ]; then
  rm -rf "$work/apt" "$root"
  mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$root"
  : >"$work/apt/status"
  options=(-o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State::Lists="$work/apt/lists"
    -o Dir::State::status="$work/apt/status" -o Dir::Cache="$work/apt/cache" -o APT::Install-Recommends=false -qq)
  apt-get "${options[@]}" update
  apt-get "${options[@]}" -y --download-only install "libpython$version-dev" "python$version" libstdc++6
  for package in "$work"/apt/cache/archives/*.deb; do dpkg-deb -x "$package" "$root"; done
  touch "$root/done"
fi

# What the build needs, for this machine: an environment of pip's own would get CMake and NVRTC for aarch64.
tools=$work/tools
$PYTHON - >"$work/requires" <<'PROGRAM'
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
$PYTHON -m pip install --quiet --disable-pip-version-check --upgrade --target "$tools" --constraint constraints.txt \
  --requirement "$work/requires"

# Debian's pyconfig.h includes the one of the architecture, which stands beside.
export GANLENS_PYTHON_INCLUDE="$root/usr/include/python$version" GANLENS_PYTHON_SOABI=$soabi
export CMAKE_TOOLCHAIN_FILE=$PWD/packaging/aarch64.cmake CXXFLAGS="-isystem $root/usr/include ${CXXFLAGS:-}"
export _PYTHON_HOST_PLATFORM=linux-aarch64 SETUPTOOLS_EXT_SUFFIX=.$soabi.so
rm -rf "$work/wheel" "$work/repaired"
PYTHONPATH=$tools PATH=$tools/bin:$PATH $PYTHON -m pip wheel --quiet --disable-pip-version-check --no-deps \
  --no-build-isolation -w "$work/wheel" .
unset CMAKE_TOOLCHAIN_FILE CXXFLAGS _PYTHON_HOST_PLATFORM SETUPTOOLS_EXT_SUFFIX
PATH=$(cd "$(dirname "$PYTHON")" && pwd):$PATH $PYTHON -m auditwheel repair --plat auto -w "$work/repaired" "$work"/wheel/*.whl
mkdir -p dist
cp "$work"/repaired/*.whl dist/
echo "dist/$(cd "$work/repaired" && ls)"
[ "$what" = test ] || exit 0

site=$work/site
rm -rf "$site"
platforms=()
for glibc in 36 35 34 31 28 27 24 17; do platforms+=(--platform "manylinux_2_${glibc}_aarch64"); done
$PYTHON -m pip install --quiet --disable-pip-version-check --target "$site" --python-version "$version" \
  --implementation cp "${platforms[@]}" --platform manylinux2014_aarch64 --platform any --only-binary :all: \
  pytest "$work"/repaired/*.whl
# Away from the sources: the installed package is tested.
rm -rf "$work/tests_to_run"
cp -r tests "$work/tests_to_run"
cd "$work"
PYTHONPATH=$site:$work PYTHONDONTWRITEBYTECODE=1 qemu-aarch64 -L "$root" "$root/usr/bin/python$version" -m pytest -q \
  -p no:cacheprovider --import-mode=importlib tests_to_run/engine/pixels/test_kernels.py ${PYTEST_ARGS:-}
