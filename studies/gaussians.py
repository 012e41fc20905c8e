"""Mode coverage: small networks, 25 Gaussians on a grid, and how many of them each adversarial loss finds.

After VEEGAN (1705.07761), at a quarter of its scale, so that it fits into [-1, 1], and with Gaussians twice as wide for
runs of a few thousand steps: centres 0.5 apart, standard deviation 0.025. A sample is good within three standard
deviations of a centre. A mode is found if it has a fifth of its fair share of the samples, all of them good: a single
one, as in VEEGAN, a cloud that knows nothing of the modes has too.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ganlens.train.losses import BEGAN, AdversarialLoss, adversarial_loss
from ganlens.train.methods.dcgan import make_optimizer

SIDE = 5
SPACING = 0.5
DEVIATION = 0.025
GOOD = 3 * DEVIATION
SAMPLES = 2500
ENOUGH = SAMPLES // SIDE**2 // 5
"""Good samples with which a mode is found."""
LATENT = 2
HIDDEN = 128
CODE = 2
CENTRES = torch.tensor(list(itertools.product([SPACING * (place - SIDE // 2) for place in range(SIDE)], repeat=2)))
"""(25, 2); five in a row have one first coordinate, which is the label of the conditional loss."""


class Coverage(NamedTuple):
    """What of the mixture was found."""

    modes: int
    good: float
    """Share of the samples that are good."""
    divergence: float | None
    """KL divergence, in nats, of the good samples' modes from the uniform distribution; None without any."""


def draw(count: int) -> tuple[Tensor, Tensor]:
    """Points (N, 2) of the mixture, and the one-hot rows (N, 5) of the grid that they belong to."""
    modes = torch.randint(len(CENTRES), (count,))
    return CENTRES[modes] + DEVIATION * torch.randn(count, 2), nn.functional.one_hot(modes // SIDE, SIDE).float()


def coverage(points: Tensor) -> Coverage:
    """Figures for ``SAMPLES`` generated points (N, 2)."""
    distances, nearest = torch.cdist(points, CENTRES).min(dim=1)
    found = torch.bincount(nearest[distances < GOOD], minlength=len(CENTRES)).double()
    total = float(found.sum())
    if not total:
        return Coverage(0, 0.0, None)
    shares = found[found > 0] / total
    divergence = float((shares * (shares * len(CENTRES)).log()).sum())
    return Coverage(int((found >= ENOUGH).sum()), total / len(points), divergence)


class PointCritic(nn.Module):
    """A score for each point (N, 2), or, as an autoencoder, the error of its reconstruction."""

    def __init__(self, loss: AdversarialLoss, labels: int) -> None:
        super().__init__()
        self.power = (1 if isinstance(loss, BEGAN) else 2) if loss.critic == "autoencoder" else 0
        inner = nn.LeakyReLU(0.2)
        if self.power:
            layers = [nn.Linear(2, HIDDEN), inner, nn.Linear(HIDDEN, CODE), nn.Linear(CODE, HIDDEN), inner]
            self.layers = nn.Sequential(*layers, nn.Linear(HIDDEN, 2))
        else:
            layers = [nn.Linear(2 + labels, HIDDEN), inner, nn.Linear(HIDDEN, HIDDEN), inner]
            self.layers = nn.Sequential(*layers, nn.Linear(HIDDEN, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 2), with labels (N, 2 + L), to (N,)."""
        y = self.layers(x)
        return ((y - x).abs() ** self.power).mean(dim=1) if self.power else y.flatten()


def play(name: str, *, steps: int, batch: int, seed: int) -> tuple[Coverage, Tensor]:
    """Train on the mixture for ``steps`` critic steps; what was found, and the generated points."""
    torch.manual_seed(seed)
    loss = adversarial_loss(name)
    labels = SIDE if loss.conditional else 0
    generator = nn.Sequential(
        nn.Linear(LATENT + labels, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2)
    )
    critic = PointCritic(loss, labels)
    moves = {net: make_optimizer(loss.optimizer)(net.parameters()) for net in (generator, critic)}

    def generate(rows: Tensor) -> Tensor:
        noise = torch.randn(len(rows), LATENT)
        return generator(torch.cat([noise, rows], dim=1) if labels else noise)  # type: ignore[no-any-return]

    def seen(points: Tensor, rows: Tensor) -> Tensor:
        return torch.cat([points, rows], dim=1) if labels else points

    for step in range(steps):
        real, rows = draw(batch)
        with torch.no_grad():
            fake = generate(rows)
        x, y = seen(real, rows), seen(fake, rows)
        total = loss.discriminator(critic(x), critic(y))
        penalty = loss.penalty(critic, x, y)
        _move(moves[critic], total if penalty is None else total + penalty)
        loss.after_discriminator_step(critic)
        if (step + 1) % loss.n_critic == 0:
            with _frozen(critic.parameters()):
                _move(moves[generator], loss.generator(critic(seen(generate(rows), rows))))
            loss.after_generator_step()
    with torch.no_grad():
        points = generate(draw(SAMPLES)[1])
    return coverage(points), points


def _move(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


class _frozen:
    """Inside, the parameters need no gradients."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self.parameters = list(parameters)

    def __enter__(self) -> None:
        for parameter in self.parameters:
            parameter.requires_grad_(False)

    def __exit__(self, *_: object) -> None:
        for parameter in self.parameters:
            parameter.requires_grad_(True)
