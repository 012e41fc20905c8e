"""Faces and their attributes → batches of pictures (N, 3, H, W) and labels (N, C).

As in :mod:`.datasets`, a sample depends on the seed and its number only. Pictures are decoded when
they are first asked for.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..config import FacesConfig
from .attribute_table import Faces, find_classes, find_faces, require_both_classes, split_faces
from .datasets import TrainingData
from .pictures import Pictures, centre, to_tensor
from .variation import compress

logger = logging.getLogger(__name__)


class FaceDataset(TrainingData):
    """Sample ``i``: a random crop of a picture, mirrored or not, and its labels.

    Args:
        training, held_out: the two parts of the data; the second is only shown in sample grids.
        attributes: names of the label columns.
        size: side of the crop; ``load_size``: side of the central square that is resized to before.
        cache_mb: see :class:`.data.Pictures`.
        mirrored: for each label column, the one that holds its value for a mirrored picture; None: a mirror changes no
            label.
        jpeg: share of the pictures that go through an encoder; see :func:`.variation.compress`.

    Raises:
        TrainingError: fewer than two usable pictures, or an attribute that does not vary.
    """

    def __init__(
        self,
        training: Faces,
        held_out: Faces,
        attributes: tuple[str, ...],
        size: int,
        load_size: int,
        *,
        flip: bool = True,
        seed: int = 0,
        cache_mb: int = 1024,
        shown: int = 16,
        mirrored: Sequence[int] | None = None,
        jpeg: float = 0.0,
    ) -> None:
        self.attributes = attributes
        self.size = size
        self.flip = flip
        self.mirrored = list(range(len(attributes))) if mirrored is None else list(mirrored)
        self.seed = seed
        self.jpeg = jpeg
        self.pictures, self.labels = _decode(training, load_size, cache_mb)
        require_both_classes(self.labels, attributes)
        # Without held-out faces, show training faces.
        shown_faces = held_out if len(held_out.paths) > 1 else training
        chosen = shown_faces.take(_spread(len(shown_faces.paths), max(2, shown)))
        self.shown, self.shown_labels = _decode(chosen, load_size, cache_mb)
        self._order: tuple[int, NDArray[np.int64]] | None = None

    @classmethod
    def of(cls, config: FacesConfig, *, jpeg: float = 0.0) -> FaceDataset:
        """The data set of a configuration.

        Raises:
            TrainingError: as :func:`faces_of`; of label groups also a value that no training picture has.
        """
        training, held_out = split_faces(faces_of(config), config.holdout)
        if config.layout:
            config.layout.require_all(training.labels)
        dataset = cls(
            training,
            held_out,
            config.label_names,
            config.size,
            config.resize_px,
            flip=config.flip,
            seed=config.seed,
            cache_mb=config.cache_mb,
            shown=config.samples,
            mirrored=config.layout.mirrored if config.layout else None,
            jpeg=jpeg,
        )
        shares = ", ".join(f"{n} {s:.2f}" for n, s in zip(dataset.attributes, dataset.labels.mean(0), strict=True))
        logger.info("%d pictures to train on, %d held out; fractions: %s", len(dataset), len(held_out.paths), shares)
        return dataset

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def epoch_length(self) -> int:
        """Every picture once."""
        return len(self.pictures)

    def fingerprint(self) -> str:
        """Digest of the pictures and their labels."""
        labels = hashlib.sha256(self.labels.tobytes()).hexdigest()[:16]
        return f"{len(self)}:{self.pictures.fingerprint()} labels:{labels}"

    def preview(self, count: int, size: int) -> tuple[Tensor, ...]:
        """Held-out faces and their labels."""
        rows = range(min(count, len(self.shown)))
        images = [to_tensor(centre(self.shown[row], size)) for row in rows]
        return torch.stack(images), torch.from_numpy(self.shown_labels[: len(rows)])

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        rounds, place = divmod(index, len(self.pictures))
        row = int(self._shuffled(rounds)[place])
        row, pixels = self.pictures.take(row)
        square = centre(pixels, min(pixels.shape[:2]))
        random = np.random.default_rng((self.seed, 1, index))
        top, left = (int(random.integers(side - self.size + 1)) for side in square.shape[:2])
        crop, labels = square[top : top + self.size, left : left + self.size], self.labels[row]
        if self.flip and random.random() < 0.5:
            crop, labels = crop[:, ::-1], labels[self.mirrored]
        return to_tensor(compress(crop, self.jpeg, random)), torch.from_numpy(labels)

    def _shuffled(self, rounds: int) -> NDArray[np.int64]:
        if self._order is None or self._order[0] != rounds:
            self._order = rounds, np.random.default_rng((self.seed, 0, rounds)).permutation(len(self.pictures))
        return self._order[1]


def faces_of(config: FacesConfig) -> Faces:
    """The pictures of a run, training and held out, with its label vectors: attributes, or groups by a layout.

    Raises:
        TrainingError: unusable data, or labels that break the layout's rules.
    """
    layout = config.layout
    if config.class_names:
        return find_classes(config.data, config.class_names)
    columns = layout.columns if layout else config.label_names
    faces = find_faces(config.data, columns, table=config.table, identities=config.identities)
    return layout.encode(faces) if layout else faces


def _decode(faces: Faces, load_size: int, cache_mb: int) -> tuple[Pictures, NDArray[np.float32]]:
    """The usable pictures, and the labels of just these."""
    rows = {path: row for row, path in enumerate(faces.paths)}
    folder = str(faces.paths[0].parent) if faces.paths else str(Path())
    pictures = Pictures(folder, load_size, cache_mb, faces.paths)
    return pictures, faces.labels[[rows[path] for path in pictures.paths]]


def _spread(count: int, chosen: int) -> list[int]:
    """Up to ``chosen`` rows spread evenly over ``count``."""
    return [int(row) for row in np.linspace(0, count - 1, min(count, chosen)).round()]
