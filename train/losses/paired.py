"""Distances between a translation and the picture it should be; all take (N, 3, H, W) in [-1, 1] and give a scalar."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import avg_pool2d, l1_loss, pad

POOL = 4
"""Side of the squares whose means :func:`pooled_loss` compares."""


def pooled_loss(translated: Tensor, answer: Tensor) -> Tensor:
    """L1 between the means of 4x4 squares: compares colours where strokes may be slightly displaced."""
    return l1_loss(avg_pool2d(translated, POOL), avg_pool2d(answer, POOL))


def gradient_loss(translated: Tensor, answer: Tensor) -> Tensor:
    """L1 between the differences of neighbouring pixels, across plus down: edges keep their sharpness."""
    difference = translated - answer
    across = (difference[..., 1:] - difference[..., :-1]).abs().mean()
    down = (difference[..., 1:, :] - difference[..., :-1, :]).abs().mean()
    return across + down


def texture_loss(translated: Tensor, answer: Tensor) -> Tensor:
    """L1 between the amount of fine detail, regardless of its exact position.

    Fine detail is what a 5x5 mean takes away; how much, its root mean square over 16x16 windows. An L1 distance alone
    is smallest for the mean of all strokes that might be there, which is a blur.
    """
    return l1_loss(local_detail(translated), local_detail(answer))


def local_detail(images: Tensor) -> Tensor:
    """Root mean square of the fine detail over 16x16 windows, 8 px apart: (N, 3, H/8 - 1, W/8 - 1)."""
    return (avg_pool2d(fine_detail(images).square(), 16, 8) + 1e-4).sqrt()


def fine_detail(images: Tensor) -> Tensor:
    """What a 5x5 mean takes away, edges repeated; (N, C, H, W) as the images."""
    return images - avg_pool2d(pad(images, (2, 2, 2, 2), mode="replicate"), 5, 1)
