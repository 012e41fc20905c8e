"""How well a generator obeys its labels, and how near its faces are to real ones: rows for conditions.

Who says whether a face has a label matters: the classifier that the generator was trained against, C'(E'(x)), has been
optimised and flatters; a classifier trained on real faces only is the fairer judge. Both are reported, beside what the
judge says of real faces: its own accuracy, which no generator has to exceed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ganlens.engine.errors import OptionError, TrainingError

from ..checkpoint import load_state
from ..config import PSCGANConfig, VGGScaling, load_config
from ..data.attribute_table import Faces, split_faces
from ..data.faces import faces_of
from ..data.label_groups import LabelLayout
from ..networks.psc_gan import CodeClassifier, Encoder, one_per_group
from ..networks.vgg16 import VGG16
from .classifier import Classifier, load_classifier, load_faces
from .device import device_of, measuring_device
from .extractors import Extractor, open_extractor
from .metrics import (
    Figure,
    Linear,
    SetDistance,
    class_score,
    draw_pairs,
    in_batches,
    inception_score,
    joint_logits,
    load_linear,
    perceptual_distance,
)
from .progress import tracked
from .subject import open_subject

BATCH = 64
ALL = "all"
"""The row of all conditions together, labels drawn as they occur in the data."""

RESIZE = "central square of the shorter side, bicubic (Pillow)"

Reader = Callable[[Tensor], Tensor]
"""Pictures (N, 3, H, W) in [-1, 1] to label logits (N, K)."""


class LabelAccuracy(NamedTuple):
    """Shares; a label vector is right in three senses."""

    slot: float
    """Over samples and groups: the most likely value of the group is the target. The headline figure."""
    exact: float
    """Over samples: so it is in every group."""
    element: float
    """Over samples and slots: the slot is on (p > 0.5) where it should be, and off where not."""


def label_accuracy(logits: Tensor, labels: Tensor, parts: Sequence[slice]) -> LabelAccuracy:
    """Accuracy of label logits (N, K) against label vectors (N, K) with one 1 in each of the ``parts``."""
    chosen = one_per_group(logits, parts)
    right = torch.stack([(chosen[:, part] * labels[:, part]).sum(dim=1) == 1 for part in parts], dim=1)
    element = (logits > 0) == (labels > 0.5)
    return LabelAccuracy(
        float(right.double().mean()), float(right.all(dim=1).double().mean()), float(element.double().mean())
    )


class ConditionRow(NamedTuple):
    """One condition's faces."""

    own: LabelAccuracy | None
    """By the classifier of the training; None for a generator that has none or takes no labels."""
    judge: LabelAccuracy | None
    """By the independent classifier; None without labels."""
    real: LabelAccuracy | None
    """What the independent classifier says of the real faces of this condition."""
    frechet: Figure | None
    kernel: Figure | None
    perceptual: Figure | None
    """LPIPS of random pairs, generated and real, of the same condition; lower is closer."""
    class_score: Figure | None
    """For the row of all conditions: the score of Inception Score's formula, on the judge's label combinations."""
    inception: Figure | None = None
    """For the row of all conditions: the Inception Score, where the FID Inception is given."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: None if value is None else value._asdict() for name, value in self._asdict().items()}


class LabelEvaluation(NamedTuple):
    """A generator's rows, and what they were measured on."""

    rows: dict[str, ConditionRow]
    size: int
    faces: int
    """Faces of each row."""
    seed: int
    missing: Mapping[str, str] = MappingProxyType({})
    """Conditions without a row, and why."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **self._asdict(),
            "rows": {name: row.to_dict() for name, row in self.rows.items()},
            "missing": dict(self.missing),
        }

    def metrics(self) -> dict[str, float]:
        """For the record of a generator: the row of all conditions."""
        row, where = self.rows[ALL], f"{self.faces} generated faces, {self.size} px"
        found = {}
        for who, accuracy in (("classifier of training, C'(E')", row.own), ("independent classifier", row.judge)):
            if accuracy is not None:
                found[f"slot accuracy by {who}, {where}"] = accuracy.slot
                found[f"exact accuracy by {who}, {where}"] = accuracy.exact
        for figure in (row.frechet, row.kernel, row.perceptual, row.class_score, row.inception):
            if figure is not None:
                counts = f"{figure.generated} generated, {figure.real} real, {self.size} px"
                found[f"{figure.name} ({figure.features}; {counts})"] = figure.value
        return found


class Generated:
    """A generator's faces, the same for the same seed, whatever the batch.

    Args:
        generator: with or without labels.
        latent: length of its noise.
    """

    def __init__(self, generator: nn.Module, latent: int, *, seed: int = 0) -> None:
        self.generator = generator
        self.latent = latent
        self.seed = seed

    @torch.no_grad()
    def __call__(self, labels: Tensor) -> Tensor:
        """One face for each row of labels (N, K), as (N, 3, H, W)."""
        z = torch.randn(len(labels), self.latent, generator=torch.Generator().manual_seed(self.seed))
        conditional = getattr(self.generator, "labels", 0) > 0
        device = device_of(self.generator)
        made = []
        for rows in _slices(len(labels)):
            inputs = (z[rows], labels[rows]) if conditional else (z[rows],)
            made.append(self.generator(*(part.to(device) for part in inputs)).cpu())
        return torch.cat(made)


class Measures(NamedTuple):
    """What looks at the faces; each may be missing."""

    judge: Reader | None = None
    own: Reader | None = None
    extractor: Extractor | None = None
    vgg: VGG16 | None = None
    linear: Linear | None = None
    """Learned weights of LPIPS; None: unweighted."""
    pairs: int = 1000
    """Pairs of a perceptual distance."""


def evaluate_labels(
    generated: Generated,
    layout: LabelLayout,
    faces: Faces,
    measures: Measures,
    *,
    size: int,
    count: int = 1000,
    conditions: Mapping[str, Sequence[str]] | None = None,
    conditional: bool = True,
) -> LabelEvaluation:
    """Rows for all labels as they occur, and for each condition.

    Args:
        faces: real faces with label vectors by the layout.
        size: side of the generator's pictures, px.
        count: generated faces, and real ones where there are so many, of each row; both are cut to the smaller number.
        conditions: name → one value of each group; None: those of the layout.
        conditional: False measures no accuracy, for generators without labels.

    Raises:
        TrainingError: fewer than two real faces. A condition of which there are fewer has no row.
    """
    named = layout.conditions if conditions is None else conditions
    wanted: dict[str, Tensor | None] = {ALL: None}
    wanted |= {name: torch.from_numpy(layout.vector(values)) for name, values in named.items()}
    rows, missing = {}, {}
    for name, target in tracked(wanted.items(), len(wanted), "conditions"):
        try:
            rows[name] = _row(name, target, generated, layout, faces, measures, size, count, conditional)
        except TooFewFaces as error:
            if name == ALL:
                raise
            missing[name] = str(error)
    return LabelEvaluation(rows, size, count, generated.seed, missing)


class TooFewFaces(TrainingError):
    """A condition that too few real faces have: it has no row, the others keep theirs."""


def _row(
    name: str,
    target: Tensor | None,
    generated: Generated,
    layout: LabelLayout,
    faces: Faces,
    measures: Measures,
    size: int,
    count: int,
    conditional: bool,
) -> ConditionRow:
    matching = (
        np.arange(len(faces.paths)) if target is None else np.flatnonzero((faces.labels == target.numpy()).all(axis=1))
    )
    if len(matching) < 2:
        raise TooFewFaces(
            f"Only {len(matching)} real faces are {name}, so nothing can be compared with them. Hold out more, or take "
            "the condition out of the label layout."
        )
    chosen = matching[np.linspace(0, len(matching) - 1, min(count, len(matching))).round().astype(int)]
    real_faces = faces.take([int(row) for row in chosen])
    real_labels = torch.from_numpy(real_faces.labels)
    labels = real_labels[torch.arange(count) % len(real_labels)]
    made = generated(labels)
    real = torch.cat([load_faces(real_faces.paths[rows], size) for rows in _slices(len(real_faces.paths))])

    def accuracy(reader: Reader | None, pictures: Tensor, truth: Tensor) -> LabelAccuracy | None:
        if reader is None or not conditional:
            return None
        return label_accuracy(_read(reader, pictures), truth, layout.slices)

    frechet = kernel = perceptual = score = None
    if measures.extractor is not None:
        equal = min(len(made), len(real))
        figures = SetDistance(measures.extractor, in_batches(real[:equal], BATCH), resize=RESIZE)(
            in_batches(made[:equal], BATCH)
        )
        frechet, kernel = figures
    if measures.vgg is not None:
        drawn = draw_pairs([_key(row) for row in labels], [_key(row) for row in real_labels], measures.pairs)
        batches = (drawn[start : start + 16] for start in range(0, len(drawn), 16))
        pairs = ((made[[one for one, _ in batch]], real[[other for _, other in batch]]) for batch in batches)
        perceptual = perceptual_distance(measures.vgg, pairs, resize=RESIZE, linear=measures.linear)
    if measures.judge is not None and target is None:
        judge = measures.judge
        groups = [list(range(part.start, part.stop)) for part in layout.slices]
        combinations = int(np.prod([len(group) for group in groups]))
        score = class_score(
            lambda batch: joint_logits(judge(batch), groups),
            in_batches(made, BATCH),
            classes=f"{combinations} combinations of labels, independent classifier",
            resize=RESIZE,
            splits=max(2, min(10, count // 100)),
        )
    return ConditionRow(
        own=accuracy(measures.own, made, labels),
        judge=accuracy(measures.judge, made, labels),
        real=accuracy(measures.judge, real, real_labels),
        frechet=frechet,
        kernel=kernel,
        perceptual=perceptual,
        class_score=score,
        inception=None
        if target is not None
        else inception_score(measures.extractor, in_batches(made, BATCH), count, resize=RESIZE),
    )


@torch.no_grad()
def _read(reader: Reader, pictures: Tensor) -> Tensor:
    return torch.cat([reader(pictures[rows]).cpu() for rows in _slices(len(pictures))])


def _slices(count: int) -> list[slice]:
    return [slice(start, start + BATCH) for start in range(0, count, BATCH)]


def _key(labels: Tensor) -> tuple[int, ...]:
    return tuple(int(slot) for slot in labels.nonzero().flatten())


def own_reader(state: Mapping[str, Any], config: PSCGANConfig, device: torch.device | None = None) -> Reader:
    """C'(E'(x)) of a run, from its saved state."""
    encoder, classifier = Encoder(config.size, config.width), CodeClassifier(len(config.label_names), config.width)
    for name, network in (("encoder", encoder), ("classifier", classifier)):
        network.load_state_dict(state["networks"][name])
        network.eval().requires_grad_(False).to(device or "cpu")
    return lambda pictures: classifier(encoder(pictures.to(device or "cpu")))


def judge_reader(classifier: Classifier, names: Sequence[str]) -> Reader:
    """Logits of an independent classifier in the order of the label vector.

    Raises:
        TrainingError: it does not know one of the names.
    """
    columns, side = classifier.columns(names), classifier.record.size

    def read(pictures: Tensor) -> Tensor:
        if pictures.shape[-2:] != (side, side):
            pictures = interpolate(pictures, (side, side), mode="bilinear", antialias=True, align_corners=False)
        return classifier.network(pictures.to(classifier.device))[:, columns]  # type: ignore[no-any-return]

    return read


def evaluate_label_files(
    run: Path,
    classifier: Path | None = None,
    *,
    data: str = "",
    holdout: int | None = None,
    count: int = 1000,
    seed: int = 0,
    weights: Path | None = None,
    inception: Path | None = None,
    lpips: Path | None = None,
    vgg_scaling: VGGScaling = "caffe",
    result: Path | None = None,
    record: bool = False,
) -> LabelEvaluation:
    """The command: read the files, measure on held-out faces, write what was asked for.

    Args:
        run: run folder of ``engine train psc-gan``.
        classifier: file or run folder of ``engine train classifier --labels``; None: only C'(E') is asked.
        data, holdout: as in training; by default the run's.
        weights, inception: files of feature networks, see :func:`.extractors.open_extractor`; ``weights`` also serve
            the perceptual distance.
        lpips: learned weights of LPIPS; they belong to torchvision's VGG16.
        vgg_scaling: input that ``weights`` were trained for.
        result: JSON to write.
        record: put the figures into the checkpoint's own record.

    Raises:
        OptionError: no such run, or no face was held out.
    """
    folder = run if run.is_dir() else run.parent
    config = cast(PSCGANConfig, load_config(folder))
    if config.method != "psc-gan":
        raise OptionError(f"{folder} is a run of {config.method}; labels are measured of psc-gan.")
    config = config.model_copy(
        update={"data": data or config.data, "holdout": config.holdout if holdout is None else holdout}
    )
    subject = open_subject(folder)
    generator, spec = subject.generator, subject.spec
    held_out = split_faces(faces_of(config), config.holdout)[1]
    if len(held_out.paths) < 2:
        raise OptionError("No faces were held out, so nothing can be measured. Give --holdout.")
    conditional = spec.attributes is not None
    layout, device = config.layout, measuring_device()
    measures = Measures(
        judge=judge_reader(load_classifier(classifier).to(device), layout.names) if classifier else None,
        own=own_reader(load_state(folder), config, device) if config.baseline != "vanilla" else None,
        extractor=open_extractor(inception, weights, vgg_scaling).to(device) if weights or inception else None,
        vgg=VGG16.load(weights, scaling=vgg_scaling).to(device) if weights else None,
        linear=load_linear(lpips, vgg_scaling) if lpips else None,
        pairs=count,
    )
    evaluation = evaluate_labels(
        Generated(generator, config.latent, seed=seed),
        layout,
        held_out,
        measures,
        size=config.size,
        count=count,
        conditional=conditional,
    )
    subject.report(evaluation.to_dict(), evaluation.metrics(), result=result, record=record)
    return evaluation
