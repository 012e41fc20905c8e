"""The options of ``engine evaluate``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from . import Backend, Quiet, Range, Yes, option


@dataclasses.dataclass(frozen=True)
class EvaluateOptions:
    """Judge a style by gates: colour, contrast, detail, grid, threads, frame line, flicker, size and cost.

    \b
    engine evaluate starry --photos photos/
    engine evaluate mine.onnx --photos photos/ --target paintings/ -o judged/
    engine evaluate mine.onnx --photos photos/ --clip people.mp4 --card mine.md
    engine evaluate mine.onnx --teacher filter:comic

    Use pictures and clips that the model was not trained on. Status 1 if a gate fails.
    """

    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name that 'engine models' lists, or an ONNX file.")]
    photos: Annotated[
        str | None,
        option(metavar="DIR|GLOB", help="Pictures to judge on; by default 16 parts of the shipped clip."),
    ] = None
    target: Annotated[
        str | None,
        option(metavar="DIR", help="What the style should look like: answers with the photos' names, or works."),
    ] = None
    teacher: Annotated[
        str | None,
        option(metavar="FILE.onnx|filter:NAME|painting:FILE", help="Who answers the photos (needs the extra 'train')."),
    ] = None
    teacher_range: Annotated[
        str | None, option(metavar="LOW..HIGH", help="Values of the teacher's pictures, if its file does not say.")
    ] = None
    teacher_input: Annotated[
        str | None, option(metavar="NAME=VALUE", help="The teacher's further inputs; as in engine train paired.")
    ] = None
    vgg: Annotated[str | None, option(metavar="FILE", help="VGG16 convolutions (safetensors) for painting:FILE.")] = (
        None
    )
    teacher_scale: Annotated[float, option(help="Enlargement before the teacher; as in engine train paired.")] = 1.0
    teacher_shifts: Annotated[
        bool, option("--teacher-shifts", help="Average over shifts of the picture; as in engine train paired.")
    ] = False
    clip: Annotated[
        list[str] | None, option(metavar="FILE", help="A video whose still parts should not flicker; repeat for more.")
    ] = None
    clip_frames: Annotated[int, option(min=2, help="Frames of each clip.")] = 60
    against: Annotated[
        list[str] | None, option(metavar="MODEL", help="Another model beside it on the contact sheet; repeat for more.")
    ] = None
    count: Annotated[int, option(min=1, max=10_000, help="Photos at most, evenly spread.")] = 40
    size: Annotated[
        str | None, option(metavar="WIDTHxHEIGHT", help="Size of the generator's image; by default the model's own.")
    ] = None
    backend: Backend = "cpu"
    ray: Annotated[
        str | None,
        option(
            metavar="ADDRESS|local",
            help="Spread the photos over a Ray cluster (extra 'ray'); clips and teachers stay here.",
        ),
    ] = None
    start: Annotated[bool, option("--start/--no-start", help="Measure how soon a first frame comes.")] = True
    value_range: Range = None
    output: Annotated[
        Path | None,
        option("--output", "-o", metavar="FOLDER", help="Write JSON and a contact sheet there."),
    ] = None
    card: Annotated[
        Path | None, option(metavar="FILE.md", help="Put the table into a model's card, between its two marks.")
    ] = None
    as_json: Annotated[bool, option("--json", help="Print the result as JSON in place of the table.")] = False
    yes: Yes = False
    quiet: Quiet = False
