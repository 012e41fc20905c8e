"""Every option of the commands, once: a record per command, from which its command line is made.

A field is an option: its name (``in_flight``: ``--in-flight``), type, default and help. A new option is one line here
and its use in the command's module. Only what the help needs is imported.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

DEFAULT_MODEL = "starry"
"""The shipped model that is used where none is named."""

Model = Annotated[
    str, typer.Option("--model", "-m", metavar="MODEL", help="A name that 'engine models' lists, or an ONNX file.")
]
Range = Annotated[
    str | None,
    typer.Option(
        "--range",
        metavar="LOW..HIGH",
        help="Values of the image tensor, for a file without our record: 0..1, -1..1 or 0..255.",
    ),
]
Backend = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="auto, one that 'engine backends' lists, or triton://HOST:8001/NAME; a named one never falls back.",
    ),
]
Strict = Annotated[
    bool, typer.Option("--backend-strict", help="Fail rather than fall back to the next backend, or to host memory.")
]
Device = Annotated[
    int | None,
    typer.Option(
        min=0, metavar="N", help="GPU of the network, as engine backends lists them; by default the first, or the CPU."
    ),
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads of the network; by default all cores.")]
Json = Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Write what was done and how fast as JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Replace an existing output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say which backends and coders do not run, and why.")]


def option(*names: str, help: str, **extra: Any) -> Any:
    """A field's option with other names than its own, or with a range, a metavar and so on."""
    return typer.Option(*names, help=help, **extra)


@dataclasses.dataclass(frozen=True)
class TranslateOptions:
    """Translate videos and pictures: files, folders, patterns, lists, or a pipe.

    \b
    engine translate clip.mp4
    engine translate clip.mp4 -o painted.mp4 --framing crop --region 384,104,512,512
    engine translate photo.jpg -o painted.png --framing native --compare
    engine translate clip.mp4 --model face --set smiling=1 --set blond_hair=1
    engine translate photos/ 'clips/*.mp4' -o painted/
    ffmpeg -i in.mkv -f yuv4mpegpipe - | engine translate - -o - | mpv -
    """

    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT",
            help="Videos, pictures, folders, patterns, a .txt list of these; '-' reads YUV4MPEG2 from standard input.",
            show_default=False,
        ),
    ] = None
    video: Annotated[str | None, option(metavar="FILE", help="The same as INPUT, for a video.", hidden=True)] = None
    image: Annotated[str | None, option(metavar="FILE", help="The same as INPUT, for a picture.", hidden=True)] = None
    images: Annotated[
        str | None, option(metavar="DIR|GLOB", help="The same as INPUT, for pictures only.", hidden=True)
    ] = None
    output: Annotated[
        str | None,
        option(
            "--output",
            "-o",
            metavar="OUT",
            help="A file, or a folder for several; '-' writes YUV4MPEG2 to standard output. By default beside you, "
            "with the model's name.",
        ),
    ] = None
    model: Model = DEFAULT_MODEL
    settings: Annotated[
        list[str] | None,
        option(
            "--set",
            metavar="NAME=VALUE",
            help="An attribute of the model ('engine info' lists them); repeat for more. 1 is the full edit, 0.5 half "
            "of it, 0 none, -1 takes away where the model can.",
        ),
    ] = None
    framing: Annotated[
        Literal["fit", "crop", "tile", "native", "faces"] | None,
        option(
            help="fit: the whole frame scaled through the model (the default). crop: one rectangle. "
            "tile: full size in tiles. native: full size in one piece. faces: each face, aligned (the default of face "
            "models).",
        ),
    ] = None
    region: Annotated[str | None, option(metavar="X,Y,W,H", help="The rectangle of --framing crop, in pixels.")] = None
    size: Annotated[
        str | None,
        option(
            metavar="WIDTHxHEIGHT", help="Size of the generator's image, or of a tile, for models that leave it free."
        ),
    ] = None
    feather: Annotated[
        float | None,
        option(metavar="PX", help="Width of the ramp around a crop, or around a face in the model's pixels."),
    ] = None
    overlap: Annotated[
        float | None, option(help="Share of a tile that it has in common with its neighbour; 0.25 by default.")
    ] = None
    max_faces: Annotated[
        int | None, option(metavar="N", help="Most faces changed in a frame, largest first; 4 by default.")
    ] = None
    detect_every: Annotated[
        int | None,
        option(metavar="N", help="Frames from one search for new faces to the next; 10 by default."),
    ] = None
    steady: Annotated[
        float | None,
        option(help="0..1: how much the change of a face is kept from frame to frame where it stands still."),
    ] = None
    detail: Annotated[
        float | None,
        option(help="0..1: fine luminance detail of the original put back; by default what suits the model."),
    ] = None
    opacity: Annotated[float, option(help="0..1: 0 shows the original, 1 the translation.")] = 1.0
    compare: Annotated[bool, option("--compare", help="Show the original beside the translation.")] = False
    start: Annotated[str | None, option(metavar="TIME", help="Begin here: seconds, or 1:02.5.")] = None
    duration: Annotated[str | None, option(metavar="TIME", help="Stop after so long.")] = None
    name: Annotated[
        str,
        option(metavar="NAME", help="Names of several results, of {stem}, {model} and {suffix}."),
    ] = "{stem}{suffix}"
    jobs: Annotated[
        int, option("--jobs", "-j", min=1, max=256, help="Several inputs: so many at a time, each in its own process.")
    ] = 1
    ray: Annotated[
        str | None,
        option(
            metavar="ADDRESS|local",
            help="Spread the inputs over a Ray cluster whose nodes see the same folders (extra 'ray'); --jobs inputs "
            "at a time, by default one per core.",
        ),
    ] = None
    resume: Annotated[
        bool, option("--resume", help="Several inputs: leave out what the manifest says is finished, and go on.")
    ] = False
    manifest: Annotated[
        str | None,
        option(metavar="FILE.jsonl", help="Where a line is written for each input; by default in the output folder."),
    ] = None
    shard: Annotated[
        str | None, option(metavar="I/N", help="Only every N-th input, from the I-th: one part for each machine.")
    ] = None
    retries: Annotated[int, option(min=0, max=100, help="Several inputs: attempts after one that failed.")] = 0
    segment: Annotated[
        str | None,
        option(
            metavar="TIME",
            help="Long videos: keep each part of this length (60, 10:00) as soon as it is done; after a kill --resume "
            "goes on there. The parts become one file at the end.",
        ),
    ] = None
    codec: Annotated[
        str | None,
        option(metavar="NAME", help="h264, hevc, vp9, av1 or ffv1; by default the container's usual one."),
    ] = None
    crf: Annotated[float | None, option(help="Quality of the encoder: lower is better and larger.")] = None
    preset: Annotated[str, option(help="Speed of the encoder, as x264 names it.")] = "veryfast"
    hdr: Annotated[
        Literal["error", "tonemap"],
        option(help="HDR video: error refuses it, tonemap converts it to standard BT.709 (slow)."),
    ] = "error"
    on_error: Annotated[
        Literal["skip", "stop"],
        option(help="Frames that cannot be decoded: skip leaves out up to 5 % of them and says how many, stop fails."),
    ] = "skip"
    raw: Annotated[
        str | None,
        option(
            metavar="WxH@RATE[:FORMAT]",
            help="Bare frames on standard input instead of YUV4MPEG2; yuv420p, nv12 or rgb24.",
        ),
    ] = None
    backend: Backend = "auto"
    device: Device = None
    value_range: Range = None
    decoder: Annotated[
        Literal["auto", "nvdec", "cpu"], option(help="nvdec decodes on the GPU; a named one never falls back.")
    ] = "auto"
    encoder: Annotated[
        Literal["auto", "nvenc", "cpu"], option(help="nvenc encodes on the GPU; a named one never falls back.")
    ] = "auto"
    threads: Threads = None
    in_flight: Annotated[
        int | None,
        option(
            min=1,
            help="Frames translated at the same time, sharing the network's threads. By default as many as help; 1 for "
            "pipes, where no frame should wait.",
        ),
    ] = None
    batch: Annotated[
        int | None,
        option(
            min=1,
            help="Frames, or tiles or faces, that share a run of the network; frames then wait for each other. The "
            "model must leave their number free.",
        ),
    ] = None
    encoder_threads: Annotated[int | None, option(min=1, help="Threads of the encoder.")] = None
    decoder_threads: Annotated[int | None, option(min=1, help="Threads of the decoder.")] = None
    spin: Annotated[
        bool, option("--spin", help="Let idle threads of the network spin: lower latency, starves the encoder.")
    ] = False
    strict: Strict = False
    json_output: Json = None
    overwrite: Yes = False
    verbose: Verbose = False
    quiet: Quiet = False


@dataclasses.dataclass(frozen=True)
class LiveOptions:
    """Filter a camera or a stream while you watch: a page opens, and everything can be changed while it runs.

    \b
    engine live                                      the first camera, else the browser's own
    engine live --model pastel --mirror
    engine live rtsp://camera.local/stream -o udp://127.0.0.1:5000
    engine live --virtual-camera --no-web            for video calls
    engine live clip.mp4 --loop --record out.mp4
    engine live --list
    """

    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="camera:0, /dev/video0, rtsp://, udp:// or http(s):// streams, a file, browser:, test:. By default "
            "the first camera, else the browser's.",
            show_default=False,
        ),
    ] = None
    outputs: Annotated[
        list[str] | None,
        option(
            "--output",
            "-o",
            metavar="SINK",
            help="Beside the page: a video file, /dev/video10, udp://HOST:PORT, '-' (YUV4MPEG2); repeat for more.",
        ),
    ] = None
    models: Annotated[
        list[str] | None,
        option("--model", "-m", metavar="MODEL", help="The model to begin with; repeat to have more to choose from."),
    ] = None
    settings: Annotated[
        list[str] | None,
        option("--set", metavar="NAME=VALUE", help="An attribute of the model ('engine info' lists them)."),
    ] = None
    framing: Annotated[
        Literal["fit", "crop", "tile", "native", "faces"] | None,
        option(help="How frames enter the model; by default what suits it."),
    ] = None
    opacity: Annotated[float, option(help="0..1: 0 shows the original, 1 the translation.")] = 1.0
    detail: Annotated[float | None, option(help="0..1: fine detail of the original put back.")] = None
    compare: Annotated[
        Literal["off", "split", "side"], option(help="The original in the left part, or side by side.")
    ] = "off"
    mirror: Annotated[bool, option("--mirror", help="Flip the picture left to right, as in a mirror.")] = False
    fps: Annotated[
        float | None,
        option(min=1, max=240, metavar="N", help="Frames per second to hold; by default the source's."),
    ] = None
    size: Annotated[
        str | None,
        option(
            metavar="WIDTHxHEIGHT",
            help="Fixed size of the network's image; by default it follows the rate that can be held.",
        ),
    ] = None
    camera_size: Annotated[
        str | None, option(metavar="WIDTHxHEIGHT", help="What a camera is asked for; 1280x720 by default.")
    ] = None
    live: Annotated[
        Literal["fresh", "smooth", "every"],
        option(help="fresh: the newest frame only. smooth: in order, none older than 0.5 s. every: none is dropped."),
    ] = "fresh"
    loop: Annotated[bool, option("--loop", help="Begin a file again at its end.")] = False
    virtual_camera: Annotated[
        bool, option("--virtual-camera", help="Feed the first virtual camera; '-o camera:DEVICE' names one.")
    ] = False
    record: Annotated[str | None, option(metavar="FILE", help="Record from the start.")] = None
    folder: Annotated[
        str, option(metavar="DIR", help="Where snapshots and recordings of the page go; by default here.")
    ] = "."
    preset: Annotated[
        str | None, option(metavar="FILE", help="File of presets 1 to 9; by default in your configuration folder.")
    ] = None
    web: Annotated[
        str | None,
        option(metavar="[HOST:]PORT", help="Where the page is served; by default 127.0.0.1:8000, or the next port."),
    ] = None
    no_web: Annotated[bool, option("--no-web", help="Serve no page.")] = False
    host: Annotated[
        str | None,
        option(
            metavar="ADDRESS",
            help="Let other machines reach the page at this address (0.0.0.0: all); a token in its address guards it.",
        ),
    ] = None
    cert: Annotated[
        Path | None, option(metavar="FILE.pem", help="Serve https: browsers give their camera to secure pages only.")
    ] = None
    key: Annotated[Path | None, option(metavar="FILE.pem", help="The private key of --cert.")] = None
    open_page: Annotated[bool, option("--open", help="Open the page in your browser.")] = False
    show_list: Annotated[bool, option("--list", help="Show cameras and virtual cameras, and stop.")] = False
    seconds: Annotated[float | None, option(min=0, metavar="S", help="Stop after so long.")] = None
    backend: Backend = "auto"
    threads: Threads = None
    json_output: Json = None
    overwrite: Yes = False
    quiet: Quiet = False


@dataclasses.dataclass(frozen=True)
class GenerateOptions:
    """Make pictures from noise: a grid, files, or a walk from one to the next.

    \b
    engine generate --model psc --labels female,wavy,arched -n 16 --seed 7 -o grid.png
    engine generate --model psc --labels male -n 100 -o faces/
    engine generate --model psc -n 8 -o walk.mp4 --seconds 12
    """

    model: Model
    labels: Annotated[
        str | None, option(metavar="A,B,...", help="What holds in every picture; the other groups are drawn for each.")
    ] = None
    n: Annotated[int | None, option("-n", metavar="N", help="Pictures, or stations of a walk; 16 by default.")] = None
    seed: Annotated[int, option(help="Of the first picture; the others have the numbers after it.")] = 0
    latent: Annotated[
        Path | None,
        option(metavar="FILE.npy", help="Latents in place of those drawn from seeds: (dim,) or (N, dim)."),
    ] = None
    output: Annotated[
        str | None,
        option("--output", "-o", metavar="OUT", help="A picture: a grid. A folder: one file each. A video: a walk."),
    ] = None
    fps: Annotated[float | None, option(help="Frames per second of a walk; 25 by default.")] = None
    seconds: Annotated[float | None, option(help="Length of a walk; by default one second for each station.")] = None
    captions: Annotated[
        bool, option("--captions/--no-captions", help="Labels and seed under each picture of a grid.")
    ] = True
    list_labels: Annotated[bool, option("--list-labels", help="Show the model's labels, and stop.")] = False
    backend: Backend = "auto"
    threads: Threads = None
    strict: Strict = False
    json_output: Json = None
    overwrite: Yes = False
    verbose: Verbose = False
    quiet: Quiet = False


@dataclasses.dataclass(frozen=True)
class RelabelOptions:
    """Write an ONNX file with another record; weights and graph stay bit for bit.

    \b
    engine relabel face.onnx -o new.onnx --strengths faces/ --experimental young,male
    engine info face.onnx --json > record.json      # edit it, then:
    engine relabel face.onnx -o new.onnx --record record.json
    """

    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name that 'engine models' lists, or an ONNX file.")]
    output: Annotated[Path, option("--output", "-o", metavar="FILE", help="The ONNX file to write.")]
    record: Annotated[
        str | None, option(metavar="FILE|-", help="The whole record as JSON, as 'engine info MODEL --json' prints it.")
    ] = None
    strengths: Annotated[
        str | None,
        option(
            metavar="DIR|GLOB",
            help="Measure on these pictures, aligned as the model takes them, which entries give a quarter, half and "
            "three quarters of each edit, and record that: 0 leaves the picture alone, 1 is the full edit.",
        ),
    ] = None
    limit: Annotated[int, option(metavar="N", min=1, help="Pictures that are measured, spread evenly.")] = 32
    experimental: Annotated[
        str | None,
        option(metavar="A,B,...", help="Attributes whose edit seldom convinces; 'translate --set' says so."),
    ] = None
    backend: Backend = "auto"
    overwrite: Yes = False
    quiet: Quiet = False


@dataclasses.dataclass(frozen=True)
class BuildOptions:
    """Build the TensorRT plan of a model ahead of time; 'engine translate' then finds it.

    \b
    engine build starry
    engine build face.onnx --opt 4x256x256 --max 16x256x256
    engine build face.onnx -o face.plan
    """

    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name that 'engine models' lists, or an ONNX file.")]
    output: Annotated[
        Path | None, option("--output", "-o", metavar="FILE.plan", help="Write it here, not to the cache.")
    ] = None
    min: Annotated[str, option(metavar="[N]xHxW", help="Smallest batch and size; default: the model's.")] = ""
    opt: Annotated[str, option(metavar="[N]xHxW", help="Where it is to be fastest; default: the model's.")] = ""
    max: Annotated[str, option(metavar="[N]xHxW", help="Largest batch and size; default: 4 x twice its size.")] = ""
    target: Annotated[
        str,
        option(help="RTX: portable, sm_75, sm_80, ... TensorRT: ampere (and newer) or same (compute capability)."),
    ] = ""
    version_compatible: Annotated[
        bool, option("--version-compatible", help="TensorRT: newer releases of the same major run it too.")
    ] = False
    workspace: Annotated[str, option(metavar="SIZE", help="Memory that one kernel may use: 2GB.")] = ""
    value_range: Range = None
    overwrite: Yes = False
    quiet: Quiet = False
    as_json: Annotated[bool, option("--json", help="As JSON.")] = False


@dataclasses.dataclass(frozen=True)
class BenchmarkOptions:
    """Measure models on this machine: speed with percentiles, quality beside it, and what another run would show.

    \b
    engine benchmark
    engine benchmark face.onnx --backend openvino,cpu --size 512x288 -o results/
    engine benchmark starry --precision fp32,fp16 --scenario latency
    engine benchmark starry --compare results/benchmark-20261128-013000.json --fail-above 10%
    """

    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL", help="Names that 'engine models' lists, or ONNX files.", show_default="the usual model"
        ),
    ] = None
    backend: Annotated[
        str, option(metavar="all|NAME,...", help="Those that 'engine backends' lists, or auto; absent ones are named.")
    ] = "all"
    size: Annotated[
        str | None,
        option(metavar="N|WxH,...", help="Sizes of the generator's image: 256,512x288; by default the model's own."),
    ] = None
    batch: Annotated[str, option(metavar="N,...", help="Pictures in a run of the network that throughput tries.")] = "1"
    precision: Annotated[
        str | None,
        option(
            metavar="fp32,fp16,int8",
            help="Also measure the model in these (needs the extra 'export'); by default the file as it is.",
        ),
    ] = None
    scenario: Annotated[
        str,
        option(
            metavar="NAME,...",
            help="latency: one frame after the other. throughput: as many as possible. video: a whole 720p file. "
            "live: a camera of --fps.",
        ),
    ] = "latency,throughput,video,live"
    fps: Annotated[float, option(help="Rate of the camera of live.")] = 30.0
    seconds: Annotated[
        float | None, option(help="Measuring time of each row, all runs together; 6 by default.", show_default=False)
    ] = None
    runs: Annotated[
        int | None, option(help="Processes that each row is measured in; 5 by default.", show_default=False)
    ] = None
    threads: Threads = None
    images: Annotated[
        str | None,
        option(
            metavar="DIR|GLOB", help="At least 16 pictures to run on and to judge quality by; default: shipped ones."
        ),
    ] = None
    video: Annotated[Path | None, option(metavar="CLIP", help="The file of video; default: a shipped clip.")] = None
    value_range: Range = None
    output: Annotated[
        Path | None,
        option("--output", "-o", metavar="FOLDER", help="Write JSON, Markdown and plots there, under a new name."),
    ] = None
    compare: Annotated[
        Path | None, option(metavar="OLD.json", help="Set beside an earlier result; says what differs for certain.")
    ] = None
    fail_above: Annotated[
        str | None, option(metavar="PERCENT", help="With --compare: status 1 if a row is slower by more, as 10%.")
    ] = None
    quick: Annotated[
        bool, option("--quick", help="Fewer and shorter runs: 2 seconds a row in 3 runs. For a first look.")
    ] = False
    as_json: Annotated[bool, option("--json", help="Print the result as JSON in place of the table.")] = False
    quiet: Quiet = False


def command(record: type[Any], run: Callable[[Any], object]) -> Callable[..., object]:
    """A function that typer makes a command of: a parameter for each field of ``record``, the help from its docstring.

    Args:
        record: a dataclass with annotated fields.
        run: gets an instance with what the command line says.
    """

    def invoke(**given: Any) -> object:
        return run(record(**given))

    hints = typing.get_type_hints(record, include_extras=True)
    parameters = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=_spelled(hints[field.name]),
            default=inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default,
        )
        for field in dataclasses.fields(record)
    ]
    invoke.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    invoke.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    invoke.__doc__ = inspect.getdoc(record)
    return invoke


def _spelled(hint: Any) -> Any:
    """The hint as typer reads it: ``A | None`` inside ``Annotated`` is ``Optional``."""
    if typing.get_origin(hint) is Annotated:
        kind, *rest = typing.get_args(hint)
        if isinstance(kind, types.UnionType):
            kind = typing.Union[typing.get_args(kind)]  # noqa: UP007
        return Annotated[tuple([kind, *rest])]
    return hint
