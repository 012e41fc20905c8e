"""The examples run as they are printed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from ganlens.engine import Frame, read_image, write_image
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


def test_opencv_loop(tmp_path):
    invert = invert_model(tmp_path / "invert.onnx", None)
    run("embed.py", "test:64x48@10,frames=5", tmp_path / "in.mp4", identity_model(tmp_path / "same.onnx", None))
    out = run("opencv_loop.py", tmp_path / "in.mp4", "--model", invert, "--output", tmp_path / "out.mp4")
    assert out.strip() == "5 frames"
    before, after = levels(tmp_path / "in.mp4"), levels(tmp_path / "out.mp4")
    assert len(after) == 5 and all(abs(x + y - 255) < 25 for x, y in zip(before, after, strict=True))


def test_fastapi_app(tmp_path, monkeypatch):
    testclient = pytest.importorskip("fastapi.testclient", reason="fastapi and httpx are not installed: make test-docs")
    monkeypatch.setenv("MODELS", str(invert_model(tmp_path / "invert.onnx", None)))
    monkeypatch.setenv("WORKERS", "1")
    spec = importlib.util.spec_from_file_location("fastapi_app", EXAMPLES / "fastapi_app.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "fastapi_app", module)  # where FastAPI looks up the annotations
    spec.loader.exec_module(module)
    pixels = np.full((24, 32, 3), 40, np.uint8)
    write_image(tmp_path / "given.png", Frame.from_rgb(pixels))
    given = (tmp_path / "given.png").read_bytes()
    with testclient.TestClient(module.app) as client:
        answer = client.post("/translate", files={"picture": given})
        assert answer.status_code == 200 and answer.headers["content-type"] == "image/png", answer.text
        (tmp_path / "painted.png").write_bytes(answer.content)
        assert abs(int(read_image(tmp_path / "painted.png").to_rgb().mean()) - 215) <= 1
        assert client.post("/translate", files={"picture": b"no picture"}).status_code == 422
        assert client.post("/translate?model=other", files={"picture": given}).status_code == 404
        monkeypatch.setattr(module, "MOST_BYTES", 10)
        assert client.post("/translate", files={"picture": given}).status_code == 413
        monkeypatch.undo()
        pool = next(iter(module.pools.values()))
        with pool.translator():  # the only translator is taken
            monkeypatch.setattr(module, "PATIENCE_S", 0.05)
            busy = client.post("/translate", files={"picture": given})
            assert busy.status_code == 503 and busy.headers["retry-after"] == "5"
        assert client.post("/translate", files={"picture": given}).status_code == 200
