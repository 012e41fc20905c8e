"""The options of ``engine generate``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

from . import Backend, Device, Json, Model, Quiet, Strict, Threads, Verbose, Yes, option


@dataclasses.dataclass(frozen=True)
class GenerateOptions:
    """Make pictures from noise: a grid, files, or a walk from one to the next.

    \b
    engine generate --model psc --labels female,wavy -n 16 --seed 7 -o grid.png
    engine generate --model psc --labels male -n 100 -o faces/
    engine generate --model psc -n 8 -o walk.mp4 --seconds 12
    """

    model: Model
    labels: Annotated[
        str | None,
        option(
            metavar="A,B,...", help="Labels of every picture; groups left open are drawn at random for each picture."
        ),
    ] = None
    n: Annotated[
        int | None, option("-n", metavar="N", help="Number of pictures, or of stations of a walk; default: 16.")
    ] = None
    seed: Annotated[int, option(help="Seed of the first picture; the others count up from it.")] = 0
    latent: Annotated[
        Path | None,
        option(metavar="FILE.npy", help=".npy file of latents, instead of random ones: (dim,) or (N, dim)."),
    ] = None
    output: Annotated[
        str | None,
        option(
            "--output",
            "-o",
            metavar="OUT",
            help="A picture file: a grid. A folder: one file per picture. A video file: a walk.",
        ),
    ] = None
    fps: Annotated[float | None, option(help="Frames per second of a walk; default: 25.")] = None
    seconds: Annotated[float | None, option(help="Length of a walk; default: one second per station.")] = None
    captions: Annotated[
        bool, option("--captions/--no-captions", help="Labels and seed under each picture of a grid.")
    ] = True
    list_labels: Annotated[bool, option("--list-labels", help="List the labels of the model, and exit.")] = False
    ray: Annotated[
        str | None,
        option(
            metavar="ADDRESS|local",
            help="Into a folder that all nodes see: spread the pictures over a Ray cluster (extra 'ray').",
        ),
    ] = None
    backend: Backend = "auto"
    device: Device = None
    threads: Threads = None
    strict: Strict = False
    json_output: Json = None
    overwrite: Yes = False
    verbose: Verbose = False
    quiet: Quiet = False
