"""A run in stages: each starts from the one before, with options of its own; the last is the run itself."""

from __future__ import annotations

from typing import TypeVar

from ganlens.engine.errors import OptionError

from .base import STAGES, TrainConfig
from .file import make_config

C = TypeVar("C", bound=TrainConfig)


def earlier_runs(config: C) -> list[C]:
    """The runs before the last stage, in the folders 1, 2, ... of :data:`STAGES`; none for a run without stages.

    Raises:
        OptionError: a stage's value is wrong.
    """
    runs: list[C] = []
    for number, values in enumerate(config.stages, 1):
        start = {"start_from": runs[-1].out} if runs else {}
        place = {"out": str(config.run / STAGES / str(number))}
        try:
            runs.append(make_config(type(config), {**values, **place, **start}))
        except OptionError as error:
            raise OptionError(f"Stage {number} of {len(config.stages) + 1}: {error}") from error
    return runs
