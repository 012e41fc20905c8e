#!/usr/bin/env bash
# The wheels of a release, in dist/: for Python 3.10, for 3.11, and for 3.12 and later, each for x86-64 and aarch64.
# Versions given as arguments are the only ones.
set -euo pipefail
cd "$(dirname "$0")/.."
packaging/pythons.sh ${*:-3.10 3.11 3.12} | while read -r version python; do
  if [ -z "$python" ]; then
    echo "Python $version is not here; there will be no wheel for it" >&2
    continue
  fi
  PYTHON=$python packaging/wheel.sh </dev/null
  PYTHON=$python GANLENS_CUBINS=1 packaging/arm.sh wheel </dev/null
done
