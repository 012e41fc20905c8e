"""Length and learning rate of a run, as functions of the step: nothing to save, nothing to restore."""

from __future__ import annotations

from typing import NamedTuple

from .config import TrainConfig


def decay_factor(done: int, constant: int, decay: int) -> float:
    """CycleGAN's schedule: 1 for ``constant`` units, then linear towards 0 over ``decay`` units; ``done`` from 0."""
    return max(0.0, 1.0 - max(0, done + 1 - constant) / (decay + 1))


def average_decay(ema: float, count: int) -> float:
    """Decay of the averaged weights after ``count`` updates of them: less than ``ema`` at the start.

    With 0.999 from the beginning, more than half of the average after 600 steps are still the first, random weights.
    """
    return min(ema, (1 + count) / (10 + count))


def steps_per_epoch(config: TrainConfig, epoch_length: int, processes: int) -> int:
    """Steps in which all processes together see ``epoch_length`` samples."""
    return max(1, epoch_length // (config.batch * processes))


class Schedule(NamedTuple):
    """How many steps a run has and what the learning rate is in each."""

    steps: int
    steps_per_epoch: int
    constant: int
    """Units at the full rate."""
    decay: int
    """Units of decay."""
    by_epoch: bool
    """A unit is an epoch (as published), else a step."""
    first_stage: int = 0
    """Steps, of all, that belong to a first stage."""

    @classmethod
    def of(cls, config: TrainConfig, epoch_length: int, processes: int = 1) -> Schedule:
        """The schedule of a run over a data set of ``epoch_length`` samples."""
        per_epoch = steps_per_epoch(config, epoch_length, processes)
        if config.steps:
            decay = max(0, config.decay_steps or config.steps // 2)
            return cls(config.steps, per_epoch, config.steps - decay, decay, by_epoch=False)
        epochs = config.epochs + config.decay_epochs
        return cls(epochs * per_epoch, per_epoch, config.epochs, config.decay_epochs, by_epoch=True)

    def factor(self, step: int) -> float:
        """Factor of the learning rate in step ``step`` (from 0)."""
        done = step // self.steps_per_epoch if self.by_epoch else step
        return decay_factor(done, self.constant, self.decay)
