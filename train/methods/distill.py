"""Distillation: a real-time tier learns from the photo-to-painting generator of a finished run.

``L = L_adv + 10 |G_s(x) - G_t(x)|_1 + sum_k |P_k f_s^k - f_t^k|_2^2``, where k runs over the start, the middle and the
end of the body, and P_k are 1x1 convolutions that train along and are thrown away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, l1_loss, mse_loss

from ganlens.engine.errors import TrainingError
from ganlens.engine.spec import GeneratorSpec

from ..checkpoint import load_generator
from ..config import DistillConfig
from ..data.datasets import UnpairedDataset
from ..losses import AdversarialLoss, score_loss
from ..networks import MobileGenerator, PatchGAN, RealTimeGenerator, ResNetGenerator, make_generator
from ..networks.layers import normalise_spectrally
from ..specs import image_to_image_spec
from .base import Batch, Compared, Method, Parts, Phase, adam
from .cyclegan import seen
from .image_pool import ImagePool


def student_loss(
    networks: Mapping[str, nn.Module], teacher: nn.Module, photo: Tensor, config: DistillConfig, loss: AdversarialLoss
) -> tuple[Tensor, Parts, Tensor]:
    """The student's three terms, and its detached paintings."""
    with torch.no_grad():
        target, target_features = teacher.forward_features(photo)  # type: ignore[operator]
    painting, features = networks["student"].forward_features(photo)  # type: ignore[operator]

    # adversarial: the same game as the teacher's
    adversarial = loss.generator(networks["judge"](seen(painting, config)))

    # output: paint what the teacher paints
    output = l1_loss(painting, target)

    # features: the teacher's grid is finer where its body runs at 1/4 scale, so it is averaged down
    feature = torch.zeros((), device=photo.device)
    for project, own, other in zip(networks["projections"].children(), features, target_features, strict=True):
        feature = feature + mse_loss(project(own), adaptive_avg_pool2d(other, own.shape[-2:]))

    total = adversarial + config.lambda_output * output + config.lambda_feature * feature
    return total, {"adv_painting": adversarial, "output": output, "feature": feature}, painting.detach()


class Distillation(Method):
    """The method: networks ``student``, ``judge`` and ``projections``, and a fixed ``teacher``."""

    averaged: tuple[str, ...] = ("student",)
    carried = ("_fake",)

    def __init__(self, config: DistillConfig) -> None:
        self.config = config
        self.loss = score_loss(config.loss, r1=config.r1)
        teacher, teacher_spec = load_generator(config.teacher)
        if (
            teacher_spec.attributes is not None
            or teacher_spec.output.mask is not None
            or not isinstance(teacher, ResNetGenerator | MobileGenerator | RealTimeGenerator)
        ):
            raise TrainingError(
                f"The teacher '{teacher_spec.name}' is a {teacher_spec.architecture} generator with labels or a mask; "
                "distillation takes a plain photo-to-painting one, as engine train cyclegan writes it."
            )
        student = make_generator(image_to_image_spec(config, config.model_name))
        assert isinstance(student, ResNetGenerator | MobileGenerator | RealTimeGenerator)
        self.teacher_sha256 = teacher_spec.weights_sha256
        self.fixed: dict[str, nn.Module] = {"teacher": teacher}
        self.networks: dict[str, nn.Module] = {
            "student": student,
            "judge": PatchGAN(config.discriminator_width),
            "projections": nn.ModuleList(
                nn.Conv2d(own, other, 1)
                for own, other in zip(student.feature_channels, teacher.feature_channels, strict=True)
            ),
        }
        if config.spectral_norm:
            normalise_spectrally(self.networks["judge"])
        self.pool = ImagePool(config.pool, seed=config.seed + 1)
        judge_rate = config.discriminator_learning_rate or config.learning_rate
        self.phases: tuple[Phase, ...] = (
            Phase(
                "generator",
                ("student", "projections"),
                self.student_step,
                adam(config.learning_rate, config.beta1),
                every=config.n_critic or self.loss.n_critic,
            ),
            Phase("discriminator", ("judge",), self.judge_step, adam(judge_rate, config.beta1)),
        )
        self._fake: Tensor | None = None

    @classmethod
    def make_dataset(cls, config: DistillConfig) -> UnpairedDataset:
        """Photos and paintings."""
        return UnpairedDataset.of(config)

    def student_step(self, batch: Batch, step: int) -> tuple[Tensor, Parts]:
        """Loss of the student; keeps its paintings for :meth:`judge_step`."""
        photo, _ = batch
        total, parts, self._fake = student_loss(self.networks, self.fixed["teacher"], photo, self.config, self.loss)
        return total, parts

    def judge_step(self, batch: Batch, step: int) -> tuple[Tensor, Parts]:
        """Loss of the discriminator, with pooled fakes."""
        photo, painting = batch
        if not self.phases[0].runs(step):  # a step of the discriminator alone
            with torch.no_grad():
                self._fake = self.networks["student"](photo)
        assert self._fake is not None, "the generator phase runs first"
        judge, config = self.networks["judge"], self.config
        real, fake = seen(painting, config), seen(self.pool(self._fake), config)
        total = self.loss.discriminator(judge(real), judge(fake))
        parts = {"judge_painting": total}
        penalty = self.loss.penalty(judge, real, fake)
        if penalty is not None:
            total, parts["penalty"] = total + penalty, penalty
        return total, parts

    def specs(self) -> dict[str, tuple[str, GeneratorSpec]]:
        """The student."""
        return {"generator": ("student", image_to_image_spec(self.config, self.config.model_name))}

    def compared(self, batch: Batch, networks: Mapping[str, nn.Module]) -> Compared | None:
        """Translated photos, paintings."""
        return Compared(networks["student"](batch[0]), batch[1])

    def translator(self, networks: Mapping[str, nn.Module]) -> nn.Module | None:
        """The generator that ships."""
        return networks["student"]

    def sample(self, batch: Batch, networks: Mapping[str, nn.Module]) -> list[Tensor]:
        """Photo, the teacher's painting, the student's."""
        photo, _ = batch
        return [photo, self.fixed["teacher"](photo), networks["student"](photo)]

    def captions(self) -> Sequence[str]:
        """Who made what."""
        return [self.config.domains[0], "teacher", "student"]

    def state_dict(self) -> dict[str, Any]:
        """The image pool, and which teacher it was."""
        return {"pool": self.pool.state_dict(), "teacher_sha256": self.teacher_sha256}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Restore the pool.

        Raises:
            TrainingError: the teacher is another one.
        """
        if state["teacher_sha256"] != self.teacher_sha256:
            raise TrainingError(
                f"The teacher {self.config.teacher} has changed since the run began. Give the same one with "
                "--teacher, or start a new run."
            )
        self.pool.load_state_dict(state["pool"], device)
