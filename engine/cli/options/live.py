"""The options of ``engine live``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import typer

from . import Allow, Backend, Device, Json, Quiet, Threads, Yes, option


@dataclasses.dataclass(frozen=True)
class LiveOptions:
    """Filter a camera or a stream live. A page opens; model and settings can be changed while it runs.

    \b
    engine live                              the first camera, else the browser's
    engine live --model pastel --mirror
    engine live rtsp://camera.local/stream -o udp://127.0.0.1:5000
    engine live --virtual-camera --no-web    for video calls
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
