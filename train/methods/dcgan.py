"""DCGAN from noise with any of the seven adversarial losses: the bed on which only the loss differs.

Each step shows the critic one batch of real pictures; the generator moves in every ``n_critic``-th step. So runs of
equal length have seen equally many pictures, whatever the loss.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torch.optim import Optimizer, RMSprop

from ganlens.engine.spec import AttributeInput, GeneratorSpec, LatentInput, SizeRule

from ..config import DCGANConfig
from ..data.attribute_table import has_table, picture_folder
from ..data.datasets import TrainingData, UnpairedDataset
from ..data.faces import FaceDataset
from ..data.pictures import Pictures
from ..losses import BEGAN, EBGAN, AdversarialLoss, OptimizerDefaults, adversarial_loss, disturb, pulling_away
from ..losses.attribute import with_complement
from ..networks import AutoencoderCritic, ScoreCritic, autoencoder_critic, began_critic, make_generator
from ..networks.layers import normalise_spectrally
from .base import Batch, Compared, Method, Parts, Phase, adam

SHOWN = 7
"""Generated pictures in each row of a sample grid."""


def loss_of(config: DCGANConfig) -> AdversarialLoss:
    """The loss of a configuration, with its own options."""
    a, b, c = config.target_values
    options: dict[str, dict[str, Any]] = {
        "gan": {"minimax": config.minimax},
        "cgan": {"minimax": config.minimax},
        "wgan": {"clip": config.clip},
        "wgan-gp": {"weight": config.lambda_gp},
        "ebgan": {"margin": config.margin, "pulling_away": config.pulling_away},
        "began": {"gamma": config.gamma, "lambda_k": config.lambda_k, "patience": config.patience},
        "lsgan": {"a": a, "b": b, "c": c},
    }
    loss = adversarial_loss(config.loss, **options.get(config.loss, {}))
    loss.r1 = config.r1
    return loss


def optimizer_of(config: DCGANConfig, loss: AdversarialLoss) -> OptimizerDefaults:
    """The loss's own optimiser but for what the configuration says."""
    own = loss.optimizer
    return OptimizerDefaults(
        config.optimizer or own.name,
        config.learning_rate or own.rate,
        config.beta1 if config.beta1 >= 0 else own.beta1,
        own.beta2,
    )


def make_optimizer(settings: OptimizerDefaults) -> Callable[[Iterable[nn.Parameter]], Optimizer]:
    """A phase's ``make_optimizer``."""
    if settings.name == "rmsprop":
        return lambda parameters: RMSprop(parameters, lr=settings.rate)
    return adam(settings.rate, settings.beta1, settings.beta2)


def make_critic(config: DCGANConfig, loss: AdversarialLoss, classes: int) -> nn.Module:
    """The critic that the loss needs."""
    norm = config.critic_norm or loss.norm
    if loss.critic == "autoencoder":
        power = config.exponent if isinstance(loss, BEGAN) else 2
        if config.tier == "began":
            return began_critic(config.size, config.width, power, config.code)
        return autoencoder_critic(config.size, config.width, norm, power, config.code)
    if loss.heads:
        return ScoreCritic(config.size, config.width, norm, heads=2 * len(config.attribute_names))
    return ScoreCritic(config.size, config.width, norm, classes)


def class_names(attributes: tuple[str, ...]) -> tuple[str, ...]:
    """The combinations of attributes, in the order of :func:`classes_of`; ``Not…`` marks an absence."""
    combinations = itertools.product((False, True), repeat=len(attributes))
    return tuple(
        "_".join(name if holds else f"Not{name}" for name, holds in zip(attributes, row, strict=True))
        for row in combinations
    )


def classes_named(config: DCGANConfig) -> tuple[str, ...]:
    """The classes of cgan: subfolders, or the combinations of attributes."""
    return config.class_names or class_names(config.attribute_names)


def classes_of(att: Tensor) -> Tensor:
    """Attributes (N, C), 0 or 1, as one-hot vectors (N, 2^C) over combinations; the last attribute turns first."""
    places = 2 ** torch.arange(att.shape[1] - 1, -1, -1, device=att.device)
    return one_hot((att.long() * places).sum(dim=1), 2 ** att.shape[1]).to(att.dtype)


class DCGAN(Method):
    """The method: networks ``generator`` and ``critic``, and two phases."""

    averaged: tuple[str, ...] = ("generator",)

    def __init__(self, config: DCGANConfig) -> None:
        self.config = config
        self.loss = loss_of(config)
        self.classes = classes_named(config) if self.loss.conditional and not self.loss.heads else ()
        self.networks: dict[str, nn.Module] = {
            "generator": make_generator(self._spec()),
            "critic": make_critic(config, self.loss, len(self.classes)),
        }
        if config.spectral_norm:
            normalise_spectrally(self.networks["critic"])
        settings = optimizer_of(config, self.loss)
        self.phases: tuple[Phase, ...] = (
            Phase(
                "critic",
                ("critic",),
                self.critic_step,
                make_optimizer(settings),
                after=lambda: self.loss.after_discriminator_step(self.networks["critic"]),
                rate_factor=self._rate_factor,
            ),
            Phase(
                "generator",
                ("generator",),
                self.generator_step,
                make_optimizer(settings),
                every=config.n_critic or self.loss.n_critic,
                after=self.loss.after_generator_step,
                rate_factor=self._rate_factor,
            ),
        )

    @classmethod
    def make_dataset(cls, config: DCGANConfig) -> TrainingData:
        """Faces with their labels where there is a table or the loss needs one, else any pictures."""
        if config.needs_labels or has_table(config.data, config.table):
            return FaceDataset.of(config)
        pictures = Pictures(str(picture_folder(Path(config.data))), config.resize_px, config.cache_mb)
        return UnpairedDataset((pictures,), config.size, flip=config.flip, seed=config.seed)

    def critic_step(self, batch: Batch, step: int) -> tuple[Tensor, Parts]:
        """Loss of the critic, and its penalty if there is one."""
        x, labels = batch[0], self._classes(batch)
        with torch.no_grad():
            fake, wanted = self._generate(batch)
        real_scores, fake_scores = self._judge(self._seen(x), labels), self._judge(self._seen(fake), wanted)
        total = self.loss.discriminator(real_scores, fake_scores)
        parts = {"judge": total, "real_score": real_scores.mean(), "fake_score": fake_scores.mean()}
        penalty = self.loss.penalty(lambda pictures: self._judge(pictures, labels), x, fake)
        if penalty is not None:
            total, parts["penalty"] = total + penalty, penalty
        return total, parts

    def generator_step(self, batch: Batch, step: int) -> tuple[Tensor, Parts]:
        """Loss of the generator, on noise of its own."""
        fake, wanted = self._generate(batch)
        if isinstance(self.loss, EBGAN) and self.loss.pulling_away:
            critic = self.networks["critic"]
            assert isinstance(critic, AutoencoderCritic)
            energies, codes = critic.energy_and_code(self._seen(fake))
            adversarial, apart = self.loss.generator(energies), pulling_away(codes)
            return adversarial + self.loss.pulling_away * apart, {"adversarial": adversarial, "pulling_away": apart}
        adversarial = self.loss.generator(self._judge(self._seen(fake), wanted))
        return adversarial, {"adversarial": adversarial, **self.loss.measures()}

    def draw(self, count: int, device: torch.device) -> Tensor:
        """Noise (count, latent)."""
        return draw_noise(count, self.config.latent, self.config.noise).to(device)

    def specs(self) -> dict[str, tuple[str, GeneratorSpec]]:
        """The generator."""
        return {"generator": ("generator", self._spec())}

    def compared(self, batch: Batch, networks: Mapping[str, nn.Module]) -> Compared | None:
        """Generated pictures, real ones."""
        z, labels = self.draw(len(batch[0]), batch[0].device), self._classes(batch)
        return Compared(networks["generator"](z) if labels is None else networks["generator"](z, labels), batch[0])

    def sample(self, batch: Batch, networks: Mapping[str, nn.Module]) -> list[Tensor]:
        """A real picture for comparison, then generated ones; with classes, the same noise as each of them."""
        x = batch[0]
        # Noise from the picture: another for each row, always the same, and the run's own random state stays untouched.
        source = torch.Generator().manual_seed(zlib.crc32(x.cpu().numpy().tobytes()))
        made = []
        wishes = self._shown_labels()
        for number in range(len(wishes) or SHOWN):
            if not number or not len(wishes):
                z = draw_noise(len(x), self.config.latent, self.config.noise, source).to(x.device)
            if len(wishes):
                made.append(networks["generator"](z, wishes[number].to(x.device).expand(len(x), -1)))
            else:
                made.append(networks["generator"](z))
        return [x, *made]

    def captions(self) -> Sequence[str]:
        """The classes or attributes."""
        if self.loss.heads:
            return ["real", "none", *self.config.attribute_names]
        return ["real", *(self.classes or [f"noise {number + 1}" for number in range(SHOWN)])]

    def _shown_labels(self) -> Tensor:
        """A row for each column of a sample grid: each class, or no attribute and each attribute alone; else none."""
        count = len(self.config.attribute_names)
        if self.loss.heads:
            return with_complement(torch.cat([torch.zeros(1, count), torch.eye(count)]))
        return torch.eye(len(self.classes)) if self.classes else torch.zeros(0)

    def state_dict(self) -> dict[str, Any]:
        """The loss's own state."""
        return {"loss": self.loss.state_dict()}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Restore it."""
        self.loss.load_state_dict(state["loss"], device)

    def _generate(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Pictures, and their classes: the batch's own in another order, so that they occur as often as in the data."""
        z, labels = self.draw(len(batch[0]), batch[0].device), self._classes(batch)
        if labels is None:
            return self.networks["generator"](z), None
        wanted = labels[torch.randperm(len(labels)).to(labels.device)]
        return self.networks["generator"](z, wanted), wanted

    def _judge(self, x: Tensor, labels: Tensor | None) -> Tensor:
        critic = self.networks["critic"]
        if labels is None:
            return critic(x)  # type: ignore[no-any-return]
        if self.loss.heads:  # of each attribute either its head counts or that of its absence
            return critic(x)[labels > 0].unflatten(0, (len(labels), -1))  # type: ignore[no-any-return]
        return critic(x, labels)  # type: ignore[no-any-return]

    def _seen(self, x: Tensor) -> Tensor:
        """What the critic gets to see of real and generated pictures."""
        return disturb(x, augment=self.config.augmentations)

    def _classes(self, batch: Batch) -> Tensor | None:
        if self.loss.heads:
            return with_complement(batch[1])
        if not self.loss.conditional:
            return None
        return batch[1] if self.config.class_names else classes_of(batch[1])

    def _rate_factor(self) -> float:
        return self.loss.rate_factor if isinstance(self.loss, BEGAN) else 1.0

    def _spec(self) -> GeneratorSpec:
        config = self.config
        attributes = None
        if self.loss.heads:
            attributes = AttributeInput(name="y", names=config.attribute_names, complement=True)
        elif self.loss.conditional:
            names = classes_named(config)
            attributes = AttributeInput(name="y", names=names, groups=(names,), exactly_one=True)
        return GeneratorSpec(
            name=config.model_name,
            architecture="dcgan",
            tier=config.tier,
            options={"width": config.width, "loss": config.loss},
            image=None,
            latent=LatentInput(dim=config.latent, distribution=config.noise),
            attributes=attributes,
            size=SizeRule(fixed=(config.size, config.size), preferred=(config.size, config.size)),
        )


def draw_noise(count: int, length: int, distribution: str, source: torch.Generator | None = None) -> Tensor:
    """Noise (count, length): "uniform" in [-1, 1], or "normal"; on the CPU."""
    if distribution == "uniform":
        return 2 * torch.rand(count, length, generator=source) - 1
    return torch.randn(count, length, generator=source)
