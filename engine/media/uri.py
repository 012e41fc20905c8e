"""Where frames come from and where they go, named by an address: one table of schemes each.

    source = open_source("clip.mp4", start=10)             no scheme: a file
    source = open_source("test:640x480@30,frames=90")      a moving test picture
    sink = open_sink("painted.mkv", source.format, origin=source, crf=18)
    sink = open_sink("null:", source.format)               counts frames

A new source or sink is a class (see :class:`~ganlens.engine.media.base.FrameSource`) and one row here. It is called
with the whole address, a sink also with the format and the keyword ``origin``, and with those options that its
signature names. Modules are imported when they are needed.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import EngineError, MissingExtra, OptionError, did_you_mean
from .base import FileInfo, FrameFormat, FrameSink, FrameSource
from .file.codecs import CONTAINERS


class Entry(NamedTuple):
    """How addresses of one scheme are opened."""

    module: str
    """Absolute, or with a leading dot relative to ``ganlens.engine.media``."""
    name: str
    """A class or a function in it."""
    extra: str = ""
    """The optional extra of ganlens that installs what the module imports."""


SOURCES: dict[str, Entry] = {
    "": Entry(".file.source", "VideoSource"),
    "-": Entry(".pipe", "open_standard_input"),
    "test": Entry(".synthetic", "TestSource"),
    "camera": Entry(".live.camera", "CameraSource"),
    "browser": Entry(".live.browser", "BrowserSource"),
    **{scheme: Entry(".live.network", "NetworkSource") for scheme in ("rtsp", "rtsps", "udp", "rtp", "tcp")},
    **{scheme: Entry(".live.network", "NetworkSource") for scheme in ("http", "https", "rtmp", "srt")},
}
"""What frames can come from; "" is a file, "-" standard input."""

SINKS: dict[str, Entry] = {
    "": Entry(".file.sink", "VideoSink"),
    "-": Entry(".pipe", "open_standard_output"),
    "null": Entry(".synthetic", "NullSink"),
    "camera": Entry(".live.virtual_camera", "VirtualCameraSink"),
    "udp": Entry(".live.stream_sink", "StreamSink"),
    "tcp": Entry(".live.stream_sink", "StreamSink"),
}
"""What frames can go to; "" is a file, "-" standard output."""


def open_source(
    uri: str | os.PathLike[str], *, hints: Mapping[str, object] | None = None, **options: object
) -> FrameSource:
    """Open what frames come from.

    Args:
        uri: "-", SCHEME:REST with a scheme of :data:`SOURCES`, or a path; a :class:`~pathlib.Path` is always that.
        hints: options that are left out where the source does not take them, such as ``threads``.
        options: of the source; None means not given.

    Raises:
        OptionError: an unknown scheme, or an option that this source does not take.
        MissingExtra: a package for it is not installed.
        MediaError: it cannot be opened.
    """
    factory, taken = _prepare(SOURCES, "source", uri, hints, options, positional=1)
    source: FrameSource = factory(os.fspath(uri), **taken)
    return source


def open_sink(
    uri: str | os.PathLike[str],
    format: FrameFormat,
    *,
    origin: FrameSource | FileInfo | None = None,
    hints: Mapping[str, object] | None = None,
    **options: object,
) -> FrameSink:
    """Open what frames go to.

    Args:
        uri: "-", SCHEME:REST with a scheme of :data:`SINKS`, or a path; a :class:`~pathlib.Path` is always that.
        format: of the frames that will be written.
        origin: the source of the frames, or its file: a file takes its other streams (sound, titles) from there.
        hints: options that are left out where the sink does not take them, such as ``threads``.
        options: of the sink; None means not given.

    Raises:
        OptionError: an unknown scheme, or an option that this sink does not take.
        MissingExtra: a package for it is not installed.
        MediaError: it cannot be opened.
    """
    factory, taken = _prepare(SINKS, "sink", uri, hints, options, positional=2)
    sink: FrameSink = factory(os.fspath(uri), format, origin=origin, **taken)
    return sink


def scheme_of(uri: str, table: Mapping[str, Entry]) -> str:
    """The key in ``table`` for an address.

    A file whose name looks like an address is written with its folder: ``./part:1.mp4``.

    Raises:
        OptionError: the address begins with a scheme that the table does not have.
    """
    if uri == "-":
        return "-"
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):(//)?", uri)  # one letter is a drive
    if found is None:
        return ""
    scheme = found[1].lower()
    if scheme in table:
        return scheme
    if not found[2] and (Path(uri).suffix.lower() in CONTAINERS or os.path.exists(uri)):
        return ""
    names = [name for name in table if name not in ("", "-")]
    raise OptionError(
        f"{uri}: unknown scheme '{scheme}:'. {did_you_mean(scheme, names)} A file whose name begins like this is given "
        f"as ./{uri}."
    )


def _prepare(
    table: Mapping[str, Entry],
    kind: str,
    uri: str | os.PathLike[str],
    hints: Mapping[str, object] | None,
    options: Mapping[str, object],
    *,
    positional: int,
) -> tuple[Callable[..., Any], dict[str, object]]:
    """What opens an address, and the options that it takes."""
    scheme = scheme_of(uri, table) if isinstance(uri, str) else ""
    factory = _load(table[scheme], f"a {scheme}: {kind}" if scheme else f"a {kind}")
    parameters = list(inspect.signature(factory).parameters.values())[positional:]
    names = {parameter.name for parameter in parameters} - {"origin"}
    takes_all = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    taken = {name: value for name, value in (hints or {}).items() if value is not None and (takes_all or name in names)}
    for name, value in options.items():
        if value is None:
            continue
        if not takes_all and name not in names:
            what = {"": "a file", "-": "a pipe"}.get(scheme, f"{scheme}:")
            known = f"it takes {', '.join(sorted(names))}" if names else "it takes no options"
            raise OptionError(f"Option '{name}' does not go with {what} as {kind}; {known}. Leave it out.")
        taken[name] = value
    return factory, taken


def _load(entry: Entry, what: str) -> Callable[..., Any]:
    module, name, extra = entry
    try:
        factory: Callable[..., Any] = getattr(import_module(module, __package__), name)
    except ImportError as error:
        if not extra or isinstance(error, EngineError):
            raise
        raise MissingExtra(what, error.name or "?", extra) from error
    return factory
