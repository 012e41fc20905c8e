"""Tiny generators with every kind of input and output, and drawn pictures."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ganlens.engine.spec import AttributeInput, GeneratorSpec, ImageInput, ImageOutput, LatentInput, SizeRule


class TinyGenerator(nn.Module):
    """Fully convolutional, stride 2 down and up, conditioned by attributes and latent through a shift."""

    def __init__(self, norm: str, conditions: int, mask: bool, image: bool, gain: float) -> None:
        super().__init__()
        make = nn.InstanceNorm2d if norm == "in" else nn.BatchNorm2d
        self.image, self.mask, self.gain = image, mask, gain
        if image:
            self.stem = nn.Conv2d(3, 8, 4, 2, 1, bias=False)
        else:
            self.constant = nn.Parameter(torch.randn(1, 8, 8, 8))
        self.norm1 = make(8, affine=True)
        self.shift = nn.Linear(conditions, 8) if conditions else None
        self.body = nn.Conv2d(8, 8, 3, 1, 1, bias=False)
        self.norm2 = make(8, affine=True)
        self.head = nn.ConvTranspose2d(8, 4 if mask else 3, 4, 2, 1)

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        conditions = inputs[1:] if self.image else inputs
        h = self.norm1(self.stem(inputs[0]) if self.image else self.constant.expand(inputs[0].shape[0], -1, -1, -1))
        if self.shift is not None:
            h = h + self.shift(torch.cat(conditions, dim=1))[:, :, None, None]
        h = h + self.norm2(self.body(torch.relu(h)))
        y = self.head(h) * self.gain
        return (torch.tanh(y[:, :3]), torch.sigmoid(y[:, 3:])) if self.mask else torch.tanh(y)


ATTRIBUTES = AttributeInput(
    names=("Black_Hair", "Blond_Hair", "Smiling"), groups=(("Black_Hair", "Blond_Hair"),), complement=True
)


def make_tiny(
    *,
    norm: str = "in",
    attributes: bool = False,
    latent: int = 0,
    mask: bool = False,
    image: bool = True,
    border_px: int = 0,
    gain: float = 1.0,
    fixed: tuple[int, int] | None = None,
) -> tuple[nn.Module, GeneratorSpec]:
    """A generator with fixed random weights, and its record."""
    torch.manual_seed(7)
    spec = GeneratorSpec(
        name="tiny",
        architecture="test",
        tier="tiny",
        image=ImageInput(name="photo") if image else None,
        attributes=ATTRIBUTES if attributes else None,
        latent=LatentInput(name="noise", dim=latent) if latent else None,
        output=ImageOutput(name="out", kind="segment", mask="alpha") if mask else ImageOutput(name="out"),
        size=SizeRule(fixed=fixed, multiple_of=2, minimum=4, preferred=fixed or (32, 32)),
        frame_border_px=border_px,
    )
    generator = TinyGenerator(norm, latent + (ATTRIBUTES.length if attributes else 0), mask, image, gain)
    for layer in generator.modules():
        if isinstance(layer, nn.BatchNorm2d):  # statistics that an unfolded or badly folded norm would betray
            layer.running_mean.uniform_(-0.5, 0.5)
            layer.running_var.uniform_(0.2, 0.5)
    return generator.eval(), spec


def draw_picture(seed: int, size: tuple[int, int]) -> Image.Image:
    """Smooth colours, an edge and a little grain: closer to a photo than noise is."""
    random = np.random.default_rng(seed)
    height, width = size
    y, x = np.mgrid[0:height, 0:width] / max(size)
    phase = random.uniform(0, 6, (3, 1, 1))
    pixels = 127 + 70 * np.sin(phase + 4 * x * random.uniform(0.5, 2) + 3 * y * random.uniform(0.5, 2))
    pixels[:, (x + y > random.uniform(0.5, 1.0))] -= 50
    pixels += random.normal(0, 4, pixels.shape)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8).transpose(1, 2, 0))
