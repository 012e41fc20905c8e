"""Layers that the networks share: norms, activations, initialisation."""

from __future__ import annotations

import copy
import math
from abc import abstractmethod

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ..config import Activation, Norm

LEAKY_SLOPE = 0.01
"""Slope of the generators' LeakyReLU (improved CycleGAN); the discriminators keep 0.2."""


def make_norm(kind: Norm, channels: int) -> nn.Module:
    """Affine instance norm ("in", statistics of the current image always), batch norm ("bn") or nothing ("none")."""
    if kind == "in":
        return nn.InstanceNorm2d(channels, affine=True, track_running_stats=False)
    return nn.BatchNorm2d(channels) if kind == "bn" else nn.Identity()


def make_activation(kind: Activation) -> nn.Module:
    """The generators' activation."""
    return nn.ReLU() if kind == "relu" else nn.LeakyReLU(LEAKY_SLOPE)


class LabelScale(nn.Linear):
    """Features scaled and shifted by labels: ``h (1 + g(a)) + b(a)``; at first it does nothing."""

    def __init__(self, labels: int, channels: int) -> None:
        super().__init__(labels, 2 * channels)
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, h: Tensor, labels: Tensor | None) -> Tensor:  # type: ignore[override]
        """(N, C, H, W) and (N, A) to (N, C, H, W)."""
        assert labels is not None, "this network was made with labels"
        gain, shift = super().forward(labels)[:, :, None, None].chunk(2, dim=1)
        return h * (1 + gain) + shift


def initialise(module: nn.Module, std: float = 0.02) -> None:
    """DCGAN's initialisation, in place: weights N(0, std), biases 0, norm scales N(1, std).

    A :class:`LabelScale` is left alone, so that an untrained label does nothing.
    """
    for layer in module.modules():
        if isinstance(layer, LabelScale):
            continue
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, 0.0, std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d | nn.InstanceNorm2d) and layer.affine:
            nn.init.normal_(layer.weight, 1.0, std)
            nn.init.zeros_(layer.bias)


def initialise_without_norm(module: nn.Module) -> None:
    """He's initialisation, in place, for a network in which no norm repairs the scale: variance 2 / fan-in."""
    for layer in module.modules():
        if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            continue
        taps = layer.kernel_size[0] * layer.kernel_size[1]
        inputs = layer.in_channels // layer.groups
        if isinstance(layer, nn.ConvTranspose2d):
            taps //= layer.stride[0] * layer.stride[1]  # of a transposed kernel, each output pixel meets only a part
        nn.init.normal_(layer.weight, 0.0, math.sqrt(2 / (inputs * taps)))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def replicate_borders(network: nn.Module) -> None:
    """Make the convolutions see the border's values beyond it, in place, where they saw zeros.

    From zeros a generator can tell where a border is, and on a plain wall it paints nothing but what begins there.
    What doubles the size keeps its zeros: it is local, and ends within the margin of ``engine export --margin``.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.padding_mode = "replicate"


def normalise_spectrally(network: nn.Module) -> None:
    """Spectral norm (1802.05957) of all convolutions and linear layers, in place: none enlarges its input."""
    for layer in list(network.modules()):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            spectral_norm(layer)


class Foldable:
    """A layer that trains in one form and runs in a plainer one."""

    @abstractmethod
    def folded(self) -> nn.Module:
        """Layers with the same outputs, made of plain ones."""

    @abstractmethod
    def unfold(self, plain: nn.Module) -> None:
        """Take the weights that layers made by :meth:`folded` have, in place."""


def fold(network: nn.Module) -> nn.Module:
    """A copy of a network, in eval mode, with each :class:`Foldable` layer folded; the network stays as it is."""
    plain = copy.deepcopy(network).eval()
    for module in list(plain.modules()):
        for name, child in module.named_children():
            if isinstance(child, Foldable):
                setattr(module, name, child.folded())
    return plain.requires_grad_(False)


def unfold(network: nn.Module, plain: nn.Module) -> None:
    """Give a network the weights of a folded one: the inverse of :func:`fold`, but for rounding.

    Args:
        network: gets the weights.
        plain: made by :func:`fold` of a network of the same kind.
    """
    folded = {name: layer for name, layer in network.named_modules() if isinstance(layer, Foldable)}
    for name, layer in folded.items():
        layer.unfold(plain.get_submodule(name))
    own = network.state_dict()
    inside = tuple(f"{name}." for name in folded)
    own.update({name: value for name, value in plain.state_dict().items() if not name.startswith(inside)})
    network.load_state_dict(own)
