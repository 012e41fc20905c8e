"""What the training loop asks of a method: its networks, its phases (one loss and one optimiser each), its samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from ganlens.engine.spec import GeneratorSpec

from ..data.datasets import TrainingData
from ..schedule import Schedule

Batch = tuple[Tensor, ...]
Parts = dict[str, Tensor]


class Phase(NamedTuple):
    """One update within a step. Networks not named are frozen while its loss is computed and differentiated."""

    name: str
    networks: tuple[str, ...]
    loss: Callable[[Batch, int], tuple[Tensor, Parts]]
    """(batch, step) → scalar to minimise, and detached scalars to log."""
    make_optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    every: int = 1
    """Runs in every such step only (critics that take several steps for one of the generator)."""
    start: int = 0
    """Number of steps before the first in which it runs."""
    end: int | None = None
    """Number of steps after which it runs no more; None: to the end."""
    after: Callable[[], None] | None = None
    """Called when the optimiser has moved its networks."""
    rate_factor: Callable[[], float] | None = None
    """Factor of the learning rate, on top of the schedule's; None: 1."""

    def runs(self, step: int) -> bool:
        """Whether it takes part in step ``step`` (from 0)."""
        if self.end is not None and step >= self.end:
            return False
        return step >= self.start and (step + 1) % self.every == 0


def adam(rate: float, beta1: float, beta2: float = 0.999) -> Callable[[Iterable[nn.Parameter]], Optimizer]:
    """A phase's ``make_optimizer``: Adam, in one pass over all parameters."""
    return lambda parameters: Adam(parameters, lr=rate, betas=(beta1, beta2), fused=True)


class Compared(NamedTuple):
    """What a metric compares."""

    made: Tensor
    """(N, 3, H, W), by the averaged networks."""
    real: Tensor
    """(N, 3, H, W)."""
    parts: Parts = {}  # noqa: RUF012
    """Further figures of these pictures, scalars; their means over the batches are logged as metrics."""


MEASURE_EVERY = 10
"""Updates of a phase between two measurements that are only for the log."""


def measures(step: int, every: int) -> bool:
    """Whether a phase that runs in every such step measures in this one."""
    return (step + 1) % (MEASURE_EVERY * every) == 0


class Method(ABC):
    """A method is its networks and phases, which it builds in ``__init__``, and its data; everything else is the
    loop's. The defaults are those of a method without stages, state, files or samples."""

    networks: dict[str, nn.Module]
    """All that is moved to the device and saved."""
    phases: tuple[Phase, ...]
    """In the order in which they run in a step."""
    averaged: tuple[str, ...] = ()
    """Networks whose moving average is kept."""
    fixed: Mapping[str, nn.Module] = MappingProxyType({})
    """Networks that are used but never trained nor saved (a teacher, a feature extractor); moved to the device."""

    carried: tuple[str, ...] = ()
    """Attributes in which one phase leaves to the next what belongs to the same pictures."""

    @abstractmethod
    def __init__(self, config: Any) -> None:
        """Build the networks and phases of a configuration."""

    @classmethod
    @abstractmethod
    def make_dataset(cls, config: Any) -> TrainingData:
        """The data that a configuration names."""

    @classmethod
    def make_schedule(cls, config: Any, epoch_length: int, processes: int) -> Schedule:
        """How long a run is, over a data set of ``epoch_length`` samples."""
        return Schedule.of(config, epoch_length, processes)

    @classmethod
    def finish(cls, config: Any) -> list[Any]:
        """Called when a run is finished, its files written: what else to do, and what to tell the user (Rich)."""
        return []

    def prepare(self, dataset: TrainingData, schedule: Schedule) -> None:  # noqa: B027 (may be left out)
        """Called once, before anything else: the data, and how long the run and its stages are."""

    def start_step(self, step: int, images: int) -> bool:
        """Called before each step.

        Args:
            images: pictures of each domain that the run has seen before it, on all processes together.

        Returns:
            Whether a stage begins with it: its networks have got their first weights, and the averages start anew.
        """
        return False

    def assemble(self, name: str, averaged: Mapping[str, nn.Module]) -> nn.Module:
        """What is saved under a name of :meth:`specs`; by default the averaged network of that name."""
        return averaged[name]

    def specs(self) -> dict[str, tuple[str, GeneratorSpec]]:
        """File stem → (averaged network, its record without the training part)."""
        return {}

    def sample(self, batch: Batch, networks: Mapping[str, nn.Module]) -> list[Tensor]:
        """Columns of a sample grid, each (N, 3, H, W); called without grad, with the averaged networks. May be none."""
        return []

    def captions(self) -> Sequence[str]:
        """Over the columns of :meth:`sample`, as it is now; none: the grid has no captions."""
        return ()

    def compared(self, batch: Batch, networks: Mapping[str, nn.Module]) -> Compared | None:
        """What a metric compares; called without grad, with the averaged networks and random states that are the same
        every time. None: there is nothing to compare."""
        return None

    def translator(self, networks: Mapping[str, nn.Module]) -> nn.Module | None:
        """The averaged network that gives a picture, as it ships, another style, for the gates of styles; None: there
        is none."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """State of one process beside the networks (image pools)."""
        return {}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:  # noqa: B027 (may be left out)
        """Continue from :meth:`state_dict`."""
