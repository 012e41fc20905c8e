"""The models of a live session: read once, opened behind the running one, and kept open for the way back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ganlens.engine import Frame, Framing, Settings
from ganlens.engine.live import filter as live_filter
from ganlens.engine.live.filter import (
    KEPT,
    FilterRequest,
    LiveFilter,
    ModelChoice,
    Variant,
    named_choices,
    shipped_choices,
)
from ganlens.engine.model import find_model

FRAME = Frame.from_rgb(np.full((64, 64, 3), 90, np.uint8))
LARGE = Variant(Framing("fit", size=(64, 64)), (64, 64), 1.0)
SMALL = Variant(Framing("fit", size=(32, 32)), (32, 32), 0.25)


def wait_until(live: LiveFilter, true: Callable[[], bool], frame: Frame = FRAME) -> Frame:
    """Show frames until something is true; the last answer."""
    for _ in range(2000):
        shown = live(frame, Settings())
        if true():
            return shown
        live._thread.join(0.01)
    raise AssertionError(f"still {live.state}: {live.message}")


def test_the_gpu_that_is_asked_for_is_never_replaced_by_the_cpu() -> None:
    live = LiveFilter(threads=1, device=1)
    try:
        live.request(FilterRequest(shipped_choices()[0], Variant(Framing(), (64, 64), 1.0), backends=("cpu",)))
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
    chosen = named_choices([str(path)])[0]
    path.unlink()
    live = LiveFilter(threads=1)
    try:
        live.request(FilterRequest(chosen, LARGE, backends=("cpu",)), FRAME)
        shown = wait_until(live, lambda: live.state != "opening")
        assert live.state == "ready", live.message
        assert (shown.planes[0] != FRAME.planes[0]).any()
    finally:
        live.close()


class Opened:
    """Stands for the translators that a filter opens, and keeps a list of them."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.closed: list[str] = []

    def open(self, model: object, **_: object) -> SimpleNamespace:
        """One that gives frames back as they are."""
        name = f"{len(self.names)}"
        self.names.append(name)
        return SimpleNamespace(
            backend=SimpleNamespace(name=name),
            stream=lambda frames, controls: (frame for frame in frames),
            close=lambda: self.closed.append(name),
        )


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Opened:
    """What is opened instead of translators."""
    result = Opened()
    monkeypatch.setattr(live_filter, "Translator", result)
    return result


def show(live: LiveFilter, model: ModelChoice, variant: Variant = LARGE, frame: Frame = FRAME) -> None:
    """Ask for a model and wait until it runs."""
    live.request(FilterRequest(model, variant), frame)
    wait_until(live, lambda: live.state == "ready", frame)


def test_the_way_back_to_a_model_opens_nothing_and_takes_no_frame(opened: Opened) -> None:
    first, second = shipped_choices()[:2]
    live = LiveFilter()
    try:
        show(live, first)
        show(live, second)
        assert live.kept(first) == LARGE
        for model, backend in ((first, "0"), (second, "1"), (first, "0")):
            live.request(FilterRequest(model, LARGE), FRAME)
            assert live(FRAME, Settings()) is not None
            assert (live.state, live.backend) == ("ready", backend)
        assert opened.names == ["0", "1"]
    finally:
        live.close()
    assert sorted(opened.closed) == ["0", "1"]


def test_few_models_are_kept_and_the_one_used_longest_ago_is_closed(opened: Opened) -> None:
    models = shipped_choices()[: KEPT + 2]
    live = LiveFilter()
    try:
        for model in models:
            show(live, model)
        wait_until(live, lambda: bool(opened.closed))
        assert opened.closed == ["0"]
        assert live.kept(models[0]) is None
        assert all(live.kept(model) == LARGE for model in models[1:-1])
    finally:
        live.close()
    assert sorted(opened.closed) == sorted(opened.names)


def test_of_one_model_only_the_size_in_use_stays_open(opened: Opened) -> None:
    first, second = shipped_choices()[:2]
    live = LiveFilter()
    try:
        show(live, first, LARGE)
        show(live, first, SMALL)
        wait_until(live, lambda: bool(opened.closed))
        assert opened.closed == ["0"]
        show(live, second)
        assert live.kept(first) == SMALL
    finally:
        live.close()


def test_what_was_opened_for_other_frames_is_not_used(opened: Opened) -> None:
    first, second = shipped_choices()[:2]
    other = Frame.from_rgb(np.full((96, 64, 3), 90, np.uint8))
    live = LiveFilter()
    try:
        show(live, first)
        show(live, second)
        show(live, first, frame=other)
        assert live.backend == "2"
    finally:
        live.close()


def test_asking_again_for_the_running_model_drops_the_one_that_opens(opened: Opened) -> None:
    first, second = shipped_choices()[:2]
    live = LiveFilter()
    try:
        show(live, first)
        live.request(FilterRequest(second, LARGE), FRAME)
        live.request(FilterRequest(first, LARGE), FRAME)
        assert live.state == "ready"
        for _ in range(20):
            live(FRAME, Settings())
            live._thread.join(0.005)
        assert live.backend == "0"
    finally:
        live.close()
    assert sorted(opened.closed) == sorted(opened.names)
