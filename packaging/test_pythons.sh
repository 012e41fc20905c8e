#!/usr/bin/env bash
# The engine's tests on every Python from 3.10 to 3.13 that is here, each in an environment of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
packaging/pythons.sh | while read -r version python; do
  if [ -z "$python" ]; then
    echo "Python $version is not here"
    continue
  fi
  SECONDS=0
  make test-engine "PYTHON=$python" "VENV=.venv-$version" </dev/null
  echo "Python $version: the engine's tests passed in $SECONDS s"
done
