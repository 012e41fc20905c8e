"""Gradients of scores with respect to pictures: what every gradient penalty is made of."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def mix(real: Tensor, fake: Tensor) -> Tensor:
    """``e x + (1 - e) x'`` with e uniform, one per sample; a leaf that requires a gradient. Any shape (N, …)."""
    share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device, dtype=real.dtype)
    return (share * real + (1 - share) * fake).detach().requires_grad_(True)


def slopes(scores: Tensor, images: Tensor) -> Tensor:
    """Gradient norm of each sample's score, (N,); differentiable. ``scores``: (N,)."""
    gradient = torch.autograd.grad(scores.sum(), images, create_graph=True)[0]
    return gradient.flatten(1).norm(dim=1)  # type: ignore[no-any-return]


def slope_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """WGAN-GP's ``E[(|∇D(x^)| - 1)^2]``, two-sided, not weighted; a map of scores counts by its mean."""
    mixed = mix(real, fake)
    scores = critic(mixed).reshape(len(mixed), -1).mean(dim=1)
    return (slopes(scores, mixed) - 1).square().mean()


def r1_penalty(critic: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """``1/2 E[|∇D(x)|^2]`` at real pictures (Mescheder et al. 2018, 1801.04406); a map of scores counts by its mean."""
    leaf = real.detach().requires_grad_(True)
    scores = critic(leaf).reshape(len(leaf), -1).mean(dim=1)
    gradient = torch.autograd.grad(scores.sum(), leaf, create_graph=True)[0]
    return gradient.float().square().flatten(1).sum(dim=1).mean() / 2
