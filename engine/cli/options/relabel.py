"""The options of ``engine relabel``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from . import Backend, Quiet, RecordDetail, RecordMargin, Yes, option


@dataclasses.dataclass(frozen=True)
class RelabelOptions:
    """Write an ONNX file with another record; weights and graph are unchanged, bit for bit.

    \b
    engine relabel face.onnx -o new.onnx --strengths faces/ --experimental young
    engine relabel mine.onnx -o new.onnx --detail 0.5 --licence CC-BY-4.0
    engine info face.onnx --json > record.json      # edit it, then:
    engine relabel face.onnx -o new.onnx --record record.json
    """

    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name that 'engine models' lists, or an ONNX file.")]
    output: Annotated[Path, option("--output", "-o", metavar="FILE", help="The ONNX file to write.")]
    record: Annotated[
        str | None, option(metavar="FILE|-", help="The whole record as JSON, as 'engine info MODEL --json' prints it.")
    ] = None
    strengths: Annotated[
        str | None,
        option(
            metavar="DIR|GLOB",
            help="Calibrate the strengths on these pictures (aligned as the model expects): find and record the inputs "
            "that give a quarter, half and three quarters of each edit.",
        ),
    ] = None
    limit: Annotated[int, option(metavar="N", min=1, help="Number of pictures to measure on, evenly spaced.")] = 32
    experimental: Annotated[
        str | None,
        option(metavar="A,B,...", help="Attributes with unreliable edits; 'translate --set' warns about them."),
    ] = None
    detail: RecordDetail = None
    margin: RecordMargin = None
    licence: Annotated[
        str | None, option(metavar="TEXT", help="Licence of the weights, or what they may be used for.")
    ] = None
    backend: Backend = "auto"
    overwrite: Yes = False
    quiet: Quiet = False
