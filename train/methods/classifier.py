"""The attribute classifier as a method: one network, one phase, binary cross entropy on real faces."""

from __future__ import annotations

from torch import Tensor, nn

from ..config import ClassifierConfig
from ..networks import AttributeClassifier
from .base import Batch, Method, Parts, Phase, adam
from .stargan import class_loss


class Classification(Method):
    """The method: network ``classifier``. It generates nothing; :func:`ganlens.train.classifier.finish` writes its
    file."""

    averaged: tuple[str, ...] = ("classifier",)

    def __init__(self, config: ClassifierConfig) -> None:
        network = AttributeClassifier(len(config.attribute_names), config.width)
        self.networks: dict[str, nn.Module] = {"classifier": network}
        self.phases: tuple[Phase, ...] = (
            Phase("classifier", ("classifier",), self.step, adam(config.learning_rate, config.beta1)),
        )

    def step(self, batch: Batch, step: int) -> tuple[Tensor, Parts]:
        """Loss of the classifier."""
        x, att = batch
        logits = self.networks["classifier"](x)
        loss = class_loss(logits, att)
        return loss, {"class": loss, "accuracy": ((logits > 0) == (att > 0.5)).float().mean()}
