#!/usr/bin/env bash
# The engine's tests on every Python from 3.10 to 3.13 that is here, also pyenv's and uv's, one after the other, each in
# an environment of its own (.venv-3.10, ...). Versions given as arguments are left out.
#
# A dependency without a wheel for one of them is a failure: nothing is compiled but ganlens itself.
set -uo pipefail
cd "$(dirname "$0")/.."

find_python() { # VERSION: prints a Python of this version that runs (a shim of pyenv may not)
  local one
  for one in "python$1" "$HOME/.pyenv/versions/$1".*/bin/python "$HOME/.local/share/uv/python/cpython-$1".*/bin/python; do
    "$one" -c 'import sys; print(sys.executable)' 2>/dev/null && return
  done
}

# All that is pinned, but TensorRT for RTX, whose source has no code and names the wheels of its parts.
wheels=$(sed -nE 's/^([a-zA-Z0-9._-]+)==.*/\1/p' constraints.txt | grep -v '^tensorrt-rtx' | sort -u | paste -sd,)

declare -A found=()
for version in 3.10 3.11 3.12 3.13; do
  python=$(find_python "$version")
  if [[ " $* " == *" $version "* ]]; then
    echo "Python $version: left out"
  elif [ -z "$python" ]; then
    echo "Python $version: not found on the path, in ~/.pyenv or in ~/.local/share/uv/python"
  else
    echo "Python $version: $python"
    found[$version]=$python
  fi
done

summary=()
status=0
for version in 3.10 3.11 3.12 3.13; do
  [ -n "${found[$version]:-}" ] || continue
  environment=.venv-$version
  SECONDS=0
  if ! PIP_ONLY_BINARY=$wheels make --no-print-directory "PYTHON=${found[$version]}" "VENV=$environment" \
    "$environment/installed-engine"; then
    summary+=("Python $version: FAILED to install; pip's message above names what has no wheel for it")
    status=1
    continue
  fi
  installed=$SECONDS
  run_tests() { make --no-print-directory "PYTHON=${found[$version]}" "VENV=$environment" "PYTEST_ARGS=$*" test-engine; }
  took() { echo "$installed s to install, $((SECONDS - installed)) s for the tests"; }
  if run_tests "${PYTEST_ARGS:-}"; then
    summary+=("Python $version: passed, $(took)")
  elif run_tests "${PYTEST_ARGS:-}" --last-failed; then
    summary+=("Python $version: passed, some at the second try (a test of times on a busy machine?), $(took)")
  else
    summary+=("Python $version: FAILED twice, see its tests above; $(took)")
    status=1
  fi
done
printf '%s\n' "${summary[@]:-No Python was tested.}"
exit $status
