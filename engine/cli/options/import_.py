"""The options of ``engine import``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from . import PrintJson, YesOrForce, option


@dataclasses.dataclass(frozen=True)
class ImportOptions:
    """Turn a checkpoint of another program into an ONNX file for engine translate.

    Known are the generators of pytorch-CycleGAN-and-pix2pix (ResNet-6 and -9, U-Net 128 and 256) and of yunjey's
    StarGAN. They are recognised by the names of their weights. The graph is compared with PyTorch, and kept only if it
    computes the same.

    \b
    engine import latest_net_G.pth -o zebra.onnx
    engine import 200000-G.ckpt -o hair.onnx
    engine import my-G.ckpt -o mine.onnx --attributes Smiling,Male,Young
    """

    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="latest_net_G.pth, 200000-G.ckpt, or a .safetensors file.")
    ]
    output: Annotated[Path, option("--output", "-o", metavar="FILE", help="The ONNX file to write.")]
    name: Annotated[str, option(metavar="NAME", help="Name in the record; default: the output's.")] = ""
    size: Annotated[
        int, option(metavar="PX", help="Side of the training pictures; default: 256, 128 for ResNet-6 and StarGAN.")
    ] = 0
    attributes: Annotated[
        str,
        option(
            metavar="A,B,...", help="Names of StarGAN's attributes, in the order of its training; default: its five."
        ),
    ] = ""
    images: Annotated[
        Path | None, option(metavar="DIR", help="Real pictures for the parity gate; default: synthetic ones.")
    ] = None
    dynamic: Annotated[bool, option("--dynamic", help="Free batch, height and width.")] = False
    data: Annotated[str, option(metavar="TEXT", help="What it was trained on, for the record.")] = "not stated"
    data_licence: Annotated[str, option(metavar="TEXT", help="Licence of that data, for the record.")] = "not stated"
    licence: Annotated[
        str, option(metavar="TEXT", help="Licence of the weights, or what they may be used for, for the record.")
    ] = ""
    note: Annotated[str, option(metavar="TEXT", help="Notes for users, for the record.")] = ""
    overwrite: YesOrForce = False
    as_json: PrintJson = False
