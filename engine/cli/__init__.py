"""The command line: ``engine translate | generate | models | info | backends | build | cache | train | export``.

Only this package prints. What a command needs is imported when it runs, so that ``engine --help`` answers at once and
``engine`` works without the packages of the extras.
"""

from __future__ import annotations

import atexit
import gc
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import EngineError, MissingExtra
from .cache import app as cache_app

app = typer.Typer(
    name="engine",
    help="Translate images and video with image-to-image GAN generators.\n\n"
    "Start with: engine translate --video clip.mp4 -o painted.mp4",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help starts in a third of the time
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

Model = Annotated[str, typer.Option("--model", "-m", help="A name that 'engine models' lists, or an ONNX file.")]
Range = Annotated[
    str | None,
    typer.Option(
        "--range",
        metavar="LOW..HIGH",
        help="Values of the image tensor, for a file without our record: 0..1, -1..1 or 0..255.",
    ),
]
Backend = Annotated[str, typer.Option(help="auto, or one that 'engine backends' lists; a named one never falls back.")]


def _version(value: bool) -> None:
    if value:
        from .. import __version__

        typer.echo(f"ganlens {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def translate(
    video: Annotated[
        str | None, typer.Option(metavar="FILE", help="A video; '-' reads YUV4MPEG2 from standard input.")
    ] = None,
    image: Annotated[Path | None, typer.Option(metavar="FILE", help="One picture.")] = None,
    images: Annotated[
        str | None, typer.Option(metavar="DIR|GLOB", help="Many pictures; the output is a folder.")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="OUT", help="Result; '-' writes YUV4MPEG2 to standard output."),
    ] = None,
    model: Model = "monet",
    framing: Annotated[
        str | None,
        typer.Option(
            metavar="MODE",
            help="fit: the whole frame scaled through the model (the default). crop: one rectangle. "
            "tile: full size in tiles. native: full size in one piece. faces: each face, aligned (the default of face "
            "models).",
        ),
    ] = None,
    region: Annotated[
        str | None, typer.Option(metavar="X,Y,W,H", help="The rectangle of --framing crop, in pixels.")
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Size of the generator's image, or of a tile, for models of free size."),
    ] = None,
    feather: Annotated[
        float | None,
        typer.Option(metavar="PX", help="Width of the ramp around a crop, or around a face in the model's pixels."),
    ] = None,
    overlap: Annotated[float, typer.Option(help="Share of a tile that it has in common with its neighbour.")] = 0.25,
    max_faces: Annotated[
        int | None, typer.Option(metavar="N", help="Most faces changed in a frame, largest first; 4 by default.")
    ] = None,
    detect_every: Annotated[
        int | None,
        typer.Option(metavar="N", help="Frames from one search for new faces to the next; 10 by default."),
    ] = None,
    steady: Annotated[
        float | None,
        typer.Option(help="0..1: how much the change of a face is kept from frame to frame where it stands still."),
    ] = None,
    detail: Annotated[
        float | None,
        typer.Option(help="0..1: fine luminance detail of the original put back; by default 0, for faces 1."),
    ] = None,
    opacity: Annotated[float, typer.Option(help="0..1: 0 shows the original, 1 the translation.")] = 1.0,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="An attribute of the model; repeat for more. 0 leaves it alone, 1 is the full edit, 0.5 half of it, "
            "-1 takes it away where the model can; 'engine info MODEL' lists names and ranges.",
        ),
    ] = None,
    backend: Backend = "auto",
    value_range: Range = None,
    raw: Annotated[
        str | None,
        typer.Option(
            metavar="WxH@RATE[:FORMAT]",
            help="Bare frames on standard input instead of YUV4MPEG2; yuv420p, nv12 or rgb24.",
        ),
    ] = None,
    start: Annotated[float | None, typer.Option(metavar="SECONDS", help="Begin here.")] = None,
    duration: Annotated[float | None, typer.Option(metavar="SECONDS", help="Stop after so long.")] = None,
    hdr: Annotated[
        str, typer.Option(help="HDR video: error refuses it, tonemap converts it to standard BT.709 (slow).")
    ] = "error",
    compare: Annotated[bool, typer.Option("--compare", help="Show the original beside the translation.")] = False,
    codec: Annotated[str | None, typer.Option(help="Video encoder; by default the container's usual one.")] = None,
    crf: Annotated[float | None, typer.Option(help="Quality of the encoder: lower is better and larger.")] = None,
    preset: Annotated[str, typer.Option(help="Speed of the encoder, as x264 names it.")] = "veryfast",
    decoder: Annotated[
        str, typer.Option(help="auto, nvdec (on the GPU) or cpu; a named one never falls back.")
    ] = "auto",
    encoder: Annotated[
        str, typer.Option(help="auto, nvenc (on the GPU) or cpu; a named one never falls back.")
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of the network; by default all cores.")
    ] = None,
    in_flight: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Frames translated at the same time, sharing the network's threads. By default as many as help; 1 for "
            "pipes, where no frame should wait.",
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Frames, or tiles or faces, that share a run of the network; frames then wait for each other. The "
            "model must leave their number free.",
        ),
    ] = None,
    encoder_threads: Annotated[int | None, typer.Option(min=1, help="Threads of the encoder.")] = None,
    decoder_threads: Annotated[int | None, typer.Option(min=1, help="Threads of the decoder.")] = None,
    spin: Annotated[
        bool, typer.Option("--spin", help="Let idle threads of the network spin: lower latency, starves the encoder.")
    ] = False,
    strict: Annotated[
        bool,
        typer.Option("--backend-strict", help="Fail rather than fall back to the next backend, or to host memory."),
    ] = False,
    json_output: Annotated[
        str | None, typer.Option("--json", metavar="FILE|-", help="Write what was done and how fast as JSON.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--yes", "-y", help="Replace an existing output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Translate a video, a picture or many pictures.

    \b
    engine translate --video clip.mp4 -o painted.mp4
    engine translate --video clip.mp4 -o painted.mp4 --framing crop --region 384,104,512,512
    engine translate --image photo.jpg -o painted.png --framing native --compare
    engine translate --video clip.mp4 --model face.onnx --set smiling=1 --set blond_hair=1
    engine translate --images 'photos/*.jpg' -o painted/
    """
    options = locals()
    from .translate import Job, run

    raise typer.Exit(run(Job(**options)))


@app.command(short_help="Make pictures from noise.")
def generate(
    model: Model,
    labels: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="What holds in every picture; the other groups are drawn for each."),
    ] = None,
    n: Annotated[
        int | None, typer.Option("-n", metavar="N", help="Pictures, or stations of a walk; 16 by default.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the first picture; the others have the numbers after it.")] = 0,
    latent: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npy", help="Latents in place of those drawn from seeds: (dim,) or (N, dim)."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="OUT", help="A picture: a grid. A folder: one file each. A video: a walk."
        ),
    ] = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second of a walk; 25 by default.")] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Length of a walk; by default one second for each station.")
    ] = None,
    captions: Annotated[bool, typer.Option(help="Labels and seed under each picture of a grid.")] = True,
    list_labels: Annotated[bool, typer.Option("--list-labels", help="Show the model's labels, and stop.")] = False,
    backend: Backend = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of the network; by default all cores.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--backend-strict", help="Fail rather than fall back to the next backend.")
    ] = False,
    json_output: Annotated[
        str | None, typer.Option("--json", metavar="FILE|-", help="Write what was made, and how fast, as JSON.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--yes", "-y", help="Replace existing outputs.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Make pictures from noise: a grid, files, or a walk from one to the next.

    \b
    engine generate --model psc --labels female,wavy,arched -n 16 --seed 7 -o grid.png
    engine generate --model psc --labels male -n 100 -o faces/
    engine generate --model psc -n 8 -o walk.mp4 --seconds 12
    """
    options = locals()
    from .generate import Job, run

    raise typer.Exit(run(Job(**options)))


@app.command()
def models(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List the models that come with ganlens."""
    from .info import show_models

    show_models(as_json)


@app.command("info", short_help="Show a model's record.")
def show_info(
    model: Annotated[str, typer.Argument(help="A name that 'engine models' lists, or an ONNX file.")],
    value_range: Range = None,
    as_json: Annotated[bool, typer.Option("--json", help="The record as JSON.")] = False,
) -> None:
    """Show a model's record: inputs, sizes, training data, licence, measured parity."""
    from .info import show_model

    show_model(model, value_range, as_json)


@app.command("relabel", short_help="Give an ONNX file another record.")
def relabel_model(
    model: Annotated[str, typer.Argument(help="A name that 'engine models' lists, or an ONNX file.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The ONNX file to write.")],
    record: Annotated[
        str | None,
        typer.Option(metavar="FILE|-", help="The whole record as JSON, as 'engine info MODEL --json' prints it."),
    ] = None,
    strengths: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|GLOB",
            help="Measure on these pictures, aligned as the model takes them, which values give a quarter, half and "
            "three quarters of each edit, and record that: 0 leaves the picture alone, 1 is the full edit.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="Pictures that are measured, spread evenly.")] = 32,
    experimental: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Attributes whose edit seldom convinces; 'translate --set' says so."),
    ] = None,
    backend: Backend = "auto",
    overwrite: Annotated[bool, typer.Option("--yes", "-y", help="Replace an existing output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Write an ONNX file with another record; weights and graph stay bit for bit.

    \b
    engine relabel face.onnx -o new.onnx --strengths faces/ --experimental young,male
    engine info face.onnx --json > record.json      # edit it, then:
    engine relabel face.onnx -o new.onnx --record record.json
    """
    from .relabel import relabel

    relabel(
        model,
        output,
        record=record,
        strengths=strengths,
        limit=limit,
        experimental=experimental,
        backend=backend,
        overwrite=overwrite,
        quiet=quiet,
    )


@app.command(short_help="Show which backends run here, and how to get the others.")
def backends(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Show which backends run here, which do not, and how to get them."""
    from .info import show_backends

    show_backends(as_json)


@app.command("build", short_help="Build the TensorRT plan of a model ahead of time.")
def build_plan(
    model: Annotated[str, typer.Argument(help="A name that 'engine models' lists, or an ONNX file.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.plan", help="Write it here, not to the cache.")
    ] = None,
    min: Annotated[str, typer.Option(metavar="[N]xHxW", help="Smallest batch and size; default: the model's.")] = "",
    opt: Annotated[str, typer.Option(metavar="[N]xHxW", help="Where it is to be fastest; default: the model's.")] = "",
    max: Annotated[
        str, typer.Option(metavar="[N]xHxW", help="Largest batch and size; default: 4 x twice its size.")
    ] = "",
    target: Annotated[
        str,
        typer.Option(
            help="RTX: portable, sm_75, sm_80, ... TensorRT: ampere (and newer) or same (compute capability)."
        ),
    ] = "",
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="TensorRT: newer releases of the same major run it too.")
    ] = False,
    workspace: Annotated[str, typer.Option(metavar="SIZE", help="Memory that one kernel may use: 2GB.")] = "",
    value_range: Range = None,
    overwrite: Annotated[bool, typer.Option("--yes", "-y", help="Replace an existing output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Build the TensorRT plan of a model ahead of time; 'engine translate' then finds it.

    \b
    engine build monet
    engine build face.onnx --opt 4x256x256 --max 16x256x256
    engine build face.onnx -o face.plan
    """
    options = locals()
    from .build import build

    build(options)


_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command(context_settings=_PASS_ON, add_help_option=False, short_help="Train a generator (extra 'train').")
def train(ctx: typer.Context) -> None:
    """Train a generator (needs the extra 'train'): engine train --help."""
    try:
        from ganlens.train.cli import app as train_app

        train_app(args=ctx.args, prog_name="engine train")
    except ModuleNotFoundError as error:
        raise _missing("engine train", error, "train") from error


@app.command(
    context_settings=_PASS_ON,
    add_help_option=False,
    short_help="Turn a training run into a checked ONNX file (extra 'export').",
)
def export(ctx: typer.Context) -> None:
    """Turn a training run into a checked ONNX file (needs the extra 'export'): engine export --help."""
    try:
        from ganlens.export.cli import app as export_app

        export_app(args=ctx.args, prog_name="engine export")
    except ModuleNotFoundError as error:
        raise _missing("engine export", error, "export") from error


def _missing(what: str, error: ModuleNotFoundError, extra: str) -> Exception:
    package = (error.name or "").partition(".")[0]
    return error if package in ("", "ganlens") else MissingExtra(what, package, extra)


app.add_typer(cache_app)


def main() -> None:
    """Run the command line; errors of the user end in one line and status 1, wrong usage in status 2."""
    # What the imports make lives to the end. To look for garbage among it takes a tenth of the start, and as long again
    # at exit.
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)
    try:
        app()
    except EngineError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
