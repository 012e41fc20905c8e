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


class Game:
    """One training on the mixture.

    Args:
        name: the loss.
        batch: points of each kind in a step.
        seed: of all random numbers.
        rate: factor of the loss's own learning rate.
        n_critic: critic steps for each of the generator; 0: the loss's own.
        known: train on so many points of the mixture, drawn once; 0: on new ones in each step.
        options: of the loss.
    """

    def __init__(
        self,
        name: str,
        *,
        batch: int,
        seed: int,
        rate: float = 1.0,
        n_critic: int = 0,
        known: int = 0,
        **options: float,
    ) -> None:
        torch.manual_seed(seed)
        self.loss = adversarial_loss(name, **options)
        self.batch = batch
        self.n_critic = n_critic or self.loss.n_critic
        self.labels = SIDE if self.loss.conditional else 0
        self.generator = nn.Sequential(
            nn.Linear(LATENT + self.labels, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, 2),
        )
        self.critic = PointCritic(self.loss, self.labels)
        settings = self.loss.optimizer._replace(rate=rate * self.loss.optimizer.rate)
        self._moves = {net: make_optimizer(settings)(net.parameters()) for net in (self.generator, self.critic)}
        self.known = draw(known) if known else None
        self.steps = 0

    def play(self, steps: int) -> None:
        """So many critic steps, and generator steps where they are due."""
        for _ in range(steps):
            real, rows = self._draw()
            self.critic_step(real, rows)
            self.steps += 1
            if self.steps % self.n_critic == 0:
                self.generator_step(rows)
                self.loss.after_generator_step()

    def critic_step(self, real: Tensor, rows: Tensor) -> None:
        """The critic moves."""
        with torch.no_grad():
            fake = self.generate(rows)
        x, y = self.seen(real, rows), self.seen(fake, rows)
        total = self.loss.discriminator(self.critic(x), self.critic(y))
        penalty = self.loss.penalty(self.critic, x, y)
        _move(self._moves[self.critic], total if penalty is None else total + penalty)
        self.loss.after_discriminator_step(self.critic)

    def generator_step(self, rows: Tensor, *, move: bool = True) -> float:
        """The generator moves, or only its gradient is computed; the norm of the gradient."""
        with _frozen(self.critic.parameters()):
            loss = self.loss.generator(self.critic(self.seen(self.generate(rows), rows)))
            self.generator.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            norms = torch.stack([p.grad.norm() for p in self.generator.parameters() if p.grad is not None])
            if move:
                self._moves[self.generator].step()
        return float(norms.norm())

    def sample(self, count: int = SAMPLES) -> tuple[Tensor, Tensor]:
        """Generated points (N, 2), and the rows (N, 5) that they were asked to be in."""
        rows = draw(count)[1]
        with torch.no_grad():
            return self.generate(rows), rows

    def generate(self, rows: Tensor) -> Tensor:
        """A point for each row (N, 5), which only a conditional generator is told."""
        noise = torch.randn(len(rows), LATENT)
        return self.generator(torch.cat([noise, rows], dim=1) if self.labels else noise)  # type: ignore[no-any-return]

    def seen(self, points: Tensor, rows: Tensor) -> Tensor:
        """What the critic is given."""
        return torch.cat([points, rows], dim=1) if self.labels else points

    def _draw(self) -> tuple[Tensor, Tensor]:
        if self.known is None:
            return draw(self.batch)
        chosen = torch.randint(len(self.known[0]), (self.batch,))
        return self.known[0][chosen], self.known[1][chosen]


def play(name: str, *, steps: int, batch: int, seed: int) -> tuple[Coverage, Tensor]:
    """Train on the mixture for ``steps`` critic steps; what was found, and the generated points."""
    game = Game(name, batch=batch, seed=seed)
    game.play(steps)
    points, _ = game.sample()
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
