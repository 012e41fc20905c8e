"""The options of ``engine models``, ``engine info`` and ``engine backends``."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from . import PrintJson, Range, option


@dataclasses.dataclass(frozen=True)
class ModelsOptions:
    """List the models shipped with ganlens."""

    as_json: PrintJson = False


@dataclasses.dataclass(frozen=True)
class InfoOptions:
    """Show a model's record: inputs, sizes, training data, licence, measured parity."""

    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name that 'engine models' lists, or an ONNX file.")]
    value_range: Range = None
    as_json: Annotated[bool, option("--json", help="The record as JSON.")] = False


@dataclasses.dataclass(frozen=True)
class BackendsOptions:
    """Show which backends run on this machine, which do not, and how to install them."""

    as_json: PrintJson = False
