"""StarGAN (1711.09020), the baseline: critic with gradient penalty, class and reconstruction losses; two passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss

from ganlens.engine.spec import GeneratorSpec

from ..config import StarGANConfig
from ..data.faces import FaceDataset
from ..data.target_labels import draw_targets, flip_each
from ..evaluate.classifier import judge_of, success, training_accuracy
from ..losses import mix, slopes
from ..networks import StarGANDiscriminator, make_generator
from ..specs import attribute_spec
from .base import Batch, Compared, Method, Parts, Phase, adam, measures

LAMBDA_GP = 10.0
"""Published weight of the gradient penalty."""

N_CRITIC = 5
"""Published number of discriminator steps for each of the generator."""


def class_loss(logits: Tensor, att: Tensor) -> Tensor:
    """Binary cross entropy summed over attributes and batch, divided by the batch size; both (N, C)."""
    return binary_cross_entropy_with_logits(logits.float(), att, reduction="sum") / len(att)


def discriminator_loss(
    discriminator: nn.Module, x: Tensor, att: Tensor, fake: Tensor, config: StarGANConfig
) -> tuple[Tensor, Parts]:
    """Critic, classes of the real pictures, gradient penalty; ``fake`` comes detached."""
    real_source, logits = discriminator(x)
    fake_source, _ = discriminator(fake)

    # critic: E[D(x')] - E[D(x)]
    adversarial = fake_source.mean() - real_source.mean()

    # class: of the real pictures only
    classes = class_loss(logits, att)

    # gradient penalty: on the score map, as the public code has it
    mixed = mix(x, fake)
    penalty = (slopes(discriminator(mixed)[0].flatten(1).sum(dim=1), mixed) - 1).square().mean()

    total = (
        adversarial + config.lambda_cls * classes + (LAMBDA_GP if config.lambda_gp < 0 else config.lambda_gp) * penalty
    )
    correct = ((logits > 0) == (att > 0.5)).float().mean()
    parts = {
        "judge": adversarial,
        "judge_class": classes,
        "penalty": penalty,
        "real_score": real_source.mean(),
        "fake_score": fake_source.mean(),
        "real_accuracy": correct,
    }
    return total, parts


def generator_loss(
    networks: Mapping[str, nn.Module], x: Tensor, att: Tensor, target: Tensor, config: StarGANConfig
) -> tuple[Tensor, Parts]:
    """Critic loss, target classes, and reconstruction of the original."""
    generator = networks["generator"]
    fake = generator(x, target)
    source, logits = networks["discriminator"](fake)

    # critic: -E[D(x')]
    adversarial = -source.mean()

    # class: the edit has the target attributes
    classes = class_loss(logits, target)

    # reconstruction: with its own labels the edit becomes the original again; the second pass that ACL-GAN saves
    reconstruction = l1_loss(generator(fake, att), x)

    total = adversarial + config.lambda_cls * classes + config.lambda_rec * reconstruction
    correct = ((logits > 0) == (target > 0.5)).float().mean()
    parts = {"adversarial": adversarial, "class": classes, "reconstruction": reconstruction, "fake_accuracy": correct}
    return total, parts


class StarGAN(Method):
    """The method: networks ``generator`` and ``discriminator``; the generator moves in every fifth step."""

    averaged: tuple[str, ...] = ("generator",)
    carried = ("_target",)

    def __init__(self, config: StarGANConfig) -> None:
        self.config = config
        self.networks: dict[str, nn.Module] = {
            "generator": make_generator(self._spec()),
            "discriminator": StarGANDiscriminator(
                config.size, len(config.attribute_names), config.discriminator_width, config.discriminator_layers
            ),
        }
        self.classifier = judge_of(config)
        self.fixed: dict[str, nn.Module] = {"classifier": self.classifier.network} if self.classifier else {}
        judge_rate = config.discriminator_learning_rate or config.learning_rate
        self.phases: tuple[Phase, ...] = (
            Phase("discriminator", ("discriminator",), self.discriminator_step, adam(judge_rate, config.beta1)),
            Phase(
                "generator",
                ("generator",),
                self.generator_step,
                adam(config.learning_rate, config.beta1),
                every=config.n_critic or N_CRITIC,
            ),
        )
        self._target: Tensor | None = None

    @classmethod
    def make_dataset(cls, config: StarGANConfig) -> FaceDataset:
        """Faces and their labels."""
        return FaceDataset.of(config)

    def discriminator_step(self, batch: Batch, step: int) -> tuple[Tensor, Parts]:
        """Loss of the discriminator; keeps the targets for :meth:`generator_step`."""
        x, att = batch
        self._target = draw_targets(att, self.config.targets)
        with torch.no_grad():
            fake = self.networks["generator"](x, self._target)
        return discriminator_loss(self.networks["discriminator"], x, att, fake, self.config)

    def generator_step(self, batch: Batch, step: int) -> tuple[Tensor, Parts]:
        """Loss of the generator."""
        assert self._target is not None, "the discriminator phase runs first"
        x, att = batch
        total, parts = generator_loss(self.networks, x, att, self._target, self.config)
        if self.classifier is not None and measures(step, self.phases[1].every):
            with torch.no_grad():
                fake = self.networks["generator"](x, self._target)
            parts |= training_accuracy(self.classifier, fake, self._target, self.config.attribute_names)
        return total, parts

    def specs(self) -> dict[str, tuple[str, GeneratorSpec]]:
        """The generator."""
        return {"generator": ("generator", self._spec())}

    def compared(self, batch: Batch, networks: Mapping[str, nn.Module]) -> Compared | None:
        """Faces with the labels of others, unedited ones; with --classifier also the success of the edits."""
        x, att = batch
        target = att.roll(1, 0)
        made = networks["generator"](x, target)
        return Compared(made, x, success(self.classifier, made, target, self.config.attribute_names))

    def sample(self, batch: Batch, networks: Mapping[str, nn.Module]) -> list[Tensor]:
        """The face, then an edit for each attribute (flipped; a hair colour set in place of the others)."""
        x, att = batch
        return [x] + [
            networks["generator"](x, target)
            for target in flip_each(att, self.config.attribute_names, self.config.exclusive_names)
        ]

    def captions(self) -> Sequence[str]:
        """What is edited."""
        return ["face", *(f"other {name}" for name in self.config.attribute_names)]

    def _spec(self) -> GeneratorSpec:
        return attribute_spec(self.config, mask=False, complement=False)
