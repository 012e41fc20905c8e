"""Batches: the tensors that pictures are put into, and how many pictures share one inference call."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import NamedTuple

import numpy as np

from ..backends.base import Array, Backend, Output
from .answers import Answers

MOST_FACES_AT_ONCE = 8
"""A frame has any number of faces, and runs of 8, 4, 2 and 1 are as many as a backend keeps prepared."""


class Tensors(NamedTuple):
    """What one run reads."""

    images: Array
    """(N, 3, h, w) float32 in the spec's range and channel order."""
    attributes: Array | None
    """(N, C) float32."""


class Network:
    """A backend and the tensors that it reads, allocated once for each picture size.

    Pictures of different frames, sizes and clips are put side by side into the tensors, so that they may share a run.

    Args:
        backend: runs on arrays in host memory.
        answers: looks at what it answers.
    """

    SIZES = 4
    """Picture sizes whose tensors are kept."""

    def __init__(self, backend: Backend, answers: Answers | None = None) -> None:
        self.backend = backend
        self._answers = answers
        self.lock = threading.Lock()
        """Held from the filling of the tensors until the answer has been used."""
        self._kept: OrderedDict[tuple[int, int], Tensors] = OrderedDict()

    def tensors(self, size: tuple[int, int], count: int) -> Tensors:
        """The tensors for ``count`` pictures of ``size`` (height, width); their content is kept."""
        kept = self._kept.get(size)
        if kept is None or len(kept.images) < count:
            if kept is None and len(self._kept) == self.SIZES:
                self._kept.popitem(last=False)
            port = self.backend.spec.attributes
            kept = self._kept[size] = Tensors(
                np.zeros((count, 3, *size), np.float32),
                None if port is None else np.zeros((count, port.length), np.float32),
            )
        if len(self._kept) > 1:
            self._kept.move_to_end(size)
        return Tensors(kept.images[:count], None if kept.attributes is None else kept.attributes[:count])

    def run(self, tensors: Tensors) -> Output:
        """Run once; the answer is overwritten by the next run."""
        output = self.backend.run(tensors.images, tensors.attributes)
        if self._answers is not None:
            self._answers.look(tensors.images, output)
        return output


def full_run(pictures: int, batch: int, fixed: int | None) -> int:
    """Pictures of the run that ``pictures`` frames share, at most ``batch``.

    A group that is not full runs at full size, so that no network is prepared for another number; but a single frame
    goes alone.

    Args:
        fixed: the number that the model fixes, if it does.
    """
    return fixed or (batch if pictures > 1 else 1)


def face_runs(faces: int, most: int, fixed: int | None) -> list[int]:
    """Faces of each of the runs that ``faces`` need.

    Few different numbers, because a network is prepared for each: the largest, and the powers of two below it.

    Args:
        most: faces of the largest run.
        fixed: the number that the model fixes, if it does; runs with fewer faces are filled up.
    """
    if fixed is not None:
        return [fixed] * (faces // fixed) + [faces % fixed] * (faces % fixed > 0)
    runs = []
    while faces:
        while most > faces:
            most = 1 << ((most - 1).bit_length() - 1)
        runs.append(most)
        faces -= most
    return runs
