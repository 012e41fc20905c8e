"""The options of ``engine benchmark``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from . import Quiet, Range, Threads, option


@dataclasses.dataclass(frozen=True)
class BenchmarkOptions:
    """Measure models on this machine: latency percentiles, throughput and quality, with confidence intervals.

    \b
    engine benchmark
    engine benchmark face.onnx --backend openvino,cpu --size 512x288 -o results/
    engine benchmark starry --precision fp32,fp16 --scenario latency
    engine benchmark starry --compare results/before.json --fail-above 10%
    """

    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL", help="Names that 'engine models' lists, or ONNX files.", show_default="the usual model"
        ),
    ] = None
    backend: Annotated[
        str, option(metavar="all|NAME,...", help="Names from 'engine backends', or auto; missing ones are reported.")
    ] = "all"
    size: Annotated[
        str | None,
        option(metavar="N|WxH,...", help="Sizes of the network's image, such as 256,512x288; default: the model's."),
    ] = None
    batch: Annotated[str, option(metavar="N,...", help="Batch sizes that the throughput scenario tries.")] = "1"
    precision: Annotated[
        str | None,
        option(
            metavar="fp32,fp16,int8",
            help="Also measure the model in these precisions (needs the extra 'export'); default: the file as it is.",
        ),
    ] = None
    scenario: Annotated[
        str,
        option(
            metavar="NAME,...",
            help="latency: one frame at a time. throughput: as many as possible. video: a whole 720p file. "
            "live: a camera at --fps.",
        ),
    ] = "latency,throughput,video,live"
    fps: Annotated[float, option(help="Frame rate of the camera in the live scenario.")] = 30.0
    seconds: Annotated[
        float | None, option(help="Measuring time per row, over all runs; default: 4.", show_default=False)
    ] = None
    runs: Annotated[
        int | None, option(help="Number of runs per row, each in a new process; default: 5.", show_default=False)
    ] = None
    threads: Threads = None
    images: Annotated[
        str | None,
        option(
            metavar="DIR|GLOB", help="At least 16 pictures, to measure speed and quality on; default: shipped ones."
        ),
    ] = None
    video: Annotated[
        Path | None, option(metavar="CLIP", help="Input of the video scenario; default: a shipped clip.")
    ] = None
    value_range: Range = None
    output: Annotated[
        Path | None,
        option(
            "--output", "-o", metavar="FOLDER", help="Folder for JSON, Markdown and plots; existing results are kept."
        ),
    ] = None
    compare: Annotated[
        Path | None, option(metavar="OLD.json", help="Compare with an earlier result; reports significant differences.")
    ] = None
    fail_above: Annotated[
        str | None,
        option(
            metavar="PERCENT",
            help="With --compare: exit with status 1 if a row is slower by more than this, such as 10%.",
        ),
    ] = None
    quick: Annotated[
        bool, option("--quick", help="Fewer and shorter runs: 2 seconds a row in 3 runs. For a first look.")
    ] = False
    as_json: Annotated[bool, option("--json", help="Print the result as JSON instead of the table.")] = False
    quiet: Quiet = False
