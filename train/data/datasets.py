"""Pictures → batches (N, 3, H, W) float32 RGB in [-1, 1].

What sample number ``i`` of a run is depends only on the seed and ``i``: there is no random state to save, the number
of loading processes does not matter, and a resumed run meets the same pictures as one that was never stopped.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ..config import UnpairedConfig
from .pictures import Pictures, centre, to_tensor


class TrainingData(Dataset[tuple[Tensor, ...]], ABC):
    """What the loop asks of a data set: samples by number (without end), the length of an epoch, and a few to show."""

    @property
    @abstractmethod
    def epoch_length(self) -> int:
        """Samples in an epoch."""

    @abstractmethod
    def preview(self, count: int, size: int) -> tuple[Tensor, ...]:
        """A batch of up to ``count`` for a sample grid, always the same, the pictures seen whole.

        Args:
            size: side of the central square of the resized pictures, px.
        """

    def fingerprint(self) -> str:
        """Tells whether a resumed run meets the data with which it began; empty if unknown."""
        return ""


class UnpairedDataset(TrainingData):
    """Sample ``i``: one random crop from each domain, drawn independently.

    An epoch is the larger domain; in each epoch every domain is gone through in a new order, the smaller one wraps.
    """

    def __init__(self, domains: tuple[Pictures, ...], size: int, *, flip: bool = True, seed: int = 0) -> None:
        self.domains = domains
        self.size = size
        self.flip = flip
        self.seed = seed
        self._orders: dict[tuple[int, int], NDArray[np.int64]] = {}

    @classmethod
    def of(cls, config: UnpairedConfig) -> UnpairedDataset:
        """The two domains of a configuration: photos and paintings."""
        domains = (
            Pictures(config.photos, config.resize_px, config.cache_mb),
            Pictures(config.paintings, round(config.resize_px * config.painting_zoom), config.cache_mb),
        )
        return cls(domains, config.size, flip=config.flip, seed=config.seed)

    @property
    def epoch_length(self) -> int:
        """Samples in an epoch."""
        return max(len(domain) for domain in self.domains)

    def fingerprint(self) -> str:
        """Batch size of each domain."""
        return " ".join(f"{len(domain)}:{domain.fingerprint()}" for domain in self.domains)

    def preview(self, count: int, size: int) -> tuple[Tensor, ...]:
        """The first pictures of each domain."""
        rows = min(count, *(len(pictures) for pictures in self.domains))
        return tuple(
            torch.stack([to_tensor(centre(pictures[row], size)) for row in range(rows)]) for pictures in self.domains
        )

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return tuple(self._sample(number, index) for number in range(len(self.domains)))

    def _sample(self, domain: int, index: int) -> Tensor:
        pictures = self.domains[domain]
        rounds, place = divmod(index, len(pictures))
        pixels = pictures[int(self._order(domain, rounds)[place])]
        random = np.random.default_rng((self.seed, 1, domain, index))
        top = int(random.integers(pixels.shape[0] - self.size + 1))
        left = int(random.integers(pixels.shape[1] - self.size + 1))
        crop = pixels[top : top + self.size, left : left + self.size]
        if self.flip and random.random() < 0.5:
            crop = crop[:, ::-1]
        return to_tensor(crop)

    def _order(self, domain: int, rounds: int) -> NDArray[np.int64]:
        key = (domain, rounds)
        if key not in self._orders:
            self._orders = {k: v for k, v in self._orders.items() if k[0] != domain or k[1] == rounds - 1}
            self._orders[key] = np.random.default_rng((self.seed, 0, domain, rounds)).permutation(
                len(self.domains[domain])
            )
        return self._orders[key]


class Positions(Sampler[int]):
    """Sample numbers of one process, from a step on: process r of R takes its slice of every global batch."""

    def __init__(self, first_step: int, last_step: int, batch: int, rank: int = 0, processes: int = 1) -> None:
        self.first_step = first_step
        self.last_step = last_step
        self.batch = batch
        self.rank = rank
        self.processes = processes

    def __len__(self) -> int:
        return (self.last_step - self.first_step) * self.batch

    def __iter__(self) -> Iterator[int]:
        for step in range(self.first_step, self.last_step):
            start = (step * self.processes + self.rank) * self.batch
            yield from range(start, start + self.batch)


def make_loader(dataset: TrainingData, positions: Positions, *, workers: int = 0) -> DataLoader[tuple[Tensor, ...]]:
    """Batches in the order of ``positions``."""
    return DataLoader(
        dataset,
        batch_size=positions.batch,
        sampler=positions,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # its own, or each new loader would advance the run's random state
    )
