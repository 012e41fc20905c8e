"""The finished attribute classifier: measured on faces it never saw, kept in a file that says how good it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ganlens.engine.errors import ModelFileError, TrainingError
from ganlens.engine.files import replace_file

from ..checkpoint import load_state
from ..config import ClassifierConfig, EditorConfig
from ..data.attribute_table import Faces, split_faces
from ..data.faces import faces_of
from ..data.pictures import centre, read_picture, to_tensor
from ..networks import AttributeClassifier
from .device import device_of, measuring_device

CLASSIFIER_NAME = "classifier.safetensors"
METADATA_KEY = "ganlens.classifier"
BATCH = 64


class ClassifierRecord(BaseModel):
    """What the file says about its weights."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    attributes: tuple[str, ...]
    size: int
    """Side of the pictures that it was trained on; others are resized."""
    width: int
    held_out: int
    """Pictures that it was measured on, of people that it was not trained on."""
    accuracy: dict[str, float]
    """Attribute → share of held-out pictures that it gets right."""
    balanced_accuracy: dict[str, float]
    """Attribute → mean of the shares among those that have it and those that have not: 0.5 is guessing."""


class Classifier(NamedTuple):
    """A trained classifier, in eval mode, and its record."""

    network: nn.Module
    record: ClassifierRecord

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) in [-1, 1] of any size to answers (N, C) bool."""
        side = self.record.size
        if images.shape[-2:] != (side, side):
            images = interpolate(images, (side, side), mode="bilinear", antialias=True, align_corners=False)
        return (self.network(images.to(self.device)) > 0).to(images.device)  # type: ignore[no-any-return]

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return device_of(self.network)

    def to(self, device: torch.device) -> Classifier:
        """The same, its network moved."""
        return self._replace(network=self.network.to(device))

    def columns(self, names: Sequence[str]) -> list[int]:
        """Where the answers for these attributes stand.

        Raises:
            TrainingError: it does not know one of them.
        """
        known = [name.lower() for name in self.record.attributes]
        unknown = [name for name in names if name.lower() not in known]
        if unknown:
            raise TrainingError(
                f"The classifier was not trained on {', '.join(unknown)}, only on {', '.join(self.record.attributes)}. "
                "Train one with engine train classifier --attributes."
            )
        return [known.index(name.lower()) for name in names]


def training_accuracy(classifier: Classifier, image: Tensor, target: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """For the training log of an editor: fraction of edits that the classifier accepts, in all and per attribute.

    Args:
        image: edits (N, 3, H, W); target: (N, C), in the order of ``names``.
    """
    right = (classifier(image)[:, classifier.columns(names)] == (target > 0.5)).float().mean(dim=0)
    return {"accuracy": right.mean()} | {f"accuracy/{name}": right[column] for column, name in enumerate(names)}


def success(classifier: Classifier | None, image: Tensor, target: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
    """:func:`training_accuracy` of edits as a metric over time; nothing without a classifier."""
    return {} if classifier is None else training_accuracy(classifier, image, target, names)


def finish(config: ClassifierConfig) -> ClassifierRecord:
    """Measure a finished run's averaged classifier on the held-out faces, and write its file into the run folder.

    Raises:
        TrainingError: nothing was held out.
    """
    network = AttributeClassifier(len(config.attribute_names), config.width)
    weights = load_state(config.run)["averaged"]["classifier"]
    network.load_state_dict({n.removeprefix("module."): v for n, v in weights.items() if n.startswith("module.")})
    network.eval()
    held_out = split_faces(faces_of(config), config.holdout)[1]
    record = ClassifierRecord(
        attributes=config.attribute_names,
        size=config.size,
        width=config.width,
        held_out=len(held_out.paths),
        accuracy={},
        balanced_accuracy={},
    )
    judge = Classifier(network, record).to(measuring_device())
    accuracy, balanced = measure(judge, held_out, config.attribute_names)
    record = record.model_copy(update={"accuracy": accuracy, "balanced_accuracy": balanced})
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    content = save(weights, metadata={METADATA_KEY: record.model_dump_json()})
    replace_file(config.run / CLASSIFIER_NAME, content, durable=True)
    return record


def judge_of(config: EditorConfig) -> Classifier | None:
    """The classifier that a run of an editor logs with; None if it names none.

    Raises:
        ModelFileError: it cannot be read.
        TrainingError: it does not know one of the attributes.
    """
    if not config.classifier:
        return None
    judge = load_classifier(config.classifier)
    judge.columns(config.attribute_names)
    return judge


def load_classifier(path: str | Path) -> Classifier:
    """The classifier of a file or run folder.

    Raises:
        ModelFileError: missing, or not a classifier of ``engine train classifier``.
    """
    file = Path(path)
    if file.is_dir():
        file = file / CLASSIFIER_NAME
    if not file.is_file():
        raise ModelFileError(f"There is no classifier {file}. Make one with engine train classifier.")
    try:
        with safe_open(str(file), framework="pt") as opened:
            text = (opened.metadata() or {}).get(METADATA_KEY)
            weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{file} is not a readable safetensors file: {error}.") from error
    if text is None:
        raise ModelFileError(
            f"{file} is not a classifier: its record is missing. Give a run of engine train classifier."
        )
    try:
        record = ClassifierRecord.model_validate_json(text)
        network = AttributeClassifier(len(record.attributes), record.width)
        network.load_state_dict(weights)
    except (ValidationError, RuntimeError) as error:
        raise ModelFileError(f"The classifier {file} is damaged: {str(error).splitlines()[0]}") from error
    return Classifier(network.eval().requires_grad_(False), record)


def measure(
    classifier: Classifier, faces: Faces, attributes: Sequence[str]
) -> tuple[dict[str, float], dict[str, float]]:
    """(accuracy, balanced accuracy) of a classifier for each attribute.

    Args:
        faces: with labels in the order of ``attributes``.
    """
    if not faces.paths:
        raise TrainingError("No faces were held out, so nothing can be measured. Use --holdout.")
    answers = np.concatenate(
        [
            classifier(load_faces(faces.paths[start : start + BATCH], classifier.record.size)).numpy()
            for start in range(0, len(faces.paths), BATCH)
        ]
    )[:, classifier.columns(attributes)]
    truth = faces.labels > 0.5
    right = answers == truth
    accuracy = {name: float(right[:, column].mean()) for column, name in enumerate(attributes)}
    balanced = {name: _balanced(right[:, column], truth[:, column]) for column, name in enumerate(attributes)}
    return accuracy, balanced


def load_faces(paths: Sequence[Path], size: int) -> Tensor:
    """The central squares, (N, 3, size, size) in [-1, 1]."""
    return torch.stack([to_tensor(centre(read_picture(path, size), size)) for path in paths])


def _balanced(right: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    parts = [right[truth == kind].mean() for kind in (True, False) if (truth == kind).any()]
    return float(np.mean(parts))
