"""Pictures turned for training: nothing but picture in them, and in the right direction."""

from __future__ import annotations

import math

import pytest
import torch

from ganlens.train.data.variation import turn


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_quarter_turn_moves_pixels(quarters: int) -> None:
    pictures = torch.rand(2, 3, 16, 16) * 2 - 1
    turned = turn(pictures, quarters * math.pi / 2)
    torch.testing.assert_close(turned, torch.rot90(pictures, quarters, (2, 3)), atol=1e-4, rtol=0)


def test_the_square_is_all_picture() -> None:
    assert turn(torch.ones(1, 3, 64, 80), math.pi / 4).shape == (1, 3, 45, 45)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 91), torch.linspace(-1, 1, 91), indexing="ij")
    ramp = (0.5 * (x + y))[None, None].expand(1, 3, 91, 91)
    slanted = turn(ramp, math.pi / 4, 64)
    along = slanted.diff(dim=2).abs().amax().item(), slanted.diff(dim=3).abs().amax().item()
    assert min(along) < 0.2 * max(along), "a diagonal ramp has become one along an axis"


def test_without_room_a_picture_is_turned_to_the_nearest_quarter() -> None:
    pictures = torch.rand(1, 3, 16, 16) * 2 - 1
    torch.testing.assert_close(turn(pictures, 0.6, 16), pictures, atol=1e-4, rtol=0)
    torch.testing.assert_close(turn(pictures, 1.2, 16), torch.rot90(pictures, 1, (2, 3)), atol=1e-4, rtol=0)
