"""Lab against published values; the transfer reaches its target."""

from __future__ import annotations

import numpy as np
import pytest

from ganlens.train.evaluate.colour_transfer import ColourTransfer, to_lab, to_rgb


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
    ],
)
def test_published_colours(rgb: tuple[int, int, int], lab: tuple[float, float, float]) -> None:
    assert to_lab(np.array([[rgb]], np.uint8))[0, 0] == pytest.approx(lab, abs=0.02)


def test_there_and_back() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    assert np.array_equal(to_rgb(to_lab(pixels)), pixels)


def test_transfer_reaches_mean_and_deviation() -> None:
    random = np.random.default_rng(0)
    source = random.integers(20, 120, (40, 40, 3), dtype=np.uint8)
    target = random.integers(100, 160, (40, 40, 3), dtype=np.uint8)
    transfer = ColourTransfer.fit([target])
    moved, wanted = to_lab(transfer.apply(source)), to_lab(target)
    assert moved.mean((0, 1)) == pytest.approx(wanted.mean((0, 1)), abs=0.7)
    assert moved.std((0, 1)) == pytest.approx(wanted.std((0, 1)), rel=0.05, abs=0.5)


def test_a_flat_picture_stays_flat() -> None:
    transfer = ColourTransfer.fit([np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)])
    moved = transfer.apply(np.full((5, 5, 3), 90, np.uint8))
    assert np.ptp(moved.reshape(-1, 3), axis=0).tolist() == [0, 0, 0]
