"""What is done to all pictures that a discriminator sees, so that it cannot judge by what no eye would."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad


def shift_randomly(images: Tensor, most: int, random: torch.Generator | None = None) -> Tensor:
    """The batch moved by up to ``most`` pixels each way, mirrored at the border; the same move for all of it.

    A discriminator with strides looks at pixels of one phase of its grid more than at others, and a generator with a
    grid of its own answers with dots of just that period. Under a grid that moves, dots gain nothing. VGG16, which
    pools fixed squares, is such a network, too.
    """
    if not most:
        return images
    down, right = (int(offset) for offset in torch.randint(0, 2 * most + 1, (2,), generator=random))
    height, width = images.shape[2:]
    padded = pad(images, (most, most, most, most), mode="reflect")
    return padded[:, :, down : down + height, right : right + width]


def add_noise(images: Tensor, deviation: float) -> Tensor:
    """Instance noise (Sønderby et al. 2016): hides differences fainter than the noise from the discriminator."""
    return images + deviation * torch.randn_like(images) if deviation else images


def disturb(images: Tensor, *, shift: int = 0, noise: float = 0.0, augment: tuple[str, ...] = ()) -> Tensor:
    """What a discriminator sees of real and of generated pictures (N, 3, H, W): shifted, augmented, noisy, as asked."""
    images = shift_randomly(images, shift)
    for name in augment:
        images = AUGMENTATIONS[name](images)
    return add_noise(images, noise)


# --- DiffAugment (Zhao et al. 2020, 2006.10738): differentiable, each picture by itself -------------------------------

TRANSLATED = 1 / 8
"""Largest shift of a picture, as a fraction of its side."""
CUT_OUT = 1 / 2
"""Side of the square that is cut out, as a fraction of the picture's side."""


def change_colour(images: Tensor) -> Tensor:
    """Brightness by up to 0.5, saturation by a factor of 0 to 2, contrast by a factor of 0.5 to 1.5."""
    brightness, saturation, contrast = (_uniform(images) for _ in range(3))
    images = images + (brightness - 0.5)
    grey = images.mean(dim=1, keepdim=True)
    images = (images - grey) * (2 * saturation) + grey
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - mean) * (contrast + 0.5) + mean


def translate(images: Tensor) -> Tensor:
    """Each picture moved by up to an eighth of its side, grey (0) where nothing is left."""
    height, width = images.shape[2:]
    rows = _places(images, height, round(height * TRANSLATED))
    columns = _places(images, width, round(width * TRANSLATED))
    padded = pad(images, (1, 1, 1, 1))
    here = torch.arange(len(images), device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[here, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cut_out(images: Tensor) -> Tensor:
    """A square of half the side, somewhere, grey; its centre is in the picture."""
    keep = torch.ones_like(images[:, :1])
    inside = []
    for dim, side in ((2, images.shape[2]), (3, images.shape[3])):
        square = round(side * CUT_OUT)
        first = torch.randint(0, side + 1, (len(images), 1), device=images.device) - square // 2
        place = torch.arange(side, device=images.device)[None]
        within = (place >= first) & (place < first + square)
        inside.append(within[:, None, :, None] if dim == 2 else within[:, None, None, :])
    return images * (keep - (inside[0] & inside[1]).to(images.dtype))


AUGMENTATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "color": change_colour,
    "translation": translate,
    "cutout": cut_out,
}
"""Name, as DiffAugment's public code has it → augmentation."""


def _uniform(images: Tensor) -> Tensor:
    return torch.rand(len(images), 1, 1, 1, dtype=images.dtype, device=images.device)


def _places(images: Tensor, side: int, most: int) -> Tensor:
    """Where each row comes from, (N, side), in a picture with one line of padding on either side."""
    moved = torch.randint(-most, most + 1, (len(images), 1), device=images.device)
    return (torch.arange(side, device=images.device)[None] + moved + 1).clamp(0, side + 1)
