"""An exported face model on clips with people: what a user sees, measured frame by frame, and as a contact sheet.

Frames are spread evenly over a clip. The runtime finds the largest face of each and edits it, as ``engine translate``
does; the classifier and the segmentation network then see the aligned face of both frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ganlens.engine.errors import ModelFileError, OptionError
from ganlens.engine.faces import FaceFraming
from ganlens.engine.faces.face_compositor import FaceCompositor
from ganlens.engine.faces.tracker import Follower, Placed
from ganlens.engine.media import VideoSource
from ganlens.engine.pixels.frame import Frame
from ganlens.engine.spec import AttributeInput, GeneratorSpec, SizeRule
from ganlens.engine.translator import Translator

from ..data.hair import hair_columns
from ..sample_sheet import make_sheet, save_png
from .answers import Answers, other_names
from .classifier import Classifier
from .heads import COLOURS, HeadFinder, change_outside, is_colour, nearest_colours
from .progress import tracked
from .subject import ONNX, Subject

FRAMES = 12
"""Number of frames of each clip that are edited."""
SHOWN = 3
"""Number of these that the contact sheet shows."""
LOOK_PX = 128
"""Side of the aligned face that is judged."""
CELL_PX = 160
AROUND = 1.5
"""Side of the part of a frame that the contact sheet shows, in sides of the aligned face."""

Pixels = NDArray[np.uint8]


class ClipRow(NamedTuple):
    """One attribute's edits in a clip; shares of frames with a face."""

    edited: float | None
    """Frames in which the classifier sees the edit; None: it does not know the attribute, or all have it already."""
    kept: float
    """Other attributes of which the classifier says the same before and after."""
    colour: float | None
    """Frames whose hair is nearest to the colour, in CIE Lab; None: no hair colour, or no hair found."""
    colour_unedited: float | None
    outside: float | None
    """Mean absolute change outside the head inside the aligned square, levels of 255; None: no hair found."""


class ClipEvaluation(NamedTuple):
    """A clip's rows."""

    clip: str
    frames: int
    """Frames that were looked at."""
    faces: int
    """Those with a face."""
    heads: int
    """Those whose hair was found with certainty."""
    rows: dict[str, ClipRow]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**self._asdict(), "rows": {name: row._asdict() for name, row in self.rows.items()}}


def evaluate_clips(
    subject: Subject,
    classifier: Classifier,
    clips: Sequence[str],
    find_heads: HeadFinder | None = None,
    grid: Path | None = None,
) -> list[ClipEvaluation]:
    """Edit frames of clips attribute by attribute, and ask the classifier.

    Args:
        subject: an exported model.
        clips: video files.
        find_heads: for the change outside the head and the colour of the hair; None: neither is measured.
        grid: PNG to write: a row for each of some frames, the original and each edit.

    Raises:
        ModelFileError: not an exported model: the runtime cannot open it.
        OptionError: a clip has no face.
    """
    if subject.file.suffix.lower() != ONNX:
        raise ModelFileError(
            f"{subject.file} is a checkpoint; --clip takes an exported model: engine export {subject.file} -o M.onnx."
        )
    assert subject.spec.attributes is not None
    rows: list[list[Pixels]] = []
    found = []
    with Translator.open(subject.file, framing=FaceFraming(max_faces=1)) as translator:
        for clip in clips:
            evaluation, shown = _evaluate(translator, subject.spec.attributes, classifier, clip, find_heads)
            found.append(evaluation)
            rows += shown
    if grid is not None:
        sheet = make_sheet(rows, ["original", *subject.spec.attributes.names], f"{subject.spec.name}: edited faces")
        save_png(grid, sheet)
    return found


def _evaluate(
    translator: Translator,
    attributes: AttributeInput,
    classifier: Classifier,
    clip: str,
    find_heads: HeadFinder | None,
) -> tuple[ClipEvaluation, list[list[Pixels]]]:
    names = attributes.names
    answer = Answers(classifier, names, other_names(names, classifier))
    only_set = {*hair_columns(names), *(column for column, name in enumerate(names) if attributes.only_adds(name))}
    look, follower = _Look(), Follower(FaceFraming(max_faces=1))
    originals: list[Tensor] = []
    edits: list[list[Tensor]] = []
    requests: list[list[float]] = []
    pictures: list[list[Pixels]] = []
    total = 0
    for frame in tracked(_spread(clip), FRAMES, Path(clip).name):
        total += 1
        placed = follower.find(frame)
        if not placed:
            continue
        before = look(frame, placed[0])
        has = answer(before[None])[0, : len(names)]
        wanted = [
            lowest(attributes, name) if has[column] and column not in only_set else 1.0
            for column, name in enumerate(names)
        ]
        frames = [translator(frame, attributes={name: value}) for name, value in zip(names, wanted, strict=True)]
        originals.append(before)
        edits.append([look(edited, placed[0]) for edited in frames])
        requests.append(wanted)
        pictures.append([_around(each, placed[0]) for each in (frame, *frames)])
    if not originals:
        raise OptionError(f"--clip {clip}: no face was found in {total} frames spread over it.")
    x = torch.stack(originals)
    plain = answer(x)
    heads = None if find_heads is None else find_heads(x)
    rows = {}
    for column, name in enumerate(names):
        image = torch.stack([edit[column] for edit in edits])
        after = answer(image)
        requested = torch.tensor([request[column] > 0 for request in requests])
        changes = plain[:, column] != requested
        judged = bool(answer.knows[column]) and bool(changes.any())
        same = (after == plain)[:, answer.kept_by(column)]
        colour = colour_before = outside = None
        if heads is not None and bool(heads.sure.any()):
            outside = float(change_outside(x, image, heads)[heads.sure].mean())
            if name.lower() in COLOURS:
                colour, colour_before = (
                    float(is_colour(name, nearest_colours(x, each, heads))[heads.sure].float().mean())
                    for each in (image, x)
                )
        rows[name] = ClipRow(
            float((after[:, column] == requested)[changes].float().mean()) if judged else None,
            float(same.float().mean()) if same.shape[1] else 1.0,
            colour,
            colour_before,
            outside,
        )
    step = max(1, len(pictures) // SHOWN)
    sure = 0 if heads is None else int(heads.sure.sum())
    return ClipEvaluation(Path(clip).name, total, len(originals), sure, rows), pictures[step // 2 :: step][:SHOWN]


def lowest(attributes: AttributeInput, name: str) -> float:
    """The value that takes an attribute away as far as the model can: -1 where its strengths reach so far, else 0."""
    strengths = attributes.strengths
    return strengths[name].points[0][0] if strengths and name in strengths else 0.0


def _spread(clip: str) -> Iterator[Frame]:
    """Frames at the middle of equal parts of the clip."""
    with VideoSource(clip) as source:
        count = sum(1 for _ in source)
    taken = {int((number + 0.5) * count / FRAMES) for number in range(FRAMES)}
    with VideoSource(clip) as source:
        for number, frame in enumerate(source):
            if number in taken:
                yield frame


class _Look:
    """Takes an aligned face out of a frame as (3, LOOK_PX, LOOK_PX) in [-1, 1], RGB."""

    def __init__(self) -> None:
        side = (LOOK_PX, LOOK_PX)
        self._compositor = FaceCompositor(GeneratorSpec(name="look", architecture="", size=SizeRule(fixed=side)))

    def __call__(self, frame: Frame, face: Placed) -> Tensor:
        out = np.empty((3, LOOK_PX, LOOK_PX), np.float32)
        self._compositor.prepare(frame, face, out)
        return torch.from_numpy(out)


def _around(frame: Frame, face: Placed) -> Pixels:
    """The upright square around a face, (CELL_PX, CELL_PX, 3); black beyond the frame."""
    half = face.square.side * AROUND / 2
    centre = face.square.centre
    box = (centre.real - half, centre.imag - half, centre.real + half, centre.imag + half)
    part = Image.fromarray(frame.to_rgb()).crop(tuple(round(edge) for edge in box))  # type: ignore[arg-type]
    return np.asarray(part.resize((CELL_PX, CELL_PX), Image.Resampling.LANCZOS))
