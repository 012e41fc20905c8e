"""The style loss: statistics by hand, zero for the same picture, gradients for the translation only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ganlens.engine.errors import OptionError, TrainingError
from ganlens.train.config import CycleGANConfig
from ganlens.train.config import make_config as check_config
from ganlens.train.loop import Trainer
from ganlens.train.losses.style import STYLE_LAYERS, statistics, style_loss
from ganlens.train.methods.cyclegan import CycleGAN
from ganlens.train.networks.vgg16 import VGG16


@pytest.fixture(scope="module")
def network() -> VGG16:
    generator = torch.Generator().manual_seed(0)
    network = VGG16(STYLE_LAYERS[-1])
    for parameter in network.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * (0.06 if parameter.dim() == 4 else 0))
    return network


def test_statistics_by_hand() -> None:
    activations = torch.tensor([[[[1.0, 2.0]], [[3.0, 5.0]]]])  # two channels at two positions
    mean, covariance = statistics(activations)
    assert torch.equal(mean, torch.tensor([[1.5, 4.0]]))
    assert torch.equal(covariance, torch.tensor([[[0.25, 0.5], [0.5, 1.0]]]))


def test_activations_are_the_layers_own(network: VGG16) -> None:
    x = torch.rand(1, 3, 32, 32)
    found = network.activations(x, STYLE_LAYERS)
    assert [h.shape[1] for h in found] == [64, 128, 256]
    assert torch.equal(found[-1], network(x))


def test_zero_for_the_same_picture_and_blind_to_place(network: VGG16) -> None:
    painting = torch.rand(1, 3, 32, 32)
    assert style_loss(network, painting, painting).item() == 0
    shifted = torch.roll(painting, 16, dims=3)
    other = torch.full_like(painting, 0.5)
    assert style_loss(network, shifted, painting) < 0.1 * style_loss(network, other, painting)


def test_colour_of_equal_luminance_is_no_style(network: VGG16) -> None:
    grey = torch.rand(1, 1, 32, 32).expand(1, 3, 32, 32)
    tint = torch.tensor([0.587, -0.299, 0.0]).view(1, 3, 1, 1)  # 0.299 R + 0.587 G + 0.114 B stays
    assert style_loss(network, grey + 0.5 * tint, grey).item() == pytest.approx(0, abs=1e-6)
    assert style_loss(network, 0.5 * grey, grey).item() > 0.01


def test_gradients_reach_the_translation_only(network: VGG16) -> None:
    translated, painting = (torch.rand(1, 3, 32, 32, requires_grad=True) for _ in range(2))
    style_loss(network, translated, painting).backward()
    assert translated.grad is not None and translated.grad.abs().max() > 0
    assert painting.grad is None
    assert all(parameter.grad is None for parameter in network.parameters())


def test_in_a_run(make_config: Callable[..., CycleGANConfig], network: VGG16, tmp_path: Path) -> None:
    weights = tmp_path / "vgg.safetensors"
    save_file(network.state_dict(), weights)
    batch = (torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32))
    trainer = Trainer(make_config(lambda_style=2.0, vgg=str(weights)))
    method = trainer.method
    assert isinstance(method, CycleGAN)
    total, parts = method.generator_step(batch, 0)
    plain = parts["adv_painting"] + parts["adv_photo"] + 10 * parts["cycle"] + 5 * parts["identity"]
    assert total.item() == pytest.approx((plain + 2 * parts["style"]).item(), rel=1e-5)
    assert "vgg" not in method.networks  # fixed: neither trained nor saved
    trainer.update(batch)


def test_weights_are_needed_before_training(tmp_path: Path) -> None:
    needed = {"photos": "a", "paintings": "b", "out": "c", "lambda_style": 1.0}
    with pytest.raises(OptionError, match="lambda_style needs --vgg"):
        check_config(CycleGANConfig, needed)
    with pytest.raises(TrainingError, match="There is no file"):
        CycleGAN(check_config(CycleGANConfig, {**needed, "vgg": str(tmp_path / "vgg.safetensors")}))


def test_the_pull_is_to_the_average_of_the_paintings(network: VGG16, monkeypatch: pytest.MonkeyPatch) -> None:
    # The gradient is linear in the painting's statistics: the mean of two pulls is the pull of the mean.
    own = torch.tensor([[2.0, 1.0]], requires_grad=True)

    def pull(target: list[float]) -> torch.Tensor:
        answers = iter([[(torch.tensor([target]),) * 2], [(own,) * 2]])
        monkeypatch.setattr(VGG16, "activations", lambda *_: next(answers))
        monkeypatch.setattr("ganlens.train.losses.style.statistics", lambda pair: pair)
        monkeypatch.setattr("ganlens.train.losses.style._grey", lambda x: x)
        (gradient,) = torch.autograd.grad(style_loss(network, own, own), own)
        return gradient

    pale, strong, mean = [0.2, 0.1], [4.0, 3.0], [2.1, 1.55]
    assert torch.allclose((pull(pale) + pull(strong)) / 2, pull(mean))
