"""The options of ``engine export``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import typer

from . import PrintJson, RecordDetail, RecordMargin, YesOrForce, option


@dataclasses.dataclass(frozen=True)
class ExportRunOptions:
    """Export a trained generator to ONNX, and keep the file only if it computes what PyTorch computes.

    \b
    engine export runs/mine -o mine.onnx --dynamic
    engine export runs/mine -o small.onnx --half-weights --images photos/
    """

    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of engine train, or a .safetensors file.")]
    output: Annotated[Path, option("--output", "-o", metavar="FILE", help="The ONNX file to write.")]
    size: Annotated[
        str, option(metavar="N|WxH", help="Size of the graph, such as 256 or 640x360; default: the checkpoint's.")
    ] = ""
    dynamic: Annotated[
        bool, option("--dynamic", help="Free batch; free height and width too, where the generator takes several.")
    ] = False
    precision: Annotated[
        Literal["fp32", "fp16", "int8"] | None,
        option(
            help="fp16 keeps norms in FP32; int8 is static and calibrated on pictures. "
            "Default: fp32; fp16 with --tensorrt.",
            show_default=False,
        ),
    ] = None
    half_weights: Annotated[
        bool, option("--half-weights", help="Store weights as float16: half the file size; needs --precision fp32.")
    ] = False
    half_io: Annotated[bool, option("--half-io", help="Float16 inputs and outputs; needs --precision fp16.")] = False
    images: Annotated[
        Path | None,
        option(
            metavar="DIR",
            help="Real pictures for gate and calibration; default: the run's photos. Not for generators from noise.",
        ),
    ] = None
    parity: Annotated[int, option(metavar="N", min=1, help="Pictures, or seeds of noise, for the parity gate.")] = 8
    calibration: Annotated[
        int | None, option(metavar="N", min=1, help="Further pictures that calibrate int8; default: 32.")
    ] = None
    opset: Annotated[int, option(metavar="N", help="ONNX operator set, 17 to 23.")] = 20
    detail: RecordDetail = None
    margin: RecordMargin = None
    name: Annotated[str, option(metavar="NAME", help="Name in the record; default: the checkpoint's.")] = ""
    tensorrt: Annotated[
        bool, option("--tensorrt", help="Also build the TensorRT plan that engine translate will use.")
    ] = False
    overwrite: YesOrForce = False
    as_json: PrintJson = False
