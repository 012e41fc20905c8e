"""Against what sticks to a generator's grid: moving the picture must move the answer, whatever the distance."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import l1_loss

GRID = 8
"""Largest stride of a generator's innermost layer, in pixels."""


Cut = Callable[[Tensor], Tensor]
"""The piece of a picture (N, C, H, W), always the same one."""


def shift_loss(
    translate: Callable[[Cut], Tensor], picture: Tensor, translated: Tensor, steps: int | None = None
) -> Tensor:
    """Mean absolute distance between the translation of a piece of a picture and that piece of the translation.

    The piece begins up to ``steps`` steps of the generator's grid from the picture's corner, but never a whole number
    of them: a pattern that sticks to the grid does not fit. The piece's borders count too, where only one of the two
    sees what is beyond: left out, they are where patterns hide.

    Args:
        translate: translates the piece, which it cuts from all that it needs.
        picture, translated: (N, 3, H, W), H and W multiples of ``GRID``; ``translated`` is the whole translation.
            Both translations get a gradient.
        steps: how many grid steps the piece is smaller than the picture; by default a third of the picture.
    """
    steps = steps or max(1, min(picture.shape[2:]) // (3 * GRID))
    height, width = (side - steps * GRID for side in picture.shape[2:])
    top, left = (GRID * int(torch.randint(steps, ())) + int(torch.randint(1, GRID, ())) for _ in range(2))

    def cut(image: Tensor) -> Tensor:
        return image[:, :, top : top + height, left : left + width]

    return l1_loss(translate(cut), cut(translated))
