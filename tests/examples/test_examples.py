"""The examples run as they are printed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av

from tests.kit.models import identity_model, invert_model

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, *arguments: object) -> str:
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def levels(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(frame.to_ndarray(format="gray").mean()) for frame in container.decode(video=0)]


def test_embed(tmp_path):
    model = invert_model(tmp_path / "invert.onnx", None)
    out = run("embed.py", "test:64x48@10,frames=7", tmp_path / "out.mkv", model)
    assert out.startswith("7 frames")
    run("embed.py", tmp_path / "out.mkv", tmp_path / "back.mkv", model)
    before = levels(tmp_path / "out.mkv")
    assert len(before) == len(levels(tmp_path / "back.mkv")) == 7


def test_controls(tmp_path):
    invert, same = invert_model(tmp_path / "invert.onnx", None), identity_model(tmp_path / "same.onnx", None)
    out = run("controls.py", tmp_path / "out.mkv", invert, same)
    assert out.startswith("120 frames")
    assert len(levels(tmp_path / "out.mkv")) == 120


def test_live_custom_source(tmp_path):
    out = run("live_custom_source.py", invert_model(tmp_path / "invert.onnx", None), 6)
    assert "picture 20: mean" in out
    assert "invert on " in out.splitlines()[-1]
