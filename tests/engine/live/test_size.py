"""The network's size on a made-up machine, over minutes of made-up time."""

from __future__ import annotations

import pytest

from ganlens.engine.live.filter import AREAS
from ganlens.engine.live.policy import LOAD_PERCENT, SizeLimits, SizeState, choose_size
from ganlens.engine.live.statistics import Window


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


@pytest.mark.parametrize("work", [1.0, 1.3, 2.0, 3.0])
def test_too_large_a_size_is_left_within_two_seconds_for_one_that_fits(work):
    machine = Machine(work)
    machine.run(2.0)
    assert machine.load <= SizeLimits().high
    assert len(machine.changes) == 1, "the right size is chosen at once, not step by step"


def test_no_size_is_smaller_than_half_of_each_side():
    machine = Machine(8.0)
    machine.run(60.0)
    assert AREAS[machine.state.level] == min(AREAS) == 0.25
    assert len(machine.changes) == 1


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


def test_a_load_is_judged_by_its_slow_frames() -> None:
    window = Window()
    for number in range(30):
        window.add(0.8 if number % 3 else 1.2)
    load = window.percentile(LOAD_PERCENT)
    assert load is not None and load > SizeLimits().high > (window.percentile(50) or 0)
