"""How well an attribute editor edits: a classifier's answers on held-out faces, attribute by attribute.

Each face gets one edit for each attribute (flipped; a hair colour set in place of the others). The classifier, trained
on real faces only, then says whether the edited attribute has the target value, and whether the others are unchanged.
The same figures for the unedited faces are the floor of the first and the ceiling of the second. With a segmentation
network of hair, the change outside the head is measured as well, and for hair colours which colour the hair then has:
no label says what is red, blue or pink.
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
from ..data.hair_masks import HairSegmenter
from ..data.pictures import list_pictures, to_pixels
from ..data.target_labels import flip_each
from ..losses.attribute import with_complement
from ..networks.composition import Edit, edit
from ..sample_sheet import make_sheet
from .answers import Answers, other_names
from .classifier import Classifier, ClassifierRecord, load_classifier, load_faces
from .clips import ClipEvaluation, evaluate_clips
from .device import device_of, measuring_device
from .extractors import Extractor, open_extractor
from .heads import COLOURS, HeadFinder, Heads, change_outside, is_colour, nearest_colours
from .metrics import Features, Figure, SetDistance
from .progress import tracked
from .subject import open_subject

BATCH = 32
DEFAULT_HOLDOUT = 2000


class EditRow(NamedTuple):
    """One attribute's edits; shares of faces."""

    edited: float | None
    """Fraction of edits that the classifier accepts; None: it does not know the attribute."""
    unedited: float | None
    """The same asked of the unedited faces: what the classifier gives for nothing."""
    untouched: float
    """An attribute that was not edited is as labelled, mean over those."""
    untouched_unedited: float
    """The same asked of the unedited faces: the classifier's own accuracy."""
    mask: float
    """Mean of the mask; 1 for a generator without one."""
    change: float
    """Mean absolute change inside the frame, in units of [-1, 1]."""
    colour: float | None = None
    """Fraction of edits whose hair is nearest to the colour, in CIE Lab; None: no hair colour, or no hair found."""
    colour_unedited: float | None = None
    """The same of the unedited faces."""
    outside: float | None = None
    """Mean absolute change outside the head, in levels of 255; None: no hair found."""


class EditEvaluation(NamedTuple):
    """An editor's rows, and what they were measured on."""

    rows: dict[str, EditRow]
    faces: int
    size: int
    border_error: float
    """Largest change in the border that ought to be untouched; -1 without a border."""
    frechet: Figure | None
    """Fréchet distance of the edits to the unedited faces, if weights were given."""
    others: tuple[str, ...] = ()
    """Attributes that the model does not edit and the classifier knows; they count among those to be kept."""
    heads: int = 0
    """Faces whose hair was found with certainty: those of ``colour`` and ``outside``."""

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
            if row.edited is not None:
                found[f"{name}: edited as requested, by classifier, {where}"] = row.edited
            found[f"{name}: others untouched, by classifier, {where}"] = row.untouched
            heads = f"{self.heads} held-out faces, {self.size} px"
            if row.colour is not None:
                found[f"{name}: hair is nearest to the colour, CIE Lab, {heads}"] = row.colour
            if row.outside is not None:
                found[f"{name}: mean change outside the head, levels of 255, {heads}"] = row.outside
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
        self.added = tuple(name for name in names if spec.attributes.only_adds(name))
        """The attributes that the model can give and not take away: faces that have them are not judged."""
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
    editor: Editor,
    faces: Faces,
    classifier: Classifier,
    extractor: Extractor | None = None,
    *,
    others: Sequence[str] = (),
    find_heads: HeadFinder | None = None,
) -> EditEvaluation:
    """Edit every attribute of every face, and ask the classifier.

    Args:
        faces: held-out faces, labels in the editor's order, then those of ``others``.
        classifier: attributes of the editor that it does not know are not judged by it.
        extractor: features for a Fréchet distance; None: none is measured.
        others: attributes that the editor does not have and the classifier knows: they are to be kept.
        find_heads: for the change outside the head and the colour of the hair; None: neither is measured.

    Raises:
        TrainingError: the classifier knows none of the attributes, or not one of ``others``.
    """
    names = editor.attributes.names
    answer = Answers(classifier, names, others)
    tallies = [_Tally() for _ in names]
    before: list[Tensor] = []
    after: list[Tensor] = []
    border_error = 0.0 if editor.border_px else -1.0
    with_hair = 0
    for start in tracked(range(0, len(faces.paths), BATCH), -(-len(faces.paths) // BATCH), "edits"):
        x = load_faces(faces.paths[start : start + BATCH], editor.size)
        att = torch.from_numpy(faces.labels[start : start + BATCH])
        plain = answer(x)
        heads = None if find_heads is None else find_heads(x)
        if heads is not None:
            with_hair += int(heads.sure.sum())
        if extractor is not None:
            before.append(extractor(x))
        for column, target in enumerate(flip_each(att[:, : len(names)], names, editor.exclusive, editor.added)):
            made = editor(x, target)
            tally = tallies[column]
            tally.add(column, att, target, plain, answer(made.image), answer.kept_by(column), x, made)
            if heads is not None:
                tally.add_heads(names[column], att[:, column], target[:, column], x, made.image, heads)
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
    named = zip(names, tallies, strict=True)
    return EditEvaluation(
        rows={name: tally.row(bool(answer.knows[column])) for column, (name, tally) in enumerate(named)},
        faces=len(faces.paths),
        size=editor.size,
        border_error=border_error,
        frechet=frechet,
        others=tuple(others),
        heads=with_hair,
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
            attributes, alone and together, or all alone where at most one of these two holds.
    """
    names = editor.attributes.names
    exclusive = [column for column, name in enumerate(names) if name in editor.exclusive]
    few = list(dict.fromkeys([*names[:2], ",".join(names[:2])]))
    only_one = len(names) > 1 and {0, 1} <= set(exclusive)
    shown = list(changes) or (
        [f"{name}=1" if name in editor.exclusive else name for name in names] if only_one else few
    )
    x, att = load_faces(faces.paths, editor.size), torch.from_numpy(faces.labels)
    columns, captions = [x], ["original"]
    for text in shown:
        wish = att.clone()
        for column, value in parse_change(text, names).items():
            opposite = torch.ones(len(x)) if names[column] in editor.added else 1 - att[:, column]
            wish[:, column] = opposite if value is None else value
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
        self.colours = np.zeros(3)
        self.outside = np.zeros(2)

    def add(
        self,
        column: int,
        att: Tensor,
        target: Tensor,
        plain: Tensor,
        answers: Tensor,
        keeps: Tensor,
        x: Tensor,
        made: Edit,
    ) -> None:
        """One batch: labels, target labels of the editor's attributes, and answers before and after."""
        labelled = att > 0.5
        wanted = labelled.clone()
        wanted[:, : target.shape[1]] = target > 0.5
        touched = wanted != labelled
        # Faces that already are as requested (a hair colour that they have) are no edit.
        edited = touched[:, column]
        kept = ~touched & edited[:, None] & keeps
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

    def add_heads(self, name: str, att: Tensor, target: Tensor, x: Tensor, image: Tensor, heads: Heads) -> None:
        """The same batch: labels (N,) of this attribute before and as requested."""
        edited = heads.sure & ((att > 0.5) != (target > 0.5))
        self.outside += [float(edited.sum()), float(change_outside(x, image, heads)[edited].sum())]
        if name.lower() in COLOURS:
            after, before = (is_colour(name, nearest_colours(x, picture, heads)) for picture in (image, x))
            self.colours += [float(edited.sum()), float(after[edited].sum()), float(before[edited].sum())]

    def row(self, known: bool) -> EditRow:
        """The row; ``known``: the classifier knows the attribute."""
        edits, edited, unedited, others, untouched, plain, mask, change = (float(value) for value in self.sums)
        edits, others = max(edits, 1.0), max(others, 1.0)
        coloured, after, before = (float(value) for value in self.colours)
        seen, levels = (float(value) for value in self.outside)
        return EditRow(
            edited=edited / edits if known else None,
            unedited=unedited / edits if known else None,
            untouched=untouched / others,
            untouched_unedited=plain / others,
            mask=mask / edits,
            change=change / edits,
            colour=after / coloured if coloured else None,
            colour_unedited=before / coloured if coloured else None,
            outside=levels / seen if seen else None,
        )


def _border_error(x: Tensor, image: Tensor, border_px: int) -> float:
    b = border_px
    difference = (image - x).abs()
    difference[:, :, b:-b, b:-b] = 0
    return float(difference.max())


def held_out_faces(
    model: Path,
    names: Sequence[str],
    *,
    data: str = "",
    holdout: int | None = None,
    count: int = 0,
    unlabelled: bool = False,
    exclude: str = "",
) -> Faces:
    """The faces that a run kept out of its training.

    Args:
        model: run folder or a file in it; its configuration says what was held out.
        data: the data folder; empty: the run's.
        holdout: as in training; None: the run's.
        count: how many to take, spread evenly; 0: all.
        unlabelled: an attribute that the table lacks counts as absent from every face (blue hair), and is no error.
        exclude: folder or glob of pictures that the model was trained on: they and all others of the same people are
            left out. Empty: the photos of the run, if it learned from photos and not from the table.

    Raises:
        OptionError: there is no configuration and no ``data``, or nothing is left.
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
        faces = find_faces(source, names, **tables, unlabelled=unlabelled)
    from_table = "data" in values or not values
    usual = int(values.get("holdout", DEFAULT_HOLDOUT)) if from_table else DEFAULT_HOLDOUT
    held_out = split_faces(faces, usual if holdout is None else holdout)[1]
    if not held_out.paths:
        raise OptionError("No faces were held out, so nothing can be measured. Give --holdout.")
    seen = exclude or ("" if from_table else str(values.get("photos", "")))
    if seen:
        held_out = _never_seen(held_out, faces, seen)
    if count and count < len(held_out.paths):
        held_out = held_out.take([int(row) for row in np.linspace(0, len(held_out.paths) - 1, count).round()])
    return held_out


def _never_seen(held_out: Faces, faces: Faces, seen: str) -> Faces:
    """Those held out of which no picture, and no other picture of the same person, is among ``seen``."""
    stems = {path.stem for path in list_pictures(seen)}
    people = {person for path, person in zip(faces.paths, faces.identities or [], strict=False) if path.stem in stems}
    whose = held_out.identities or [""] * len(held_out.paths)
    rows = [
        row
        for row, (path, person) in enumerate(zip(held_out.paths, whose, strict=True))
        if path.stem not in stems and person not in people
    ]
    if not rows:
        raise OptionError(f"The model was trained on all people that were held out ({seen}). Give a larger --holdout.")
    return held_out.take(rows)


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
    segmenter: Path | None = None,
    exclude: str = "",
    clips: Sequence[str] = (),
    clip_grid: Path | None = None,
) -> tuple[EditEvaluation, list[ClipEvaluation], ClassifierRecord]:
    """The command: read the files, measure, write what was asked for.

    Args:
        model: checkpoint, run folder or ONNX file of an attribute method.
        classifier: file or run folder of ``engine train classifier``.
        weights, inception: files of feature networks, for a Fréchet distance; see :func:`.extractors.open_extractor`.
        result: JSON to write.
        record: put the figures into the checkpoint's own record.
        segmenter: ONNX network that says where hair is; None: neither the change outside the head nor the colour of
            the hair is measured.
        exclude: see :func:`held_out_faces`.
        clips: video files whose largest faces are edited as well.
        clip_grid: PNG of the clips to write.

    Returns:
        The rows on held-out faces, those on each clip, and the record of the classifier.
    """
    subject = open_subject(model, record=record)
    editor = Editor(subject.generator, subject.spec)
    device = measuring_device()
    judge = load_classifier(classifier).to(device)
    others = other_names(editor.attributes.names, judge)
    find_heads = None if segmenter is None else HeadFinder(HairSegmenter(segmenter, torch.get_num_threads()))
    wanted = [*editor.attributes.names, *others]
    faces = held_out_faces(model, wanted, data=data, holdout=holdout, count=count, unlabelled=True, exclude=exclude)
    extractor = open_extractor(inception, weights).to(device) if weights or inception else None
    evaluation = evaluate_edits(editor, faces, judge, extractor, others=others, find_heads=find_heads)
    on_clips = evaluate_clips(subject, judge, clips, find_heads, clip_grid) if clips else []
    values = evaluation.to_dict()
    values["classifier"] = judge.record.model_dump()
    values["clips"] = [clip.to_dict() for clip in on_clips]
    subject.report(values, evaluation.metrics(), result=result, record=record)
    return evaluation, on_clips, judge.record
