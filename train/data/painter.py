"""A painting as a teacher: the pixels of each answer are optimised (Gatys et al. 2016, "Image Style Transfer").

``L = style S(y, painting) + content |V(y) - V(x)|² / |V(x)|² + colour |P(y) - P(c)| + smooth |D y|``,

where x is the photo, c the photo in the painting's colours, y the answer, which begins as c, and the terms are those of
:mod:`~ganlens.train.methods.perceptual`. Two things are meant to keep threads along the pixel rows out of plain walls:
the squares that VGG16 pools have another place each step (the picture moves by a random number of pixels), and
it pools by mean, not by maximum (as Gatys et al. advise), whose gradient picks single pixels.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, l1_loss

from ganlens.engine.errors import OptionError, did_you_mean, reason

from ..config import VGGScaling
from ..losses.disturb import shift_randomly
from ..losses.paired import gradient_loss
from ..losses.style import statistics_distance
from ..methods.perceptual import CONTENT_LAYER, PAINTING_LAYERS, SQUARE, in_colours_of, painting_target
from ..networks.vgg16 import VGG16
from .pictures import read_picture, to_tensor
from .teachers import digest_of, split_settings

Pixels = NDArray[np.uint8]

JITTER = SQUARE // 2
"""Pixels by which the picture may move each way under the squares that are pooled: to all their places."""
LEARNING_RATE = 0.04
CONTENT, COLOUR, SMOOTH = 1.2, 40.0, 0.2
"""Weights beside that of the style."""
SETTINGS = {"style": 40.0, "colours": 0.5, "zoom": 1.0, "steps": 25.0}
"""What ``--teacher-input`` sets, with the defaults: the weight of the painting's strokes; the share of its colours, 0
to 1; the enlargement of the painting over a photo of the pairs' size; the steps of an answer."""


class PaintingTeacher:
    """Answers a photo with a painting of it.

    Args:
        painting: a picture file.
        vgg: VGG16's convolutions, a safetensors file.
        scaling: the input that those weights were trained for.
        inputs: what ``--teacher-input`` says; see :data:`SETTINGS`.

    Raises:
        OptionError: the painting cannot be read, or a setting is unknown or unfit.
        TrainingError: no usable VGG16.
    """

    once = True

    def __init__(self, painting: Path, vgg: Path, scaling: VGGScaling = "caffe", inputs: str = "") -> None:
        self.settings = read_settings(inputs)
        self.painting = painting
        try:
            read_picture(painting, 64)
            data = painting.read_bytes()
        except (OSError, ValueError, SyntaxError) as error:
            raise OptionError(f"--teacher painting:{painting}: the picture cannot be read: {reason(error)}.") from error
        self.vgg = pooled_by_mean(VGG16.load(vgg, PAINTING_LAYERS[-1], scaling))
        told = [f"{name} {value:g}" for name, value in self.settings.items() if value != SETTINGS[name]]
        self.name = ", ".join([f"pixels optimised towards {painting.name}", *told])
        source = inspect.getsource(sys.modules[__name__])
        self.digest = digest_of(source, sorted(self.settings.items()), scaling, data, vgg.read_bytes())

    def __call__(self, pixels: Pixels) -> Pixels:
        """(H, W, 3) uint8 RGB to the same; the same answer each time."""
        side = round(min(pixels.shape[:2]) * self.settings["zoom"])
        target = painting_target(self.vgg, [to_tensor(read_picture(self.painting, side))[None]])
        photo = to_tensor(pixels)[None]
        share = self.settings["colours"]
        recoloured = torch.lerp(photo, in_colours_of(target, photo).clamp(-1, 1), share)
        random = torch.Generator().manual_seed(0)
        answer = recoloured.clone().requires_grad_()
        adam = torch.optim.Adam([answer], LEARNING_RATE, betas=(0.9, 0.99))
        steps = int(self.settings["steps"])
        for step in range(steps):
            adam.param_groups[0]["lr"] = LEARNING_RATE * (1 - 0.9 * step / steps)
            seen, original, wanted = shift_randomly(torch.cat([answer, photo, recoloured]), JITTER, random).chunk(3)
            loss = self._loss(seen, original, wanted, target.statistics)
            (answer.grad,) = torch.autograd.grad(loss, [answer])
            adam.step()
            with torch.no_grad():
                answer.clamp_(-1, 1)
        values = answer.detach()[0].permute(1, 2, 0)
        painted: Pixels = ((values + 1) * 127.5).round().to(torch.uint8).numpy()
        return painted

    def _loss(
        self, answer: Tensor, photo: Tensor, recoloured: Tensor, statistics: list[tuple[Tensor, Tensor]]
    ) -> Tensor:
        activations = self.vgg.activations(answer, PAINTING_LAYERS)
        with torch.no_grad():
            before = self.vgg.activations(photo, (CONTENT_LAYER,))[0]
        content = (activations[PAINTING_LAYERS.index(CONTENT_LAYER)] - before).square().mean()
        return (
            self.settings["style"] * statistics_distance(activations, statistics)
            + CONTENT * content / before.square().mean().clamp_min(1e-8)
            + COLOUR * l1_loss(avg_pool2d(answer, SQUARE), avg_pool2d(recoloured, SQUARE))
            + SMOOTH * gradient_loss(answer, torch.zeros_like(answer))
        )


def read_settings(inputs: str) -> Mapping[str, float]:
    """The settings of an answer: the defaults with what ``NAME=VALUE, ...`` says.

    Raises:
        OptionError: a name is unknown, or a value unfit.
    """
    settings = dict(SETTINGS)
    for name, value in split_settings(inputs):
        if name not in settings:
            raise OptionError(f"--teacher-input: a painting has no setting '{name}'. {did_you_mean(name, settings)}")
        settings[name] = value
    for name, least, most in (("style", 0, 1e6), ("colours", 0, 1), ("zoom", 0.1, 10), ("steps", 1, 10000)):
        if not least <= settings[name] <= most:
            raise OptionError(f"--teacher-input: {name} takes {least:g} to {most:g}, got {settings[name]:g}.")
    return settings


def pooled_by_mean(network: VGG16) -> VGG16:
    """The network with mean pooling; changed in place."""
    for place, layer in enumerate(network.features):
        if isinstance(layer, nn.MaxPool2d):
            network.features[place] = nn.AvgPool2d(2)
    return network
