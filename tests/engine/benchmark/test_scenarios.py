"""The scenarios on an artificial subject, and the paced one on an artificial clock."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import pytest

from ganlens.engine import FunctionBackend, Translator
from ganlens.engine.benchmark.scenarios import follow, latency, live, take_turns, throughput
from ganlens.engine.benchmark.worker import TranslatorSubject
from ganlens.engine.pixels.frame import Frame
from ganlens.engine.spec import GeneratorSpec, SizeRule
from ganlens.engine.timing import StageTimes


class Clock:
    """A clock that only sleeping and working move."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def paced(seconds_of_frame: list[float], due: int, fps: float = 10.0):
    clock = Clock()
    seen: list[int] = []
    remaining = iter(seconds_of_frame)

    def call(index: int) -> None:
        seen.append(index)
        clock.now += next(remaining)

    return follow(call, due, fps, clock, clock.sleep), seen


def test_a_fast_model_takes_every_frame_on_time() -> None:
    result, seen = paced([0.02] * 5, due=5)
    assert seen == [0, 1, 2, 3, 4]
    assert (result.on_time, result.dropped) == (5, 0)
    assert result.ages_s == pytest.approx([0.02] * 5)


def test_a_stall_makes_the_frames_late_that_it_delays_and_drops_those_it_overtakes() -> None:
    # The second frame takes 3.5 periods: when it is done, frame 4 is the newest and already half a period old.
    result, seen = paced([0.02, 0.35, 0.02, 0.02], due=6)
    assert seen == [0, 1, 4, 5]
    assert result.dropped == 2
    assert result.ages_s == pytest.approx([0.02, 0.35, 0.07, 0.02])  # from the scheduled time, not from the start
    assert result.on_time == 3


def test_a_slow_model_is_judged_by_what_was_due() -> None:
    result, seen = paced([0.25] * 10, due=10)
    assert result.on_time == 0
    assert len(seen) + result.dropped == result.due == 10
    assert min(result.ages_s) >= 0.25


class Sleeper:
    """A subject whose frames take a fixed time; the first is slower."""

    in_flight = batch = 1

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._times = StageTimes()
        self.calls = 0

    def call(self, index: int) -> object:
        with self._times.measure("run"):
            time.sleep(self._seconds * (10 if self.calls == 0 else 1))
        self.calls += 1
        return index

    def stream(self, indices: Iterable[int]) -> Iterator[object]:
        return map(self.call, indices)

    def reset_times(self) -> StageTimes:
        self._times = StageTimes()
        return self._times


def test_latency_times_every_frame_and_keeps_the_warm_up_apart() -> None:
    subject = Sleeper(0.002)
    measured = latency(subject, 0.4)
    assert len(measured.times_s) >= 10
    assert min(measured.times_s) >= 0.002
    assert measured.warm_up.first_s >= 0.02 and measured.warm_up.calls >= 3
    assert measured.stages_ms["run"] >= 2.0  # of the frames after the warm-up
    assert measured.ms_at_30hz is not None and measured.ms_at_30hz >= 2.0
    assert sum(measured.times_s) == pytest.approx(measured.wall_s, rel=0.2)


def test_throughput_counts_what_comes_out() -> None:
    measured = throughput(Sleeper(0.002), 0.4)
    assert 0 < measured.per_second <= 500
    assert len(measured.times_s) >= 10
    assert min(measured.times_s) >= 0.002


def test_even_a_model_slower_than_the_time_given_is_measured() -> None:
    for scenario in (latency, throughput):
        measured = scenario(Sleeper(0.05), 0.02)
        assert measured.times_s and measured.per_second > 0


def test_live_counts_add_up() -> None:
    measured = live(Sleeper(0.002), 0.6, 20.0)
    counts = measured.counts
    assert counts["due"] == counts["on_time"] + counts["late"] + counts["dropped"]
    assert measured.per_second <= 20.0


@pytest.mark.parametrize("scenario", [latency, throughput, partial(live, fps=50.0)])
def test_the_bare_network_takes_turns_with_the_frames(scenario) -> None:
    subject = Sleeper(0.004)
    calls: list[int] = []

    def bare() -> float:
        calls.append(subject.calls)
        return 0.002

    measured = scenario(subject, 3.0, bare=bare)
    assert len(calls) >= 2 and calls == sorted(set(calls)), "frames between all turns"
    assert measured.bare_ms == pytest.approx(2.0)
    assert measured.relative is not None and measured.relative >= 2.0
    assert measured.times_s and measured.per_second > 0


def test_each_turn_is_compared_with_the_bare_network_before_and_after() -> None:
    speeds = iter([1.0, 1.0, 3.0, 3.0, 1.0])
    bare_ms, relative = take_turns(1.0, lambda _: 0.030, lambda: 0.010 * next(speeds), 0.25, 0.030)
    assert bare_ms == pytest.approx(10.0)
    assert relative == pytest.approx((1.5 + 1.5) / 2)  # of 3.0, 1.5, 1.0 and 1.5


def test_a_bare_network_that_fails_costs_the_comparison_only() -> None:
    answers = iter([0.002, 0.002, None])
    measured = latency(Sleeper(0.002), 1.2, lambda: next(answers, None))
    assert (measured.bare_ms, measured.relative) == (None, None)
    assert measured.times_s


def test_several_in_flight_and_batches_go_through_the_translator() -> None:
    spec = GeneratorSpec(name="tiny", architecture="cyclegan", size=SizeRule(fixed=(16, 16), preferred=(16, 16)))
    sizes: list[int] = []

    def function(image: np.ndarray) -> np.ndarray:
        sizes.append(len(image))
        time.sleep(0.001)
        return image

    translator = Translator(FunctionBackend(spec, function), batch=2, lanes=[lambda: FunctionBackend(spec, function)])
    frames = [Frame.from_rgb(np.full((16, 16, 3), grey, np.uint8)) for grey in (0, 100, 200)]
    subject = TranslatorSubject(translator, frames)
    measured = throughput(subject, 0.3)
    assert (subject.in_flight, subject.batch) == (2, 2)
    assert measured.per_second > 0 and 2 in sizes
    assert set(measured.stages_ms) == {"prepare", "run", "compose"}
    subject.close()
