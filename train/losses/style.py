"""Style as mean and covariance of VGG16 activations (after the Gram matrices of Gatys et al. 2016).

A Gram matrix of activations, which are never negative, is mostly the product of their means. The covariance beside the
mean gives texture a voice of its own. Only luminance is looked at (Gatys et al. 2016, "Preserving color in neural
artistic style transfer"): pulled towards one random painting after the other, colours would end as their mean, a grey.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..networks.vgg16 import VGG16

STYLE_LAYERS = ("relu1_2", "relu2_2", "relu3_1")
"""From pigment to the width of a stroke; deeper layers would hold objects."""


LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of R, G and B (BT.601)."""


def statistics(activations: Tensor) -> tuple[Tensor, Tensor]:
    """(N, C, H, W) to the mean (N, C) and the covariance (N, C, C) over positions."""
    flat = activations.flatten(2)
    mean = flat.mean(2)
    centred = flat - mean[:, :, None]
    return mean, centred @ centred.transpose(1, 2) / flat.shape[2]


def style_loss(network: VGG16, translated: Tensor, painting: Tensor) -> Tensor:
    """Squared distances of mean and covariance, relative to the translation's own, averaged: 0 is the same style.

    Relative to the painting's they would pull harder towards pale paintings than towards strong ones, and the best
    answer to a random painting would be a washed-out picture. Divided by a constant the pull is to their average.

    Args:
        network: up to the last of :data:`STYLE_LAYERS`.
        translated, painting: (N, 3, H, W) in [-1, 1]; ``painting`` gets no gradient.
    """
    with torch.no_grad():
        targets = [statistics(h) for h in network.activations(_grey(painting), STYLE_LAYERS)]
    losses = [
        (own - target).square().sum() / torch.maximum(own.detach().square().sum(), 0.05 * target.square().sum())
        for h, pair in zip(network.activations(_grey(translated), STYLE_LAYERS), targets, strict=True)
        for own, target in zip(statistics(h), pair, strict=True)
    ]
    return torch.stack(losses).mean()


def gram_loss(network: VGG16, translated: Tensor, answer: Tensor) -> Tensor:
    """Distance of mean and covariance in colour, relative to the answer's: for a translation and its own answer.

    Args:
        network: up to the last of :data:`STYLE_LAYERS`.
        translated, answer: (N, 3, H, W) in [-1, 1]; ``answer`` gets no gradient.
    """
    with torch.no_grad():
        targets = [statistics(h) for h in network.activations(answer, STYLE_LAYERS)]
    return statistics_distance(network.activations(translated, STYLE_LAYERS), targets)


def statistics_distance(activations: Sequence[Tensor], targets: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Squared distances of mean and covariance, relative to the target's, averaged over layers.

    Args:
        activations: (N, C, H, W) of each layer.
        targets: mean (N or 1, C) and covariance (N or 1, C, C) of each layer.
    """
    losses = [
        (own - target).square().flatten(1).sum(1).mean() / target.square().flatten(1).sum(1).mean().clamp_min(1e-8)
        for h, pair in zip(activations, targets, strict=True)
        for own, target in zip(statistics(h), pair, strict=True)
    ]
    return torch.stack(losses).mean()


def _grey(x: Tensor) -> Tensor:
    return (x * x.new_tensor(LUMINANCE).view(1, 3, 1, 1)).sum(1, keepdim=True).expand_as(x)
