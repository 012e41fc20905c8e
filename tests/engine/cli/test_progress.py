"""How far many inputs are, and how long they still take."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ganlens.engine.cli import progress as module
from ganlens.engine.cli.progress import InputsProgress
from ganlens.engine.timing import StageTimes


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


def make(expected):
    output = io.StringIO()
    progress = InputsProgress(Console(file=output, width=200), expected, StageTimes(), quiet=False, what="frames")
    return progress, output


def test_the_time_left_is_that_of_all_inputs(clock):
    progress, output = make({"a": 100, "b": 300, "c": None})  # c is taken for one of 200
    progress.begin("a.mp4")
    clock[0] = 20.0
    progress.advance(50)
    assert output.getvalue() == "1/3 a.mp4: 50 frames of about 600, 220 s left, 2.5 fps\n"
    clock[0] = 40.0
    progress.advance(10)
    progress.finish("a")  # shorter than its file says
    progress.begin("b.mp4")
    clock[0] = 60.0
    progress.advance(60)
    assert output.getvalue().splitlines()[-1] == "2/3 b.mp4: 120 frames of about 560, 220 s left, 2.0 fps"


def test_inputs_that_are_done_at_the_same_time_count_as_they_end(clock):
    progress, output = make({"a": 100, "b": 300})
    clock[0] = 20.0
    progress.finish("b", 300)
    assert output.getvalue() == "1/2 files: 300 frames of about 400, 7 s left, 15.0 fps\n"
    clock[0] = 40.0
    progress.finish("a", 0)  # it failed
    assert output.getvalue().splitlines()[-1] == "2/2 files: 300 frames of about 300, 0 s left, 7.5 fps"


def test_nothing_is_known(clock):
    progress, output = make({"a": None, "b": None})
    clock[0] = 20.0
    progress.finish("a", 40)
    assert output.getvalue() == "1/2 files: 40 frames, 2.0 fps\n"


def test_the_first_ones_fail(clock):
    progress, output = make({"a": 100, "b": 300})
    clock[0] = 20.0
    progress.finish("a")
    assert output.getvalue() == "1/2 files: 0 frames, 0.0 fps\n"
