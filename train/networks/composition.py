"""Mask, segment and frame of ACL-GAN: ``x' = m_f s + (1 - m_f) x`` with ``m_f = m f``.

The frame ``f`` is 0 in a border, so that there the result equals the input bit for bit, the discriminator sees an
unchanged surround and the generator cannot drift. Composition as in GANimation (1807.09251), its mask turned round.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional


class Edit(NamedTuple):
    """A generator's output, composed."""

    image: Tensor
    """(N, 3, H, W) in [-1, 1]."""
    mask: Tensor | None
    """(N, 1, H, W) in [0, 1], 0 in the border; None from a generator without one."""
    raw_mask: Tensor | None = None
    """The same before the border was set to 0, ``m``."""
    segment: Tensor | None = None
    """(N, 3, H, W) in [-1, 1], what is composed over the picture; None from a generator without mask."""


def frame_mask(mask: Tensor, border_px: int) -> Tensor:
    """The mask with its border set to 0.

    Args:
        mask: (N, 1, H, W); ``border_px`` less than half a side.
    """
    if not border_px:
        return mask
    b = border_px
    return functional.pad(mask[:, :, b:-b, b:-b], (b, b, b, b))


def compose(x: Tensor, segment: Tensor, mask: Tensor) -> Tensor:
    """The masked original and the segment; exactly ``x`` where the mask is 0.

    Args:
        x, segment: (N, 3, H, W); mask: (N, 1, H, W), already framed.
    """
    return mask * segment + (1 - mask) * x


def edit(generator: nn.Module, x: Tensor, condition: Tensor, border_px: int = 0) -> Edit:
    """Run a generator and compose what it gives, whether it has a mask or not."""
    answer = generator(x, condition)
    if isinstance(answer, Tensor):
        return Edit(answer, None)
    segment, mask = answer
    framed = frame_mask(mask, border_px)
    return Edit(compose(x, segment, framed), framed, mask, segment)


def total_variation(image: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels of (N, C, H, W), down plus across."""
    down = (image[:, :, 1:] - image[:, :, :-1]).abs().mean()
    return down + (image[:, :, :, 1:] - image[:, :, :, :-1]).abs().mean()
