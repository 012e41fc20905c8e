"""Closed forms on hand-made logits."""

from __future__ import annotations

import pytest
import torch

from ganlens.engine.errors import OptionError
from ganlens.train.losses import ADVERSARIAL_LOSSES, LEAST_SQUARES, add_noise, adversarial_loss, shift_randomly

REAL = torch.tensor([[[[1.0, 0.0]]], [[[2.0, 1.0]]]])
FAKE = torch.tensor([[[[0.0, 1.0]]], [[[3.0, -1.0]]]])


def test_least_squares_has_the_factors_of_cyclegan() -> None:
    assert LEAST_SQUARES.discriminator(REAL, FAKE).item() == pytest.approx(
        0.5 * ((0 + 1 + 1 + 0) / 4 + (0 + 1 + 9 + 1) / 4)
    )
    assert LEAST_SQUARES.generator(FAKE).item() == pytest.approx((1 + 0 + 4 + 4) / 4)


def test_least_squares_is_zero_at_its_optimum() -> None:
    assert LEAST_SQUARES.discriminator(torch.ones(2, 1, 3, 3), torch.zeros(2, 1, 3, 3)).item() == 0
    assert LEAST_SQUARES.generator(torch.ones(2, 1, 3, 3)).item() == 0


@pytest.mark.parametrize("name", sorted(ADVERSARIAL_LOSSES))
def test_gradients_agree_with_finite_differences(name: str) -> None:
    loss = adversarial_loss(name)
    real, fake = (torch.randn(2, 1, 2, 2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(loss.discriminator, (real, fake))
    assert torch.autograd.gradcheck(loss.generator, (fake,))


def test_half_precision_logits_are_averaged_in_float32() -> None:
    large = torch.full((1, 1, 64, 64), 300.0, dtype=torch.float16)
    assert LEAST_SQUARES.generator(large).item() == pytest.approx(299.0**2)


def test_unknown_loss_names_the_known() -> None:
    with pytest.raises(OptionError, match="Did you mean lsgan"):
        adversarial_loss("lsgam")


def test_instance_noise_has_the_asked_deviation_and_none_costs_nothing() -> None:
    images = torch.zeros(1, 3, 64, 64)
    assert add_noise(images, 0.0) is images
    noisy = add_noise(images, 0.25)
    assert noisy.std().item() == pytest.approx(0.25, rel=0.05)
    assert noisy.mean().item() == pytest.approx(0, abs=0.01)


def test_shifts_move_the_whole_batch_by_a_few_pixels_and_mirror_the_border() -> None:
    torch.manual_seed(0)
    images = torch.arange(2 * 64.0).view(2, 1, 8, 8)
    seen = set()
    for _ in range(200):
        moved = shift_randomly(images, 2)
        assert moved.shape == images.shape
        assert torch.equal(moved[1] - moved[0], torch.full((1, 8, 8), 64.0))
        down, right = divmod(int(moved[0, 0, 4, 4]), 8)
        seen.add((down - 4, right - 4))
        inner = images[:, :, down - 2 : down + 2, right - 2 : right + 2]
        assert torch.equal(moved[:, :, 2:6, 2:6], inner)
    assert seen == {(down, right) for down in range(-2, 3) for right in range(-2, 3)}
    assert shift_randomly(images, 0) is images
