"""Against what sticks to a generator's grid: moving the picture must move the answer, and nothing repeats with it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, l1_loss

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


def grid_loss(translated: Tensor) -> Tensor:
    """Root mean square of the pattern that repeats every ``GRID`` pixels, as gate c of ``engine evaluate`` folds it.

    The mean of all 8x8 tiles, after their trend is taken away, keeps what is fixed to the generator's grid; strokes
    that follow the picture average out. No second translation is needed.

    Args:
        translated: (N, C, H, W), H and W multiples of ``GRID`` and at least 16.
    """
    trend = avg_pool2d(avg_pool2d(translated, GRID, 1), 2, 1)  # a mean over 9 pixels, the outer two with half weight
    flat = translated[..., GRID // 2 : -GRID // 2, GRID // 2 : -GRID // 2] - trend
    count, channels, height, width = flat.shape
    tile = flat.reshape(count, channels, height // GRID, GRID, width // GRID, GRID).mean((2, 4))
    return (tile.square().mean() + 1e-8).sqrt()
