"""The reference of the kernels against closed forms and OpenCV."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from ganlens.engine.pixels.reference_kernels import compose, positions, prepare, ramp, resampling, rgb_to_ycbcr


def options(frame_size: tuple[int, int], size: tuple[int, int], **changes: Any) -> dict[str, Any]:
    return {
        "format": "rgb24",
        "frame_size": frame_size,
        "region": (0.0, 0.0, *map(float, frame_size)),
        "size": size,
        "matrix": "bt709",
        "full_range": False,
        "siting": "left",
        "value_range": (0.0, 255.0),
        "bgr": False,
    } | changes


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


# 8-bit codes of known colours, from the matrices of BT.601 and BT.709 (limited range) and of JPEG.
KNOWN = [
    ("bt601", False, (255, 0, 0), (81.48, 90.20, 240.00)),
    ("bt601", False, (0, 255, 0), (144.55, 53.80, 34.21)),
    ("bt709", False, (255, 0, 0), (62.56, 102.34, 240.00)),
    ("bt709", False, (0, 0, 255), (31.81, 240.00, 117.73)),
    ("bt601", True, (255, 0, 0), (76.245, 84.97, 255.5)),
    ("bt709", False, (255, 255, 255), (235, 128, 128)),
    ("bt2020", False, (0, 0, 0), (16, 128, 128)),
    ("bt2020", True, (255, 255, 255), (255, 128, 128)),
]


@pytest.mark.parametrize(("matrix", "full_range", "rgb", "ycbcr"), KNOWN)
def test_known_colours(matrix: str, full_range: bool, rgb: tuple[int, ...], ycbcr: tuple[float, ...]) -> None:
    forward, offset = rgb_to_ycbcr(matrix, full_range)
    assert forward @ np.array(rgb) + offset == pytest.approx(ycbcr, abs=0.02)


def test_identity_size_is_exact_for_rgb() -> None:
    frame = noise(9, 7, 3)
    assert np.array_equal(prepare((frame,), **options((9, 7), (9, 7))), frame.transpose(2, 0, 1))


def test_bgr_reverses_the_planes() -> None:
    frame = noise(4, 4, 3)
    rgb = prepare((frame,), **options((4, 4), (4, 4)))
    assert np.array_equal(prepare((frame,), **options((4, 4), (4, 4), bgr=True)), rgb[::-1])


@pytest.mark.parametrize("size", [(3, 5), (16, 16), (40, 31)])
@pytest.mark.parametrize("siting", ["left", "center", "topleft"])
def test_a_constant_frame_stays_constant(size: tuple[int, int], siting: str) -> None:
    planes = (np.full((15, 17), 62, np.uint8), np.full((8, 9), 102, np.uint8), np.full((8, 9), 240, np.uint8))
    keys = options((15, 17), size, format="yuv420p", siting=siting, region=(-3.0, 2.5, 20.0, 9.0))
    image = prepare(planes, **keys)
    assert np.ptp(image, axis=(1, 2)) == pytest.approx([0, 0, 0], abs=1e-9)
    assert image[:, 0, 0] == pytest.approx([255, 0, 0], abs=1.5)


def test_two_to_one_is_the_triangle_filter() -> None:
    ramp_up = np.arange(8, dtype=np.uint8)[None, :, None].repeat(2, 0).repeat(3, 2) * 8
    image = prepare((ramp_up,), **options((2, 8), (1, 4)))
    # Inside, (1, 3, 3, 1) / 8 of four samples; at the ends the missing sample is the edge's replica.
    assert image[0, 0] == pytest.approx([5, 20, 36, 51])


def test_enlarging_equals_opencv() -> None:
    frame = noise(12, 10, 3)
    ours = prepare((frame,), **options((12, 10), (36, 25)))
    theirs = cv2.resize(frame.astype(np.float32), (25, 36), interpolation=cv2.INTER_LINEAR)
    assert np.abs(ours.transpose(1, 2, 0) - theirs).max() < 1e-3


def test_beyond_the_frame_the_edge_is_replicated() -> None:
    frame = noise(6, 6, 3)
    image = prepare((frame,), **options((6, 6), (10, 12), region=(-2.0, -3.0, 10.0, 12.0)))
    expected = np.pad(frame, ((2, 2), (3, 3), (0, 0)), "edge").transpose(2, 0, 1)
    assert np.array_equal(image, expected)


def test_weights_sum_to_one_and_reach_no_further_than_the_support() -> None:
    weights = resampling(np.array([-4.0, 0.1, 7.3, 30.0]), 2.5, 16)
    assert weights.sum(axis=1) == pytest.approx(np.ones(4))
    assert weights[0, 0] == weights[3, -1] == 1
    assert np.flatnonzero(weights[2]).tolist() == [5, 6, 7, 8, 9]


def test_positions_of_chroma_stay_inside_an_odd_frame() -> None:
    assert positions(3, 5, 2, cosited=False).tolist() == [1, 3, 4.5]
    assert positions(3, 5, 2, cosited=True).tolist() == [0.5, 2.5, 4.5]


def test_ramps_of_neighbouring_tiles_sum_to_one() -> None:
    at = np.arange(8) + 0.5
    assert ramp(at, 8) + ramp(8 - at, 8) == pytest.approx(np.ones(8))


def test_compose_writes_the_inside_only() -> None:
    frame = noise(12, 14, 3)
    before = frame.copy()
    white = np.full((3, 4, 4), 255.0)
    compose(white, (frame,), **options((12, 14), (4, 4), region=(2.5, 3.4, 6.0, 5.0)))
    inside = np.zeros((12, 14), bool)
    inside[2:8, 3:8] = True  # centres in [2.5, 8.5) and [3.4, 8.4)
    assert (frame[inside] == 255).all()
    assert np.array_equal(frame[~inside], before[~inside])


def test_opacity_feather_and_mask_multiply() -> None:
    frame = np.zeros((8, 8, 3), np.uint8)
    white = np.full((3, 8, 8), 255.0)
    compose(white, (frame,), **options((8, 8), (8, 8)), feather=(4, 0, 0, 0), opacity=0.5, mask=np.full((8, 8), 0.5))
    expected = 255 * 0.25 * np.array([0.125, 0.375, 0.625, 0.875, 1, 1, 1, 1])
    assert frame[:, 3, 1] == pytest.approx(expected, abs=0.5)


@pytest.mark.parametrize("format", ["rgb24", "yuv420p"])
def test_full_detail_of_an_unchanged_picture_is_the_picture(format: str) -> None:
    planes = (
        (noise(16, 16, 3),) if format == "rgb24" else (noise(16, 16) // 2 + 60, *(np.full((2, 8, 8), 128, np.uint8)))
    )
    keys = options((16, 16), (8, 8), format=format)
    image = prepare(planes, **keys)
    written = tuple(plane.copy() for plane in planes)
    compose(image, written, **keys, detail=1.0, prepared=image)
    luma = np.array([0.2126, 0.7152, 0.0722])
    before, after = (
        (planes[0] @ luma, written[0] @ luma)
        if format == "rgb24"
        else (planes[0].astype(float), written[0].astype(float))
    )
    clipped = (written[0] == 0) | (written[0] == 255)
    inside = ~clipped.any(axis=-1) if format == "rgb24" else ~clipped
    assert np.abs(before - after)[inside].max() < 1.01
