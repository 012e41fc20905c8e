"""Hair colours with supervision: a conditioned generator with a mask learns where hair is and what it becomes.

``L = image |x' - t| + hair h (|s - r| + |D s - D r|) + mask H(m, v h) + calm |G(x1) - G(x2)|``,

where H is the cross-entropy, h the hair of a segmentation network, r the picture with hair of the colour's statistics
(:func:`~ganlens.train.data.recolour.recolour`), v in 0..1 the strength, t = v h r + (1 - v h) x the target, s and m
what the generator gives, composed as in ACL-GAN (:mod:`~ganlens.train.networks.composition`). The pictures are varied
anew in each step as cameras vary: position, size, angle, light, colour temperature, noise, JPEG.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, l1_loss

from ganlens.engine.errors import TrainingError
from ganlens.engine.spec import GeneratorSpec

from ..config import HairConfig
from ..data.hair_masks import HairSegmenter, usable_masks
from ..data.pairs import PairDataset, Pairs, make_pairs_of
from ..data.recolour import HAIR_COLOURS, recolour
from ..data.variation import camera_noise, misplace, relight
from ..losses.paired import gradient_loss
from ..networks import make_generator
from ..networks.balanced import BalancedHead
from ..networks.composition import Edit, edit
from ..specs import attribute_spec
from .base import Batch, Method, Parts, Phase, adam

logger = logging.getLogger(__name__)

UNCHANGED = 0.15
"""Share of the pictures that are to be left alone."""
FULL = 0.45
"""Share of those whose hair gets the colour with full strength; the rest gets it with any strength."""


class Hair(Method):
    """The method: network ``generator``."""

    averaged: tuple[str, ...] = ("generator",)

    def __init__(self, config: HairConfig) -> None:
        self.config = config
        self.networks: dict[str, nn.Module] = {"generator": make_generator(self.specs()["generator"][1])}
        self.phases: tuple[Phase, ...] = (
            Phase("generator", ("generator",), self.generator_step, adam(config.learning_rate, config.beta1, 0.99)),
        )
        self._colours = torch.tensor([HAIR_COLOURS[name] for name in config.attribute_names])

    @classmethod
    def make_dataset(cls, config: HairConfig) -> PairDataset:
        """Faces and masks; the segmentation network is run now if the masks do not exist yet."""
        pairs = make_pairs_of(config, HairSegmenter(Path(config.segmenter), config.threads), config.pairs)
        kept = usable_masks(pairs.answers)
        if len(kept) < 2:
            raise TrainingError(f"{config.photos}: hair was found in {len(kept)} pictures; some hundreds are needed.")
        logger.info("hair was found with certainty in %d of %d pictures", len(kept), len(pairs.answers))
        return PairDataset(
            Pairs(pairs.pictures[kept], pairs.answers[kept]), config.size, seed=config.seed, jpeg=config.jpeg
        )

    def generator_step(self, batch: Batch, step: int) -> tuple[Tensor, Parts]:
        """Loss of the generator."""
        config, generator = self.config, self.networks["generator"]
        both = misplace(torch.cat([batch[0], (batch[1][:, :1] + 1) / 2], 1))
        picture, hair = relight(both[:, :3]), both[:, 3:].clamp(0, 1)
        condition, target, strength = self._wanted(picture, hair)
        noisy = step >= config.calm_from * config.steps and config.noise > 0
        seen = camera_noise(picture, config.noise) if noisy else picture
        made = edit(generator, seen, condition, config.border)
        assert made.mask is not None and made.raw_mask is not None and made.segment is not None
        covered = strength * hair
        goal = covered * target + (1 - covered) * seen
        inner = hair * (strength > 0)
        terms = {
            "image": (config.lambda_image, l1_loss(made.image, goal)),
            "hair": (
                config.lambda_hair,
                (l1_loss(inner * made.segment, inner * target) + gradient_loss(inner * made.segment, inner * target))
                / inner.mean().clamp_min(0.02),
            ),
            "mask": (config.lambda_mask, binary_cross_entropy(made.raw_mask.clamp(1e-4, 1 - 1e-4), covered)),
        }
        if noisy and config.lambda_calm > 0 and step % 2 == 0:
            other = edit(generator, camera_noise(picture, config.noise), condition, config.border)
            terms["calm"] = config.lambda_calm, self._unrest(made, other)
        total = torch.stack([weight * term for weight, term in terms.values()]).sum()
        return total, {name: term for name, (_, term) in terms.items()}

    @staticmethod
    def _unrest(one: Edit, other: Edit) -> Tensor:
        """How far two edits of one picture under different noise are apart: masks, and segments where they count."""
        assert one.mask is not None and other.mask is not None
        assert one.segment is not None and other.segment is not None
        both = torch.minimum(one.mask, other.mask)
        return l1_loss(one.mask, other.mask) + l1_loss(both * one.segment, both * other.segment)

    def _wanted(self, picture: Tensor, hair: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A colour and a strength for each picture: the condition, the picture in that colour, the strength."""
        count, names = len(picture), len(self._colours)
        chosen = torch.randint(names, (count,), device=picture.device)
        kind, partly = torch.rand(2, count, device=picture.device)
        strength = torch.where(kind < FULL, 1.0, partly.sqrt()) * (kind < 1 - UNCHANGED)
        condition = torch.zeros(count, names, device=picture.device)
        condition[torch.arange(count, device=picture.device), chosen] = strength
        target = recolour(picture, hair, self._colours.to(picture.device)[chosen])
        return condition, target, strength[:, None, None, None]

    def specs(self) -> dict[str, tuple[str, GeneratorSpec]]:
        """The generator."""
        config = self.config
        spec = attribute_spec(
            config, mask=True, complement=False, border_px=config.border, adds=True, labelled_head=True
        )
        return {"generator": ("generator", spec)}

    def assemble(self, name: str, averaged: Mapping[str, nn.Module]) -> nn.Module:
        """The averaged generator with a mask of more contrast; see :func:`sharpen_mask`."""
        return sharpen_mask(averaged[name], self.config.mask_contrast)

    def sample(self, batch: Batch, networks: Mapping[str, nn.Module]) -> list[Tensor]:
        """Picture, every colour, then the first one half as strong."""
        picture = batch[0]
        columns = [picture]
        rows = [*torch.eye(len(self._colours)), torch.eye(len(self._colours))[0] / 2]
        for row in rows:
            condition = row.to(picture.device).expand(len(picture), -1)
            columns.append(edit(networks["generator"], picture, condition, self.config.border).image)
        return columns

    def captions(self) -> list[str]:
        """The colours."""
        names = [name.removesuffix("_Hair") for name in self.config.attribute_names]
        return ["picture", *names, f"{names[0]} 0.5"]


def sharpen_mask(generator: nn.Module, contrast: float) -> nn.Module:
    """A copy whose mask has the logit ``1 + contrast (l - 1)`` in place of ``l``: a weak mask, which a network gives
    where it is unsure, vanishes, and a strong one stays."""
    copy = deepcopy(generator)
    head = cast(BalancedHead, copy.head)
    with torch.no_grad():
        head.weight[:, 3].mul_(contrast)
        head.bias[3].mul_(contrast).add_(1 - contrast)
    return copy
