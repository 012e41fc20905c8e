"""The seven adversarial losses of the survey and the hinge loss, one small object each.

``real`` and ``fake`` are raw scores of any shape (N, …), or, for the two with an autoencoder as critic, its energies
(N,); means run over all of it. Both losses are minimised. No probability is ever formed: ``softplus(-s)`` is
``-log sigmoid(s)`` and ``softplus(s)`` is ``-log(1 - sigmoid(s))``, without overflow.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, softplus

from ganlens.engine.errors import TrainingError

from ..config import Norm
from ..processes import mean_over_processes
from .penalty import r1_penalty, slope_penalty

Critic = Callable[[Tensor], Tensor]


class OptimizerDefaults(NamedTuple):
    """The published optimiser of a loss."""

    name: Literal["adam", "rmsprop"]
    rate: float
    beta1: float = 0.0
    beta2: float = 0.999


class AdversarialLoss(ABC):
    """One adversarial game, and what a training must know to play it."""

    optimizer: ClassVar[OptimizerDefaults] = OptimizerDefaults("adam", 2e-4, 0.5)
    n_critic: ClassVar[int] = 1
    """Steps of the discriminator for each of the generator."""
    critic: ClassVar[Literal["scores", "autoencoder"]] = "scores"
    """What judges: a network that scores, or an autoencoder that gives a reconstruction error."""
    norm: ClassVar[Norm] = "bn"
    """Norm of the critic."""
    conditional: ClassVar[bool] = False
    """Whether both networks are conditioned on a label."""
    heads: ClassVar[bool] = False
    """Whether the critic has a head for each label, in place of being conditioned on it."""
    r1: float = 0.0
    """Weight of the R1 penalty, for losses without a penalty of their own."""

    @abstractmethod
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Scores or energies of real and generated pictures → scalar."""

    @abstractmethod
    def generator(self, fake: Tensor) -> Tensor:
        """Scores or energies of generated pictures → scalar."""

    def penalty(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor | None:
        """Weighted penalty on the critic itself, at pictures; None: there is none."""
        return self.r1 * r1_penalty(critic, real) if self.r1 else None

    def after_discriminator_step(self, critic: nn.Module) -> None:  # noqa: B027
        """What happens to the critic when its optimiser has moved it."""

    def after_generator_step(self) -> None:  # noqa: B027
        """What happens to the loss's own state when the generator's optimiser has moved."""

    def measures(self) -> dict[str, Tensor]:
        """Scalars of its own for the log."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """State that a checkpoint must hold."""
        return {}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:  # noqa: B027
        """Continue from :meth:`state_dict`."""


class GAN(AdversarialLoss):
    """Goodfellow et al. 2014 (survey, formula 3).

    Args:
        minimax: the generator minimises ``E log(1 - D(G(z)))`` as in the min-max value, whose gradient vanishes where
            the discriminator is sure; the default is the same paper's non-saturating form.
    """

    def __init__(self, *, minimax: bool = False) -> None:
        self.minimax = minimax

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """``E[-log D(x)] + E[-log(1 - D(G(z)))]``."""
        return softplus(-wide(real)).mean() + softplus(wide(fake)).mean()

    def generator(self, fake: Tensor) -> Tensor:
        """``E[-log D(G(z))]``; minimax: ``E[log(1 - D(G(z)))]``."""
        return -softplus(wide(fake)).mean() if self.minimax else softplus(-wide(fake)).mean()


class CGAN(GAN):
    """Mirza & Osindero 2014 (formula 4): the same game on ``D(x|y)`` and ``G(z|y)``."""

    conditional = True


class WGAN(AdversarialLoss):
    """Arjovsky et al. 2017 (formula 5, in its Kantorovich dual): a critic kept Lipschitz by clipping its weights.

    Args:
        clip: all parameters of the critic are clamped to [-clip, clip] after each of its steps.
    """

    optimizer = OptimizerDefaults("rmsprop", 5e-5)
    n_critic = 5

    def __init__(self, *, clip: float = 0.01) -> None:
        self.clip = clip

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """``-(E D(x) - E D(G(z)))``, the negative of the estimated distance."""
        return wide(fake).mean() - wide(real).mean()

    def generator(self, fake: Tensor) -> Tensor:
        """``-E D(G(z))``."""
        return -wide(fake).mean()

    @torch.no_grad()
    def after_discriminator_step(self, critic: nn.Module) -> None:
        """Clip."""
        for parameter in critic.parameters():
            parameter.clamp_(-self.clip, self.clip)


class WGANGP(AdversarialLoss):
    """Gulrajani et al. 2017 (formula 6): WGAN with a gradient penalty in place of the clipping.

    The critic has no batch norm: the penalty is on the gradient of each sample's own score.

    Args:
        weight: of the penalty.
    """

    optimizer = OptimizerDefaults("adam", 1e-4, 0.0, 0.9)
    n_critic = 5
    norm: ClassVar[Norm] = "in"

    def __init__(self, *, weight: float = 10.0) -> None:
        self.weight = weight

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """``E D(G(z)) - E D(x)``, without the penalty."""
        return wide(fake).mean() - wide(real).mean()

    def generator(self, fake: Tensor) -> Tensor:
        """``-E D(G(z))``."""
        return -wide(fake).mean()

    def penalty(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """``weight E[(|∇D(x^)| - 1)^2]``."""
        return self.weight * slope_penalty(critic, real, fake)


class EBGAN(AdversarialLoss):
    """Zhao et al. 2016 (formulas 7 and 8): energies below a margin are pushed up, sample by sample.

    Args:
        margin: energy of a fake that is bad enough. 1 suits mean squared errors of pictures in [-1, 1] at batch 64;
            the published 10 and more belong to errors that are summed over pixels.
        pulling_away: weight of :func:`pulling_away`; 0.1 makes it EBGAN-PT, 0 leaves it out.
    """

    critic: ClassVar[Literal["scores", "autoencoder"]] = "autoencoder"

    def __init__(self, *, margin: float = 1.0, pulling_away: float = 0.0) -> None:
        self.margin = margin
        self.pulling_away = pulling_away

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """``E[E(x)] + E[max(0, m - E(G(z)))]``; the hinge of a batch's mean would be another loss."""
        return wide(real).mean() + (self.margin - wide(fake)).relu().mean()

    def generator(self, fake: Tensor) -> Tensor:
        """``E[E(G(z))]``; the pulling-away term comes on top, see :func:`pulling_away`."""
        return wide(fake).mean()


class BEGAN(AdversarialLoss):
    """Berthelot et al. 2017 (formula 9): the critic's attention to fakes, ``k``, keeps a balance of both errors.

    ``k`` grows while the fakes' error is below ``gamma`` times the real one, and is moved after each step of the
    generator. The convergence measure is ``M = L(x) + |gamma L(x) - L(G(z))|``; where it stalls, the learning rate is
    halved (:attr:`rate_factor`).

    Args:
        gamma: diversity, target ratio of the two errors; 0.3 to 0.7, lower gives less variety.
        lambda_k: speed of ``k``.
        patience: generator steps without a better M after which the rate is halved; 0: never.
    """

    optimizer = OptimizerDefaults("adam", 1e-4, 0.5)
    critic: ClassVar[Literal["scores", "autoencoder"]] = "autoencoder"
    norm: ClassVar[Norm] = "none"

    SMOOTHING = 0.99
    """Smoothing of M before it is compared."""
    LOOK_EVERY = 100
    """Generator steps between two looks at M: reading a number off a GPU waits for it."""
    BETTER = 0.99
    """M must fall below this share of its best value to count as better."""

    def __init__(self, *, gamma: float = 0.5, lambda_k: float = 0.001, patience: int = 0) -> None:
        self.gamma = gamma
        self.lambda_k = lambda_k
        self.patience = patience
        self.k = torch.zeros(())
        self.rate_factor = 1.0
        self._real: Tensor | None = None
        self._fake: Tensor | None = None
        self._smooth: Tensor | None = None
        self._steps = 0
        self._best = float("inf")
        self._best_step = 0

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """``L(x) - k L(G(z))``."""
        real_error, fake_error = wide(real).mean(), wide(fake).mean()
        self._real = real_error.detach()
        self.k = self.k.to(real_error)
        return real_error - self.k * fake_error

    def generator(self, fake: Tensor) -> Tensor:
        """``L(G(z))``."""
        error = wide(fake).mean()
        self._fake = error.detach()
        return error

    def after_generator_step(self) -> None:
        """``k <- clip(k + lambda_k (gamma L(x) - L(G(z))), 0, 1)``."""
        if self._real is None or self._fake is None:
            raise TrainingError("BEGAN balances two errors; call discriminator and generator before the step ends.")
        real, fake = mean_over_processes(torch.stack([self._real, self._fake]))
        self.k = (self.k + self.lambda_k * (self.gamma * real - fake)).clamp(0, 1)
        measure = self._measure(real, fake)
        self._smooth = measure if self._smooth is None else torch.lerp(measure, self._smooth, self.SMOOTHING)
        self._steps += 1
        if self.patience and self._steps % self.LOOK_EVERY == 0:
            self._watch(float(self._smooth))

    def measures(self) -> dict[str, Tensor]:
        """``k`` and M."""
        if self._real is None or self._fake is None:
            return {"k": self.k}
        return {"k": self.k, "convergence": self._measure(self._real, self._fake)}

    def state_dict(self) -> dict[str, Any]:
        """``k``, and what M has been."""
        return {
            "k": self.k,
            "rate_factor": self.rate_factor,
            "smooth": self._smooth,
            "steps": self._steps,
            "best": self._best,
            "best_step": self._best_step,
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Continue."""
        self.k = state["k"].to(device)
        self.rate_factor = state["rate_factor"]
        self._smooth = None if state["smooth"] is None else state["smooth"].to(device)
        self._steps, self._best, self._best_step = state["steps"], state["best"], state["best_step"]

    def _measure(self, real: Tensor, fake: Tensor) -> Tensor:
        return real + (self.gamma * real - fake).abs()

    def _watch(self, measure: float) -> None:
        if measure < self.BETTER * self._best:
            self._best, self._best_step = measure, self._steps
        elif self._steps - self._best_step >= self.patience:
            self.rate_factor /= 2
            self._best_step = self._steps  # the new rate gets its own patience


class LSGAN(AdversarialLoss):
    """Mao et al. 2016 (formula 10): least squares to the labels ``a`` of fakes and ``b`` of real pictures.

    Args:
        a, b, c: labels; the generator aims at ``c``. The survey has 0, 1, 1; -1, 1, 0 is the other published choice.
        discriminator_weight, generator_weight: factors; 1/2 and 1/2 as published. CycleGAN has 1/2 and 1.
    """

    def __init__(
        self,
        *,
        a: float = 0.0,
        b: float = 1.0,
        c: float = 1.0,
        discriminator_weight: float = 0.5,
        generator_weight: float = 0.5,
    ) -> None:
        self.a, self.b, self.c = a, b, c
        self.discriminator_weight = discriminator_weight
        self.generator_weight = generator_weight

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """``1/2 E[(D(x) - b)^2] + 1/2 E[(D(G(z)) - a)^2]``."""
        return self.discriminator_weight * (
            (wide(real) - self.b).square().mean() + (wide(fake) - self.a).square().mean()
        )

    def generator(self, fake: Tensor) -> Tensor:
        """``1/2 E[(D(G(z)) - c)^2]``."""
        return self.generator_weight * (wide(fake) - self.c).square().mean()


class AttributeGAN(AdversarialLoss):
    """ACL-GAN's attribute loss in LSGAN form, for pictures from noise: the critic has a head for each attribute and for
    each absence, and ``real`` and ``fake`` are the scores (N, A) of the heads that hold, A of them for every picture.
    """

    conditional = True
    heads: ClassVar[bool] = True

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """``E[sum_c att_c (D_c(x) - 1)^2] + E[sum_c att'_c D_c(x')^2]``."""
        return (wide(real) - 1).square().sum(dim=1).mean() + wide(fake).square().sum(dim=1).mean()

    def generator(self, fake: Tensor) -> Tensor:
        """``E[sum_c att'_c (D_c(x') - 1)^2]``."""
        return (wide(fake) - 1).square().sum(dim=1).mean()


class Hinge(AdversarialLoss):
    """Hinge loss (Lim & Ye 2017, 1705.02894; with spectral norm Miyato et al. 2018, 1802.05957). Not in the survey."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """``E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))]``."""
        return (1 - wide(real)).relu().mean() + (1 + wide(fake)).relu().mean()

    def generator(self, fake: Tensor) -> Tensor:
        """``-E D(G(z))``."""
        return -wide(fake).mean()


def pulling_away(codes: Tensor) -> Tensor:
    """EBGAN's term against fakes that are all alike: mean squared cosine of the pairs of codes (N, D), N at least 2.

    Raises:
        TrainingError: fewer than two codes.
    """
    count = len(codes)
    if count < 2:
        raise TrainingError(f"The pulling-away term compares pictures of a batch; got {count}. Give --batch 2 or more.")
    unit = normalize(wide(codes), dim=1)
    cosines = unit @ unit.T  # (N, N)
    others = cosines.square().sum() - cosines.diagonal().square().sum()
    return others / (count * (count - 1))


def wide(scores: Tensor) -> Tensor:
    """Half-precision scores (mixed precision) in float32: squares and sums of them overflow."""
    return scores.float() if scores.dtype in (torch.float16, torch.bfloat16) else scores
