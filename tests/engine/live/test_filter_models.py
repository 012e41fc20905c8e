"""The models of a live session: read once."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ganlens.engine import Frame, Framing, Settings
from ganlens.engine.live.filter import FilterRequest, LiveFilter, Variant, choices
from ganlens.engine.model import find_model


def test_the_gpu_that_is_asked_for_is_never_replaced_by_the_cpu() -> None:
    live = LiveFilter(threads=1, device=1)
    try:
        live.request(FilterRequest(choices([])[0], Variant(Framing(), (64, 64), 1.0), backends=("cpu",)))
        for _ in range(2000):
            if live.state != "opening":
                break
            live._thread.join(0.01)
        assert live.state == "failed"
        assert "got GPU 1; the backend 'cpu' runs on the CPU" in live.message
    finally:
        live.close()


def test_a_model_is_read_once_for_the_whole_session(tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(find_model("comic").read_bytes())
    chosen = choices([str(path)])[0]
    path.unlink()
    frame = Frame.from_rgb(np.full((64, 64, 3), 90, np.uint8))
    live = LiveFilter(threads=1)
    try:
        request = FilterRequest(chosen, Variant(Framing("fit", size=(64, 64)), (64, 64), 1.0), backends=("cpu",))
        live.request(request, frame)
        for _ in range(2000):
            shown = live(frame, Settings())
            if live.state != "opening":
                break
            live._thread.join(0.01)
        assert live.state == "ready", live.message
        assert (shown.planes[0] != frame.planes[0]).any()
    finally:
        live.close()
