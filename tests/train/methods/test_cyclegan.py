"""CycleGAN's losses term by term, and that each phase moves only its own networks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ganlens.engine.errors import OptionError
from ganlens.train.config import CycleGANConfig
from ganlens.train.data.datasets import UnpairedDataset
from ganlens.train.loop import Trainer, only_trainable
from ganlens.train.losses import LEAST_SQUARES, shift_loss
from ganlens.train.methods.cyclegan import CycleGAN, discriminator_loss, generator_loss, warmup_loss


class Shift(nn.Module):
    """Adds a constant: a generator whose losses can be worked out by hand."""

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = amount

    def forward(self, x: Tensor) -> Tensor:
        return x + self.amount


class Mean(nn.Module):
    """The mean of the picture as its only logit."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((1, 2, 3), keepdim=True)


NETWORKS: dict[str, nn.Module] = {
    "to_painting": Shift(0.5),
    "to_photo": Shift(-0.25),
    "judge_painting": Mean(),
    "judge_photo": Mean(),
}
PHOTO, PAINTING = torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)


def test_generator_terms_by_hand(make_config: Callable[..., CycleGANConfig]) -> None:
    config = make_config(lambda_cyc=10, lambda_identity=0.5)
    total, parts, fakes = generator_loss(NETWORKS, PHOTO, PAINTING, config, LEAST_SQUARES)
    assert parts["adv_painting"].item() == pytest.approx((0.5 - 1) ** 2)
    assert parts["adv_photo"].item() == pytest.approx((0.75 - 1) ** 2)
    assert parts["cycle"].item() == pytest.approx(0.25 + 0.25)
    assert parts["identity"].item() == pytest.approx(0.5 + 0.25)
    assert total.item() == pytest.approx(0.25 + 0.0625 + 10 * 0.5 + 0.5 * 10 * 0.75)
    assert torch.equal(fakes.painting, PHOTO + 0.5)
    assert torch.equal(fakes.photo, PAINTING - 0.25)


def test_no_identity_term_when_its_weight_is_zero(make_config: Callable[..., CycleGANConfig]) -> None:
    total, parts, _ = generator_loss(NETWORKS, PHOTO, PAINTING, make_config(lambda_identity=0), LEAST_SQUARES)
    assert "identity" not in parts
    assert total.item() == pytest.approx(0.25 + 0.0625 + 5)


class Woven(nn.Module):
    """Adds a checkerboard of squares that sticks to the frame, as a generator's grid would."""

    def __init__(self, square: int) -> None:
        super().__init__()
        self.square = square

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = torch.arange(x.shape[2]) // self.square, torch.arange(x.shape[3]) // self.square
        return x + ((rows[:, None] + columns) % 2).to(x)


def test_shift_loss_finds_what_sticks_to_the_grid() -> None:
    photo = torch.rand(2, 3, 64, 72, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert shift_loss(lambda cut: Shift(0.3)(cut(photo)), photo, photo + 0.3).item() == pytest.approx(0, abs=1e-6)

    woven = Woven(4)  # the period is 8 pixels, which no shift is a multiple of
    board = (torch.arange(100) % 8 >= 4).float()
    board = (board[:, None] + board) % 2
    for seed in range(5):
        torch.manual_seed(seed)
        top, left = (8 * int(torch.randint(2, ())) + int(torch.randint(1, 8, ())) for _ in range(2))
        torch.manual_seed(seed)
        loss = shift_loss(lambda cut: woven(cut(photo)), photo, woven(photo))
        moved = board[top : top + 48, left : left + 56]
        assert loss.item() == pytest.approx((moved - board[:48, :56]).abs().mean().item(), abs=1e-5)


def test_shift_loss_moves_both_translations() -> None:
    photo = torch.rand(1, 3, 64, 64)
    translated = (photo + 0.2).requires_grad_()
    generator = nn.Conv2d(3, 3, 1)
    shift_loss(lambda cut: generator(cut(photo)), photo, translated).backward()
    assert translated.grad is not None and translated.grad.abs().sum() > 0
    assert generator.weight.grad is not None and generator.weight.grad.abs().sum() > 0


def test_warmup_asks_for_the_input_back() -> None:
    total, parts, _ = warmup_loss(NETWORKS, PHOTO, PAINTING)
    assert parts["warmup"].item() == pytest.approx(0.75)
    assert total.item() == pytest.approx(7.5)


def test_discriminator_terms_by_hand() -> None:
    fakes = generator_fakes = type("F", (), {"painting": PHOTO + 0.5, "photo": PAINTING - 0.25})()
    total, parts = discriminator_loss(NETWORKS, PHOTO, PAINTING, generator_fakes, LEAST_SQUARES)
    assert parts["judge_painting"].item() == pytest.approx(0.5 * ((1 - 1) ** 2 + 0.5**2))
    assert parts["judge_photo"].item() == pytest.approx(0.5 * ((0 - 1) ** 2 + 0.75**2))
    assert total.item() == pytest.approx(0.125 + 0.5 * (1 + 0.5625))
    assert parts["real_score"].item() == 1
    assert parts["fake_score"].item() == pytest.approx(fakes.painting.mean().item())


def test_fakes_reach_the_discriminators_detached(make_config: Callable[..., CycleGANConfig]) -> None:
    method = CycleGAN(make_config())
    batch = (torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))
    method.generator_step(batch, 0)
    total, _ = method.discriminator_step(batch, 0)
    total.backward()
    for name in ("to_painting", "to_photo"):
        assert all(parameter.grad is None for parameter in method.networks[name].parameters())


def test_discriminators_are_frozen_in_the_generator_phase(make_config: Callable[..., CycleGANConfig]) -> None:
    method = CycleGAN(make_config())
    batch = (torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))
    phase = method.phases[0]
    with only_trainable(method.networks, phase.networks):
        total, _ = phase.loss(batch, 0)
        total.backward()
    for name, network in method.networks.items():
        moved = [parameter.grad is not None for parameter in network.parameters()]
        assert all(moved) if name in phase.networks else not any(moved)
        assert all(parameter.requires_grad for parameter in network.parameters())


def test_a_step_moves_all_networks_once(make_config: Callable[..., CycleGANConfig]) -> None:
    trainer = Trainer(make_config(learning_rate=1e-3))
    before = {
        name: [p.detach().clone() for p in network.parameters()] for name, network in trainer.method.networks.items()
    }
    trainer.update((torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)))
    for name, network in trainer.method.networks.items():
        steps = [
            (p.detach() - old).abs().max().item() for p, old in zip(network.parameters(), before[name], strict=True)
        ]
        assert max(steps) == pytest.approx(1e-3, rel=1e-2)  # Adam's first step is the learning rate


def test_zoom_enlarges_the_paintings_only(make_config: Callable[..., CycleGANConfig]) -> None:
    plain, zoomed = (CycleGAN.make_dataset(make_config(painting_zoom=zoom)) for zoom in (1, 2))
    assert isinstance(plain, UnpairedDataset) and isinstance(zoomed, UnpairedDataset)
    before, after = ([min(domain[0].shape[:2]) for domain in data.domains] for data in (plain, zoomed))
    assert after == [before[0], 2 * before[1]]


def test_losses_with_a_critic_train_the_generators_in_every_fifth_step_only(
    make_config: Callable[..., CycleGANConfig],
) -> None:
    trainer = Trainer(make_config(loss="wgan-gp", steps=10))
    batch = trainer.dataset.preview(1, 32)
    moved = []
    for _ in range(6):
        before = [parameter.detach().clone() for parameter in trainer.method.networks["to_painting"].parameters()]
        trainer.update(batch)
        after = trainer.method.networks["to_painting"].parameters()
        moved.append(any(not torch.equal(old, new) for old, new in zip(before, after, strict=True)))
    assert moved == [False] * 4 + [True, False]
    assert trainer._counts["penalty_painting"] == trainer._counts["penalty_photo"] == 6
    assert Trainer(make_config(loss="wgan-gp", n_critic=2)).method.phases[0].every == 2
    assert Trainer(make_config()).method.phases[0].every == 1


def test_a_loss_that_does_not_fit_is_refused(make_config: Callable[..., CycleGANConfig]) -> None:
    with pytest.raises(OptionError, match="--loss began does not fit: it needs an autoencoder as discriminator"):
        CycleGAN(make_config(loss="began"))
