"""The options of ``engine triton``'s command."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import typer

from . import complete_backend, option


@dataclasses.dataclass(frozen=True)
class TritonExportOptions:
    """Write a model repository: NAME takes and gives pictures, NAME_network is the bare network.

    \b
    engine triton export starry face -o repository/
    tritonserver --model-repository=repository
    engine translate clip.mp4 --backend triton://server:8001/starry_network
    """

    models: Annotated[
        list[str], typer.Argument(metavar="MODEL", help="Names that 'engine models' lists, ONNX files, or plans.")
    ]
    output: Annotated[Path, option("--output", "-o", metavar="REPO", help="The repository; made if missing.")]
    platform: Annotated[
        Literal["onnxruntime", "python", "tensorrt"],
        option(help="What runs the bare network; python: ganlens itself."),
    ] = "onnxruntime"
    backend: Annotated[
        str,
        option(
            metavar="NAME", help="Of ganlens, where its Python runs on the server.", autocompletion=complete_backend
        ),
    ] = "auto"
    threads: Annotated[int | None, option(min=1, help="CPU threads of a network; by default all cores.")] = None
    instances: Annotated[int, option(min=1, help="Copies of each model that run at the same time.")] = 1
    version: Annotated[int, option(min=1, help="The version's number.")] = 1
    overwrite: Annotated[bool, option("--yes", "-y", help="Replace a version that exists.")] = False
