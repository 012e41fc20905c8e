"""Style as Gram matrices of VGG16 activations (Gatys et al. 2016, Johnson et al. 2016)."""

from __future__ import annotations

import torch
from torch import Tensor

from .features import VGG16

STYLE_LAYERS = ("relu1_2", "relu2_2", "relu3_1")
"""From pigment to the width of a stroke; deeper layers would hold objects."""


def gram(activations: Tensor) -> Tensor:
    """(N, C, H, W) to the mean products of channels, (N, C, C)."""
    flat = activations.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


def style_loss(network: VGG16, translated: Tensor, painting: Tensor) -> Tensor:
    """Squared distance of the Gram matrices, relative to the painting's, averaged over layers: 0 same, about 1 foreign.

    Args:
        network: up to the last of :data:`STYLE_LAYERS`.
        translated, painting: (N, 3, H, W) in [-1, 1]; ``painting`` gets no gradient.
    """
    with torch.no_grad():
        targets = [gram(h).mean(0) for h in network.activations(painting, STYLE_LAYERS)]
    losses = [
        (gram(h) - target).square().sum((1, 2)).mean() / target.square().sum()
        for h, target in zip(network.activations(translated, STYLE_LAYERS), targets, strict=True)
    ]
    return torch.stack(losses).mean()
