"""The semantic loss of the improved CycleGAN: a picture and its reconstruction have the same content (docs/methods.md).

The paper states a VGG16 extractor that compares the original with its reconstruction. Layer, distance, scaling
and weight are not stated; the defaults are those of In-Domain Inversion (2004.00049): the ReLU after conv4_3, mean
squared difference, RGB in 0..255 minus the mean, 5e-5.

Checked with the original weights on 12 photos of 128 px: a blur with mean |x - x'| = 0.054 has a distance of 2,423, so
that this term is 0.12 for one direction, where ten times the cycle loss is 0.54.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import l1_loss, mse_loss

from ..config import SemanticDistance
from ..networks.vgg16 import VGG16

DISTANCES: dict[SemanticDistance, Callable[[Tensor, Tensor], Tensor]] = {"mse": mse_loss, "l1": l1_loss}


def semantic_loss(network: VGG16, returned: Tensor, original: Tensor, distance: SemanticDistance = "mse") -> Tensor:
    """``d(V(F(G(x))), V(x))``, mean over all elements of the network's last layer.

    Args:
        network: frozen; its last layer is compared.
        returned, original: (N, 3, H, W) in [-1, 1]; ``original`` gets no gradient.
    """
    with torch.no_grad():
        target = network(original)
    return DISTANCES[distance](network(returned), target)


def random_piece(pair: tuple[Tensor, Tensor], side: int) -> tuple[Tensor, Tensor]:
    """The same random square of both (N, C, H, W); ``side`` 0: all of them."""
    if not side:
        return pair
    top, left = (int(torch.randint(length - side + 1, ())) for length in pair[0].shape[2:])
    first, second = (x[:, :, top : top + side, left : left + side] for x in pair)
    return first, second
