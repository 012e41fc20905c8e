"""The decisions of a live session: pure functions of a state and a time."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from ganlens.engine.live.policy import (
    BACKOFF_MOST_S,
    SizeState,
    backoff,
    choose_size,
    connection,
    stale_count,
    wait_limit,
)
from ganlens.engine.live.queue import Captured, FrameQueue
from ganlens.engine.live.statistics import Window
from ganlens.engine.pixels.frame import Frame


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def captured(number: int, at: float = 0.0) -> Captured:
    return Captured(Frame.from_rgb(np.zeros((2, 2, 3), np.uint8), Fraction(number)), at, number)


def test_waiting_grows_up_to_two_seconds():
    waits = [backoff(attempt) for attempt in range(8)]
    assert waits[:4] == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert waits == sorted(waits) and waits[-1] == backoff(10_000) == BACKOFF_MOST_S


@pytest.mark.parametrize(("period", "limit"), [(1 / 30, 1.0), (0.1, 1.0), (0.5, 5.0)])
def test_a_source_is_lost_after_a_second_or_ten_periods(period, limit):
    assert wait_limit(period) == pytest.approx(limit)


@pytest.mark.parametrize(
    ("ages", "count"),
    [([], 0), ([9.0], 0), ([9.0, 0.1], 1), ([0.9, 0.6, 0.4], 2), ([9.0, 8.0, 7.0], 2), ([0.1, 0.0], 0)],
)
def test_stale_frames_go_but_never_the_newest(ages, count):
    assert stale_count(ages, 0.5) == count


@pytest.mark.parametrize(
    ("arrived", "word"),
    [(90, "excellent"), (81, "excellent"), (80, "fair"), (63, "fair"), (62, "poor"), (27, "poor"), (5, "unusable")],
)
def test_one_word_for_the_connection(arrived, word):
    assert connection(arrived, 3.0, 30.0) == word
    assert connection(arrived, 3.0, 30.0, delivering=False) == "unusable"
    assert connection(1, 3.0, None) == "excellent"


AREAS = (1.0, 0.7, 0.5, 0.35)


def play(loads, state=None, step=0.1, now=0.0):
    """States after each load, a step apart."""
    state, states = state or SizeState(), []
    for load in loads:
        now += step
        state = choose_size(state, load, now, AREAS)
        states.append(state)
    return states


def test_a_short_peak_changes_nothing():
    assert {state.level for state in play([0.5] * 10 + [3.0] * 4 + [0.5] * 20)} == {0}


def test_too_slow_a_size_goes_at_once_to_one_that_fits():
    states = play([1.5] * 10)
    assert states[-1].level == 2  # 0.5 of the area takes 0.75 of the time
    assert next(number for number, state in enumerate(states) if state.level) <= 8, "within a second"


def test_the_smallest_size_stays_when_nothing_fits():
    assert play([50.0] * 40)[-1].level == len(AREAS) - 1


def test_it_grows_a_step_at_a_time_and_does_not_pump():
    """A size that is too slow for the machine is tried ever more rarely."""
    state, now, changes = SizeState(level=1, changed=0.0), 1.0, []
    for _ in range(3000):
        now += 0.1
        load = 1.3 if state.level == 0 else 0.4
        after = choose_size(state, load, now, AREAS)
        if after.level != state.level:
            changes.append(now)
        state = after
    assert 2 <= len(changes) <= 14
    gaps = [b - a for a, b in zip(changes[::2], changes[2::2], strict=False)]
    assert all(later > sooner - 0.5 for sooner, later in itertools.pairwise(gaps)), "ever more rarely"
    assert gaps[-1] > 4 * gaps[0]


# --- queue -----------------------------------------------------------------------------------------------------------


def test_fresh_keeps_the_newest_and_counts_the_others():
    queue = FrameQueue("fresh", clock=Clock())
    for number in range(5):
        assert queue.put(captured(number))
    item = queue.take(0)
    assert item is not None and item.number == 4
    assert queue.dropped == {"newer": 4} and queue.take(0) is None


def test_smooth_keeps_the_order_and_drops_what_is_too_old():
    clock = Clock()
    queue = FrameQueue("smooth", clock=clock)
    for number in range(4):
        queue.put(captured(number, at=0.2 * number))
    clock.now = 0.8
    numbers = [item.number for item in iter(lambda: queue.take(0), None)]
    assert numbers == [2, 3] and queue.dropped == {"stale": 2}
    for number in range(12):
        queue.put(captured(number, at=clock.now))
    assert queue.dropped["full"] == 4


def test_a_closed_queue_takes_nothing_and_gives_what_it_has():
    queue = FrameQueue("every")
    queue.put(captured(1))
    queue.close()
    assert not queue.put(captured(2))
    item = queue.take(0)
    assert item is not None and item.number == 1 and queue.take(0) is None


def test_a_window_forgets():
    clock = Clock()
    window = Window(2.0, clock)
    for _ in range(20):
        clock.now += 0.1
        window.add(5.0)
    assert window.rate() == pytest.approx(10, rel=0.1)
    clock.now += 10
    assert window.count() == 0 and window.percentile(50) is None
