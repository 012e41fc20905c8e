"""CycleGAN's schedule, epoch by epoch, and its form in steps."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ganlens.train.config import CycleGANConfig
from ganlens.train.schedule import Schedule, decay_factor


def test_published_formula() -> None:
    for epoch in range(200):
        assert decay_factor(epoch, 100, 100) == pytest.approx(1 - max(0, epoch + 1 - 100) / 101)
    assert decay_factor(99, 100, 100) == 1
    assert decay_factor(100, 100, 100) == pytest.approx(100 / 101)
    assert decay_factor(199, 100, 100) == pytest.approx(1 / 101)


def test_epochs_of_the_larger_domain(make_config: Callable[..., CycleGANConfig]) -> None:
    schedule = Schedule.of(make_config(steps=0, epochs=2, decay_epochs=1, batch=2), epoch_length=11)
    assert (schedule.steps, schedule.steps_per_epoch) == (15, 5)
    assert [schedule.factor(step) for step in (0, 9, 10, 14)] == [1, 1, 0.5, 0.5]


def test_processes_share_an_epoch(make_config: Callable[..., CycleGANConfig]) -> None:
    schedule = Schedule.of(make_config(steps=0, epochs=1, decay_epochs=0, batch=2), epoch_length=12, processes=3)
    assert schedule.steps == 2


def test_steps_replace_epochs(make_config: Callable[..., CycleGANConfig]) -> None:
    schedule = Schedule.of(make_config(steps=10, decay_steps=4), epoch_length=5)
    assert schedule.steps == 10
    assert [schedule.factor(step) for step in range(10)] == pytest.approx([1] * 6 + [0.8, 0.6, 0.4, 0.2])


def test_steps_without_decay_steps_decay_in_the_second_half(make_config: Callable[..., CycleGANConfig]) -> None:
    schedule = Schedule.of(make_config(steps=10), epoch_length=5)
    assert schedule.factor(4) == 1
    assert schedule.factor(5) < 1
