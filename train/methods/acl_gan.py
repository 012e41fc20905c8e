"""ACL-GAN (Cho & Yoon): attribute loss and content loss, one generator pass, edits inside a mask and a frame.

The paper gives the attribute loss in LSGAN form and the idea of everything else; the content loss, the composition and
all numbers are completed here. See :mod:`ganlens.train.losses.attribute` and :mod:`ganlens.train.networks.composition`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, l1_loss

from ganlens.engine.model.attributes import NEUTRAL
from ganlens.engine.spec import GeneratorSpec, SizeRule

from ..config import ACLGANConfig
from ..data.faces import FaceDataset
from ..data.target_labels import draw_targets, flip_each
from ..data.variation import camera_noise, misplace, relight
from ..evaluate.classifier import judge_of, success, training_accuracy
from ..losses import disturb, shift_loss
from ..losses.attribute import PENALTIES, AttributeLoss, attribute_loss, with_complement
from ..networks import (
    AttributeDiscriminator,
    GrowingDiscriminator,
    GrowingGenerator,
    WindowedDiscriminator,
    make_generator,
)
from ..networks.composition import Edit, compose, edit, frame_mask, total_variation
from ..networks.growing import Growing, growth
from ..networks.layers import normalise_spectrally
from ..specs import attribute_spec
from .base import Batch, Compared, Method, Parts, Phase, adam, measures

logger = logging.getLogger(__name__)

CLOSED = 0.005
"""A mask whose mean is below this edits nothing that can be seen."""

NOISE = 0.06
"""Deviation of the strongest camera noise with --vary, in units of [-1, 1]."""

SHIFTED_SHARE = 4
"""One picture in so many is also edited in a piece, where the shift loss is on."""

CLOSED_STEPS = 2000
"""Steps with closed masks before a warning."""


class Goal(NamedTuple):
    """The goal of a batch of edits."""

    labels: Tensor
    """(N, C), all target labels, also those left open."""
    target: Tensor
    """The condition of the generator, with the complement if there is one."""
    active: Tensor
    """The heads that count: 0 is "don't care"."""


def seen(images: Tensor, config: ACLGANConfig) -> Tensor:
    """What the discriminator gets to see of real pictures and of edits."""
    return disturb(images, shift=config.discriminator_shift, noise=config.instance_noise, augment=config.augmentations)


def generator_loss(
    networks: Mapping[str, nn.Module],
    x: Tensor,
    att: Tensor,
    target: Tensor,
    config: ACLGANConfig,
    loss: AttributeLoss,
    active: Tensor | None = None,
) -> tuple[Tensor, Parts, Edit]:
    """Attribute and content; ``att`` and ``target`` with the complement where there is one.

    ``active``: which heads count, where that is not the target itself (attributes left open).
    """
    active = target if active is None else active
    generator, discriminator, border = networks["generator"], networks["discriminator"], config.border_at(x.shape[-1])
    edited = edit(generator, x, target, border)

    # attribute: the edit must pass as a real picture with each target attribute
    attribute = loss.generator_loss(discriminator(seen(edited.image, config)), active)

    # content: what was not asked for stays
    if config.content == "translation":
        content = l1_loss(edited.image, x)
    elif config.content == "identity":
        content = l1_loss(edit(generator, x, att, border).image, x)
    else:
        content = l1_loss(edit(generator, edited.image, att, border).image, x)

    total = config.lambda_att * attribute + config.lambda_con * content
    parts = {"attribute": attribute, "content": content}

    # shift: an edit belongs to the face, not to the generator's grid; an addition to ACL-GAN, off by default
    if config.lambda_shift > 0:
        few = max(1, len(x) // SHIFTED_SHARE)
        shift = shift_on_some(generator, x[:few], target[:few], edited.image[:few], border)
        total = total + config.lambda_shift * shift
        parts["shift"] = shift

    # smoothness: what is finer than the discriminator sees, it cannot judge; off by default
    if config.lambda_smooth > 0:
        smooth = total_variation(edited.image - x)
        total = total + config.lambda_smooth * smooth
        parts["smooth"] = smooth

    # colour: an edit that is a movement or a shade changes none; off by default
    if config.lambda_colour > 0:
        change = edited.image - x
        colour = (change - change.mean(1, keepdim=True)).abs().mean()
        total = total + config.lambda_colour * colour
        parts["colour"] = colour

    # mask: off by default, the content loss keeps it small. Its variation is that of m itself: the step at the frame's
    # edge is no variation that the generator could avoid
    if edited.mask is not None and edited.raw_mask is not None:
        means = edited.mask.mean(dim=(1, 2, 3))
        total = total + config.lambda_mask * means.mean()
        if config.lambda_tv > 0:
            total = total + config.lambda_tv * total_variation(edited.raw_mask)
        parts |= {"mask": means.mean(), "closed_masks": (means < CLOSED).float().mean()}
    return total, parts, Edit(edited.image.detach(), None if edited.mask is None else edited.mask.detach())


def shift_on_some(generator: nn.Module, x: Tensor, target: Tensor, edited: Tensor, border_px: int) -> Tensor:
    """Distance between the edit of a piece and that piece of the edit; the border stays out of it.

    The piece is nearly the whole picture: part of a face has other statistics in every norm, and an edit that looks at
    the whole face could never be the same on it.
    """
    window = frame_mask(torch.ones_like(x[:, :1]), border_px)

    def edit_piece(cut: Callable[[Tensor], Tensor]) -> Tensor:
        answer = generator(cut(x), target)
        if isinstance(answer, Tensor):
            return answer
        segment, mask = answer
        return compose(cut(x), segment, mask * cut(window))

    return shift_loss(edit_piece, x, edited, steps=1)


def discriminator_loss(
    discriminator: nn.Module,
    x: Tensor,
    att: Tensor,
    fake: Tensor,
    target: Tensor,
    config: ACLGANConfig,
    loss: AttributeLoss,
    step: int = 0,
) -> tuple[Tensor, Parts]:
    """Attribute loss, and, in every ``penalty_every``-th step, the gradient penalty if there is one.

    ``fake`` comes detached. A penalty that is computed in every k-th step only weighs k times as much (lazy
    regularisation, StyleGAN2, Karras et al. 2020): with it differentiated twice, it costs more than all the rest.

    Real and fake go through in one batch, of each half, which is the paper's neighbours' "mixed batch"; there is no
    batch norm here that would care.
    """
    real_scores, fake_scores = discriminator(seen(torch.cat([x, fake]), config)).chunk(2)
    total = loss.discriminator_loss(real_scores, att, fake_scores, target)
    with torch.no_grad():
        parts = {
            "judge": total.detach(),
            "real_score": (real_scores * att).sum() / att.sum().clamp(min=1),
            "fake_score": (fake_scores * target).sum() / target.sum().clamp(min=1),
        }
    penalty = config.penalty_name
    if penalty != "none" and step % config.penalty_every == 0:
        function, weight = PENALTIES[penalty]
        slope = function(discriminator, x, att, fake, target)
        total = total + config.penalty_every * (weight if config.lambda_gp < 0 else config.lambda_gp) * slope
        parts["penalty"] = slope
    return total, parts


def pooled(x: Tensor, resolution: int) -> Tensor:
    """The pictures averaged down to a resolution that divides theirs."""
    return x if x.shape[-1] == resolution else avg_pool2d(x, x.shape[-1] // resolution)


class ACLGAN(Method):
    """The method: networks ``generator`` and ``discriminator``, and two phases."""

    averaged: tuple[str, ...] = ("generator",)
    carried = ("_made",)

    def __init__(self, config: ACLGANConfig) -> None:
        self.config = config
        self._images = 0
        self.loss = attribute_loss(config.loss, each=config.expectation == "attribute")
        heads = len(config.attribute_names) * (2 if config.complement else 1)
        discriminator: AttributeDiscriminator | GrowingDiscriminator | WindowedDiscriminator
        look = heads, config.discriminator_width, config.discriminator_layers
        if config.tier == "growing":
            discriminator = GrowingDiscriminator(config.size, heads, config.discriminator_width)
        else:
            discriminator = AttributeDiscriminator(config.discriminator_size or config.size, *look)
            if config.window_px is not None:
                discriminator = WindowedDiscriminator(discriminator, config.window_px, *look)
        if config.discriminator_init == "he":
            discriminator.initialise()
        if config.spectral_norm:
            normalise_spectrally(discriminator)
        self.networks: dict[str, nn.Module] = {
            "generator": make_generator(self._spec()),
            "discriminator": discriminator,
        }
        self.classifier = judge_of(config)
        self.fixed: dict[str, nn.Module] = {"classifier": self.classifier.network} if self.classifier else {}
        judge_rate = config.discriminator_learning_rate or config.learning_rate
        self.phases: tuple[Phase, ...] = (
            Phase(
                "generator",
                ("generator",),
                self.generator_step,
                adam(config.learning_rate, config.beta1),
                every=config.n_critic or self.loss.n_critic,
                start=config.warmup_steps,
            ),
            Phase("discriminator", ("discriminator",), self.discriminator_step, adam(judge_rate, config.beta1)),
        )
        self._made: tuple[Tensor, Tensor] | None = None
        self._closed = torch.zeros((), dtype=torch.int64)

    @classmethod
    def make_dataset(cls, config: ACLGANConfig) -> FaceDataset:
        """Faces and their labels."""
        return FaceDataset.of(config, jpeg=config.jpeg if config.vary else 0.0)

    def start_step(self, step: int, images: int) -> bool:
        """How far a growing network has come follows from the pictures seen."""
        self._images = images
        return False

    def generator_step(self, batch: Batch, step: int) -> tuple[Tensor, Parts]:
        """Loss of the generator; keeps its edits for :meth:`discriminator_step`."""
        x, att = self._shown(batch)
        goal = self._draw(att)
        total, parts, made = generator_loss(
            self.networks, x, self._condition(att), goal.target, self.config, self.loss, goal.active
        )
        self._made = made.image, goal.active
        if "mask" in parts:
            self.watch(parts["mask"].detach(), step)
        if self.classifier is not None and measures(step, self.phases[0].every):
            names = self.config.attribute_names
            parts |= training_accuracy(self.classifier, made.image, goal.labels, names)
        return total, parts

    def discriminator_step(self, batch: Batch, step: int) -> tuple[Tensor, Parts]:
        """Loss of the discriminator, on the edits of this step's generator phase, or on new ones if it had none.

        While the generator waits, unedited pictures stand for its edits: the discriminator then learns what each
        attribute looks like, and nothing about the generator's first noise.
        """
        x, att = self._shown(batch)
        if self._made is None:
            _, target, active = self._draw(att)
            with torch.no_grad():
                fake = x
                if step >= self.config.warmup_steps:
                    fake = edit(self.networks["generator"], x, target, self.config.border_at(x.shape[-1])).image
        else:
            fake, active = self._made
            self._made = None
        return discriminator_loss(
            self.networks["discriminator"],
            x,
            self._condition(att),
            fake,
            active,
            self.config,
            self.loss,
            step,
        )

    def specs(self) -> dict[str, tuple[str, GeneratorSpec]]:
        """The generator."""
        return {"generator": ("generator", self._spec())}

    def compared(self, batch: Batch, networks: Mapping[str, nn.Module]) -> Compared | None:
        """Faces with the labels of others, unedited ones; with --classifier also the success of the edits."""
        x, att = batch
        generator = networks["generator"]
        if isinstance(generator, GrowingGenerator):
            generator.stand(*self._growth())
            x = pooled(x, generator.resolution)
        target = att.roll(1, 0)
        made = edit(generator, x, self._condition(target), self.config.border_at(x.shape[-1])).image
        return Compared(made, x, success(self.classifier, made, target, self.config.attribute_names))

    def sample(self, batch: Batch, networks: Mapping[str, nn.Module]) -> list[Tensor]:
        """The face, then an edit for each attribute (flipped; a hair colour set in place of the others)."""
        x, att = batch
        generator = networks["generator"]
        if isinstance(generator, GrowingGenerator):
            generator.stand(*self._growth())
            x = pooled(x, generator.resolution)
        border = self.config.border_at(x.shape[-1])
        targets = flip_each(att, self.config.attribute_names, self.config.exclusive_names)
        return [x] + [edit(generator, x, self._condition(target), border).image for target in targets]

    def captions(self) -> Sequence[str]:
        """What is edited."""
        return ["face", *(f"other {name}" for name in self.config.attribute_names)]

    def state_dict(self) -> dict[str, Any]:
        """For how many steps the masks have been closed, and how far it has grown."""
        return {"closed": int(self._closed), "images": self._images}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Restore the counts."""
        self._images = state.get("images", 0)
        self._closed = torch.tensor(state["closed"], dtype=torch.int64, device=device)

    def watch(self, mask: Tensor, step: int) -> None:
        """Count the steps with closed masks, and say so when it goes on; ``mask``: their mean in this step."""
        self._closed = torch.where(mask < CLOSED, self._closed.to(mask.device) + 1, 0)
        if (step + 1) % 100 == 0 and int(self._closed) >= CLOSED_STEPS:  # every hundredth: reading it waits for the GPU
            logger.warning(
                "the masks have been closed for %d steps (mean below %g): edits are suppressed. Stop, and --resume "
                "with a lower --lambda-con than %g",
                int(self._closed),
                CLOSED,
                self.config.lambda_con,
            )
            self._closed = torch.zeros_like(self._closed)

    def _spec(self) -> GeneratorSpec:
        config = self.config
        spec = attribute_spec(
            config,
            mask=True,
            complement=config.complement,
            border_px=config.border_px,
            flow=config.flow,
            window=config.window,
        )
        if config.tier != "growing":
            return spec
        resolution, alpha = self._growth()
        return spec.model_copy(
            update={
                "options": {"width": 4 * config.generator_width, "size": config.size, "alpha": alpha},
                "size": SizeRule(fixed=(resolution, resolution), preferred=(resolution, resolution)),
                "frame_border_px": config.border_at(resolution),
            }
        )

    def _growth(self) -> tuple[int, float]:
        config = self.config
        return growth(self._images, config.size, config.fade_images, config.stable_images)

    def _shown(self, batch: Batch) -> Batch:
        """The batch at the resolution that the networks have reached, and they stand there; varied, if asked for."""
        x, att = batch
        if self.config.vary:
            x = camera_noise(relight(misplace(x)), NOISE).clamp(-1, 1)
        if self.config.tier != "growing":
            return x, att
        resolution, alpha = self._growth()
        for network in self.networks.values():
            assert isinstance(network, Growing)
            network.stand(resolution, alpha)
        return pooled(x, resolution), att

    def _draw(self, att: Tensor) -> Goal:
        """Targets for a batch; some of their attributes are left open, where no head asks for them."""
        labels = draw_targets(att, self.config.targets)
        if not self.config.open_share:
            target = self._condition(labels)
            return Goal(labels, target, target)
        asked = (torch.rand_like(labels) >= self.config.open_share).to(labels.dtype)
        neutral = NEUTRAL if self.config.complement else 0.0  # as the runtime gives it
        target = self._condition(torch.where(asked > 0, labels, neutral))
        heads = torch.cat([asked, asked], dim=1) if self.config.complement else asked
        return Goal(labels, target, self._condition(labels) * heads)

    def _condition(self, att: Tensor) -> Tensor:
        return with_complement(att) if self.config.complement else att
