#!/usr/bin/env bash
# The README and the three tutorials as a new user would follow them with the given Python, from an empty folder: clone,
# pip install, uv tool install, make demo, and then every block of the pages. Downloads PyTorch (minutes, some GB).
#   packaging/test_readme.sh python3.12
set -euo pipefail
python=$(command -v "${1:-python3}") || { echo "There is no ${1:-python3}."; exit 1; }
repository=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
step() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }

step "clone, for $("$python" --version)"
git clone --quiet --depth 1 "file://$repository" "$folder/ganlens"
cd "$folder/ganlens"

step "pip install '.[cpu]', the newest versions of everything"
"$python" -m venv "$folder/venv"
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check '.[cpu]'
mkdir "$folder/empty" && cd "$folder/empty"
engine translate "$folder/ganlens/media/meadow.mp4" --duration 1 -o painted.mp4
test -s painted.mp4

step "uv tool install '.[cpu]'"
pip install --quiet --disable-pip-version-check uv
cd "$folder/ganlens"
export UV_TOOL_DIR="$folder/tools" UV_TOOL_BIN_DIR="$folder/bin"
uv tool install --quiet --python "$python" '.[cpu]'
cd "$folder/empty"
"$folder/bin/engine" --version
"$folder/bin/engine" translate "$folder/ganlens/media/meadow.mp4" --duration 1 -o again.mp4
test -s again.mp4

step "make demo"
cd "$folder/ganlens"
make demo "PYTHON=$python"
test -s out/demo.mp4

step "every block of the README and the tutorials"
pip install --quiet --disable-pip-version-check --constraint constraints.txt 'ganlens[faces,train,export]' pytest pytest-timeout
GANLENS_TEST_DOCS=1 python -m pytest -q -p no:cacheprovider --confcutdir tests/docs tests/docs/test_tutorials.py \
  tests/docs/test_blocks.py
step "all passed with $("$python" --version)"
