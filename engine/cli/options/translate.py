"""The options of ``engine translate``."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

import typer

from . import (
    DEFAULT_MODEL,
    MOST_THREADS,
    Allow,
    Backend,
    Device,
    Json,
    Model,
    Quiet,
    Range,
    Strict,
    Threads,
    Yes,
    option,
)


@dataclasses.dataclass(frozen=True)
class TranslateOptions:
    """Translate videos and pictures: files, folders, patterns, lists, or a pipe.

    \b
    engine translate clip.mp4
    engine translate clip.mp4 --framing crop --region 384,104,512,512
    engine translate photo.jpg -o painted.png --framing native --compare
    engine translate clip.mp4 --model hair --set red_hair=1
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
