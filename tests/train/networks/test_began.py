"""BEGAN's own networks and the recipe with its published sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from ganlens.engine.errors import OptionError, TrainingError
from ganlens.train.cli import merge
from ganlens.train.config import DCGANConfig, make_config
from ganlens.train.loop import train
from ganlens.train.methods.dcgan import DCGAN
from ganlens.train.networks import BEGANGenerator, began_critic


def test_layers_are_the_published_ones() -> None:
    """64 px: two 3x3 convolutions at each of 64, 32, 16 and 8 px; n, 2n, 3n, 4n channels down, n up; ELU, no norm."""
    n = 4
    critic = began_critic(64, n)
    down = [layer for layer in critic.trunk.modules() if isinstance(layer, nn.Conv2d)]
    shapes = [(layer.in_channels // n, layer.out_channels // n, layer.stride[0]) for layer in down[1:]]
    assert (down[0].in_channels, down[0].out_channels) == (3, n)
    assert shapes == [
        *((1, 1, 1), (1, 1, 1), (1, 1, 2)),
        *((1, 2, 1), (2, 2, 1), (2, 2, 2)),
        *((2, 3, 1), (3, 3, 1), (3, 3, 2)),
        *((3, 4, 1), (4, 4, 1)),
    ]
    assert critic.code.in_features == 4 * n * 8 * 8 and critic.code.out_features == 64
    up = [layer for layer in critic.decoder.modules() if isinstance(layer, nn.Conv2d)]
    assert [(layer.in_channels, layer.out_channels) for layer in up] == [(n, n)] * 8 + [(n, 3)]
    kinds = {type(layer) for layer in critic.modules()}
    assert nn.ELU in kinds and not kinds & {nn.BatchNorm2d, nn.InstanceNorm2d, nn.ReLU, nn.LeakyReLU, nn.Tanh}
    generator = BEGANGenerator(64, 64, n)
    assert {name: p.shape for name, p in generator.decoder.named_parameters()} == {
        name: p.shape for name, p in critic.decoder.named_parameters()
    }


@pytest.mark.parametrize("size", [16, 64, 128])
@torch.no_grad()
def test_pictures_keep_their_size(size: int) -> None:
    generator, critic = BEGANGenerator(5, size, 2), began_critic(size, 2, power=2, code=5)
    nn.init.constant_(generator.decoder.layers[-1].bias, 3.0)  # type: ignore[arg-type, union-attr]
    z = torch.rand(2, 5)
    assert generator(z).shape == (2, 3, size, size) and float(generator(z).max()) > 1  # the last layer is linear
    made = generator.eval()(z)
    assert float(made.max()) == 1.0
    energy, code = critic.energy_and_code(made)
    assert energy.shape == (2,) and code.shape == (2, 5)
    torch.testing.assert_close(energy, (critic.decoder(code) - made).square().mean(dim=(1, 2, 3)))
    with pytest.raises(TrainingError, match="got 48"):
        BEGANGenerator(5, 48, 2)


def test_the_recipe_has_the_published_sizes(faces: Path, tmp_path: Path) -> None:
    given = {"data": str(faces), "out": str(tmp_path / "run")}
    config = merge(DCGANConfig, given, config_file=Path("began"))
    assert (config.width, config.latent, config.code, config.batch, config.noise) == (128, 64, 64, 16, "uniform")
    assert (config.gamma, config.lambda_k, config.exponent, config.learning_rate) == (0.5, 0.001, 1, 1e-4)
    assert config.patience > 0 and config.size == 64
    small = {**given, "width": 2, "size": 16, "load_size": 18, "steps": 2, "batch": 4, "holdout": 3, "exponent": 2}
    small |= {"sample_every": 0, "log_every": 1}
    run = merge(DCGANConfig, small, config_file=Path("began"))
    critic = DCGAN(run).networks["critic"]
    assert critic.power == 2 and isinstance(DCGAN(run).networks["generator"], BEGANGenerator)
    assert train(run)


def test_what_is_refused() -> None:
    with pytest.raises(OptionError, match="--tier has no effect with --loss wgan"):
        make_config(DCGANConfig, {"data": "d", "out": "o", "tier": "began", "loss": "wgan"})
    with pytest.raises(OptionError, match="--critic-norm has no effect with --tier began"):
        make_config(DCGANConfig, {"data": "d", "out": "o", "tier": "began", "loss": "began", "critic_norm": "bn"})
    with pytest.raises(TrainingError, match="known by name: began, cafe, comic"):
        merge(DCGANConfig, {"data": "d", "out": "o"}, config_file=Path("begun"))
