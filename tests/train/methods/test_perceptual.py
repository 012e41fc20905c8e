"""Perceptual training: losses by hand, a run that comes nearer to its painting, and one that resumes exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ganlens.engine.errors import OptionError, TrainingError
from ganlens.train.checkpoint import load_generator, load_state
from ganlens.train.config import PerceptualConfig, make_config
from ganlens.train.data.pairs import make_photo_dataset
from ganlens.train.data.recolour import from_lab, to_lab
from ganlens.train.loop import Trainer, train
from ganlens.train.losses.style import statistics_distance
from ganlens.train.methods.perceptual import (
    BORDER,
    PAINTING_LAYERS,
    PHOTOGRAPHS,
    TURNS,
    Perceptual,
    Target,
    detail_amount,
    in_colours_of,
    inner,
    painting_target,
    perceptual_loss,
)
from ganlens.train.networks.vgg16 import VGG16
from tests.kit.vgg import save_vgg

Make = Callable[..., PerceptualConfig]


@pytest.fixture
def config(folders: tuple[Path, Path], tmp_path: Path) -> Make:
    """A 32 px nano run towards one striped painting, with random VGG16 weights; options can be changed."""
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::4, 0] = 255
    Image.fromarray(stripes).save(tmp_path / "painting.png")
    weights = save_vgg(tmp_path / "vgg.safetensors", PAINTING_LAYERS[-1])

    def make(**changes: Any) -> PerceptualConfig:
        values: dict[str, Any] = {
            "photos": str(folders[0]),
            "paintings": str(tmp_path / "painting.png"),
            "vgg": str(weights),
            "out": str(tmp_path / "run"),
            "tier": "nano",
            "size": 32,
            "steps": 4,
            "varied": 0,
            "holdout": 0,
            "samples": 2,
            "sample_every": 0,
            "log_every": 2,
        }
        return make_config(PerceptualConfig, {**values, **changes})

    return make


def test_a_painting_is_at_no_distance_from_itself(config: Make) -> None:
    method = Perceptual(config())
    painting = method.paintings[0]
    target = painting_target(method.vgg, method.paintings)
    assert statistics_distance(method.vgg.activations(painting, PAINTING_LAYERS), target.statistics).item() < 1e-6
    other = torch.zeros_like(painting)
    assert statistics_distance(method.vgg.activations(other, PAINTING_LAYERS), target.statistics).item() > 0.1


def test_several_paintings_give_their_mean(config: Make) -> None:
    vgg = VGG16.load(Path(config().vgg), PAINTING_LAYERS[-1])
    one, other = torch.rand(1, 3, 32, 32), -torch.rand(1, 3, 32, 32)
    mean = painting_target(vgg, [one, other])
    both = painting_target(vgg, [one]), painting_target(vgg, [other])
    torch.testing.assert_close(mean.detail, (both[0].detail + both[1].detail) / 2)
    layers = zip(*(found.statistics for found in both), strict=True)
    for layer, (first, second) in zip(mean.statistics, layers, strict=True):
        for value, a, b in zip(layer, first, second, strict=True):
            torch.testing.assert_close(value, (a + b) / 2)


def test_who_returns_the_photo_keeps_the_content(config: Make) -> None:
    chosen = config(lambda_style=0.0)
    method = Perceptual(chosen)
    picture = torch.rand(1, 3, 32, 32) * 2 - 1
    target = painting_target(method.vgg, method.paintings)
    total, parts = perceptual_loss(nn.Identity(), method.vgg, picture, target, chosen)
    assert total.item() == pytest.approx(0, abs=1e-6) and parts["style"].item() > 0
    blank = perceptual_loss(_Blank(), method.vgg, picture, target, chosen)[1]["content"]
    assert blank.item() > 0.1


def test_texture_is_the_share_of_detail_that_is_missing(config: Make) -> None:
    chosen = config(lambda_content=0.0, lambda_style=0.0, lambda_texture=2.0)
    method = Perceptual(chosen)
    painting = method.paintings[0]
    target = painting_target(method.vgg, method.paintings)
    target = target._replace(detail=detail_amount(inner(painting)))
    for share in (0.5, 1.0, 1.5):
        total, parts = perceptual_loss(nn.Identity(), method.vgg, share * painting, target, chosen)
        assert parts["texture"].item() == pytest.approx(max(0.0, 1 - share), abs=0.01)
        assert total.item() == pytest.approx(2 * parts["texture"].item())
    assert detail_amount(_Blank()(painting)).item() < 0.01 * target.detail.item()


def _noise(mean: Sequence[float], deviation: Sequence[float]) -> torch.Tensor:
    """(1, 3, 64, 64) with about this mean and deviation of L, a and b."""
    noise = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).clamp(-2, 2)
    place, spread = torch.tensor([mean, deviation])[:, None, :, None, None]
    return from_lab(place + spread * noise)


def test_a_photograph_gets_the_colours_of_the_painting_and_keeps_its_lightness(config: Make) -> None:
    painting = _noise((60.0, 10.0, -20.0), (8.0, 4.0, 6.0))
    target = painting_target(Perceptual(config()).vgg, [painting])
    mean, deviation = PHOTOGRAPHS
    photograph = _noise(mean, [0.4 * value for value in deviation])
    found, made = (torch.std_mean(to_lab(x), (0, 2, 3)) for x in (photograph, in_colours_of(target, photograph)))
    torch.testing.assert_close(made[1], torch.tensor([mean[0], 10.0, -20.0]), atol=0.5, rtol=0)
    torch.testing.assert_close(made[0], found[0] * target.colour[1] / torch.tensor(deviation), atol=0.1, rtol=0)


def test_colour_is_the_distance_to_the_photo_in_the_colours_of_the_painting(config: Make) -> None:
    chosen = config(lambda_content=0.0, lambda_style=0.0, lambda_colour=2.0)
    method = Perceptual(chosen)
    target = painting_target(method.vgg, method.paintings)
    picture = torch.rand(1, 3, 32, 32) - 0.5
    total, _ = perceptual_loss(_Returns(in_colours_of(target, picture)), method.vgg, picture, target, chosen)
    assert total.item() == pytest.approx(0, abs=1e-6)
    shifted = _Returns(in_colours_of(target, picture) + 0.1)
    assert perceptual_loss(shifted, method.vgg, picture, target, chosen)[0].item() == pytest.approx(0.2, abs=1e-5)


class _Returns(nn.Module):
    """Returns the same picture always."""

    def __init__(self, picture: torch.Tensor) -> None:
        super().__init__()
        self.picture = picture

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.picture


def test_grid_is_what_repeats_every_eight_pixels(config: Make) -> None:
    chosen = config(lambda_content=0.0, lambda_style=0.0, lambda_grid=3.0)
    method = Perceptual(chosen)
    target = painting_target(method.vgg, method.paintings)
    sky = torch.linspace(-0.5, 0.5, 128)[:, None].expand(1, 3, 128, 128) + 0.05 * torch.randn(1, 3, 128, 128)
    clean, woven = (
        perceptual_loss(generator, method.vgg, sky, target, chosen) for generator in (nn.Identity(), _Woven())
    )
    assert clean[1]["grid"].item() < 0.02
    assert woven[1]["grid"].item() == pytest.approx(2 * 0.25, abs=0.02)  # 0 and 0.5 in turns, on both pictures
    assert woven[0].item() == pytest.approx(3 * woven[1]["grid"].item())


def test_calm_is_that_strokes_move_with_the_picture(config: Make) -> None:
    chosen = config(lambda_content=0.0, lambda_style=0.0, lambda_calm=3.0, noise=0.0)
    method = Perceptual(chosen)
    target = painting_target(method.vgg, method.paintings)
    picture = torch.rand(1, 3, 64, 64) - 0.5
    still, stuck = (
        perceptual_loss(generator, method.vgg, picture, target, chosen, compare=True)[0].item()
        for generator in (nn.Identity(), _Woven())
    )
    assert still == pytest.approx(0, abs=1e-6) and stuck > 3 * 0.1


def test_turned_pictures_keep_their_side_and_the_painting_loses_its_direction(config: Make) -> None:
    chosen = config(turn=True, size=64, crop=32)
    method = Perceptual(chosen)
    assert Perceptual.make_dataset(chosen)[0][0].shape == (3, 46, 46), "32 times the square root of 2"
    assert method._picture(torch.zeros(1, 3, 46, 46)).shape == (1, 3, 32, 32)
    assert Perceptual.make_dataset(config(turn=True))[0][0].shape == (3, 32, 32), "no more than there is"
    sides = [painting_target(method.vgg, [look]) for look in (method.paintings[0], method.paintings[0].mT)]
    turned = [painting_target(method.vgg, [look], TURNS) for look in (method.paintings[0], method.paintings[0].mT)]

    def apart(pair: list[Target]) -> float:
        (_, one), (_, other) = (target.statistics[0] for target in pair)
        return (one - other).norm().item() / one.norm().item()

    assert apart(turned) < 0.7 * apart(sides)
    assert train(chosen)


def test_strokes_are_judged_without_what_is_wider(config: Make) -> None:
    chosen = config(strokes=True, lambda_content=0.0)
    method = Perceptual(chosen)
    painting = torch.rand(1, 3, 64, 64) - 0.5
    target = painting_target(method.vgg, [painting], only_strokes=True)
    hill = 0.4 * torch.linspace(-1, 1, 64)[:, None].expand(1, 3, 64, 64)
    style = {
        name: perceptual_loss(_Returns(made), method.vgg, painting, target, chosen)[1]["style"].item()
        for name, made in {"own": painting, "hill": painting + hill, "blank": hill}.items()
    }
    assert style["hill"] < 0.08 * style["blank"] and style["own"] < 0.08 * style["blank"]


def test_the_border_is_seen_by_the_generator_and_by_no_distance(config: Make) -> None:
    chosen = config(size=64, lambda_texture=1.0, lambda_colour=1.0, lambda_threads=1.0, lambda_grid=1.0)
    method = Perceptual(chosen)
    target = painting_target(method.vgg, method.paintings)
    picture = torch.rand(1, 3, 64, 64) - 0.5
    framed = torch.ones(1, 3, 64, 64)
    framed[..., BORDER:-BORDER, BORDER:-BORDER] = picture[..., BORDER:-BORDER, BORDER:-BORDER]

    def terms(generator: nn.Module, shown: torch.Tensor) -> dict[str, float]:
        torch.manual_seed(0)
        found = perceptual_loss(generator, method.vgg, shown, target, chosen)[1]
        return {name: value.item() for name, value in found.items() if name != "grid"}  # it has a picture of its own

    assert terms(nn.Identity(), picture) == terms(nn.Identity(), framed)
    assert terms(_Woven(), picture) == terms(_Woven(), framed) != terms(nn.Identity(), picture)
    assert terms(nn.AvgPool2d(3, 1, 1), picture) != terms(nn.AvgPool2d(3, 1, 1), framed)


class _Woven(nn.Module):
    """Adds a pattern of 8 pixels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 0.5 * (torch.arange(x.shape[3]) % 8 < 4)


class _Blank(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x)


def test_a_run_comes_nearer_to_its_painting_and_records_it(config: Make) -> None:
    chosen = config(steps=30, lambda_content=0.0, learning_rate=5e-3, ema=0.5)
    method = Perceptual(chosen)
    picture = make_photo_dataset(chosen)[0][0][None]
    target = painting_target(method.vgg, method.paintings)
    before = perceptual_loss(method.networks["generator"], method.vgg, picture, target, chosen)[1]["style"].item()
    assert train(chosen)
    generator, spec = load_generator(chosen.run / "generator.safetensors")
    after = perceptual_loss(generator, method.vgg, picture, target, chosen)[1]["style"].item()
    assert after < 0.8 * before
    assert spec.architecture == "perceptual" and spec.training is not None
    assert spec.training.teacher == "VGG16 statistics of painting.png"


def test_a_run_resumes_exactly(config: Make, tmp_path: Path) -> None:
    assert train(config(out=str(tmp_path / "whole")))
    parts = config(out=str(tmp_path / "parts"))
    trainer = Trainer(parts)
    (tmp_path / "parts").mkdir()
    for index in range(3):
        trainer.update(tuple(part[None] for part in trainer.dataset[index]))
    trainer.save()
    assert train(parts, resume=True)
    one, other = (load_state(tmp_path / name)["networks"]["generator"] for name in ("whole", "parts"))
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"paintings": "nowhere/*.png"}, TrainingError, "no file matches"),
        ({"vgg": "nowhere.safetensors"}, TrainingError, "VGG16 weights are needed"),
        ({"crop": 12}, OptionError, "multiple of 8"),
        ({"crop": 24}, OptionError, "crop must be 0 or at least 32, got 24"),
        ({"tier": "stargan"}, OptionError, "needs attributes"),
    ],
)
def test_wrong_options_say_the_cure(
    config: Make, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Perceptual(config(**changes))
