"""Ctrl-C at a step of a run."""

from __future__ import annotations

import os
import signal

from torch import Tensor

from ganlens.train.loop import Trainer


def interrupt_after(trainer: Trainer, step: int) -> None:
    """Let the run get the signal in the middle, after ``step`` steps."""
    update = trainer.update

    def update_and_interrupt(batch: tuple[Tensor, ...]) -> None:
        update(batch)
        if trainer.step == step:
            os.kill(os.getpid(), signal.SIGINT)

    trainer.update = update_and_interrupt  # type: ignore[method-assign]
