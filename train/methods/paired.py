"""Paired training: a generator learns what a teacher, or a folder of answers, makes of the same pictures.

``L = l1 |G(x') - y| + pooled |P(G(x')) - P(y)| + gradient |D(G(x')) - D(y)| + texture |T(G(x')) - T(y)|
    + gram Gram(G(x'), y) + calm |G(x') - G(x'')| + adversarial L_adv``,

where x' and x'' are the picture x under different camera noise, from a share of the run on; before that x' = x, because
under noise a generator without any strokes yet finds nothing to hold them by. With ``adversarial`` above 0 a patch
critic that sees picture and translation together is trained along: that is pix2pix (Isola et al. 2017).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from ganlens.engine.spec import GeneratorSpec

from ..config import PairedConfig
from ..data.pairs import PairDataset, make_pair_dataset
from ..data.variation import camera_noise
from ..losses import add_noise, score_loss, shift_randomly
from ..losses.paired import gradient_loss, pooled_loss, texture_loss
from ..losses.style import STYLE_LAYERS, gram_loss
from ..networks import PatchGAN, make_generator
from ..networks.vgg16 import VGG16
from ..specs import image_to_image_spec
from .base import Batch, Compared, Method, Parts, Phase, adam

JITTER = 4
"""Pixels by which pictures may move each way before VGG16: the stride of its deepest style layer."""


def paired_loss(
    generator: nn.Module,
    picture: Tensor,
    answer: Tensor,
    config: PairedConfig,
    *,
    noisy: bool = False,
    compare: bool = False,
    vgg: VGG16 | None = None,
) -> tuple[Tensor, Parts, Tensor]:
    """All terms but the adversarial one, and the translation.

    Args:
        generator: the network that learns.
        picture, answer: (N, 3, H, W) in [-1, 1].
        config: weights.
        noisy: the generator sees the picture under camera noise.
        compare: it sees it twice, under different noise.
        vgg: for ``gram``.
    """
    translated = generator(camera_noise(picture, config.noise) if noisy else picture)
    terms = {
        "l1": (config.lambda_l1, l1_loss(translated, answer)),
        "pooled": (config.lambda_pooled, pooled_loss(translated, answer)),
        "gradient": (config.lambda_gradient, gradient_loss(translated, answer)),
        "texture": (config.lambda_texture, texture_loss(translated, answer)),
    }
    if config.lambda_gram > 0:
        assert vgg is not None
        terms["gram"] = (
            config.lambda_gram,
            gram_loss(vgg, *shift_randomly(torch.cat([translated, answer]), JITTER).chunk(2)),
        )
    if compare:
        other = generator(
            picture + config.noise / 2 * torch.rand((), device=picture.device) * torch.randn_like(picture)
        )
        terms["calm"] = config.lambda_calm, l1_loss(translated, other)
    total = torch.stack([weight * term for weight, term in terms.values()]).sum()
    return total, {name: term for name, (_, term) in terms.items()}, translated


class Paired(Method):
    """The method: network ``generator``, and ``critic`` where there is an adversarial loss."""

    averaged: tuple[str, ...] = ("generator",)
    carried = ("_fake",)

    def __init__(self, config: PairedConfig) -> None:
        self.config = config
        self.networks: dict[str, nn.Module] = {
            "generator": make_generator(image_to_image_spec(config, config.model_name))
        }
        self.fixed: dict[str, nn.Module] = {}
        if config.lambda_gram > 0:
            self.fixed["vgg"] = VGG16.load(Path(config.vgg), STYLE_LAYERS[-1], config.vgg_scaling)
        self.phases: tuple[Phase, ...] = (
            Phase("generator", ("generator",), self.generator_step, adam(config.learning_rate, config.beta1, 0.99)),
        )
        self.loss = score_loss(config.loss)
        if config.lambda_adversarial > 0:
            self.networks["critic"] = PatchGAN(config.discriminator_width, channels=6)
            rate = config.discriminator_learning_rate or config.learning_rate
            self.phases += (Phase("critic", ("critic",), self.critic_step, adam(rate, config.beta1)),)
        self._fake: Tensor | None = None

    @classmethod
    def make_dataset(cls, config: PairedConfig) -> PairDataset:
        """The pairs; the teacher is run now if the pairs do not exist yet."""
        return make_pair_dataset(config)

    def generator_step(self, batch: Batch, step: int) -> tuple[Tensor, Parts]:
        """Loss of the generator; keeps its translation for :meth:`critic_step`."""
        picture, answer = batch
        config = self.config
        noisy = step >= config.calm_from * config.steps
        total, parts, translated = paired_loss(
            self.networks["generator"],
            picture,
            answer,
            config,
            noisy=noisy and config.noise > 0,
            compare=noisy and config.lambda_calm > 0 and step % 2 == 0,
            vgg=self.fixed.get("vgg"),  # type: ignore[arg-type]
        )
        if "critic" in self.networks:
            scores = self.networks["critic"](self._seen(picture, translated))
            adversarial = self.loss.generator(scores)
            total, parts["adversarial"] = total + config.lambda_adversarial * adversarial, adversarial
            self._fake = translated.detach()
        return total, parts

    def critic_step(self, batch: Batch, step: int) -> tuple[Tensor, Parts]:
        """Loss of the critic."""
        picture, answer = batch
        assert self._fake is not None, "the generator phase runs first"
        critic = self.networks["critic"]
        real, fake = self._seen(picture, answer), self._seen(picture, self._fake)
        total = self.loss.discriminator(critic(real), critic(fake))
        parts = {"critic": total}
        penalty = self.loss.penalty(critic, real, fake)
        if penalty is not None:
            total, parts["penalty"] = total + penalty, penalty
        return total, parts

    def _seen(self, picture: Tensor, other: Tensor) -> Tensor:
        """What the critic sees: the picture and a translation of it, (N, 6, H, W)."""
        return add_noise(torch.cat([picture, other], 1), self.config.instance_noise)

    def specs(self) -> dict[str, tuple[str, GeneratorSpec]]:
        """The generator."""
        return {"generator": ("generator", image_to_image_spec(self.config, self.config.model_name))}

    def compared(self, batch: Batch, networks: Mapping[str, nn.Module]) -> Compared | None:
        """Translated pictures, the answers."""
        return Compared(networks["generator"](batch[0]), batch[1])

    def translator(self, networks: Mapping[str, nn.Module]) -> nn.Module | None:
        """The generator that ships."""
        return networks["generator"]

    def sample(self, batch: Batch, networks: Mapping[str, nn.Module]) -> list[Tensor]:
        """Picture, answer, translation."""
        picture, answer = batch
        return [picture, answer, networks["generator"](picture)]
