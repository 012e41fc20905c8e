#!/usr/bin/env bash
# The Pythons from 3.10 to 3.13 that are here, also pyenv's and uv's, one a line: version and path; no path if there is none.
set -euo pipefail
for version in ${*:-3.10 3.11 3.12 3.13}; do
  path=
  for one in "python$version" "$HOME/.pyenv/versions/$version".*/bin/python \
    "$HOME/.local/share/uv/python/cpython-$version".*/bin/python; do
    # A shim of pyenv may be there for a version that is not.
    if path=$("$one" -c 'import sys; print(sys.executable)' 2>/dev/null); then break; fi
  done
  echo "$version $path"
done
