"""``engine evaluate``: is a style good enough to ship? A row for each gate, status 1 if one fails."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from .. import processor
from ..benchmark.pictures import SHIPPED_CLIP, fitted, load_pictures
from ..benchmark.processes import ENGINE, cores, run_pipeline
from ..errors import MediaError, MissingExtra, ModelFileError, OptionError, printable
from ..evaluate.cost import multiply_accumulates
from ..evaluate.evaluation import Evaluation, Filter, Target, evaluate
from ..evaluate.gates import FIRST_FRAME, Gate, judge_budget
from ..evaluate.lab import Pixels
from ..files import cannot_write, replace_file
from ..media import VideoSource
from ..media.pictures import list_images, read_image, write_image
from ..model import Model
from ..model import open as open_model
from ..model.description import parse_value_range
from ..pixels.frame import Frame
from ..pixels.framing import Framing
from ..spec import ValueRange
from ..translator import Translator
from .cluster import RayCluster
from .cluster_work import answers
from .console import make_console
from .options.evaluate import EvaluateOptions
from .parse import parse_size

STARTS = 5
BEGIN, END = "<!-- evaluate:begin (written by `engine evaluate --card`) -->", "<!-- evaluate:end -->"


def run(options: EvaluateOptions) -> int:
    """Measure, print and write; returns the exit status."""
    console = make_console(stderr=True, quiet=options.quiet)
    if options.target and options.teacher:
        raise OptionError("Give --target or --teacher, not both: a style has one target.")
    of_teacher = (options.teacher_input, options.teacher_range, options.teacher_shifts, options.vgg)
    if not options.teacher and any(of_teacher):
        raise OptionError("--teacher-input, --teacher-range, --teacher-shifts and --vgg belong to --teacher.")
    value_range = parse_value_range(options.value_range) if options.value_range else None
    model = open_model(options.model, value_range)
    _check_kind(model)
    size = _size(options, model)
    if options.card is not None:
        _split_card(options.card)  # found out before anything is measured
    folder = None if options.output is None else _new_folder(options, model)
    photos = _choose(options.photos, options.count) if options.photos else None
    pictures = _fitted(photos, size) if photos else list(load_pictures(None, size))
    clips = {Path(clip).stem: _frames(clip, options.clip_frames, model) for clip in options.clip or []}
    with Translator.open(model, backend=options.backend, detail=0.0, framing="fit", frame_size=size) as translator:
        others = {Path(name).stem: _filter(name, options.backend) for name in options.against or []}
        target = _target(options, photos, pictures, size)
        budget = judge_budget(
            model.path.stat().st_size,
            _macs(model.path),
            first_frames([options.model])[options.model] if options.start else None,
        )
        done = evaluate(
            model.spec.name or model.path.stem,
            translator,
            pictures,
            target,
            clips,
            against=others,
            budget=budget,
            results=None if options.ray is None else _in_cluster(options, options.ray, value_range, pictures, size),
        )
    print(json.dumps(done.to_dict(), indent=1) if options.as_json else table(done))
    if folder is not None:
        for path in _write(done, folder, options.yes):
            console.print(f"wrote {path}", markup=False, soft_wrap=True)
    if options.card is not None:
        before, after = _split_card(options.card)
        _replace(options.card, f"{before}{BEGIN}\n\n{markdown(done)}\n{END}{after}")
        console.print(f"wrote {options.card}", markup=False, soft_wrap=True)
    return 0 if done.passed else 1


# --- what is judged --------------------------------------------------------------------------------------------------


def _check_kind(model: Model) -> None:
    spec = model.spec
    if spec.image is None:
        raise ModelFileError(f"{spec.name} makes pictures from noise; engine evaluate judges filters of pictures.")
    if spec.attributes or spec.face_alignment:
        raise ModelFileError(
            f"{spec.name} edits attributes; an independent classifier judges those: engine train evaluate {model.path} "
            "--data FACES --classifier JUDGE."
        )


def _size(options: EvaluateOptions, model: Model) -> tuple[int, int]:
    rule = model.spec.size
    if options.size is None:
        return rule.picture
    size = parse_size("--size", options.size)
    if not rule.accepts(size):
        raise OptionError(f"--size {options.size}: {model.spec.name} takes {rule}.")
    return size


def _choose(photos: str, count: int) -> list[Path]:
    found = list_images(photos)
    if not found:
        raise OptionError(f"--photos {photos}: got no pictures, expected at least one.")
    step = max(1.0, len(found) / count)
    return [found[int(number * step)] for number in range(min(len(found), count))]


def _fitted(paths: list[Path], size: tuple[int, int]) -> list[Pixels]:
    return [fitted(read_image(path), size) for path in paths]


def _frames(clip: str, count: int, model: Model) -> Iterator[Pixels]:
    """The clip's first frames at the size that ``--framing fit`` gives the network, without its margin."""
    with VideoSource(clip) as source:
        rule = model.spec.size
        size = rule.picture if rule.fixed else Framing("fit").layout(source.format.size, rule.with_margin(0)).size
        for number, frame in enumerate(source):
            if number == count:
                break
            yield fitted(frame, size)


def _in_cluster(
    options: EvaluateOptions,
    address: str,
    value_range: ValueRange | None,
    pictures: list[Pixels],
    size: tuple[int, int],
) -> list[Pixels]:
    how = {"backend": options.backend, "detail": 0.0, "framing": "fit", "frame_size": size, "threads": 1}
    with RayCluster(address, backend=options.backend) as ray:
        return answers(ray, options.model, value_range, how, pictures)


def _filter(name: str, backend: str) -> Filter:
    return Translator.open(name, backend=backend, detail=0.0, framing="fit")


# --- what it is compared with ----------------------------------------------------------------------------------------


def _target(
    options: EvaluateOptions, photos: list[Path] | None, pictures: list[Pixels], size: tuple[int, int]
) -> Target | None:
    if options.teacher:
        teacher = _teacher(options)
        return Target(options.teacher, [teacher(picture) for picture in pictures], paired=True, teacher=teacher)
    if not options.target:
        return None
    works = {path.stem: path for path in list_images(options.target)}
    if not works:
        raise OptionError(f"--target {options.target}: got no pictures, expected answers or works of the style.")
    if photos and all(path.stem in works for path in photos):
        return Target(options.target, _fitted([works[path.stem] for path in photos], size), paired=True)
    return Target(options.target, _fitted(_choose(options.target, options.count), size), paired=False)


def _teacher(options: EvaluateOptions) -> Filter:
    try:
        from ganlens.train.data.teachers import open_teacher
    except ModuleNotFoundError as error:
        raise MissingExtra("--teacher", error.name or "a package", "train") from error
    teacher: Filter = open_teacher(
        options.teacher or "",
        value_range=options.teacher_range or "",
        inputs=options.teacher_input or "",
        scale=options.teacher_scale,
        shifts=options.teacher_shifts,
        vgg=options.vgg or "",
    )
    return teacher


# --- the budget ------------------------------------------------------------------------------------------------------


def _macs(path: Path) -> int | None:
    try:
        return multiply_accumulates(path)
    except MissingExtra:
        return None


def first_frames(models: Sequence[str]) -> dict[str, float]:
    """Median seconds of a whole process that translates one frame on the default CPU backend, after one to warm up.

    Models take turns, so that a machine whose speed changes is the same one for all.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [*ENGINE, "translate", str(SHIPPED_CLIP), "-o", f"{folder}/one.mp4", "-y", "-q", "--backend", "cpu"]
        command += ["--duration", "0.03", "--model"]
        rounds = [[run_pipeline([[*command, model]]).wall for model in models] for _ in range(1 + STARTS)]
    return {model: statistics.median(times) for model, times in zip(models, zip(*rounds[1:], strict=True), strict=True)}


# --- what is told ----------------------------------------------------------------------------------------------------


def table(done: Evaluation) -> str:
    """For the terminal, 80 columns."""
    height, width = done.size
    target = f", against {printable(Path(done.target).name, 40)}" if done.target else ""
    lines = [f"{printable(done.model)}: {done.pictures} pictures at {width}x{height}{target}", ""]
    lines.append(f"{'gate':<7}{'measure':<28}{'value':>8} {'limit':>9}  {'':<5}note")
    for gate in done.gates:
        value, limit, verdict = _cells(gate)
        note = ", ".join(filter(None, (gate.unit, gate.text)))
        name = printable(gate.name)
        name = name if len(name) <= 27 else f"{name[:26]}…"
        lines.append(f"{gate.letter:<7}{name:<28}{value:>8} {limit:>9}  {verdict:<5}{note}"[:80].rstrip())
    failed = sum(gate.ok is False for gate in done.gates)
    judged = sum(gate.ok is not None for gate in done.gates)
    lines += ["", f"{judged - failed} of {judged} gates passed" + ("" if judged else ": nothing was judged")]
    return "\n".join(lines)


def markdown(done: Evaluation) -> str:
    """For a model's card."""
    height, width = done.size
    target = f", against {Path(done.target).name}" if done.target else ""
    lines = [f"{done.pictures} pictures at {width}x{height}{target}:", "", "| gate | measure | value | limit | |"]
    lines.append("|---|---|---:|---:|---|")
    lines += map(markdown_row, done.gates)
    if any(gate.name == FIRST_FRAME and gate.value is not None for gate in done.gates):
        lines += ["", first_frame_note()]
    return "\n".join(lines) + "\n"


def first_frame_note() -> str:
    """What stands below the table in a card: the machine decides how long a first frame takes."""
    return f"First frame on {processor.name()}, {cores()} cores."


def markdown_row(gate: Gate) -> str:
    """One line of the table in a card."""
    value, limit, verdict = _cells(gate)
    return f"| {gate.letter} | {gate.name} | {value} {gate.unit} | {limit} | {verdict} |"


def _cells(gate: Gate) -> tuple[str, str, str]:
    value = "–" if gate.value is None else f"{gate.value:.3f}" if abs(gate.value) < 0.1 else f"{gate.value:.2f}"
    limit = "–" if gate.limit is None else f"{'≥' if gate.at_least else '≤'} {gate.limit:.2f}"
    return value, limit, {True: "pass", False: "FAIL", None: ""}[gate.ok]


# --- files -----------------------------------------------------------------------------------------------------------


def _new_folder(options: EvaluateOptions, model: Model) -> Path:
    folder = Path(options.output or "")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MediaError(f"The folder {folder} cannot be made: {error.strerror}.") from error
    for path in _paths(folder, model.spec.name or model.path.stem):
        if path.exists() and not options.yes:
            raise MediaError(f"{path} exists; pass -y to overwrite it.")
    return folder


def _paths(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"{name}-evaluation.json", folder / f"{name}-sheet.png"


def _write(done: Evaluation, folder: Path, overwrite: bool) -> tuple[Path, Path]:
    record, sheet = _paths(folder, done.model)
    _replace(record, json.dumps(done.to_dict(), indent=1) + "\n")
    assert done.sheet is not None
    write_image(sheet, Frame.from_rgb(np.ascontiguousarray(done.sheet)), overwrite=overwrite)
    return record, sheet


def _replace(path: Path, text: str) -> None:
    try:
        replace_file(path, text)
    except OSError as error:
        raise cannot_write(path, error) from error


def _split_card(path: Path) -> tuple[str, str]:
    """What stands before and after the table.

    Raises:
        MediaError: the card is missing.
        OptionError: the marks are.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise MediaError(f"The card {path} cannot be read: {error.strerror}.") from error
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise OptionError(f"--card {path}: expected the line {BEGIN!r} and after it {END!r}, once each.")
    return text.split(BEGIN)[0], text.split(END)[1]
