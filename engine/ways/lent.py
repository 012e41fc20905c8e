"""Frames over memory that a way lends, and gets back with the last reference to them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..pixels.frame import Frame


class Loan:
    """Stands for lent memory. With the last array over it, it comes back.

    Args:
        give_back: called then, in whichever thread; not when the process ends.
    """

    def __init__(self, give_back: Callable[[], object]) -> None:
        weakref.finalize(self, give_back).atexit = False


class _Lent:
    """NumPy keeps the object that an array was made of, and so the loan, for all views of it and all its borrowers."""

    def __init__(self, view: NDArray[np.uint8], shape: tuple[int, ...], loan: Loan) -> None:
        self._kept = view, loan
        inner = tuple(int(np.prod(shape[axis + 1 :])) for axis in range(1, len(shape)))
        self.__array_interface__: dict[str, Any] = {
            "version": 3,
            "typestr": "|u1",
            "data": (view.ctypes.data, False),
            "shape": shape,
            "strides": (view.strides[0], *inner),
        }


def lent(frame: Frame, views: Sequence[NDArray[np.uint8]], loan: Loan) -> Frame:
    """A frame like ``frame`` over lent memory.

    Args:
        views: the memory of its planes, as (rows, bytes of a row).
        loan: of the memory.
    """
    return frame.over(
        [np.asarray(_Lent(view, plane.shape, loan)) for view, plane in zip(views, frame.planes, strict=True)]
    )
