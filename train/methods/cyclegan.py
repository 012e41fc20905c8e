"""CycleGAN (1703.10593): two generators and two discriminators over two unpaired domains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from ganlens.engine.spec import GeneratorSpec

from ..config import CycleGANConfig, UnpairedConfig
from ..data.datasets import UnpairedDataset
from ..losses import AdversarialLoss, disturb, score_loss, shift_loss
from ..losses.semantic import random_piece, semantic_loss
from ..losses.style import STYLE_LAYERS, style_loss
from ..networks import PatchGAN, make_generator
from ..networks.layers import normalise_spectrally
from ..networks.vgg16 import VGG16
from ..specs import image_to_image_spec
from .base import Batch, Compared, Method, Parts, Phase, adam
from .image_pool import ImagePool


class Fakes(NamedTuple):
    """What a generator step made, for the discriminator step; detached."""

    painting: Tensor
    photo: Tensor


def seen(images: Tensor, config: UnpairedConfig | None) -> Tensor:
    """What the discriminators get to see of real and translated pictures; without a configuration, all as it is."""
    return images if config is None else disturb(images, noise=config.instance_noise, augment=config.augmentations)


def generator_loss(
    networks: Mapping[str, nn.Module],
    photo: Tensor,
    painting: Tensor,
    config: CycleGANConfig,
    loss: AdversarialLoss,
    vgg: VGG16 | None = None,
    meaning: VGG16 | None = None,
) -> tuple[Tensor, Parts, Fakes]:
    """Both cycles, then the terms of the generators; the style term needs ``vgg``, the semantic one ``meaning``."""
    to_painting, to_photo = networks["to_painting"], networks["to_photo"]
    fake_painting, fake_photo = to_painting(photo), to_photo(painting)
    cycled_photo, cycled_painting = to_photo(fake_painting), to_painting(fake_photo)

    # adversarial: each fake must pass for real
    adv_painting = loss.generator(networks["judge_painting"](seen(fake_painting, config)))
    adv_photo = loss.generator(networks["judge_photo"](seen(fake_photo, config)))

    # cycle: there and back is where it started
    cycle = l1_loss(cycled_photo, photo) + l1_loss(cycled_painting, painting)

    total = adv_painting + adv_photo + config.lambda_cyc * cycle
    parts = {"adv_painting": adv_painting, "adv_photo": adv_photo, "cycle": cycle}

    # semantic: what comes back means the same; the improved CycleGAN's addition, in its variants semantic and hybrid
    if config.semantic_weight > 0:
        assert meaning is not None
        pairs = (cycled_photo, photo), (cycled_painting, painting)
        pieces = (random_piece(pair, config.semantic_crop) for pair in pairs)
        semantic = torch.stack([semantic_loss(meaning, *piece, config.semantic_distance) for piece in pieces]).sum()
        total = total + config.semantic_weight * semantic
        parts["semantic"] = semantic

    # identity: a painting needs no painting; keeps the colours
    if config.lambda_identity > 0:
        identity = l1_loss(to_painting(painting), painting) + l1_loss(to_photo(photo), photo)
        total = total + config.lambda_identity * config.lambda_cyc * identity
        parts["identity"] = identity

    # shift: what a generator paints belongs to the scene, not to its grid; an addition to CycleGAN, off by default
    if config.lambda_shift > 0:
        shift = shift_loss(lambda cut: to_painting(cut(photo)), photo, fake_painting)
        total = total + config.lambda_shift * shift
        parts["shift"] = shift

    # style: the strokes of the paintings; an addition to CycleGAN, off by default
    if config.lambda_style > 0:
        assert vgg is not None
        style = style_loss(vgg, _patch(fake_painting), _patch(painting))  # VGG16 is the most costly network here
        total = total + config.lambda_style * style
        parts["style"] = style
    return total, parts, Fakes(fake_painting.detach(), fake_photo.detach())


def _patch(x: Tensor) -> Tensor:
    """A random piece of three quarters of height and width."""
    height, width = (side * 3 // 4 for side in x.shape[2:])
    top, left = (int(torch.randint(side // 4 + 1, ())) for side in x.shape[2:])
    return x[:, :, top : top + height, left : left + width]


def warmup_loss(networks: Mapping[str, nn.Module], photo: Tensor, painting: Tensor) -> tuple[Tensor, Parts, Fakes]:
    """Each generator returns its input: a start from which the adversarial game changes only the style."""
    fake_painting, fake_photo = networks["to_painting"](photo), networks["to_photo"](painting)
    returned = l1_loss(fake_painting, photo) + l1_loss(fake_photo, painting)
    return 10.0 * returned, {"warmup": returned}, Fakes(fake_painting.detach(), fake_photo.detach())


def discriminator_loss(
    networks: Mapping[str, nn.Module],
    photo: Tensor,
    painting: Tensor,
    fakes: Fakes,
    loss: AdversarialLoss,
    config: CycleGANConfig | None = None,
) -> tuple[Tensor, Parts]:
    """Both discriminators; ``fakes`` come detached, from the pools."""
    judge_painting, judge_photo = networks["judge_painting"], networks["judge_photo"]
    real_painting, fake_painting = seen(painting, config), seen(fakes.painting, config)
    real_as_painting, fake_as_painting = judge_painting(real_painting), judge_painting(fake_painting)
    loss_painting = loss.discriminator(real_as_painting, fake_as_painting)
    real_photo, fake_photo = seen(photo, config), seen(fakes.photo, config)
    loss_photo = loss.discriminator(judge_photo(real_photo), judge_photo(fake_photo))
    parts = {
        "judge_painting": loss_painting,
        "judge_photo": loss_photo,
        "real_score": real_as_painting.mean(),
        "fake_score": fake_as_painting.mean(),
    }
    total = loss_painting + loss_photo

    # gradient penalty: of losses that have one
    penalties = (
        loss.penalty(judge_painting, real_painting, fake_painting),
        loss.penalty(judge_photo, real_photo, fake_photo),
    )
    for name, penalty in zip(("penalty_painting", "penalty_photo"), penalties, strict=True):
        if penalty is not None:
            total, parts[name] = total + penalty, penalty
    return total, parts


class CycleGAN(Method):
    """The method: networks ``to_painting``, ``to_photo``, ``judge_painting``, ``judge_photo`` and two phases."""

    averaged: tuple[str, ...] = ("to_painting", "to_photo")
    carried = ("_fakes",)

    def __init__(self, config: CycleGANConfig) -> None:
        self.config = config
        self.loss = score_loss(config.loss, r1=config.r1)
        self.networks: dict[str, nn.Module] = {
            "to_painting": make_generator(image_to_image_spec(config, config.model_name)),
            "to_photo": make_generator(image_to_image_spec(config, f"{config.model_name}-reverse")),
            "judge_painting": PatchGAN(config.discriminator_width),
            "judge_photo": PatchGAN(config.discriminator_width),
        }
        if config.spectral_norm:
            for name in ("judge_painting", "judge_photo"):
                normalise_spectrally(self.networks[name])
        self.pools = {
            "painting": ImagePool(config.pool, seed=config.seed + 1),
            "photo": ImagePool(config.pool, seed=config.seed + 2),
        }
        self.fixed: dict[str, nn.Module] = {}
        if config.lambda_style:
            self.fixed["vgg"] = VGG16.load(Path(config.vgg), STYLE_LAYERS[-1], config.vgg_scaling)
        if config.semantic_weight:
            self.fixed["meaning"] = VGG16.load(Path(config.vgg), config.semantic_layer, config.vgg_scaling)
        judge_rate = config.discriminator_learning_rate or config.learning_rate
        self.phases: tuple[Phase, ...] = (
            Phase(
                "generator",
                ("to_painting", "to_photo"),
                self.generator_step,
                adam(config.learning_rate, config.beta1),
                every=config.n_critic or self.loss.n_critic,
            ),
            Phase(
                "discriminator",
                ("judge_painting", "judge_photo"),
                self.discriminator_step,
                adam(judge_rate, config.beta1),
            ),
        )
        self._fakes: Fakes | None = None

    @classmethod
    def make_dataset(cls, config: CycleGANConfig) -> UnpairedDataset:
        """Photos and paintings."""
        return UnpairedDataset.of(config)

    def generator_step(self, batch: Batch, step: int) -> tuple[Tensor, Parts]:
        """Loss of both generators; keeps the fakes for :meth:`discriminator_step`."""
        photo, painting = batch
        if step < self.config.warmup_steps:
            total, parts, self._fakes = warmup_loss(self.networks, photo, painting)
        else:
            total, parts, self._fakes = generator_loss(
                self.networks, photo, painting, self.config, self.loss, self._vgg("vgg"), self._vgg("meaning")
            )
        return total, parts

    def _vgg(self, name: str) -> VGG16 | None:
        return cast(VGG16 | None, self.fixed.get(name))

    def discriminator_step(self, batch: Batch, step: int) -> tuple[Tensor, Parts]:
        """Loss of both discriminators, with pooled fakes."""
        photo, painting = batch
        if not self.phases[0].runs(step):  # a step of the discriminators alone
            with torch.no_grad():
                self._fakes = Fakes(self.networks["to_painting"](photo), self.networks["to_photo"](painting))
        assert self._fakes is not None, "the generator phase runs first"
        pooled = Fakes(self.pools["painting"](self._fakes.painting), self.pools["photo"](self._fakes.photo))
        return discriminator_loss(self.networks, photo, painting, pooled, self.loss, self.config)

    def specs(self) -> dict[str, tuple[str, GeneratorSpec]]:
        """Both directions; ``generator`` is photo to painting."""
        name = self.config.model_name
        return {
            "generator": ("to_painting", image_to_image_spec(self.config, name)),
            "generator_reverse": ("to_photo", image_to_image_spec(self.config, f"{name}-reverse")),
        }

    def compared(self, batch: Batch, networks: Mapping[str, nn.Module]) -> Compared | None:
        """Translated photos, paintings."""
        return Compared(networks["to_painting"](batch[0]), batch[1])

    def translator(self, networks: Mapping[str, nn.Module]) -> nn.Module | None:
        """The generator that ships."""
        return networks["to_painting"]

    def sample(self, batch: Batch, networks: Mapping[str, nn.Module]) -> list[Tensor]:
        """Photo, its painting, the photo again; painting, its photo, the painting again."""
        photo, painting = batch
        fake_painting, fake_photo = networks["to_painting"](photo), networks["to_photo"](painting)
        photo_again, painting_again = networks["to_photo"](fake_painting), networks["to_painting"](fake_photo)
        return [photo, fake_painting, photo_again, painting, fake_photo, painting_again]

    def captions(self) -> Sequence[str]:
        """The two domains, by their names."""
        photo, painting = self.config.domains
        return [photo, f"as {painting}", "and back", painting, f"as {photo}", "and back"]

    def state_dict(self) -> dict[str, Any]:
        """The image pools."""
        return {name: pool.state_dict() for name, pool in self.pools.items()}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Restore the image pools."""
        for name, pool in self.pools.items():
            pool.load_state_dict(state[name], device)
