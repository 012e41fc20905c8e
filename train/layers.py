"""Layers that the networks share: norms, activations, initialisation."""

from __future__ import annotations

from torch import nn

from .config import Activation, Norm

LEAKY_SLOPE = 0.01
"""Slope of the generators' LeakyReLU (improved CycleGAN); the discriminators keep 0.2."""


def make_norm(kind: Norm, channels: int) -> nn.Module:
    """Affine instance norm ("in", statistics of the current image always) or batch norm ("bn")."""
    if kind == "in":
        return nn.InstanceNorm2d(channels, affine=True, track_running_stats=False)
    return nn.BatchNorm2d(channels)


def make_activation(kind: Activation) -> nn.Module:
    """The generators' activation."""
    return nn.ReLU() if kind == "relu" else nn.LeakyReLU(LEAKY_SLOPE)


def initialise(module: nn.Module, std: float = 0.02) -> None:
    """DCGAN's initialisation, in place: weights N(0, std), biases 0, norm scales N(1, std).

    Parameters named ``condition`` (label scale and shift) are left alone: they start at zero so that an untrained
    label does nothing.
    """
    for name, layer in module.named_modules():
        if name.endswith("condition"):
            continue
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, 0.0, std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d | nn.InstanceNorm2d) and layer.affine:
            nn.init.normal_(layer.weight, 1.0, std)
            nn.init.zeros_(layer.bias)
