"""The arguments of ``engine triton``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .options import complete_backend

app = typer.Typer(
    name="triton",
    help="Serve models with NVIDIA's Triton Inference Server.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


@app.callback()
def _group() -> None:
    pass


@app.command("export")
def export_models(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL", help="Names that 'engine models' lists, ONNX files, or plans.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="REPO", help="The repository; made if missing.")],
    platform: Annotated[
        Literal["onnxruntime", "python", "tensorrt"],
        typer.Option(help="What runs the bare network; python: ganlens itself."),
    ] = "onnxruntime",
    backend: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Of ganlens, where its Python runs on the server.", autocompletion=complete_backend
        ),
    ] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of a network; by default all cores.")] = None,
    instances: Annotated[int, typer.Option(min=1, help="Copies of each model that run at the same time.")] = 1,
    version: Annotated[int, typer.Option(min=1, help="The version's number.")] = 1,
    overwrite: Annotated[bool, typer.Option("--yes", "-y", help="Replace a version that exists.")] = False,
) -> None:
    """Write a model repository: NAME takes and gives pictures, NAME_network is the bare network.

    \b
    engine triton export starry face -o repository/
    tritonserver --model-repository=repository
    engine translate clip.mp4 --backend triton://server:8001/starry_network
    """
    from ..triton.repository import ServingOptions, export

    options = ServingOptions(platform, backend, threads, instances, version)
    for entry in export(models, output, options, overwrite=overwrite):
        typer.echo(f"{entry.name}  {entry.folder}")
