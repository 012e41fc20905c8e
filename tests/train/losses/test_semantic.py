"""The improved CycleGAN: leaky generators, the semantic loss in closed form, and the variants that combine them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from ganlens.engine.errors import OptionError
from ganlens.train.checkpoint import load_generator
from ganlens.train.cli import app
from ganlens.train.config import CycleGANConfig, VGGScaling
from ganlens.train.config import make_config as checked
from ganlens.train.losses import LEAST_SQUARES
from ganlens.train.losses.semantic import random_piece, semantic_loss
from ganlens.train.methods.cyclegan import CycleGAN, generator_loss
from ganlens.train.networks import ResNetGenerator
from ganlens.train.networks.vgg16 import DEVIATION, MEAN, MEAN_RGB, VGG16
from tests.kit.vgg import save_vgg

Config = Callable[..., CycleGANConfig]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_vgg(tmp_path_factory.mktemp("vgg") / "vgg16.safetensors", "relu4_3")


def copying_vgg(scaling: VGGScaling = "caffe") -> VGG16:
    """relu1_1 whose first three channels are the scaled input, the rest zero."""
    network = VGG16("relu1_1", scaling)
    with torch.no_grad():
        convolution = network.features[0]
        assert isinstance(convolution, nn.Conv2d) and convolution.bias is not None
        convolution.weight.zero_()
        convolution.bias.zero_()
        for channel in range(3):
            convolution.weight[channel, channel, 1, 1] = 1
    return network


def test_both_scalings_of_the_input() -> None:
    white, black = torch.ones(1, 3, 4, 4), -torch.ones(1, 3, 4, 4)
    caffe, torchvision = copying_vgg()(white), copying_vgg("torchvision")(white)
    for channel in range(3):
        assert torch.allclose(caffe[0, channel], torch.tensor(255 - MEAN_RGB[channel]))
        assert torch.allclose(torchvision[0, channel], torch.tensor((1 - MEAN[channel]) / DEVIATION[channel]))
    assert copying_vgg()(black).max() == 0  # below the mean: the ReLU
    assert torch.equal(copying_vgg().activations(white, ("relu1_1",))[0], caffe)


def test_semantic_loss_in_closed_form() -> None:
    network = copying_vgg()
    original, returned = torch.full((2, 3, 4, 4), 0.5), torch.full((2, 3, 4, 4), 0.6)
    step = 0.1 * 127.5  # in 3 of the 64 channels
    assert semantic_loss(network, returned, original).item() == pytest.approx(3 / 64 * step**2, rel=1e-4)
    assert semantic_loss(network, returned, original, "l1").item() == pytest.approx(3 / 64 * step, rel=1e-4)
    assert semantic_loss(network, original, original).item() == 0


def test_only_what_came_back_gets_a_gradient(weights: Path) -> None:
    network = VGG16.load(weights, "relu4_3")
    original, returned = (torch.rand(1, 3, 16, 16, requires_grad=True) for _ in range(2))
    semantic_loss(network, returned, original).backward()
    assert original.grad is None and returned.grad is not None and returned.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in network.parameters())


def test_gradient_of_the_semantic_loss_by_differences(weights: Path) -> None:
    network = VGG16.load(weights, "relu2_2").double()
    original, returned = torch.rand(2, 1, 3, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    returned.requires_grad_()
    loss = semantic_loss(network, returned, original)
    loss.backward()
    assert returned.grad is not None
    direction = torch.randn(returned.shape, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        ahead, behind = (semantic_loss(network, returned + h * direction, original) for h in (1e-6, -1e-6))
    slope = (ahead - behind).item() / 2e-6
    assert slope == pytest.approx((returned.grad * direction).sum().item(), rel=1e-5)


class Shift(nn.Module):
    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = nn.Parameter(torch.tensor(amount))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.amount


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((1, 2, 3), keepdim=True)


def test_generator_loss_adds_both_directions(make_config: Config) -> None:
    config = make_config(variant="semantic", vgg="unused", lambda_identity=0)
    networks = {
        "to_painting": Shift(0.2),
        "to_photo": Shift(0.1),
        "judge_painting": Mean(),
        "judge_photo": Mean(),
    }
    photo, painting = torch.full((1, 3, 4, 4), 0.25), torch.full((1, 3, 4, 4), 0.5)
    total, parts, _ = generator_loss(networks, photo, painting, config, LEAST_SQUARES, meaning=copying_vgg())
    each = 3 / 64 * (0.3 * 127.5) ** 2
    assert parts["semantic"].item() == pytest.approx(2 * each, rel=1e-4)
    plain = make_config(lambda_identity=0)
    base, base_parts, _ = generator_loss(networks, photo, painting, plain, LEAST_SQUARES)
    assert "semantic" not in base_parts
    assert total.item() - base.item() == pytest.approx(5e-5 * 2 * each, rel=1e-3)
    parts["semantic"].backward()
    for name in ("to_painting", "to_photo"):  # each is in both cycles
        gradient = next(networks[name].parameters()).grad
        assert gradient is not None and gradient.item() == pytest.approx(2 * 2 * each / 0.3, rel=1e-3)


def test_a_piece_is_the_same_of_both() -> None:
    x = torch.arange(2 * 8 * 8.0).view(1, 2, 8, 8)
    places = set()
    for _ in range(40):
        first, second = random_piece((x, -x), 5)
        assert first.shape == (1, 2, 5, 5) and torch.equal(first, -second)
        places.add(int(first[0, 0, 0, 0]))
    assert len(places) > 8 and max(places) == 8 * 3 + 3  # of 16 places
    assert random_piece((x, -x), 0)[0] is x


def test_leaky_takes_the_place_of_every_relu_of_the_generators() -> None:
    plain, leaky = (ResNetGenerator(2, activation=kind, width=8) for kind in ("relu", "leaky"))
    count = sum(isinstance(module, nn.ReLU) for module in plain.modules())
    slopes = [module.negative_slope for module in leaky.modules() if isinstance(module, nn.LeakyReLU)]
    assert slopes == [0.01] * count and count == 3 + 2 + 2
    assert not any(isinstance(module, nn.ReLU) for module in leaky.modules())
    assert sum(p.numel() for p in plain.parameters()) == sum(p.numel() for p in leaky.parameters())


@pytest.mark.parametrize(
    ("variant", "leaky", "weight"),
    [("base", False, 0), ("leaky", True, 0), ("semantic", False, 5e-5), ("hybrid", True, 5e-5)],
)
def test_variants(make_config: Config, weights: Path, variant: str, leaky: bool, weight: float) -> None:
    config = make_config(variant=variant, vgg=str(weights) if weight else "")
    assert config.semantic_weight == weight
    method = CycleGAN(config)
    for name in ("to_painting", "to_photo"):
        kinds = {type(module) for module in method.networks[name].modules()}
        assert (nn.LeakyReLU in kinds, nn.ReLU in kinds) == (leaky, not leaky)
    for name in ("judge_painting", "judge_photo"):
        modules = method.networks[name].modules()
        assert {module.negative_slope for module in modules if isinstance(module, nn.LeakyReLU)} == {0.2}
    assert ("meaning" in method.fixed) == bool(weight)
    if weight:
        meaning = method.fixed["meaning"]
        assert isinstance(meaning, VGG16) and meaning.layer == "relu4_3"
        assert not any(parameter.requires_grad for parameter in meaning.parameters())


def test_weights_of_the_semantic_loss(make_config: Config) -> None:
    assert make_config(variant="semantic", vgg="x", vgg_scaling="torchvision").semantic_weight == 0.15
    assert make_config(variant="hybrid", vgg="x", semantic_distance="l1", lambda_semantic=0.01).semantic_weight == 0.01


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"variant": "semantic"}, "variant semantic needs --vgg"),
        ({"variant": "leaky", "activation": "relu"}, "variant leaky has leaky generators"),
        ({"lambda_semantic": 1e-4}, "variant base has no semantic loss"),
        ({"variant": "hybrid", "vgg": "x", "semantic_distance": "l1"}, "no default for relu4_3, l1"),
        ({"variant": "hybrid", "vgg": "x", "semantic_layer": "relu3_3"}, "no default for relu3_3, mse"),
        ({"variant": "semantic", "vgg": "x", "semantic_layer": "relu5_3"}, "--semantic-layer"),
        ({"variant": "semantic", "vgg": "x", "size": 64, "semantic_crop": 72}, "larger than the training crop"),
    ],
)
def test_options_that_do_not_fit(make_config: Config, options: dict[str, object], complaint: str) -> None:
    values = {"photos": "a", "paintings": "b", "out": "c", **options}
    with pytest.raises(OptionError, match=complaint):
        checked(CycleGANConfig, values)


def test_command(folders: tuple[Path, Path], weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "hybrid"
    words = ["cyclegan", "--photos", folders[0], "--paintings", folders[1], "--out", out, "--variant", "hybrid"]
    words += ["--vgg", weights, "--tier", "nano", "--size", 32, "--steps", 2, "--discriminator-width", 8]
    words += ["--semantic-crop", 16, "--sample-every", 0]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    assert load_generator(out)[1].options["activation"] == "leaky"
    again = CliRunner().invoke(app, ["cyclegan", "--out", str(out), "--resume", "--steps", "3"])
    assert again.exit_code == 0, again.output
    changed = CliRunner().invoke(app, ["cyclegan", "--out", str(out), "--resume", "--steps", "4", "--variant", "leaky"])
    assert changed.exit_code == 1 and "--variant cannot change" in " ".join(changed.output.split())
