#!/usr/bin/env bash
# The engine's tests on every Python from 3.10 to 3.13 that is here, also pyenv's, each in an environment of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
for version in 3.10 3.11 3.12 3.13; do
  python=$(for one in "python$version" "$HOME"/.pyenv/versions/"$version".*/bin/python; do
    "$one" -c '' 2>/dev/null && echo "$one" && break
  done || true)
  if [ -z "$python" ]; then
    echo "Python $version is not here"
    continue
  fi
  SECONDS=0
  make test-engine "PYTHON=$python" "VENV=.venv-$version"
  echo "Python $version: the engine's tests passed in $SECONDS s"
done
