"""ACL-GAN's attribute loss against its written form; don't-care gradients; penalties against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from ganlens.engine.errors import OptionError
from ganlens.train.losses.attribute import (
    ATTRIBUTE_LOSSES,
    PENALTIES,
    active_r1_penalty,
    attribute_loss,
    mean_penalty,
    per_attribute_penalty,
    with_complement,
)
from ganlens.train.networks import AttributeDiscriminator

ATT = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
TARGET = torch.tensor([[0.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
REAL = torch.tensor([[0.5, 9.0, 2.0], [7.0, -5.0, 1.0]])
FAKE = torch.tensor([[3.0, 0.5, 8.0], [1.0, -1.0, 4.0]])


def test_least_squares_is_the_formula_of_the_paper() -> None:
    loss = attribute_loss("lsgan")
    real = ((0.5 - 1) ** 2 + (2 - 1) ** 2 + (1 - 1) ** 2) / 2  # summed over active attributes, mean over two samples
    fake = (0.5**2 + 1**2 + (-1) ** 2) / 2
    assert loss.discriminator_loss(REAL, ATT, FAKE, TARGET) == pytest.approx(real + fake)
    wish = ((0.5 - 1) ** 2 + (1 - 1) ** 2 + (-1 - 1) ** 2) / 2
    assert loss.generator_loss(FAKE, TARGET) == pytest.approx(wish)


def test_wgan_is_a_difference_of_scores() -> None:
    loss = attribute_loss("wgan-gp")
    assert loss.discriminator_loss(REAL, ATT, FAKE, TARGET) == pytest.approx((-0.5 - 2 - 1 + 0.5 + 1 - 1) / 2)
    assert loss.generator_loss(FAKE, TARGET) == pytest.approx(-(0.5 + 1 - 1) / 2)


def test_logistic_is_cross_entropy_and_does_not_overflow() -> None:
    loss = attribute_loss("logistic")
    one = torch.ones(1, 1)
    assert loss.discriminator_loss(torch.tensor([[2.0]]), one, torch.tensor([[-1.0]]), one) == pytest.approx(
        -math.log(1 / (1 + math.exp(-2))) - math.log(1 - 1 / (1 + math.exp(1)))
    )
    assert loss.generator_loss(torch.tensor([[-1000.0]]), one) == pytest.approx(1000)


def test_logistic_takes_one_score_for_each_sample_the_sum_of_its_active_heads() -> None:
    loss = attribute_loss("logistic")

    def softplus(value: float) -> float:
        return math.log1p(math.exp(value))

    real = (softplus(-(0.5 + 2)) + softplus(-1)) / 2
    fake = (softplus(0.5) + softplus(1 - 1)) / 2
    assert loss.discriminator_loss(REAL, ATT, FAKE, TARGET) == pytest.approx(real + fake)
    assert loss.generator_loss(FAKE, TARGET) == pytest.approx((softplus(-0.5) + softplus(0)) / 2)


@pytest.mark.parametrize("name", sorted(ATTRIBUTE_LOSSES))
def test_an_attribute_that_is_0_gets_exactly_no_gradient(name: str) -> None:
    loss = attribute_loss(name)
    real, fake = REAL.clone().requires_grad_(True), FAKE.clone().requires_grad_(True)
    loss.discriminator_loss(real, ATT, fake, TARGET).backward()
    for scores, labels in ((real, ATT), (fake, TARGET)):
        assert bool((scores.grad[labels == 0] == 0).all())
    assert bool((real.grad[ATT == 1] != 0).any())
    fake.grad = None
    loss.generator_loss(fake, TARGET).backward()
    assert bool((fake.grad[TARGET == 0] == 0).all())
    assert bool((fake.grad[TARGET == 1] != 0).any())


def test_through_a_network_a_head_without_active_sample_keeps_its_weights() -> None:
    discriminator = AttributeDiscriminator(32, 3, 4)
    x, fake = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32, requires_grad=True)
    att = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    loss = attribute_loss("lsgan")
    loss.discriminator_loss(discriminator(x), att, discriminator(fake), att).backward()
    heads = discriminator.attributes.weight.grad.flatten(1).abs().sum(1)
    assert heads[0] > 0
    assert heads[1] == heads[2] == 0
    assert fake.grad[0].abs().sum() > 0
    assert fake.grad[1].abs().sum() == 0  # all its attributes are 0: nothing is asked of it


def test_complement_makes_half_of_the_labels_hold() -> None:
    both = with_complement(ATT)
    assert both.shape == (2, 6)
    assert bool((both.sum(1) == 3).all())
    assert torch.equal(both[:, :3] + both[:, 3:], torch.ones(2, 3))


class Linear(nn.Module):
    """Scores that are linear in the picture: head c has a gradient of norm ``norms[c]`` everywhere."""

    def __init__(self, norms: list[float]) -> None:
        super().__init__()
        directions = torch.eye(12)[: len(norms)] * torch.tensor(norms)[:, None]
        self.weight = nn.Parameter(directions)

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T


@pytest.fixture
def pictures() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.rand(2, 3, 2, 2), torch.rand(2, 3, 2, 2)


def test_mean_penalty(pictures: tuple[Tensor, Tensor]) -> None:
    real, fake = pictures
    expected = (math.hypot(3, 4, 12) / 3 - 1) ** 2  # the three gradients are orthogonal
    assert mean_penalty(Linear([3, 4, 12]), real, ATT, fake, TARGET).item() == pytest.approx(expected, rel=1e-5)


def test_per_attribute_penalty_counts_what_is_active_in_the_fake(pictures: tuple[Tensor, Tensor]) -> None:
    real, fake = pictures
    expected = ((4 - 1) ** 2 + (3 - 1) ** 2 + (4 - 1) ** 2) / 2  # TARGET: sample 1 has head 1, sample 2 heads 0 and 1
    penalty = per_attribute_penalty(Linear([3, 4, 12]), real, ATT, fake, TARGET)
    assert penalty.item() == pytest.approx(expected, rel=1e-5)


def test_active_r1_penalty(pictures: tuple[Tensor, Tensor]) -> None:
    real, fake = pictures
    expected = (9 + 144 + 144) / 2 + (16 + 9 + 16) / 2  # squared norms of the active heads' gradients
    penalty = active_r1_penalty(Linear([3, 4, 12]), real, ATT, fake, TARGET)
    assert penalty.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", sorted(PENALTIES))
def test_penalties_teach_the_discriminator(name: str, pictures: tuple[Tensor, Tensor]) -> None:
    network = Linear([3, 4, 12])
    PENALTIES[name][0](network, pictures[0], ATT, pictures[1], TARGET).backward()
    assert network.weight.grad is not None
    assert network.weight.grad.abs().sum() > 0


def test_unknown_loss() -> None:
    with pytest.raises(OptionError, match="Did you mean lsgan"):
        attribute_loss("lsgans")


def test_the_literal_form_lets_a_rare_attribute_weigh_as_much_as_a_frequent_one() -> None:
    """The weight of a sample's score, in closed form, where 4 of 100 samples have one attribute and 50 the other."""
    att = torch.zeros(100, 2)
    att[:4, 0], att[:50, 1] = 1, 1
    weights = {}
    for each in (False, True):
        loss = attribute_loss("lsgan", each=each)
        scores = torch.zeros(100, 2, requires_grad=True)
        (gradient,) = torch.autograd.grad(loss.generator_loss(scores, att), scores)
        assert float(gradient[att == 0].abs().sum()) == 0  # "don't care"
        weights[each] = gradient[0] / -2  # of (s - 1)^2 at 0
        assert gradient.sum(dim=0).tolist() == pytest.approx([-2, -2] if each else [-0.08, -1])
    assert weights[False].tolist() == pytest.approx([1 / 100, 1 / 100])
    assert weights[True].tolist() == pytest.approx([1 / 4, 1 / 50])


def test_the_literal_form_leaves_out_an_attribute_that_nobody_has() -> None:
    loss = attribute_loss("lsgan", each=True)
    att = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    scores = torch.tensor([[0.0, 9.0], [2.0, 9.0]])
    assert loss.discriminator_loss(scores, att, scores, att) == pytest.approx((1 + 1) / 2 + (0 + 4) / 2)
