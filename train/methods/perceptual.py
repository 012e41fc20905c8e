"""Perceptual training (Johnson et al. 2016): a generator learns to paint photographs like one painting, or a few.

``L = content |V(G(x')) - V(x)|² / |V(x)|² + style S(G(x'), painting) + smooth |D G(x')| + texture max(0, 1 - T(G(x')))
    + colour |P(G(x')) - P(R(x))| + grid (|F(G(x'))| + |F(G(p'))|) + calm |M(G(x')) - G(M(x''))|
    + threads max(0, log A(G(x')) / A(x))``,

where V is VGG16's relu2_2, S the distance of :func:`~ganlens.train.losses.style.statistics_distance` at
:data:`PAINTING_LAYERS`, D neighbours' differences, T the amount of fine detail over the painting's, R gives
a picture the painting's colours (:func:`in_colours_of`), P is the mean of 8x8 squares, F folds a
picture to the 8x8 tile that repeats in it, p is x without anything but its coarsest colours, x' and x'' are x under
different camera noise, M takes a piece of a picture that begins beside the grid's steps, and A is how much more fine
detail runs along the axes than along diagonals. Distances are relative to what they measure, so that one set of weights
suits VGG16 weights of either scaling.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, interpolate, l1_loss, pad

from ganlens.engine.spec import GeneratorSpec

from ..config import PerceptualConfig
from ..data.pairs import PairDataset, make_photo_dataset
from ..data.pictures import list_pictures, read_picture, to_tensor
from ..data.recolour import from_lab, to_lab
from ..data.variation import camera_noise, turn
from ..losses import grid_loss, shift_loss
from ..losses.paired import fine_detail, gradient_loss
from ..losses.shift import GRID
from ..losses.style import LUMINANCE, statistics, statistics_distance
from ..losses.threads import thread_loss
from ..networks import make_generator
from ..networks.vgg16 import VGG16
from ..specs import image_to_image_spec
from .base import Batch, Method, Parts, Phase, adam

CONTENT_LAYER = "relu2_2"
PAINTING_LAYERS = ("relu1_2", "relu2_2", "relu3_3")
"""From pigment to the shape of a stroke."""
SQUARE = 8
"""Side of the squares whose mean colours are compared: wider than a stroke."""
STROKE = 13
"""Pixels: about the width of the widest strokes."""
TURNS = tuple(22.5 * step for step in range(8))
"""Degrees by which a painting is turned too: its statistics have no direction, so strokes follow the picture."""
BORDER = 8
"""Pixels along the border that no distance looks at, as a margin cuts them off later: a generator can tell them from
the others, and would put all the fine detail there that it is asked for."""
PHOTOGRAPHS = ((43.7, 0.1, 3.9), (21.1, 5.9, 13.6))
"""Mean and standard deviation of L, a and b of a photograph: means over 368 landscapes of the CycleGAN sets."""


class Target(NamedTuple):
    """What paintings are like, on average."""

    statistics: list[tuple[Tensor, Tensor]]
    """Mean (1, C) and covariance (1, C, C) at each of :data:`PAINTING_LAYERS`."""
    detail: Tensor
    """Scalar, of :func:`detail_amount`."""
    colour: Tensor
    """Mean and standard deviation of L, a and b, (2, 3)."""


def detail_amount(images: Tensor) -> Tensor:
    """Root mean square of the fine detail of the luminance of (N, 3, H, W), a scalar."""
    grey = (images * images.new_tensor(LUMINANCE).view(1, 3, 1, 1)).sum(1, keepdim=True)
    return (fine_detail(grey).square().mean() + 1e-6).sqrt()


def strokes(images: Tensor) -> Tensor:
    """What is finer than :data:`STROKE` pixels, on grey; (N, 3, H, W) in [-1, 1], as the images."""
    side = STROKE // 2
    smooth = avg_pool2d(pad(images, (side, side, side, side), mode="replicate"), STROKE, 1)
    return images - avg_pool2d(pad(smooth, (side, side, side, side), mode="replicate"), STROKE, 1)


def inner(images: Tensor) -> Tensor:
    """(N, C, H, W) without its outer :data:`BORDER` pixels."""
    return images[..., BORDER:-BORDER, BORDER:-BORDER]


def plain(images: Tensor) -> Tensor:
    """Smooth pictures of the colours of (N, C, H, W), as of a sky or a wall: the means of 4x4 parts, blended."""
    return interpolate(adaptive_avg_pool2d(images, 4), images.shape[2:], mode="bilinear", align_corners=False)


@torch.no_grad()
def in_colours_of(target: Target, images: Tensor) -> Tensor:
    """Colour transfer in CIE Lab (Reinhard et al. 2001), from :data:`PHOTOGRAPHS` to the paintings.

    The same map for all pictures: with each picture's own statistics, noise of a plain wall would get the painting's
    contrast, and a generator would have to measure a frame before it colours it. The mean lightness stays: night stays
    night.

    Args:
        target: of :func:`painting_target`.
        images: (N, 3, H, W) sRGB in [-1, 1].

    Returns:
        The same shape and range.
    """
    mean, deviation = images.new_tensor(PHOTOGRAPHS)[:, :, None, None]
    wanted_mean, wanted_deviation = target.colour[:, :, None, None]
    wanted_mean = torch.cat([mean[:1], wanted_mean[1:]])
    return from_lab(wanted_mean + wanted_deviation / deviation * (to_lab(images) - mean))


@torch.no_grad()
def painting_target(
    network: VGG16, paintings: Sequence[Tensor], turns: Sequence[float] = (0.0,), *, only_strokes: bool = False
) -> Target:
    """The statistics of paintings, (1, 3, H, W) in [-1, 1] each, averaged.

    A target that stays the same: towards one random painting after the other, strokes would average to a mottle.

    Args:
        network: VGG16 up to the last of :data:`PAINTING_LAYERS`.
        paintings: (1, 3, H, W) in [-1, 1] each.
        turns: degrees; the statistics are means over the paintings turned by each.
        only_strokes: statistics of :func:`strokes`.
    """
    detail = torch.stack([detail_amount(painting) for painting in paintings]).mean()
    colours = [torch.stack(torch.std_mean(to_lab(painting)[0], (1, 2))[::-1]) for painting in paintings]
    looks = [turn(painting, math.radians(angle)) if angle else painting for painting in paintings for angle in turns]
    if only_strokes:
        looks = [strokes(look) for look in looks]
    found = [[statistics(h) for h in network.activations(look, PAINTING_LAYERS)] for look in looks]
    means = [
        (torch.stack([pair[0] for pair in layer]).mean(0), torch.stack([pair[1] for pair in layer]).mean(0))
        for layer in zip(*found, strict=True)
    ]
    return Target(means, detail, torch.stack(colours).mean(0))


def perceptual_loss(
    generator: nn.Module,
    network: VGG16,
    picture: Tensor,
    target: Target,
    config: PerceptualConfig,
    *,
    noisy: bool = False,
    compare: bool = False,
) -> tuple[Tensor, Parts]:
    """All terms.

    Args:
        generator: the network that learns.
        network: VGG16 up to the last of :data:`PAINTING_LAYERS`.
        picture: (N, 3, H, W) in [-1, 1]; all but the outer :data:`BORDER` pixels are compared.
        target: of :func:`painting_target`.
        noisy: the generator sees the picture under camera noise.
        compare: it sees it twice, under different noise and at different places.
    """
    whole = picture
    translated_whole = generator(camera_noise(whole, config.noise) if noisy else whole)
    picture, translated = inner(whole), inner(translated_whole)
    # VGG16's pooling has a grid, too; beside that of the generator, so that they do not draw together.
    down, right = torch.randint(GRID, (2,)).tolist()
    seen = translated[..., down:, right:]
    activations = network.activations(seen, (CONTENT_LAYER,) if config.strokes else PAINTING_LAYERS)
    place = 0 if config.strokes else PAINTING_LAYERS.index(CONTENT_LAYER)
    style = network.activations(strokes(seen), PAINTING_LAYERS) if config.strokes else activations
    with torch.no_grad():
        before = network.activations(picture[..., down:, right:], (CONTENT_LAYER,))[0]
    content = (activations[place] - before).square().mean() / before.square().mean().clamp_min(1e-8)
    terms = {
        "content": (config.lambda_content, content),
        "style": (config.lambda_style, statistics_distance(style, target.statistics)),
        "smooth": (config.lambda_smooth, gradient_loss(translated, torch.zeros_like(translated))),
    }
    if config.lambda_texture > 0:
        terms["texture"] = config.lambda_texture, (1 - detail_amount(translated) / target.detail).clamp_min(0)
    if config.lambda_colour > 0:
        wanted = in_colours_of(target, picture)
        terms["colour"] = config.lambda_colour, l1_loss(avg_pool2d(translated, SQUARE), avg_pool2d(wanted, SQUARE))
    if config.lambda_grid > 0:  # on a plain picture strokes have nothing but the grid to hold on to
        flat = inner(generator(camera_noise(plain(whole), config.noise)))
        terms["grid"] = config.lambda_grid, grid_loss(translated) + grid_loss(flat)
    if config.lambda_threads > 0:
        terms["threads"] = config.lambda_threads, thread_loss(translated, picture)
    if compare:
        again = camera_noise(whole, config.noise)
        terms["calm"] = config.lambda_calm, shift_loss(lambda cut: generator(cut(again)), whole, translated_whole)
    total = torch.stack([weight * term for weight, term in terms.values()]).sum()
    return total, {name: term for name, (_, term) in terms.items()}


class Perceptual(Method):
    """The method: network ``generator``, one phase."""

    averaged: tuple[str, ...] = ("generator",)

    def __init__(self, config: PerceptualConfig) -> None:
        self.config = config
        self.networks: dict[str, nn.Module] = {
            "generator": make_generator(image_to_image_spec(config, config.model_name))
        }
        self.vgg = VGG16.load(Path(config.vgg), PAINTING_LAYERS[-1], config.vgg_scaling)
        self.fixed: dict[str, nn.Module] = {"vgg": self.vgg}
        side = round(config.size * config.painting_zoom)
        self.paintings = [to_tensor(read_picture(path, side))[None] for path in list_pictures(config.paintings)]
        self._target: Target | None = None
        self.phases: tuple[Phase, ...] = (
            Phase("generator", ("generator",), self.generator_step, adam(config.learning_rate, config.beta1, 0.99)),
        )

    @classmethod
    def make_dataset(cls, config: PerceptualConfig) -> PairDataset:
        """The pictures."""
        if not config.turn:
            return make_photo_dataset(config)
        side = config.crop or config.size
        room = min(math.ceil(side * math.sqrt(2)), config.size)
        return make_photo_dataset(config.model_copy(update={"crop": room}))

    def generator_step(self, batch: Batch, step: int) -> tuple[Tensor, Parts]:
        """Loss of the generator."""
        config = self.config
        if self._target is None:  # now that VGG16 is on the device
            self._target = painting_target(
                self.vgg, self.paintings, TURNS if config.turn else (0.0,), only_strokes=config.strokes
            )
        noisy = step >= config.calm_from * config.steps
        return perceptual_loss(
            self.networks["generator"],
            self.vgg,
            self._picture(batch[0]),
            self._target,
            config,
            noisy=noisy and config.noise > 0,
            compare=noisy and config.lambda_calm > 0 and step % 2 == 0,
        )

    def _picture(self, piece: Tensor) -> Tensor:
        """What a step looks at: a piece, turned by any angle if ``turn`` says so."""
        config = self.config
        if not config.turn:
            return piece
        side = config.crop or config.size
        return turn(piece, float(torch.rand(())) * 2 * math.pi, side)

    def specs(self) -> dict[str, tuple[str, GeneratorSpec]]:
        """The generator."""
        return {"generator": ("generator", image_to_image_spec(self.config, self.config.model_name))}

    def sample(self, batch: Batch, networks: Mapping[str, nn.Module]) -> list[Tensor]:
        """Picture, translation."""
        return [batch[0], networks["generator"](batch[0])]
