"""The options of ``engine train``'s commands that are no methods; the methods' are in :mod:`.config`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ganlens.engine.cli.options import YesOrForce, option

from .config import VGGScaling


@dataclass(frozen=True)
class DemoOptions:
    """Show that training works, on made-up pictures.

    It trains a small CycleGAN.
    """

    out: Annotated[Path, option(help="Folder for the synthetic pictures and the run; created if missing.")]
    steps: Annotated[int, option(help="Training steps; 300 take about a minute on two CPU cores.")] = 300


@dataclass(frozen=True)
class RollbackOptions:
    """Take a run back to one of its snapshots.

    Snapshots are made with --keep-every. Training goes on from there with --resume; the state before is kept as well.
    """

    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")]
    to: Annotated[
        int | None, option("--to", metavar="STEP", help="Step of a snapshot; without it they are listed.")
    ] = None


@dataclass(frozen=True)
class CompareOptions:
    """Compare runs in one HTML page or PNG.

    Curves, metrics and samples; the page also has the options that differ and where each run is from.
    """

    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders; one alone shows its history.")]
    output: Annotated[
        Path, option("--output", "-o", metavar="FILE", help="The page (.html) or picture (.png) to write.")
    ] = Path("comparison.html")
    curves: Annotated[
        str,
        option(
            metavar="NAMES",
            help="Only these curves, for example generator/total,discriminator/total; default: all in history.csv.",
        ),
    ] = ""
    samples: Annotated[bool, option(help="Also the newest samples.")] = True
    overwrite: YesOrForce = False


@dataclass(frozen=True)
class SamplesOptions:
    """Put translations by several models beside each other.

    One PNG with a row for each picture and a column for each model. For editors and their attributes: engine train
    evaluate --grid; for generators from noise: engine generate.
    """

    models: Annotated[
        list[Path],
        typer.Argument(metavar="MODEL...", help="Run folders, checkpoints (.safetensors) or exported models (.onnx)."),
    ]
    photos: Annotated[str, option(help="Folder or quoted glob of pictures to translate.")]
    output: Annotated[Path, option("--output", "-o", metavar="FILE", help="The PNG to write.")] = Path("samples.png")
    count: Annotated[int, option(min=1, help="Pictures, spread evenly over those found; a row each.")] = 6
    size: Annotated[int, option(min=16, help="Side of the central squares, in pixels.")] = 256
    overwrite: YesOrForce = False


@dataclass(frozen=True)
class EvaluateOptions:
    """Measure a model.

    The distance to the paintings, what a classifier says of edits, or the distance of generated pictures.

    What is measured follows from the run's method. Translators need --photos and --paintings; the distances are
    Fréchet's and the kernel distance on features of --weights or --inception, beside two floors. Editors need
    --classifier, whose own accuracy is printed first; with --segmenter the change outside the head is measured too,
    and with --clip what a user sees on video. psc-gan is measured for all labels and for each condition of the label
    layout; dcgan against real pictures, those held out where a table says whose faces they are.
    """

    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="Run folder, checkpoint (.safetensors), exported model (.onnx) or a shipped one's name.",
        ),
    ]
    photos: Annotated[
        list[str] | None, option(metavar="PHOTOS", help="Folder or quoted glob of photos; may be given several times.")
    ] = None
    paintings: Annotated[str, option(help="Folder or quoted glob of the real paintings.")] = ""
    weights: Annotated[Path | None, option(help="VGG16 convolutions, a safetensors file.")] = None
    inception: Annotated[
        Path | None,
        option(help="Weights of the FID Inception (.pth, .safetensors), or an Inception .onnx; used instead of VGG16."),
    ] = None
    size: Annotated[int, option(help="Side of the square pictures that are compared, in pixels.")] = 256
    lpips: Annotated[
        Path | None, option(help="Learned weights of LPIPS on torchvision's VGG16 (v0.1); for psc-gan.")
    ] = None
    vgg_scaling: Annotated[VGGScaling, option(help="Input that --weights were trained for.", show_choices=True)] = (
        "caffe"
    )
    grid: Annotated[
        Path | None,
        option(
            help="Write a PNG. Translators: photo, colour transfer, model; editors: original, result, mask, segment."
        ),
    ] = None
    grid_rows: Annotated[int, option(help="Photos or faces in that PNG.")] = 8
    changes: Annotated[
        list[str] | None,
        option(
            "--change",
            metavar="NAMES",
            help="For editors' --grid: an edit, such as Smiling, Young=0, or several at once: Smiling,Young=0; may be "
            "given several times. Without a value: the opposite of what the face has.",
        ),
    ] = None
    result: Annotated[Path | None, option("--json", help="Write the result as JSON.")] = None
    record: Annotated[bool, option("--record", help="Store the figures in the record of the checkpoint.")] = False
    classifier: Annotated[
        Path | None,
        option(help="For attribute models: the classifier that judges edits, from engine train classifier."),
    ] = None
    data: Annotated[str, option(help="For attribute models: the faces; default: the run's.")] = ""
    holdout: Annotated[int | None, option(help="For attribute models: as in training; default: the run's.")] = None
    count: Annotated[
        int,
        option(help="Held-out faces to use (0: all); for generators from noise: pictures to generate."),
    ] = 0
    segmenter: Annotated[
        Path | None,
        option(
            help="For editors: an ONNX network whose last channel is hair, for the change outside the head and the "
            "colour that the hair gets."
        ),
    ] = None
    exclude: Annotated[
        str,
        option(
            help="For editors: folder or quoted glob of pictures that the model was trained on; all faces of their "
            "people are left out. Default: the photos of the run."
        ),
    ] = ""
    clips: Annotated[
        list[str] | None,
        option(
            "--clip",
            metavar="FILE",
            help="For exported editors: a video with people to edit as well; may be given several times.",
        ),
    ] = None
    clip_grid: Annotated[Path | None, option(help="Write a PNG of frames of the clips: original and each edit.")] = None
    overwrite: Annotated[bool, option("--yes", "-y", "--force", help="Replace existing pictures.")] = False

    @property
    def has_features(self) -> bool:
        """Whether distances can be measured."""
        return self.weights is not None or self.inception is not None
