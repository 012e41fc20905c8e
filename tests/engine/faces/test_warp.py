"""The kernels for a rotated square of a frame, against their NumPy reference and against the upright kernels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ganlens.engine._kernels import Prepare, WarpCompose, WarpPrepare
from ganlens.engine.pixels import reference_kernels as reference

FORMATS = ["rgb24", "yuv420p", "nv12"]
SIZE = (24, 20)

# frame size, centre (x, y) of the square, its height in frame pixels, degrees
PLACES = {
    "upright, enlarged": ((40, 52), (26.0, 20.0), 18.0, 0.0),
    "upright, shrunk": ((90, 100), (50.0, 45.0), 70.0, 0.0),
    "rotated, enlarged": ((40, 52), (25.3, 21.7), 17.0, 17.0),
    "rotated, shrunk": ((90, 101), (47.9, 44.2), 66.0, -31.0),
    "upside down": ((50, 60), (30.0, 25.0), 30.0, 180.0),
    "over the left and upper border": ((41, 53), (3.0, 2.0), 30.0, 12.0),
    "over the right and lower border": ((41, 53), (51.0, 40.0), 24.0, -50.0),
    "outside": ((20, 20), (60.0, 60.0), 10.0, 5.0),
    "tiny": ((33, 47), (20.2, 15.1), 1.5, 40.0),
    "one-pixel frame": ((1, 1), (0.5, 0.5), 5.0, 10.0),
}
each_format = pytest.mark.parametrize("format", FORMATS)
each_place = pytest.mark.parametrize("place", PLACES)


def similarity(centre: tuple[float, float], height: float, degrees: float) -> tuple[float, float, float, float]:
    """The square of the tensor's shape around ``centre``, turned by ``degrees``."""
    scale, angle = SIZE[0] / height, math.radians(degrees)
    a, b = scale * math.cos(angle), -scale * math.sin(angle)
    x, y = centre
    return a, b, SIZE[1] / 2 - (a * x - b * y), SIZE[0] / 2 - (b * x + a * y)


def options(format: str, **changes: Any) -> dict[str, Any]:
    return {
        "format": format,
        "size": SIZE,
        "matrix": "bt709",
        "full_range": False,
        "siting": "left",
        "value_range": (-1.0, 1.0),
        "bgr": False,
    } | changes


def planes_of(format: str, size: tuple[int, int], seed: int = 0, padding: int = 0) -> tuple[NDArray[np.uint8], ...]:
    random = np.random.default_rng(seed)
    half = -(-size[0] // 2), -(-size[1] // 2)
    shapes: dict[str, list[tuple[int, ...]]] = {
        "rgb24": [(*size, 3)],
        "yuv420p": [size, half, half],
        "nv12": [size, (*half, 2)],
    }
    planes = []
    for shape in shapes[format]:
        row = int(np.prod(shape[1:]))
        planes.append(random.integers(0, 256, (shape[0], row + padding), dtype=np.uint8)[:, :row].reshape(shape))
    return tuple(planes)


def noise(*shape: int, low: float = -1.1, high: float = 1.1, seed: int = 5) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


@each_format
@each_place
def test_prepare_is_the_reference(format: str, place: str) -> None:
    frame_size, *where = PLACES[place]
    for siting, bgr, value_range in (
        ("left", False, (-1.0, 1.0)),
        ("topleft", True, (0.0, 255.0)),
        ("center", False, (0.0, 1.0)),
    ):
        keys = options(format, siting=siting, bgr=bgr, value_range=value_range)
        planes = planes_of(format, frame_size, padding=5)
        out = np.full((3, *SIZE), np.nan, np.float32)
        WarpPrepare(**keys, frame_size=frame_size)(planes, similarity(*where), out)
        expected = reference.warp_prepare(planes, similarity(*where), **keys)
        assert np.abs(out - expected).max() * 255 / (value_range[1] - value_range[0]) < 0.02


@each_format
@pytest.mark.parametrize("matrix", ["bt601", "bt2020"])
def test_prepare_upright_is_the_upright_reference(format: str, matrix: str) -> None:
    """Not turned, the square is a region; one filter serves both."""
    planes = planes_of(format, (90, 101))
    keys = options(format, matrix=matrix, full_range=True)
    for height in (15.0, 24.0, 65.0):
        width = height * SIZE[1] / SIZE[0]
        region = (45.5 - height / 2, 47.25 - width / 2, height, width)
        expected = reference.prepare(planes, **keys, frame_size=(90, 101), region=region)
        out = np.empty((3, *SIZE), np.float32)
        WarpPrepare(**keys, frame_size=(90, 101))(planes, similarity((47.25, 45.5), height, 0.0), out)
        assert np.abs(out - expected).max() < 1e-3
        upright = np.empty_like(out)
        Prepare(**keys, frame_size=(90, 101), region=region)(planes, upright)
        assert np.abs(out - upright).max() < 0.5 * 2 / 255


@each_format
@each_place
@pytest.mark.parametrize("composed", [True, False])
def test_compose_is_the_reference_and_touches_nothing_outside(format: str, place: str, composed: bool) -> None:
    frame_size, *where = PLACES[place]
    shown = noise(*SIZE, low=-0.2, high=1.2, seed=6)
    for siting, detail, mask in (("left", 0.0, shown), ("topleft", 0.6, shown), ("center", 1.0, shown)):
        keys = options(format, siting=siting, frame_size=frame_size)
        edges = {"border": 1.5, "feather": 3.0, "detail": detail}
        before = planes_of(format, frame_size, seed=7, padding=3)
        written, expected = (tuple(plane.copy() for plane in before) for _ in range(2))
        arguments = noise(3, *SIZE), noise(3, *SIZE, seed=8)
        WarpCompose(**keys, **edges)(*arguments, written, similarity(*where), composed=composed, mask=mask, opacity=0.8)
        reference.warp_compose(
            *arguments, expected, similarity(*where), **keys, **edges, composed=composed, mask=mask, opacity=0.8
        )
        for ours, theirs in zip(written, expected, strict=True):
            assert np.abs(ours.astype(int) - theirs).max() <= 1
        for index, (ours, original) in enumerate(
            zip(reference.split(written, format), reference.split(before, format), strict=True)
        ):
            assert np.array_equal(ours[outside(index, keys, where, 1.5)], original[outside(index, keys, where, 1.5)])


def outside(plane: int, keys: dict[str, Any], where: list[Any], border: float) -> NDArray[np.bool_]:
    """The samples that lie beyond ``border`` tensor pixels inside the square, told by the square's own axes."""
    centre, height, degrees = where
    step, cosited = reference.grid(keys["format"], plane, keys["siting"])
    frame_height, frame_width = keys["frame_size"]
    y = reference.positions(-(-frame_height // step), frame_height, step, cosited[0])[:, None] - centre[1]
    x = reference.positions(-(-frame_width // step), frame_width, step, cosited[1])[None, :] - centre[0]
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    pixel = height / SIZE[0]
    along, across = np.abs(x * cosine + y * sine), np.abs(y * cosine - x * sine)
    return (along > (SIZE[1] / 2 - border) * pixel + 1e-9) | (across > (SIZE[0] / 2 - border) * pixel + 1e-9)


@each_format
def test_an_unchanged_crop_leaves_the_frame_bit_for_bit(format: str) -> None:
    """What the mask does not show is not blurred by the way through the generator's size."""
    before = planes_of(format, (90, 101))
    where = similarity((50.0, 45.0), 60.0, 21.0)
    keys = options(format, frame_size=(90, 101))
    seen = np.empty((3, *SIZE), np.float32)
    WarpPrepare(**keys)(before, where, seen)
    for detail, mask in ((0.0, np.zeros(SIZE, np.float32)), (1.0, np.ones(SIZE, np.float32))):
        written = tuple(plane.copy() for plane in before)
        WarpCompose(**keys, detail=detail)(seen, seen, written, where, composed=True, mask=mask)
        for plane, original in zip(written, before, strict=True):
            assert np.array_equal(plane, original)


@each_format
def test_a_full_mask_without_detail_shows_the_answer(format: str) -> None:
    frame = planes_of(format, (60, 60))
    where = similarity((30.0, 30.0), 40.0, 30.0)
    white = np.ones((3, *SIZE), np.float32)
    WarpCompose(**options(format, frame_size=(60, 60)))(white, noise(3, *SIZE), frame, where, composed=True)
    middle = [plane[plane.shape[0] // 2, plane.shape[1] // 2] for plane in frame]
    assert np.ravel(middle[0]).tolist() == ([255] * 3 if format == "rgb24" else [235])
    if format != "rgb24":
        assert np.concatenate([np.ravel(part) for part in middle[1:]]).tolist() == [128, 128]


def test_a_mark_comes_back_to_where_it_was() -> None:
    """Out of the frame, inverted, back into it: the same place, rotated back."""
    frame = np.full((100, 100, 3), 100, np.uint8)
    frame[40:44, 60:64] = 220
    where = similarity((55.0, 45.0), 50.0, 35.0)
    keys = options("rgb24", frame_size=(100, 100), size=(64, 64))
    scale = 64 / SIZE[0]
    a, b, u, v = (value * scale for value in where)
    u += 32 - SIZE[1] / 2 * scale
    seen = np.empty((3, 64, 64), np.float32)
    WarpPrepare(**keys)((frame,), (a, b, u, v), seen)
    written = frame.copy()
    WarpCompose(**keys, feather=4.0)(-seen, seen, (written,), (a, b, u, v), composed=True)
    changed = np.abs(written.astype(int) - frame).sum(axis=2)
    assert written[42, 62, 0] < 60 and written[30, 55, 0] > 140
    assert np.argwhere(changed > 400).mean(axis=0) == pytest.approx([41.5, 61.5], abs=0.5)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"similarity": (math.nan, 0, 0, 0)}, "similarity: got .nan, 0, 0, 0., expected"),
        ({"similarity": (0, 0, 0, 0)}, "scale from 0.001 to 1000"),
        ({"opacity": 1.5}, "opacity: got 1.5, expected 0 to 1"),
        ({"composed": False}, "a segment needs one"),
        ({"mask": np.ones((3, 3), np.float32)}, "mask: got an array of shape .3, 3."),
    ],
)
def test_wrong_arguments_are_named(change: dict[str, Any], error: str) -> None:
    call: dict[str, Any] = {"similarity": similarity((5, 5), 5, 0), "composed": True} | change
    compose = WarpCompose(**options("rgb24", frame_size=(10, 10)))
    with pytest.raises(ValueError, match=error):
        compose(noise(3, *SIZE), noise(3, *SIZE), planes_of("rgb24", (10, 10)), **call)


def test_wrong_options_are_named() -> None:
    with pytest.raises(ValueError, match="border or feather width: got -1"):
        WarpCompose(**options("rgb24", frame_size=(10, 10)), border=-1)
    with pytest.raises(ValueError, match="detail: got 2"):
        WarpCompose(**options("rgb24", frame_size=(10, 10)), detail=2)
