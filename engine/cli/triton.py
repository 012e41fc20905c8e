"""``engine triton``: models for NVIDIA's Triton Inference Server."""

from __future__ import annotations

import typer

from ..triton.repository import ServingOptions, export
from .options.triton import TritonExportOptions


def export_models(options: TritonExportOptions) -> None:
    """``engine triton export``."""
    serving = ServingOptions(options.platform, options.backend, options.threads, options.instances, options.version)
    for entry in export(options.models, options.output, serving, overwrite=options.overwrite):
        typer.echo(f"{entry.name}  {entry.folder}")
