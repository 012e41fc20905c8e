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


def complete_model(incomplete: str) -> list[str]:
    """Names of shipped models, for the shell's completion."""
    from importlib.resources import files

    folder = files("ganlens.engine.model") / "shipped"
    names = [entry.name.removesuffix(".onnx") for entry in folder.iterdir() if entry.name.endswith(".onnx")]
    return sorted(name for name in names if name.startswith(incomplete))


def complete_backend(incomplete: str) -> list[str]:
    """Names of backends, for the shell's completion."""
    from ..backends import AUTO, BACKENDS

    return [name for name in (AUTO, *BACKENDS) if name.startswith(incomplete)]


Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="A name that 'engine models' lists, or an ONNX file.",
        autocompletion=complete_model,
    ),
]
Range = Annotated[
    str | None,
    typer.Option(
        "--range",
        metavar="LOW..HIGH",
        help="Range of the image tensor, for a file without a ganlens record: 0..1, -1..1 or 0..255.",
    ),
]
Backend = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="auto, a name from 'engine backends', or triton://HOST:8001/NAME; a named backend never falls back.",
        autocompletion=complete_backend,
    ),
]
Strict = Annotated[
    bool, typer.Option("--backend-strict", help="Fail rather than fall back to the next backend, or to host memory.")
]
Device = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        help="GPU that runs the network, by the numbers of engine backends; default: the first, or the CPU.",
    ),
]
MOST_THREADS = 1024
"""More of one kind are a mistake, and would take the memory of the whole machine."""
Threads = Annotated[
    int | None, typer.Option(min=1, max=MOST_THREADS, help="CPU threads for the network; default: all cores.")
]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="NAME",
        help="Allow a rare format or decoder, by libav's name; 'large': frames of any size. Repeat for more.",
    ),
]
Json = Annotated[
    str | None, typer.Option("--json", metavar="FILE|-", help="Write a report as JSON: what was done, and how fast.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Replace an existing output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Also show which backends and codecs are unavailable, and why.")
]


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
            help="A file, or a folder for several; '-' writes YUV4MPEG2 to standard output. Default: the "
            "current folder, with the name of the model.",
        ),
    ] = None
    model: Model = DEFAULT_MODEL
    settings: Annotated[
        list[str] | None,
        option(
            "--set",
            metavar="NAME=VALUE",
            help="An attribute of the model ('engine info' lists them); repeat to set several. 1 is the full edit, "
            "0.5 half of it, 0 none; -1 removes the attribute if the model can.",
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
        option(metavar="PX", help="Width of the blend at the border of a crop or face, in pixels of the model."),
    ] = None
    overlap: Annotated[
        float | None, option(help="Overlap of neighbouring tiles, as a fraction of a tile; default: 0.25.")
    ] = None
    max_faces: Annotated[
        int | None, option(metavar="N", help="Maximum number of faces changed in a frame, largest first; default: 4.")
    ] = None
    detect_every: Annotated[
        int | None,
        option(metavar="N", help="Search for new faces every N frames; default: 10."),
    ] = None
    steady: Annotated[
        float | None,
        option(help="0..1: temporal smoothing of the change where a face does not move; reduces flicker."),
    ] = None
    detail: Annotated[
        float | None,
        option(
            help="0..1: how much fine luminance detail of the original is added back; default: depends on the model."
        ),
    ] = None
    opacity: Annotated[float, option(help="0..1: 0 shows the original, 1 the translation.")] = 1.0
    compare: Annotated[bool, option("--compare", help="Show the original beside the translation.")] = False
    start: Annotated[str | None, option(metavar="TIME", help="Start at this time: seconds, or 1:02.5.")] = None
    duration: Annotated[str | None, option(metavar="TIME", help="Stop after this time.")] = None
    name: Annotated[
        str,
        option(metavar="NAME", help="File names of several outputs, from {stem}, {model} and {suffix}."),
    ] = "{stem}{suffix}"
    jobs: Annotated[
        int,
        option("--jobs", "-j", min=1, max=256, help="Several inputs: number of processes that work at the same time."),
    ] = 1
    ray: Annotated[
        str | None,
        option(
            metavar="ADDRESS|local",
            help="Spread the inputs over a Ray cluster whose nodes see the same folders (extra 'ray'); --jobs inputs "
            "at the same time, default: one per core.",
        ),
    ] = None
    resume: Annotated[bool, option("--resume", help="Several inputs: skip what the manifest lists as finished.")] = (
        False
    )
    manifest: Annotated[
        str | None,
        option(metavar="FILE.jsonl", help="File that gets one line per input; default: in the output folder."),
    ] = None
    shard: Annotated[
        str | None, option(metavar="I/N", help="Only every N-th input, starting at the I-th: one shard per machine.")
    ] = None
    retries: Annotated[int, option(min=0, max=100, help="Several inputs: number of retries after a failure.")] = 0
    segment: Annotated[
        str | None,
        option(
            metavar="TIME",
            help="Long videos: a kill costs at most about this much of the video (60, 10:00); --resume continues. "
            "What is done is kept in OUT.segments/ until the end.",
        ),
    ] = None
    codec: Annotated[
        str | None,
        option(metavar="NAME", help="h264, hevc, vp9, av1 or ffv1; default: the usual one of the container."),
    ] = None
    crf: Annotated[
        float | None, option(help="Quality of the encoder: lower means better quality and a larger file.")
    ] = None
    preset: Annotated[str, option(help="Speed of the encoder, by the names of x264.")] = "veryfast"
    hdr: Annotated[
        Literal["error", "tonemap"],
        option(help="HDR video: error refuses it, tonemap converts it to standard BT.709 (slow)."),
    ] = "error"
    on_error: Annotated[
        Literal["skip", "stop"],
        option(help="Frames that cannot be decoded: skip drops up to 5 % and reports how many; stop fails."),
    ] = "skip"
    allow: Allow = None
    raw: Annotated[
        str | None,
        option(
            metavar="WxH@RATE[:FORMAT]",
            help="Raw frames on standard input instead of YUV4MPEG2: yuv420p, nv12 or rgb24.",
        ),
    ] = None
    backend: Backend = "auto"
    device: Device = None
    value_range: Range = None
    decoder: Annotated[
        Literal["auto", "nvdec", "cpu"], option(help="nvdec decodes on the GPU; a named decoder never falls back.")
    ] = "auto"
    encoder: Annotated[
        Literal["auto", "nvenc", "cpu"], option(help="nvenc encodes on the GPU; a named encoder never falls back.")
    ] = "auto"
    threads: Threads = None
    in_flight: Annotated[
        int | None,
        option(
            min=1,
            max=MOST_THREADS,
            help="Frames translated in parallel, sharing the network's threads; default: chosen for this machine, 1 "
            "for pipes (low latency).",
        ),
    ] = None
    batch: Annotated[
        int | None,
        option(
            min=1,
            max=4096,
            help="Batch size: frames, tiles or faces per inference call; frames then wait for each other. The model "
            "must have a free batch dimension.",
        ),
    ] = None
    streams: Annotated[
        int | None,
        option(min=1, help="Networks that run beside each other on a GPU (TensorRT); more frames per second if small."),
    ] = None
    encoder_threads: Annotated[int | None, option(min=1, max=MOST_THREADS, help="Threads of the encoder.")] = None
    decoder_threads: Annotated[int | None, option(min=1, max=MOST_THREADS, help="Threads of the decoder.")] = None
    spin: Annotated[
        bool, option("--spin", help="Let idle network threads spin: lower latency, but less CPU time for the encoder.")
    ] = False
    strict: Strict = False
    json_output: Json = None
    overwrite: Yes = False
    verbose: Annotated[
        bool,
        option(
            "--verbose",
            "-v",
            help="Also show the time of each stage, and which backends and codecs are unavailable, and why.",
        ),
    ] = False
    quiet: Quiet = False


@dataclasses.dataclass(frozen=True)
class LiveOptions:
    """Filter a camera or a stream live. A page opens; model and settings can be changed while it runs.

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
            help="Output in addition to the page: a video file, /dev/video10, udp://HOST:PORT, '-' (YUV4MPEG2); repeat "
            "for more.",
        ),
    ] = None
    models: Annotated[
        list[str] | None,
        option("--model", "-m", metavar="MODEL", help="The model to start with; repeat to offer more."),
    ] = None
    settings: Annotated[
        list[str] | None,
        option("--set", metavar="NAME=VALUE", help="An attribute of the model ('engine info' lists them)."),
    ] = None
    framing: Annotated[
        Literal["fit", "crop", "tile", "native", "faces"] | None,
        option(help="How frames are passed to the model; default: depends on the model."),
    ] = None
    opacity: Annotated[float, option(help="0..1: 0 shows the original, 1 the translation.")] = 1.0
    detail: Annotated[float | None, option(help="0..1: how much fine detail of the original is added back.")] = None
    compare: Annotated[
        Literal["off", "split", "side"], option(help="The original in the left part, or side by side.")
    ] = "off"
    mirror: Annotated[bool, option("--mirror", help="Flip the picture left to right, as in a mirror.")] = False
    fps: Annotated[
        float | None,
        option(min=1, max=240, metavar="N", help="Target frame rate; default: that of the source."),
    ] = None
    size: Annotated[
        str | None,
        option(
            metavar="WIDTHxHEIGHT",
            help="Fixed size of the network's image; default: adapted to keep the frame rate.",
        ),
    ] = None
    camera_size: Annotated[
        str | None, option(metavar="WIDTHxHEIGHT", help="Size requested from a camera; default: 1280x720.")
    ] = None
    live: Annotated[
        Literal["fresh", "smooth", "every"],
        option(help="fresh: the newest frame only. smooth: in order, none older than 0.5 s. every: none is dropped."),
    ] = "fresh"
    loop: Annotated[bool, option("--loop", help="Restart a file at its end.")] = False
    virtual_camera: Annotated[
        bool, option("--virtual-camera", help="Write to the first virtual camera; '-o camera:DEVICE' selects another.")
    ] = False
    record: Annotated[str | None, option(metavar="FILE", help="Record from the start.")] = None
    folder: Annotated[
        str,
        option(
            metavar="DIR", help="Folder for snapshots and recordings made from the page; default: the current folder."
        ),
    ] = "."
    allow: Allow = None
    preset: Annotated[
        str | None, option(metavar="FILE", help="File of presets 1 to 9; default: in your configuration folder.")
    ] = None
    web: Annotated[
        str | None,
        option(metavar="[HOST:]PORT", help="Address of the page; default: 127.0.0.1:8000, or the next free port."),
    ] = None
    no_web: Annotated[bool, option("--no-web", help="Serve no page.")] = False
    web_transport: Annotated[
        Literal["socket", "webrtc"],
        option(
            help="How pictures reach the page. socket: least delay. webrtc: for networks that lose packets (needs the "
            "extra 'webrtc')."
        ),
    ] = "socket"
    host: Annotated[
        str | None,
        option(
            metavar="ADDRESS",
            help="Serve the page to other machines at this address (0.0.0.0: all); a token in the URL protects it.",
        ),
    ] = None
    cert: Annotated[
        Path | None, option(metavar="FILE.pem", help="Serve https: browsers allow camera access on secure pages only.")
    ] = None
    key: Annotated[Path | None, option(metavar="FILE.pem", help="The private key of --cert.")] = None
    open_page: Annotated[bool, option("--open", help="Open the page in your browser.")] = False
    show_list: Annotated[bool, option("--list", help="List cameras and virtual cameras, and exit.")] = False
    seconds: Annotated[float | None, option(min=0, metavar="S", help="Stop after this time.")] = None
    backend: Backend = "auto"
    device: Device = None
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


@dataclasses.dataclass(frozen=True)
class RelabelOptions:
    """Write an ONNX file with another record; weights and graph are unchanged, bit for bit.

    \b
    engine relabel face.onnx -o new.onnx --strengths faces/ --experimental young,male
    engine relabel mine.onnx -o new.onnx --detail 0.5 --licence CC-BY-4.0
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
            help="Calibrate the strengths on these pictures (aligned as the model expects): find and record the inputs "
            "that give a quarter, half and three quarters of each edit.",
        ),
    ] = None
    limit: Annotated[int, option(metavar="N", min=1, help="Number of pictures to measure on, evenly spaced.")] = 32
    experimental: Annotated[
        str | None,
        option(metavar="A,B,...", help="Attributes with unreliable edits; 'translate --set' warns about them."),
    ] = None
    detail: Annotated[
        float | None,
        option(min=0, max=1, help="Fraction of the original's fine detail that the runtime adds back by default."),
    ] = None
    margin: Annotated[
        int | None,
        option(
            metavar="PX",
            min=0,
            help="Pixels of repeated edge that the network sees around a frame, cut off its answer: against a line "
            "along the frame's border.",
        ),
    ] = None
    licence: Annotated[
        str | None, option(metavar="TEXT", help="Licence of the weights, or what they may be used for.")
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
        Path | None,
        option("--output", "-o", metavar="FILE.plan", help="Write the plan to this file instead of the cache."),
    ] = None
    min: Annotated[str, option(metavar="[Nx]WxH", help="Smallest batch and size; default: the model's.")] = ""
    opt: Annotated[str, option(metavar="[Nx]WxH", help="Batch and size to optimise for; default: the model's.")] = ""
    max: Annotated[str, option(metavar="[Nx]WxH", help="Largest batch and size; default: 4 x twice its size.")] = ""
    target: Annotated[
        str,
        option(help="RTX: portable, sm_75, sm_80, ... TensorRT: ampere (and newer) or same (compute capability)."),
    ] = ""
    version_compatible: Annotated[
        bool,
        option(
            "--version-compatible", help="TensorRT: the plan also runs on newer releases of the same major version."
        ),
    ] = False
    workspace: Annotated[str, option(metavar="SIZE", help="Memory limit for one kernel, such as 2GB.")] = ""
    device: Annotated[
        int | None,
        option(min=0, metavar="N", help="GPU to build on, by the numbers of engine backends; default: the first."),
    ] = None
    value_range: Range = None
    overwrite: Yes = False
    quiet: Quiet = False
    as_json: Annotated[bool, option("--json", help="As JSON.")] = False


@dataclasses.dataclass(frozen=True)
class BenchmarkOptions:
    """Measure models on this machine: latency percentiles, throughput and quality, with confidence intervals.

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
        float | None, option(help="Measuring time per row, over all runs; default: 6.", show_default=False)
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


@dataclasses.dataclass(frozen=True)
class EvaluateOptions:
    """Judge a style by gates: colour, contrast, detail, grid, frame line, flicker, size and cost.

    \b
    engine evaluate starry --photos photos/
    engine evaluate mine.onnx --photos photos/ --target paintings/ --clip people.mp4 -o judged/
    engine evaluate mine.onnx --photos photos/ --teacher filter:comic --card mine.md

    Use pictures and clips that the model was not trained on. Status 1 if a gate fails.
    """

    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name that 'engine models' lists, or an ONNX file.")]
    photos: Annotated[
        str | None,
        option(metavar="DIR|GLOB", help="Pictures to judge on; by default 16 parts of the shipped clip."),
    ] = None
    target: Annotated[
        str | None,
        option(metavar="DIR", help="What the style should look like: answers with the photos' names, or works."),
    ] = None
    teacher: Annotated[
        str | None,
        option(metavar="FILE.onnx|filter:NAME", help="Who answers the photos (needs the extra 'train')."),
    ] = None
    teacher_range: Annotated[
        str | None, option(metavar="LOW..HIGH", help="Values of the teacher's pictures, if its file does not say.")
    ] = None
    teacher_input: Annotated[
        str | None, option(metavar="NAME=VALUE", help="The teacher's further inputs; as in engine train paired.")
    ] = None
    teacher_scale: Annotated[float, option(help="Enlargement before the teacher; as in engine train paired.")] = 1.0
    teacher_shifts: Annotated[
        bool, option("--teacher-shifts", help="Average over shifts of the picture; as in engine train paired.")
    ] = False
    clip: Annotated[
        list[str] | None, option(metavar="FILE", help="A video whose still parts should not flicker; repeat for more.")
    ] = None
    clip_frames: Annotated[int, option(min=2, help="Frames of each clip.")] = 60
    against: Annotated[
        list[str] | None, option(metavar="MODEL", help="Another model beside it on the contact sheet; repeat for more.")
    ] = None
    count: Annotated[int, option(min=1, max=10_000, help="Photos at most, evenly spread.")] = 40
    size: Annotated[
        str | None, option(metavar="WIDTHxHEIGHT", help="Size of the generator's image; by default the model's own.")
    ] = None
    backend: Backend = "cpu"
    ray: Annotated[
        str | None,
        option(
            metavar="ADDRESS|local",
            help="Spread the photos over a Ray cluster (extra 'ray'); clips and teachers stay here.",
        ),
    ] = None
    start: Annotated[bool, option("--start/--no-start", help="Measure how soon a first frame comes.")] = True
    value_range: Range = None
    output: Annotated[
        Path | None,
        option("--output", "-o", metavar="FOLDER", help="Write JSON and a contact sheet there."),
    ] = None
    card: Annotated[
        Path | None, option(metavar="FILE.md", help="Put the table into a model's card, between its two marks.")
    ] = None
    as_json: Annotated[bool, option("--json", help="Print the result as JSON in place of the table.")] = False
    yes: Yes = False
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
