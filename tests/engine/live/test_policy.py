"""The decisions of a live session, at made-up times: no clock, no sleep."""

from __future__ import annotations

import pytest

from ganlens.engine.live.filter import AREAS
from ganlens.engine.live.policy import (
    SizeLimits,
    SizeState,
    backoff,
    choose_size,
    connection,
    stale_count,
    wait_limit,
)


def test_a_lost_source_is_tried_soon_then_ever_slower_but_at_least_every_two_seconds():
    assert [backoff(attempt) for attempt in range(7)] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert backoff(10**6) == 2.0


@pytest.mark.parametrize(("fps", "limit"), [(30, 1.0), (10, 1.0), (5, 2.0), (1, 10.0)])
def test_a_source_is_lost_after_the_longer_of_a_second_and_ten_periods(fps, limit):
    assert wait_limit(1 / fps) == pytest.approx(limit)


@pytest.mark.parametrize(
    ("ages", "dropped"),
    [([], 0), ([9.0], 0), ([0.6, 0.4], 1), ([0.9, 0.8, 0.7], 2), ([0.5, 0.4], 0), ([0.4, 0.9], 0)],
)
def test_stale_frames_are_dropped_from_the_head_but_never_the_newest(ages, dropped):
    assert stale_count(ages) == dropped


@pytest.mark.parametrize(
    ("arrived", "word"),
    [(90, "excellent"), (81, "excellent"), (80, "fair"), (63, "fair"), (62, "poor"), (26, "unusable")],
)
def test_the_word_for_a_connection_is_the_share_of_frames_that_arrived(arrived, word):
    assert connection(arrived, 3.0, 30.0) == word


def test_a_source_that_does_not_deliver_is_unusable_and_one_without_a_rate_is_not_judged():
    assert connection(90, 3.0, 30.0, delivering=False) == "unusable"
    assert connection(2, 3.0, None) == "excellent"
    assert connection(0, 0.0, 30.0) == "excellent"


class Machine:
    """A machine on which a frame takes ``work`` of its period at full size, and less at smaller ones."""

    def __init__(self, work: float) -> None:
        self.work = work
        self.state = SizeState()
        self.now = 0.0
        self.changes: list[tuple[float, int]] = []

    def run(self, seconds: float, noise: tuple[float, ...] = (1.0,)) -> None:
        end = self.now + seconds
        step = 0
        while self.now < end:
            load = self.work * AREAS[self.state.level] * noise[step % len(noise)]
            before = self.state.level
            self.state = choose_size(self.state, load, self.now, AREAS)
            if self.state.level != before:
                self.changes.append((self.now, self.state.level))
            self.now += 0.1
            step += 1

    @property
    def load(self) -> float:
        return self.work * AREAS[self.state.level]


@pytest.mark.parametrize("work", [1.0, 1.3, 2.0, 3.0, 5.0])
def test_too_large_a_size_is_left_within_two_seconds_for_one_that_fits(work):
    machine = Machine(work)
    machine.run(2.0)
    assert machine.load <= SizeLimits().high
    assert len(machine.changes) == 1, "the right size is chosen at once, not step by step"


def test_a_size_that_fits_stays():
    machine = Machine(0.9)
    machine.run(600)
    assert machine.changes == []


@pytest.mark.parametrize("work", [1.0, 1.05, 1.34, 1.8, 2.4])
def test_the_size_does_not_pump(work):
    machine = Machine(work)
    machine.run(600, noise=(0.9, 1.1, 1.0, 0.95, 1.05))
    late = [change for change in machine.changes if change[0] > 300]
    assert len(late) <= 4, machine.changes


def test_short_peaks_change_nothing():
    machine = Machine(0.5)
    machine.run(60, noise=(1.0,) * 20 + (4.0,) * 4)
    assert machine.changes == []


def test_the_size_grows_back_when_the_machine_is_free_again():
    machine = Machine(3.0)
    machine.run(5)
    assert machine.state.level > 0
    machine.work = 0.3
    machine.run(60)
    assert machine.state.level == 0
    levels = [level for _, level in machine.changes[1:]]
    assert levels == sorted(levels, reverse=True), "one step at a time"


def test_growing_that_proves_wrong_is_tried_ever_later():
    machine = Machine(3.0)
    state = machine.state
    now, patience = 0.0, []
    for _ in range(6):  # it looks possible, and is not
        while state.level == 0 or not state.grew:
            load = 2.0 if state.level == 0 else 0.1
            state = choose_size(state, load, now, (1.0, 0.5))
            now += 0.1
            if state.grew:
                break
        while state.grew:
            state = choose_size(state, 2.0, now, (1.0, 0.5))
            now += 0.1
        patience.append(state.patience_s)
    assert patience == [8, 16, 32, 64, 64, 64]


def test_one_size_alone_never_changes():
    assert choose_size(SizeState(), 9.0, 100.0, (1.0,)).level == 0
