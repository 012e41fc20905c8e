"""Frames between two threads: which are kept, which are dropped, and what is counted."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from ganlens.engine import Frame
from ganlens.engine.live.queue import Captured, FrameQueue
from ganlens.engine.live.statistics import Statistics, Window

FRAME = Frame.from_rgb(np.zeros((2, 2, 3), np.uint8))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def item(number: int, at: float = 100.0) -> Captured:
    return Captured(FRAME, at, number)


def numbers(queue: FrameQueue) -> list[int]:
    taken = []
    while (found := queue.take(0)) is not None:
        taken.append(found.number)
    return taken


def test_fresh_keeps_the_newest_and_counts_the_others():
    queue = FrameQueue("fresh", clock=Clock())
    for number in range(5):
        assert queue.put(item(number))
    assert numbers(queue) == [4]
    assert queue.dropped == {"newer": 4}


def test_smooth_keeps_the_order_and_drops_the_oldest_when_full():
    queue = FrameQueue("smooth", depth=3, clock=Clock())
    for number in range(5):
        queue.put(item(number))
    assert numbers(queue) == [2, 3, 4]
    assert queue.dropped == {"full": 2}


def test_smooth_drops_what_is_older_than_the_budget_and_keeps_the_newest():
    clock = Clock()
    queue = FrameQueue("smooth", clock=clock)
    for number, at in enumerate((99.0, 99.4, 99.6, 99.9)):
        queue.put(item(number, at))
    assert queue.take(0).number == 2
    clock.now = 200.0
    assert numbers(queue) == [3]
    assert queue.dropped == {"stale": 2}


def test_every_makes_the_giver_wait_and_drops_nothing():
    queue = FrameQueue("every", depth=2)
    given = []

    def give() -> None:
        for number in range(6):
            queue.put(item(number))
            given.append(number)
        queue.close()

    thread = threading.Thread(target=give)
    thread.start()
    taken = []
    while (found := queue.take(5)) is not None:
        taken.append(found.number)
        assert len(given) <= len(taken) + 3
    thread.join()
    assert taken == list(range(6))
    assert not queue.dropped


def test_a_closed_queue_wakes_both_ends_and_gives_what_is_left():
    queue = FrameQueue("every", depth=1)
    queue.put(item(1))
    waiting = threading.Thread(target=lambda: results.append(queue.put(item(2))))
    results: list[bool] = []
    waiting.start()
    queue.close()
    waiting.join(5)
    assert results == [False]
    assert numbers(queue) == [1]
    assert queue.take() is None


def test_taking_from_an_empty_queue_ends_after_the_timeout():
    assert FrameQueue().take(0.01) is None


def test_a_rate_is_count_over_span_and_falls_when_nothing_comes():
    clock = Clock()
    window = Window(5.0, clock)
    assert window.rate() == 0
    for _ in range(60):
        window.add()
        clock.now += 1 / 30
    assert window.rate() == pytest.approx(30, rel=0.01)
    clock.now += 2
    assert window.rate() < 20
    clock.now += 10
    assert window.rate() == 0
    assert window.percentile(50) is None


def test_percentiles_are_of_the_last_seconds_only():
    clock = Clock()
    window = Window(5.0, clock)
    for _ in range(100):
        window.add(9.0)
    clock.now += 6
    for value in range(1, 101):
        window.add(value)
    assert (window.percentile(50), window.percentile(95), window.count()) == (51, 96, 100)


def test_a_connection_is_good_again_soon_after_a_loss():
    clock = Clock()
    statistics = Statistics(clock)
    for _ in range(10):  # a bad time
        statistics.arrived()
        clock.now += 0.5
    assert statistics.connection(30, delivering=True) == "unusable"
    statistics.begun()
    for _ in range(60):
        clock.now += 1 / 30
        statistics.arrived()
    assert statistics.connection(30, delivering=True) == "excellent"
