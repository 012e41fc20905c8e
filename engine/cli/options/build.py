"""The options of ``engine build``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from . import PrintJson, Quiet, Range, Yes, option


@dataclasses.dataclass(frozen=True)
class BuildOptions:
    """Build the TensorRT plan of a model ahead of time; 'engine translate' then finds it.

    \b
    engine build starry
    engine build face.onnx --opt 4x256x256 --max 16x256x256
    engine build face.onnx -o face.plan
    """

    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name that 'engine models' lists, or an ONNX file.")]
    output: Annotated[
        Path | None,
        option("--output", "-o", metavar="FILE.plan", help="Write the plan to this file instead of the cache."),
    ] = None
    min: Annotated[str, option(metavar="[Nx]WxH", help="Smallest batch and size; default: the model's.")] = ""
    opt: Annotated[str, option(metavar="[Nx]WxH", help="Batch and size to optimise for; default: the model's.")] = ""
    max: Annotated[str, option(metavar="[Nx]WxH", help="Largest batch and size; default: 4 x twice its size.")] = ""
    target: Annotated[
        str,
        option(help="RTX: portable, sm_75, sm_80, ... TensorRT: ampere (and newer) or same (compute capability)."),
    ] = ""
    version_compatible: Annotated[
        bool,
        option(
            "--version-compatible", help="TensorRT: the plan also runs on newer releases of the same major version."
        ),
    ] = False
    workspace: Annotated[str, option(metavar="SIZE", help="Memory limit for one kernel, such as 2GB.")] = ""
    device: Annotated[
        int | None,
        option(min=0, metavar="N", help="GPU to build on, by the numbers of engine backends; default: the first."),
    ] = None
    value_range: Range = None
    overwrite: Yes = False
    quiet: Quiet = False
    as_json: PrintJson = False
