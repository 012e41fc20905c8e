"""The benchmark of face models, on a drawn face."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import pytest

from benchmarks.faces import main
from tests.kit.faces import backdrop, put_face, tint_model


def test_speed_and_flicker_of_a_face_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = tmp_path / "clip.mp4"
    with av.open(str(clip), "w") as output:
        video = output.add_stream("libx264", rate=Fraction(12))
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        for number in range(24):
            pixels = backdrop(240, 320)
            put_face(pixels, (120 + number, 110), 150)
            output.mux(video.encode(av.VideoFrame.from_ndarray(pixels)))
        output.mux(video.encode())
    model = tint_model(tmp_path / "tint.onnx", batch="n")
    options = ["--video", str(clip), "--model", str(model), "--set", "smiling=1", "--backends", "cpu", "--quick"]
    options += ["--batch", "2"]
    main([*options, "--json", str(tmp_path)])
    (speed,) = (json.loads(path.read_text()) for path in tmp_path.glob("faces-speed-*.json"))
    for name in ("cpu", "cpu --batch 2"):
        assert speed["details"][name]["frames"] == 18
        assert speed["details"][name]["stages"]["detect"]["frames"] == 24
    (flicker,) = (json.loads(path.read_text()) for path in tmp_path.glob("faces-flicker-*.json"))
    assert set(flicker["details"]) == {"0.0", "0.5", "1.0"}
    assert "CPU ms a frame" in capsys.readouterr().out
