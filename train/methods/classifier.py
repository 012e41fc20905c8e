"""The attribute classifier as a method: one network, one phase, binary cross entropy on real faces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ganlens.engine.spec import GeneratorSpec

from ..config import ClassifierConfig
from ..networks import AttributeClassifier
from .base import Batch, Parts, Phase, adam
from .stargan import class_loss


class Classification:
    """The method: network ``classifier``."""

    averaged: tuple[str, ...] = ("classifier",)

    def __init__(self, config: ClassifierConfig) -> None:
        network = AttributeClassifier(len(config.attribute_names), config.width)
        self.networks: dict[str, nn.Module] = {"classifier": network}
        self.fixed: dict[str, nn.Module] = {}
        self.phases: tuple[Phase, ...] = (
            Phase("classifier", ("classifier",), self.step, adam(config.learning_rate, config.beta1)),
        )

    def step(self, batch: Batch, step: int) -> tuple[Tensor, Parts]:
        """Loss of the classifier."""
        x, att = batch
        logits = self.networks["classifier"](x)
        loss = class_loss(logits, att)
        return loss, {"class": loss, "accuracy": ((logits > 0) == (att > 0.5)).float().mean()}

    def specs(self) -> dict[str, tuple[str, GeneratorSpec]]:
        """None: it generates nothing. :func:`ganlens.train.classifier.finish` writes its file."""
        return {}

    def sample(self, batch: Batch, networks: Mapping[str, nn.Module]) -> list[Tensor]:
        """No pictures."""
        return []

    def state_dict(self) -> dict[str, Any]:
        """Nothing beside the network."""
        return {}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Nothing."""
