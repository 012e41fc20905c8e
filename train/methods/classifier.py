"""The attribute classifier as a method: one network, one phase, binary cross entropy on real faces."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from torch import Tensor, nn

from ..config import ClassifierConfig
from ..data.faces import FaceDataset
from ..evaluate.classifier import CLASSIFIER_NAME, finish
from ..networks import AttributeClassifier
from .base import Batch, Method, Parts, Phase, adam
from .stargan import class_loss


class Classification(Method):
    """The method: network ``classifier``. It generates nothing; :meth:`finish` writes its file."""

    averaged: tuple[str, ...] = ("classifier",)

    def __init__(self, config: ClassifierConfig) -> None:
        network = AttributeClassifier(len(config.attribute_names), config.width)
        self.networks: dict[str, nn.Module] = {"classifier": network}
        self.phases: tuple[Phase, ...] = (
            Phase("classifier", ("classifier",), self.step, adam(config.learning_rate, config.beta1)),
        )

    @classmethod
    def make_dataset(cls, config: ClassifierConfig) -> FaceDataset:
        """Faces and their labels."""
        return FaceDataset.of(config)

    def step(self, batch: Batch, step: int) -> tuple[Tensor, Parts]:
        """Loss of the classifier."""
        x, att = batch
        logits = self.networks["classifier"](x)
        loss = class_loss(logits, att)
        return loss, {"class": loss, "accuracy": ((logits > 0) == (att > 0.5)).float().mean()}

    @classmethod
    def finish(cls, config: ClassifierConfig) -> list[Any]:
        """Measure it on people it has never seen, and write its file."""
        record = finish(config)
        table = Table("attribute", "accuracy", "balanced", title=f"{record.held_out} faces of people never seen")
        for name, accuracy in record.accuracy.items():
            table.add_row(name, f"{accuracy:.3f}", f"{record.balanced_accuracy[name]:.3f}")
        return [table, f"Written: {config.run / CLASSIFIER_NAME}"]
