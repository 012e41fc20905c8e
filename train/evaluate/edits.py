"""How well an attribute editor edits: a classifier's answers on held-out faces, attribute by attribute.

Each face gets one edit for each attribute (flipped; a hair colour set in place of the others). The classifier, trained
on real faces only, then says whether the edited attribute has the target value, and whether the others are unchanged.
The same figures for the unedited faces are the floor of the first and the ceiling of the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ganlens.engine.errors import OptionError, did_you_mean
from ganlens.engine.spec import GeneratorSpec

from ..config import CONFIG_NAME, read_values
from ..data.attribute_table import Faces, find_classes, find_faces, split_faces
from ..data.hair import hair_columns
from ..data.pictures import to_pixels
from ..data.target_labels import flip_each
from ..losses.attribute import with_complement
from ..networks.composition import Edit, edit
from ..sample_sheet import make_sheet
from .classifier import Classifier, load_classifier, load_faces
from .device import device_of, measuring_device
from .extractors import Extractor, open_extractor
from .metrics import Features, Figure, SetDistance
from .progress import tracked
from .subject import open_subject

BATCH = 32
DEFAULT_HOLDOUT = 2000


class EditRow(NamedTuple):
    """One attribute's edits; shares of faces."""

    edited: float
    """Fraction of edits that the classifier accepts."""
    unedited: float
    """The same asked of the unedited faces: what the classifier gives for nothing."""
    untouched: float
    """An attribute that was not edited is as labelled, mean over those."""
    untouched_unedited: float
    """The same asked of the unedited faces: the classifier's own accuracy."""
    mask: float
    """Mean of the mask; 1 for a generator without one."""
    change: float
    """Mean absolute change inside the frame, in units of [-1, 1]."""


class EditEvaluation(NamedTuple):
    """An editor's rows, and what they were measured on."""

    rows: dict[str, EditRow]
    faces: int
    size: int
    border_error: float
    """Largest change in the border that ought to be untouched; -1 without a border."""
    frechet: Figure | None
    """Fréchet distance of the edits to the unedited faces, if weights were given."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        frechet = None if self.frechet is None else self.frechet.to_dict()
        rows = {name: row._asdict() for name, row in self.rows.items()}
        return {**self._asdict(), "rows": rows, "frechet": frechet}

    def metrics(self) -> dict[str, float]:
        """For the record of a generator."""
        where = f"{self.faces} held-out faces, {self.size} px"
        found = {}
        for name, row in self.rows.items():
            found[f"{name}: edited as requested, by classifier, {where}"] = row.edited
            found[f"{name}: others untouched, by classifier, {where}"] = row.untouched
        if self.frechet is not None:
            found[f"{self.frechet.name} {self.frechet.features}, edits to unedited, {where}"] = self.frechet.value
        return found


class Editor:
    """A generator with labels, called as its record says."""

    def __init__(self, generator: nn.Module, spec: GeneratorSpec) -> None:
        if spec.attributes is None or spec.image is None:
            raise OptionError(f"'{spec.name}' takes no attributes. Compare it with paintings: give --paintings.")
        self.name = spec.name
        self.generator = generator
        self.composed = spec.output.kind == "image" and spec.output.mask is not None
        """The generator composes by itself, as exported ones do, and also gives the mask."""
        self.attributes = spec.attributes
        names = spec.attributes.names
        grouped = {name for group in spec.attributes.groups for name in group}
        hair = {names[column] for column in hair_columns(names)}  # older records have no group of them
        self.exclusive = tuple(name for name in names if name in grouped | hair)
        """The attributes of which at most one holds."""
        self.size = spec.size.preferred[0]
        self.border_px = spec.frame_border_px

    @torch.no_grad()
    def __call__(self, x: Tensor, att: Tensor) -> Edit:
        """(N, 3, H, W) in [-1, 1] and target labels (N, C)."""
        device = device_of(self.generator)
        condition = with_complement(att) if self.attributes.complement else att
        if self.composed:
            image, mask = self.generator(x.to(device), condition.to(device))
            made = Edit(image, mask)
        else:
            made = edit(self.generator, x.to(device), condition.to(device), self.border_px)
        return Edit(*(None if part is None else part.to(x.device) for part in made))  # type: ignore[arg-type]


def evaluate_edits(
    editor: Editor, faces: Faces, classifier: Classifier, extractor: Extractor | None = None
) -> EditEvaluation:
    """Edit every attribute of every face, and ask the classifier.

    Args:
        faces: held-out faces, labels in the editor's order.
        classifier: must know the editor's attributes.
        extractor: features for a Fréchet distance; None: none is measured.
    """
    names = editor.attributes.names
    columns = classifier.columns(names)
    tallies = [_Tally() for _ in names]
    before: list[Tensor] = []
    after: list[Tensor] = []
    border_error = 0.0 if editor.border_px else -1.0
    for start in tracked(range(0, len(faces.paths), BATCH), -(-len(faces.paths) // BATCH), "edits"):
        x = load_faces(faces.paths[start : start + BATCH], editor.size)
        att = torch.from_numpy(faces.labels[start : start + BATCH])
        plain = classifier(x)[:, columns]
        if extractor is not None:
            before.append(extractor(x))
        for column, target in enumerate(flip_each(att, names, editor.exclusive)):
            made = editor(x, target)
            tallies[column].add(column, att, target, plain, classifier(made.image)[:, columns], x, made)
            if editor.border_px:
                border_error = max(border_error, _border_error(x, made.image, editor.border_px))
            chosen = made.image[column :: len(names)]  # each face in one of its edits
            if extractor is not None and len(chosen):
                after.append(extractor(chosen))
    frechet = None
    if extractor is not None:
        resize = "central square of the shorter side, bicubic (Pillow)"
        real, edits = (Features(torch.cat(values), (editor.size, editor.size)) for values in (before, after))
        frechet = SetDistance(extractor, real, resize=resize)(edits).frechet
    return EditEvaluation(
        rows={name: tally.row() for name, tally in zip(names, tallies, strict=True)},
        faces=len(faces.paths),
        size=editor.size,
        border_error=border_error,
        frechet=frechet,
    )


def parse_change(text: str, names: Sequence[str]) -> dict[int, float | None]:
    """``Smiling,Young=0`` as column → value; None: the opposite of what the face has.

    Raises:
        OptionError: an unknown attribute or value.
    """
    found: dict[int, float | None] = {}
    for part in text.split(","):
        name, given, value = (word.strip() for word in part.partition("="))
        known = {other.lower(): column for column, other in enumerate(names)}
        if name.lower() not in known:
            raise OptionError(f"--change names '{name}'. {did_you_mean(name, names)}")
        if given and value not in ("0", "1"):
            raise OptionError(f"--change {part.strip()}: a value is 0 or 1, got '{value}'.")
        found[known[name.lower()]] = float(value) if given else None
    return found


def edit_sheet(editor: Editor, faces: Faces, changes: Sequence[str] = ()) -> Image.Image:
    """The paper's figure 4: a row for each face, with the original and, for each change, result, mask and segment
    (an exported generator has composed its segment already: it is left out).

    Args:
        faces: labels in the editor's order.
        changes: each as :func:`parse_change` has it, several attributes at once with commas; none: the first two
            attributes, alone and together.
    """
    names = editor.attributes.names
    shown = list(changes) or list(dict.fromkeys([*names[:2], ",".join(names[:2])]))
    exclusive = [column for column, name in enumerate(names) if name in editor.exclusive]
    x, att = load_faces(faces.paths, editor.size), torch.from_numpy(faces.labels)
    columns, captions = [x], ["original"]
    for text in shown:
        wish = att.clone()
        for column, value in parse_change(text, names).items():
            wish[:, column] = 1 - att[:, column] if value is None else value
            if column in exclusive:  # one hair colour in the place of the others
                others = [other for other in exclusive if other != column]
                wish[:, others] = torch.where(wish[:, column, None] > 0, 0.0, wish[:, others])
        made = editor(x, wish)
        columns.append(made.image)
        captions.append(text.replace(",", " "))
        if made.mask is not None:
            columns.append(2 * made.mask.expand(-1, 3, -1, -1) - 1)
            captions.append("mask")
        if made.segment is not None:
            columns.append(made.segment)
            captions.append("segment")
    rows = [[to_pixels(column[row]) for column in columns] for row in range(len(x))]
    return Image.fromarray(make_sheet(rows, captions, f"{editor.name}: original, result, mask, segment"))


class _Tally:
    """Sums for one attribute's row."""

    def __init__(self) -> None:
        self.sums = np.zeros(8)

    def add(
        self, column: int, att: Tensor, target: Tensor, plain: Tensor, answers: Tensor, x: Tensor, made: Edit
    ) -> None:
        wanted, labelled = target > 0.5, att > 0.5
        touched = wanted != labelled
        # Faces that already are as requested (a hair colour that they have) are no edit.
        edited = touched[:, column]
        kept = ~touched & edited[:, None]
        kept[:, column] = False
        mask = torch.ones(len(x)) if made.mask is None else made.mask.mean(dim=(1, 2, 3))
        self.sums += [
            float(edited.sum()),
            float((answers == wanted)[:, column][edited].sum()),
            float((plain == wanted)[:, column][edited].sum()),
            float(kept.sum()),
            float((answers == labelled)[kept].sum()),
            float((plain == labelled)[kept].sum()),
            float(mask[edited].sum()),
            float((made.image - x).abs().mean(dim=(1, 2, 3))[edited].sum()),
        ]

    def row(self) -> EditRow:
        edits, edited, unedited, others, untouched, plain, mask, change = (float(value) for value in self.sums)
        edits, others = max(edits, 1.0), max(others, 1.0)
        shares = edited / edits, unedited / edits, untouched / others, plain / others
        return EditRow(*shares, mask=mask / edits, change=change / edits)


def _border_error(x: Tensor, image: Tensor, border_px: int) -> float:
    b = border_px
    difference = (image - x).abs()
    difference[:, :, b:-b, b:-b] = 0
    return float(difference.max())


def held_out_faces(
    model: Path, names: Sequence[str], *, data: str = "", holdout: int | None = None, count: int = 0
) -> Faces:
    """The faces that a run kept out of its training.

    Args:
        model: run folder or a file in it; its configuration says what was held out.
        data: the data folder; empty: the run's.
        holdout: as in training; None: the run's.
        count: how many to take, spread evenly; 0: all.

    Raises:
        OptionError: there is no configuration and no ``data``.
    """
    folder = model if model.is_dir() else model.parent
    values = read_values(folder) if (folder / CONFIG_NAME).is_file() else {}
    source = data or str(values.get("data", ""))
    if not source:
        raise OptionError(f"{folder} does not state which faces it was trained on. Give --data.")
    if values.get("classes"):
        faces = find_classes(source, names)
    else:
        tables = {name: str(values.get(name, "")) for name in ("table", "identities")} if not data else {}
        faces = find_faces(source, names, **tables)
    held_out = split_faces(faces, int(values.get("holdout", DEFAULT_HOLDOUT)) if holdout is None else holdout)[1]
    if not held_out.paths:
        raise OptionError("No faces were held out, so nothing can be measured. Give --holdout.")
    if count and count < len(held_out.paths):
        held_out = held_out.take([int(row) for row in np.linspace(0, len(held_out.paths) - 1, count).round()])
    return held_out


def evaluate_edit_files(
    model: Path,
    classifier: Path,
    *,
    data: str = "",
    holdout: int | None = None,
    count: int = 0,
    weights: Path | None = None,
    inception: Path | None = None,
    result: Path | None = None,
    record: bool = False,
) -> EditEvaluation:
    """The command: read the files, measure, write what was asked for.

    Args:
        model: checkpoint, run folder or ONNX file of an attribute method.
        classifier: file or run folder of ``engine train classifier``.
        weights, inception: files of feature networks, for a Fréchet distance; see :func:`.extractors.open_extractor`.
        result: JSON to write.
        record: put the figures into the checkpoint's own record.
    """
    subject = open_subject(model, record=record)
    editor = Editor(subject.generator, subject.spec)
    faces = held_out_faces(model, editor.attributes.names, data=data, holdout=holdout, count=count)
    device = measuring_device()
    extractor = open_extractor(inception, weights).to(device) if weights or inception else None
    evaluation = evaluate_edits(editor, faces, load_classifier(classifier).to(device), extractor)
    subject.report(evaluation.to_dict(), evaluation.metrics(), result=result, record=record)
    return evaluation
