"""ACL-GAN's attribute loss: the adversarial loss of each attribute's head, on the samples that have the attribute.

``att`` weights the heads: an attribute that is 0 is "don't care", and its head gets exactly no gradient from that
sample, neither in the discriminator nor through it. Sums run over attributes, means over the batch (the paper's
formulas: no factor 1/2, not divided by the number of active attributes).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ganlens.engine.errors import OptionError, did_you_mean

from . import mix, slopes

Score = Callable[[Tensor], Tensor]


class AttributeLoss(NamedTuple):
    """A base loss as functions of scores, all minimised, elementwise."""

    real: Score
    fake: Score
    generator: Score
    n_critic: int
    """Discriminator steps for each of the generator by default."""
    summed: bool = False
    """What the functions are applied to: False: each active head's score, then summed; True: the sum of the active
    heads' scores, one number for each sample."""
    each: bool = False
    """Means: False: over the batch, the paper's second form; True: for each attribute over the samples that have it,
    its first form (:func:`mean_of_each`)."""

    def discriminator_loss(self, real: Tensor, att: Tensor, fake: Tensor, target: Tensor) -> Tensor:
        """``E[real(D(x)) · att] + E[fake(D(x')) · att']``.

        Args:
            real, fake: scores (N, A) of real pictures and of edits.
            att, target: (N, A), the labels of the real pictures and the targets of the edits.
        """
        return self._mean(self.real, real, att) + self._mean(self.fake, fake, target)

    def generator_loss(self, fake: Tensor, target: Tensor) -> Tensor:
        """``E[generator(D(x')) · att']``."""
        return self._mean(self.generator, fake, target)

    def _mean(self, function: Score, scores: Tensor, att: Tensor) -> Tensor:
        if self.summed:
            return function((scores.float() * att).sum(dim=1)).mean()
        if self.each:
            return mean_of_each(function(scores.float()), att)
        return active_sum(function(scores.float()), att)


def active_sum(values: Tensor, att: Tensor) -> Tensor:
    """Summed over the attributes that hold, averaged over the batch; both (N, A)."""
    return (values * att).sum(dim=1).mean()


def mean_of_each(values: Tensor, att: Tensor) -> Tensor:
    """For each attribute the mean over the samples that have it, ``E_{x | att_c = 1}``, summed; both (N, A).

    With a share p of samples that have an attribute, its samples weigh 1 / p times what they weigh in
    :func:`active_sum`: all attributes count alike, and the gradient of a rare one has the variance of few samples. An
    attribute that no sample of the batch has counts nothing.
    """
    return ((values * att).sum(dim=0) / att.sum(dim=0).clamp(min=1)).sum()


ATTRIBUTE_LOSSES = {
    "lsgan": AttributeLoss(lambda s: (s - 1).square(), torch.square, lambda s: (s - 1).square(), 1),
    "wgan-gp": AttributeLoss(torch.neg, lambda s: s, torch.neg, 5),
    "hinge": AttributeLoss(lambda s: (1 - s).relu(), lambda s: (1 + s).relu(), torch.neg, 1),
    "logistic": AttributeLoss(lambda s: softplus(-s), softplus, lambda s: softplus(-s), 1, summed=True),
}
"""Name → base loss. "lsgan" is written out in the paper; "wgan-gp" follows the same construction. "logistic" is the
author's later form (CAGAN code, 2024): one score ``D(x) · att`` for each sample, the one that "active_r1" penalises."""


def attribute_loss(name: str, *, each: bool = False) -> AttributeLoss:
    """The loss of that name; ``each``: with a mean for each attribute, see :class:`AttributeLoss`.

    Raises:
        OptionError: there is none.
    """
    if name not in ATTRIBUTE_LOSSES:
        raise OptionError(f"No attribute loss is called '{name}'. {did_you_mean(name, ATTRIBUTE_LOSSES)}")
    return ATTRIBUTE_LOSSES[name]._replace(each=each)


def with_complement(att: Tensor) -> Tensor:
    """``[att, 1 - att]``: each absence becomes an attribute of its own, and exactly half of them hold."""
    return torch.cat([att, 1 - att], dim=1)


# --- gradient penalties ----------------------------------------------------------------------------------------------

Penalty = Callable[[nn.Module, Tensor, Tensor, Tensor, Tensor], Tensor]
"""(discriminator, real, att, fake, target) → scalar, not weighted."""


def mean_penalty(discriminator: nn.Module, real: Tensor, att: Tensor, fake: Tensor, target: Tensor) -> Tensor:
    """``E[(|∇ mean_c D_c(x^)| - 1)^2]``: one backward pass for all attributes."""
    mixed = mix(real, fake)
    return (slopes(discriminator(mixed).mean(dim=1), mixed) - 1).square().mean()


def per_attribute_penalty(discriminator: nn.Module, real: Tensor, att: Tensor, fake: Tensor, target: Tensor) -> Tensor:
    """``E[sum_c att'_c (|∇ D_c(x^)| - 1)^2]``: a backward pass for each attribute."""
    mixed = mix(real, fake)
    scores = discriminator(mixed)
    each = torch.stack([(slopes(scores[:, c], mixed) - 1).square() for c in range(scores.shape[1])], dim=1)
    return active_sum(each, target)


def active_r1_penalty(discriminator: nn.Module, real: Tensor, att: Tensor, fake: Tensor, target: Tensor) -> Tensor:
    """``E|∇ (D(x) · att)|^2 + E|∇ (D(x') · att')|^2``."""
    total = torch.zeros((), device=real.device)
    for images, labels in ((real, att), (fake, target)):
        leaf = images.detach().requires_grad_(True)
        total = total + slopes((discriminator(leaf) * labels).sum(dim=1), leaf).square().mean()
    return total


PENALTIES: dict[str, tuple[Penalty, float]] = {
    "mean": (mean_penalty, 0.1),
    "per_attribute": (per_attribute_penalty, 0.1),
    "active_r1": (active_r1_penalty, 1.0),
}
"""Name → penalty and its published weight (that of "per_attribute" is the one of "mean": nothing else is known)."""
