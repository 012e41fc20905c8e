"""The measures of picture filters, on pictures whose right answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from ganlens.engine.evaluate.measures import (
    FlickerMeter,
    distance,
    frame_line,
    grid,
    statistics,
    synthetic_skies,
    threads,
    turned,
)

SIZE = (160, 192)


def flat(*rgb: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.broadcast_to(np.uint8(rgb), (*size, 3)).copy()


def test_a_grey_picture_has_no_colour_and_a_flat_one_no_contrast():
    grey = statistics([flat(90, 90, 90)])
    assert grey == pytest.approx((0, 0, 0, 0), abs=1e-3)
    halves = flat(255, 255, 255)
    halves[:, : SIZE[1] // 2] = 0
    assert statistics([halves]).contrast == pytest.approx(50), "L of 0 and 100 in equal parts"
    assert statistics([flat(200, 30, 30)]).chroma > 60 and statistics([flat(200, 30, 30)]).spread < 1e-6


def test_l1_is_in_units_of_minus_one_to_one():
    assert distance([flat(0, 0, 0)], [flat(255, 255, 255)]) == pytest.approx(2)


@pytest.mark.parametrize(("period", "amplitude"), [(2, 3.0), (4, 3.0), (8, 3.0)])
def test_a_wave_fixed_to_the_grid_has_its_amplitude(period, amplitude):
    wave = amplitude * np.cos(2 * np.pi * np.arange(SIZE[1]) / period)
    marked = [np.rint(sky + wave[None, :, None]).clip(0, 255).astype(np.uint8) for sky in synthetic_skies(SIZE)]
    found = grid(marked)
    expected = amplitude * (np.sqrt(2) if period == 2 else 1)  # at 2 pixels a wave has twice the power of its sine
    assert found[period] == pytest.approx(expected, rel=0.1)
    assert all(found[other] < 0.5 for other in found if other != period)


def test_skies_themselves_and_strokes_have_no_grid():
    skies = synthetic_skies(SIZE)
    assert max(grid(skies).values()) < 0.2 and frame_line(skies) < 0.2
    wave = 6 * np.cos(2 * np.pi * np.arange(SIZE[1]) / 8.7)  # as strong as a grid, but not fixed to the pixels
    assert grid([(sky + wave[None, :, None]).clip(0, 255).astype(np.uint8) for sky in skies])[8] < 1.5


def test_a_line_around_the_frame():
    skies = synthetic_skies(SIZE)
    for sky in skies:
        sky[:8] = sky[-8:] = sky[:, :8] = sky[:, -8:] = 255
    assert frame_line(skies) > 40


def striped(across: float, down: float) -> np.ndarray:
    """Noise and waves of 5 px at a right angle to the direction (across, down)."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    wave = 8 * np.sin(2 * np.pi * (across * x + down * y) / 5 / np.hypot(across, down))
    noise = np.random.default_rng(0).normal(120, 4, SIZE)
    return (noise + wave).clip(0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)


def test_threads_run_along_rows_and_columns():
    assert threads([striped(1, 0)]) > 10 and threads([striped(0, 1)]) > 10
    assert threads([striped(1, 1)]) < 0.1
    assert threads([flat(90, 90, 90)]) == pytest.approx(1), "only the noise of rounding"
    assert threads([striped(1, 0), striped(1, 1)]) == pytest.approx(1, rel=0.5), "a geometric mean"


@pytest.mark.parametrize("direction", [(1, 0), (0, 1), (1, 1), (1, -1)])
def test_what_was_along_an_axis_or_a_diagonal_is_turned_to_neither(direction):
    picture = turned(striped(*direction))
    assert picture.shape == (*SIZE, 3) and picture.dtype == np.uint8
    assert threads([picture]) == pytest.approx(1, rel=0.5)
    assert np.array_equal(turned(flat(3, 90, 255)), flat(3, 90, 255))


def test_flicker_counts_still_pixels_only():
    meter, random = FlickerMeter(), np.random.default_rng(0)
    source = random.integers(60, 200, (64, 64, 3)).astype(np.uint8)
    for number in range(6):
        moved = source.copy()
        moved[:, 40:] = np.roll(moved[:, 40:], 7 * number, axis=0)
        meter.add(moved, (moved // 2 + 6 * (number % 2)).astype(np.uint8))
    found = meter.value()
    assert found is not None
    assert (found.source, found.result, found.p99) == pytest.approx((0, 6, 6))
    assert 0.4 < found.still < 0.63
    assert FlickerMeter().value() is None
