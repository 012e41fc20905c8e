"""What helps where pictures are few: DiffAugment, R1, spectral norm, hinge."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganlens.engine.errors import OptionError
from ganlens.train.config import AttributeConfig, CycleGANConfig, DCGANConfig, make_config
from ganlens.train.config.critic import AUGMENTATION_NAMES
from ganlens.train.loop import Trainer, train
from ganlens.train.losses import AUGMENTATIONS, Hinge, disturb, r1_penalty, score_loss
from ganlens.train.networks import PatchGAN, ScoreCritic
from ganlens.train.networks.layers import normalise_spectrally


def test_the_names_are_those_of_the_configuration() -> None:
    assert tuple(AUGMENTATIONS) == AUGMENTATION_NAMES


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentations_are_differentiable_and_differ_from_picture_to_picture(name: str) -> None:
    torch.manual_seed(0)
    picture = (torch.arange(3 * 16 * 16).reshape(1, 3, 16, 16) / 768).expand(8, -1, -1, -1).clone().requires_grad_()
    made = disturb(picture, augment=(name,))
    assert made.shape == picture.shape
    assert len({tuple(one.flatten().tolist()) for one in made}) > 1
    (gradient,) = torch.autograd.grad(made.square().sum(), picture, create_graph=True)
    assert gradient.detach().abs().sum() > 0 and gradient.requires_grad  # twice, for penalties


def test_a_translation_moves_at_most_an_eighth() -> None:
    torch.manual_seed(1)
    picture = torch.zeros(200, 1, 16, 16)
    picture[:, 0, 8, 8] = 1
    places = disturb(picture, augment=("translation",)).flatten(1).argmax(dim=1)
    rows, columns = places // 16, places % 16
    assert set(rows.tolist()) == set(columns.tolist()) == {6, 7, 8, 9, 10}


def test_a_cutout_is_a_square_of_half_the_side() -> None:
    torch.manual_seed(1)
    gone = 1 - disturb(torch.ones(200, 3, 16, 16), augment=("cutout",))
    assert set(gone.unique().tolist()) == {0.0, 1.0}
    counts = gone[:, 0].sum(dim=(1, 2))
    assert counts.max() == 64 and counts.min() >= 16  # its centre is in the picture
    assert torch.equal(gone[:, 0], gone[:, 1])


def test_colour_keeps_shapes() -> None:
    torch.manual_seed(1)
    picture = torch.rand(1, 3, 8, 8).expand(50, -1, -1, -1)
    made = disturb(picture, augment=("color",))
    flat = picture[:, :, :1, :1].expand_as(picture)
    changed = disturb(flat, augment=("color",))
    assert changed.std(dim=(2, 3)).max() < 1e-6  # no pattern where there was none
    assert (made.mean(dim=(1, 2, 3)) - picture.mean(dim=(1, 2, 3))).abs().max() <= 0.5 + 1e-5  # brightness alone


def test_r1_of_a_linear_critic_is_half_its_squared_weights() -> None:
    weights = torch.tensor([3.0, 4.0])
    assert r1_penalty(lambda x: x @ weights, torch.randn(5, 2)) == pytest.approx(12.5)
    loss = score_loss("gan", r1=2.0)
    assert loss.penalty(lambda x: x @ weights, torch.randn(5, 2), torch.randn(5, 2)) == pytest.approx(25.0)
    assert score_loss("gan").penalty(lambda x: x @ weights, torch.randn(5, 2), torch.randn(5, 2)) is None


def test_hinge() -> None:
    loss = Hinge()
    assert loss.discriminator(torch.tensor([2.0, 0.0]), torch.tensor([-3.0, 1.0])) == pytest.approx(0.5 + 1.0)
    assert loss.generator(torch.tensor([2.0, -1.0])) == pytest.approx(-0.5)


def test_spectral_norm_bounds_every_layer() -> None:
    torch.manual_seed(0)
    critic = ScoreCritic(16, 4, "none")
    normalise_spectrally(critic)
    for _ in range(20):  # power iterations
        critic(torch.randn(2, 3, 16, 16))
    layers = [layer for layer in critic.modules() if isinstance(layer, nn.Conv2d)]
    assert len(layers) == 3
    for layer in layers:
        assert torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("changes", [{"loss": "hinge", "spectral_norm": True}, {"augment": "color,cutout", "r1": 1.0}])
def test_runs_with_them_resume_exactly(
    make_config: Callable[..., CycleGANConfig], tmp_path: Path, changes: dict[str, Any]
) -> None:
    whole = make_config(out=str(tmp_path / "whole"), steps=3, **changes)
    assert train(whole)
    first = Trainer(make_config(out=str(tmp_path / "parts"), steps=2, decay_steps=1, **changes))
    assert first.fit()
    assert first.method.networks["judge_painting"](torch.zeros(1, 3, 32, 32)).isfinite().all()
    again = Trainer(make_config(out=str(tmp_path / "parts"), steps=3, **changes), resume=True)
    assert again.fit() and again.step == 3


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("acl-gan", {"augment": "translation", "spectral_norm": True, "loss": "hinge"}),
        ("dcgan", {"augment": "color", "r1": 1.0, "loss": "cgan", "width": 2}),
        ("dcgan", {"loss": "hinge", "spectral_norm": True, "width": 2}),
    ],
)
def test_methods_with_faces_take_them(
    edit_config: Callable[..., AttributeConfig], faces: Path, tmp_path: Path, method: str, changes: dict[str, Any]
) -> None:
    if method == "dcgan":
        common = {"data": str(faces), "out": str(tmp_path / "run"), "size": 32, "load_size": 36, "batch": 4, "steps": 2}
        if changes["loss"] == "cgan":
            common["attributes"] = "Smiling,Young"
        assert train(DCGANConfig(**common, **changes, holdout=3, sample_every=0))
    else:
        assert train(edit_config(method, steps=2, **changes))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"augment": "blur"}, "augment knows color, translation, cutout, got blur"),
        ({"loss": "wgan-gp", "r1": 1.0}, "--r1 has no effect with --loss wgan-gp"),
        ({"loss": "wgan", "spectral_norm": True}, "--spectral-norm has no effect with --loss wgan"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(OptionError, match=told):
        make_config(DCGANConfig, {"data": "d", "out": "o", **changes})


def test_a_patch_critic_takes_r1() -> None:
    critic: Callable[[Tensor], Tensor] = PatchGAN(4)
    assert r1_penalty(critic, torch.randn(2, 3, 32, 32)).detach() > 0
