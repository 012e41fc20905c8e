"""Frames: shapes of each pixel format, and refusals."""

from fractions import Fraction

import numpy as np
import pytest

from ganlens.engine.errors import ShapeError
from ganlens.engine.pixels.frame import Color, Frame, side_by_side


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


def test_views_with_scattered_rows_are_refused_with_the_cure():
    pixels = np.zeros((6, 8, 3), np.uint8)
    for view in (pixels[..., ::-1], pixels[:, ::-1], pixels[:, ::2], pixels.transpose(1, 0, 2)):
        with pytest.raises(ShapeError, match="numpy.ascontiguousarray"):
            Frame.from_rgb(view)
    for view in (pixels[::-1], pixels[2:, 3:], pixels[::2], pixels[:, :1]):
        assert Frame.from_rgb(view).planes[0] is view


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


def test_to_rgb_reads_known_colours():
    """Red in BT.601 limited range is (81, 90, 240), in BT.709 (63, 102, 240)."""
    for matrix, y, cb, cr in (("bt601", 81, 90, 240), ("bt709", 63, 102, 240)):
        filled = tuple(np.full(shape, value, np.uint8) for shape, value in (((5, 7), y), ((3, 4), cb), ((3, 4), cr)))
        rgb = Frame(filled, "yuv420p", Color(matrix)).to_rgb()
        assert rgb.shape == (5, 7, 3)
        np.testing.assert_allclose(rgb, np.broadcast_to([255, 0, 0], rgb.shape), atol=2)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    np.testing.assert_array_equal(Frame.from_rgb(pixels).to_rgb(), pixels)


@pytest.mark.parametrize("width", [6, 7])
def test_side_by_side(width):
    half = (width + 1) // 2
    left = Frame(planes((4, width), (2, half), (2, half)), "yuv420p")
    right = left.copy()
    right.planes[0][:] = 200
    both = side_by_side(left, right)
    kept = width - width % 2
    assert both.size == (4, 2 * kept)
    assert both.planes[0][:, :kept].max() == 0 and both.planes[0][:, kept:].min() == 200
    with pytest.raises(ShapeError, match="expected the same of both"):
        side_by_side(left, Frame(planes((4, 4), (2, 2), (2, 2)), "yuv420p"))
