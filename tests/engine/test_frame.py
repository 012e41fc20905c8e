"""Frames: shapes of each pixel format, and refusals."""

from fractions import Fraction

import numpy as np
import pytest

from ganlens.engine.errors import ShapeError
from ganlens.engine.frame import Color, Frame


def planes(*shapes):
    return tuple(np.zeros(shape, np.uint8) for shape in shapes)


@pytest.mark.parametrize(
    ("pixel_format", "shapes"),
    [
        ("rgb24", [(5, 7, 3)]),
        ("yuv420p", [(5, 7), (3, 4), (3, 4)]),
        ("nv12", [(5, 7), (3, 4, 2)]),
    ],
)
def test_odd_sizes_round_chroma_up(pixel_format, shapes):
    assert Frame(planes(*shapes), pixel_format).size == (5, 7)


@pytest.mark.parametrize(
    ("pixel_format", "shapes"),
    [("yuv420p", [(5, 7), (2, 3), (2, 3)]), ("nv12", [(4, 4)]), ("rgb24", [(4, 4, 4)])],
)
def test_wrong_planes_are_refused(pixel_format, shapes):
    with pytest.raises(ShapeError, match="expected uint8"):
        Frame(planes(*shapes), pixel_format)


def test_wrong_dtype_and_format_are_refused():
    with pytest.raises(ShapeError, match="expected uint8"):
        Frame((np.zeros((4, 4, 3), np.float32),))
    with pytest.raises(ShapeError, match="'yuv444p' is not supported; expected one of rgb24, yuv420p, nv12"):
        Frame(planes((4, 4)), "yuv444p")
    with pytest.raises(ShapeError, match=r"expected \(H, W, 3\) uint8 RGB"):
        Frame.from_rgb(np.zeros((4, 4), np.uint8))


def test_copy_is_independent_and_keeps_the_rest():
    frame = Frame(planes((4, 4), (2, 2), (2, 2)), "yuv420p", Color("bt601", True), Fraction(1, 3))
    copy = frame.copy()
    copy.planes[0][:] = 9
    assert frame.planes[0].max() == 0
    assert (copy.format, copy.color, copy.time) == ("yuv420p", Color("bt601", True), Fraction(1, 3))
