"""``engine train evaluate``: what is measured of a model, by what its method is for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Column, Table

from ganlens.engine.errors import OptionError
from ganlens.engine.model import read_model_spec, shipped_paths

from ..checkpoint import GENERATOR_NAME, read_generator_file
from ..config import CONFIG_NAME, read_values
from ..methods import METHODS
from ..options import EvaluateOptions
from ..sample_sheet import check_png, save_png
from .classifier import load_classifier, measure
from .clips import ClipEvaluation
from .device import measuring_device
from .edits import EditEvaluation, Editor, edit_sheet, evaluate_edit_files, held_out_faces
from .extractors import open_extractor
from .generated import evaluate_generated, real_pictures
from .heads import MOST_OUTSIDE
from .labels import LabelAccuracy, LabelEvaluation, evaluate_label_files
from .metrics import Figure
from .subject import ONNX, open_subject, write_json
from .translation import Evaluation, evaluate_files

MOST_GENERATED = 2000
"""Pictures that are generated for a distance, unless a number is given."""


def evaluate_run(options: EvaluateOptions) -> list[RenderableType]:
    """Measure a run folder or checkpoint, write what was asked for, and give what to print.

    Raises:
        OptionError: something is missing that this kind of model needs.
        TrainingError: a picture to write exists.
    """
    for file in filter(None, (options.grid, options.clip_grid)):
        check_png(file, overwrite=options.overwrite)
    model = _shipped_or_given(options.model)
    return EVALUATIONS[kind_of(model)](model, options)


def _shipped_or_given(model: Path) -> Path:
    """The file of a shipped model's name; a run or file of that name goes before it."""
    named = {path.stem: path for path in shipped_paths()}
    return model if model.exists() else named.get(str(model), model)


def kind_of(model: Path) -> str:
    """The evaluation that fits: by the method of the run folder, else by the record of the checkpoint or ONNX file."""
    folder = model if model.is_dir() else model.parent
    if (folder / CONFIG_NAME).is_file() and model.suffix.lower() != ONNX:
        method = str(read_values(folder).get("method", ""))
        if method in METHODS:
            return METHODS[method].evaluation
    if model.suffix.lower() == ONNX:
        spec = read_model_spec(model)
    else:
        spec = read_generator_file(model / GENERATOR_NAME if model.is_dir() else model)[0]
    if spec.image is None:
        return "generated"
    return "edits" if spec.attributes else "translation"


def _translation(model: Path, options: EvaluateOptions) -> list[RenderableType]:
    values = _values(model)
    photos, paintings = list(options.photos or ()), options.paintings or str(values.get("paintings", ""))
    if not photos or not paintings or not options.has_features:
        raise OptionError(
            "--photos, --paintings and --weights or --inception are needed to compare translations with paintings."
        )
    found = evaluate_files(
        model,
        photos,
        paintings,
        options.weights,
        inception=options.inception,
        size=options.size,
        grid=options.grid,
        grid_rows=options.grid_rows,
        result=options.result,
        record=options.record,
    )
    return list(_tell_translation(found))


def _edits(model: Path, options: EvaluateOptions) -> list[RenderableType]:
    shown: list[RenderableType] = []
    if options.grid is not None:
        subject = open_subject(model)
        editor = Editor(subject.generator, subject.spec)
        faces = held_out_faces(
            model,
            editor.attributes.names,
            data=options.data,
            holdout=options.holdout,
            count=options.grid_rows,
            unlabelled=True,
            exclude=options.exclude,
        )
        save_png(options.grid, edit_sheet(editor, faces, options.changes or ()))
        shown = [f"Written: {options.grid}"]
        if options.classifier is None:
            return shown
    if options.classifier is None:
        given = " --photos and --paintings belong to translators." if options.photos or options.paintings else ""
        raise OptionError(
            "This model edits attributes: give --classifier, a run of engine train classifier, to say what its edits "
            f"show.{given}"
        )
    if options.clip_grid is not None and not options.clips:
        raise OptionError("--clip-grid shows frames of clips. Give --clip as well.")
    found, clips, judge = evaluate_edit_files(
        model,
        options.classifier,
        data=options.data,
        holdout=options.holdout,
        count=options.count,
        weights=options.weights,
        inception=options.inception,
        result=options.result,
        record=options.record,
        segmenter=options.segmenter,
        exclude=options.exclude,
        clips=options.clips or (),
        clip_grid=options.clip_grid,
    )
    if options.clip_grid is not None:
        shown.append(f"Written: {options.clip_grid}")
    known = [name for name in judge.accuracy if name in found.rows or name in found.others]
    accuracy = _accuracy_table(
        f"the classifier itself, {judge.held_out} faces of people never seen",
        {name: judge.accuracy[name] for name in known},
        judge.balanced_accuracy,
    )
    return [accuracy, *_tell_edits(found), *(_clip_table(clip) for clip in clips), *shown]


def _labels(model: Path, options: EvaluateOptions) -> list[RenderableType]:
    found = evaluate_label_files(
        model,
        options.classifier,
        data=options.data,
        holdout=options.holdout,
        count=options.count or 1000,
        weights=options.weights,
        inception=options.inception,
        lpips=options.lpips,
        vgg_scaling=options.vgg_scaling,
        result=options.result,
        record=options.record,
    )
    return list(_tell_labels(found))


def _generated(model: Path, options: EvaluateOptions) -> list[RenderableType]:
    if not options.has_features:
        raise OptionError("--weights or --inception is needed: features for the distance to real pictures.")
    values = _values(model)
    data = options.data or str(values.get("data", ""))
    if not data:
        raise OptionError(f"{model} does not state which pictures it was trained on. Give --data.")
    tables = {name: str(values.get(name, "")) if not options.data else "" for name in ("table", "identities")}
    holdout = int(values.get("holdout", 0)) if options.holdout is None else options.holdout
    subject = open_subject(model, record=options.record)
    classes = [name.strip() for name in str(values.get("classes", "")).split(",") if name.strip()]
    real, which = real_pictures(data, tables["table"], tables["identities"], holdout, classes)
    extractor = open_extractor(options.inception, options.weights, options.vgg_scaling).to(measuring_device())
    count = options.count or min(len(real), MOST_GENERATED)
    found = evaluate_generated(subject.generator, subject.spec, real[:MOST_GENERATED], extractor, count)
    subject.report(found.to_dict(), found.metrics(), result=options.result, record=options.record)
    return [f"{figure} Real pictures: {which}." for figure in found.figures]


def _classifier(model: Path, options: EvaluateOptions) -> list[RenderableType]:
    judge = load_classifier(model)
    names = judge.record.attributes
    values = _values(model)
    if values.get("labels"):
        return [_accuracy_table(f"{judge.record.held_out} faces of people never seen", judge.record.accuracy,
                                judge.record.balanced_accuracy)]  # fmt: skip
    faces = held_out_faces(model, names, data=options.data, holdout=options.holdout, count=options.count)
    accuracy, balanced = measure(judge.to(measuring_device()), faces, names)
    if options.result is not None:
        write_json(options.result, {"faces": len(faces.paths), "accuracy": accuracy, "balanced_accuracy": balanced})
    return [_accuracy_table(f"{len(faces.paths)} faces of people never seen", accuracy, balanced)]


EVALUATIONS: dict[str, Callable[[Path, EvaluateOptions], list[RenderableType]]] = {
    "translation": _translation,
    "edits": _edits,
    "labels": _labels,
    "generated": _generated,
    "classifier": _classifier,
}
"""Name, as the table of methods has it → what is measured."""


def _values(model: Path) -> dict[str, Any]:
    folder = model if model.is_dir() else model.parent
    return read_values(folder) if (folder / CONFIG_NAME).is_file() else {}


# --- what is printed -------------------------------------------------------------------------------------------------


def _attribute() -> Column:
    """The first column: names are not broken; narrow terminals break the headings of the others."""
    return Column("attribute", no_wrap=True)


def _accuracy_table(title: str, accuracy: dict[str, float], balanced: dict[str, float]) -> Table:
    table = Table(_attribute(), "accuracy", "balanced", title=title)
    for name, share in accuracy.items():
        table.add_row(name, f"{share:.3f}", f"{balanced[name]:.3f}")
    return table


def _tell_translation(found: Evaluation) -> Iterable[RenderableType]:
    sample = found.sample
    table = Table("translation", sample.name, found.kernel["model"].name, title=sample.features)
    for row, figure in found.kernel.items():
        table.add_row(row, f"{found.distances[row]:.1f}", f"{figure.value:.4g} ± {figure.spread:.2g}")
    yield table
    yield (
        f"{found.photos} photos, {found.paintings} paintings, {found.size} px, resize: {sample.resize}. "
        "Smaller is closer. Fréchet's is biased upwards for few pictures: compare at equal numbers only"
        + (", and never with the FID of papers." if sample.name != "FID" else ".")
    )


def _tell_edits(found: EditEvaluation) -> Iterable[RenderableType]:
    table = Table(
        _attribute(), "edited", "before", "others kept", "before", "mask", "change", title=f"{found.faces} faces"
    )
    for name, row in found.rows.items():
        table.add_row(name, *(_share(value) for value in row[:6]))
    yield table
    if found.heads:
        title = f"{found.heads} faces whose hair was found"
        table = Table(
            _attribute(), "nearest colour", "before", f"outside the head, ≤ {MOST_OUTSIDE:g}", "", title=title
        )
        for name, row in found.rows.items():
            table.add_row(name, _share(row.colour), _share(row.colour_unedited), *_outside(row.outside))
        yield table
    distance = "" if found.frechet is None else f" To the unedited faces: {found.frechet}."
    border = "no border" if found.border_error < 0 else f"largest change in the border: {found.border_error:g}"
    others = "" if not found.others else f" Others: also {', '.join(found.others)}."
    yield f"{found.size} px, people never seen; {border}.{others}{distance}"


def _clip_table(found: ClipEvaluation) -> Table:
    title = f"{found.clip}: a face in {found.faces} of {found.frames} frames"
    table = Table(
        _attribute(), "edited", "others kept", "colour", "before", f"outside ≤ {MOST_OUTSIDE:g}", "", title=title
    )
    for name, row in found.rows.items():
        shares = _share(row.edited), _share(row.kept), _share(row.colour), _share(row.colour_unedited)
        table.add_row(name, *shares, *_outside(row.outside))
    return table


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _outside(levels: float | None) -> tuple[str, str]:
    if levels is None:
        return "–", ""
    return f"{levels:.2f}", "pass" if levels <= MOST_OUTSIDE else "FAIL"


def _tell_labels(found: LabelEvaluation) -> Iterable[RenderableType]:
    def shares(accuracy: LabelAccuracy | None) -> list[str]:
        return ["-", "-"] if accuracy is None else [f"{accuracy.slot:.3f}", f"{accuracy.exact:.3f}"]

    figures: list[Figure] = [figure for figure in found.rows["all"][3:] if figure is not None]
    judges = [word for who in ("C'(E')", "judge", "judge on real") for word in (f"{who} slot", "exact")]
    table = Table("labels", *judges, *(figure.name for figure in figures), title=f"{found.faces} faces each")
    for name, row in found.rows.items():
        values = {figure.name: f"{figure.value:.4g}" for figure in row[3:] if figure is not None}
        cells = [cell for accuracy in row[:3] for cell in shares(accuracy)]
        table.add_row(name, *cells, *(values.get(figure.name, "-") for figure in figures))
    yield table
    yield from (str(figure) for figure in figures)
    yield from (f"{name}: no row. {why}" for name, why in found.missing.items())
