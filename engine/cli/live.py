"""``engine live``: a camera or a stream through a model, to a page and to any number of sinks."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..controls import Controls
from ..errors import EngineError, MediaError, MissingExtra, OptionError
from ..live.outlet import OpenSink
from ..live.presets import Presets, default_file
from ..live.recording import RecordingSink
from ..live.session import LiveSession, SessionOptions, freeze_when_ready
from ..live.web.address import Address, Listener
from ..media.base import FrameSource
from ..media.file.codecs import CONTAINERS
from ..media.limits import allow
from ..media.live.v4l2 import capture_devices
from ..media.uri import SINKS, SOURCES, open_sink, open_source, scheme_of
from ..model.attributes import parse_settings
from ..threads import share_heaps
from .interrupt import terminate_as_interrupt
from .options import DEFAULT_MODEL
from .options.live import LiveOptions
from .parse import parse_size
from .report import check_record, write_record

_DEFAULT_HOST, _DEFAULT_PORT, _PORTS = "127.0.0.1", 8000, 20
_MODEL_FIRST_S = 0.5
"""How long the page and the terminal wait for the model, which would open later beside their imports."""


def run(options: LiveOptions) -> int:
    """Run until the source ends, or until Ctrl-C; returns the exit status."""
    if options.show_list:
        from .live_terminal import show_devices

        show_devices()
        return 0
    allow(options.allow or [])
    uri = source_of(options.source)
    check_options(options, uri)
    check_record(options.json_output)
    if not options.no_web:  # what others may reach reads only what is common
        os.environ.setdefault("GANLENS_UNTRUSTED", "1")
    share_heaps()
    session = make_session(options, uri)
    with terminate_as_interrupt(), contextlib.ExitStack() as stack:
        listener = None if options.no_web else stack.enter_context(contextlib.closing(listen(options)))
        stack.callback(session.stop)
        for name, opener in sinks_of(options):
            session.add_sink(name, opener)
        freeze_when_ready(session)
        try:
            session.start()
            if options.record is not None:
                _record_from_start(session, Path(options.record), overwrite=options.overwrite)
            session.wait_for_model(_MODEL_FIRST_S)
            if listener is not None:
                from ..live.web.server import WebServer

                server = WebServer(session, listener, options.web_transport)
                stack.callback(server.close)
                server.start()
                if options.open_page:
                    import webbrowser

                    webbrowser.open(listener.url)
            from .live_terminal import watch

            watch(session, uri, "" if listener is None else listener.url, options)
        except KeyboardInterrupt:
            pass
    return _report(session, options)


def _report(session: LiveSession, options: LiveOptions) -> int:
    """Tell how an ended session was; returns the exit status."""
    from .console import make_console

    console = make_console(stderr=True, quiet=options.quiet)
    report = session.state()
    recorded = [str(path) for path in session.recorder.finished]
    for path in recorded:
        console.print(f"recorded {path}", markup=False, soft_wrap=True)
    failed = [outlet.message for outlet in session.outlets if outlet.state == "failed"]
    if session.recorder.message:
        failed.append(session.recorder.message)
    for message in failed:
        console.print(f"error: {message}", markup=False, soft_wrap=True)
    if options.json_output is not None:
        report["recordings"] = recorded
        write_record(options.json_output, report, stream=sys.stdout)
    return 1 if failed or (session.source_state == "ended" and session.source_message) else 0


# --- what was asked for -----------------------------------------------------------------------------------------------


def source_of(given: str | None) -> str:
    """The address of the source: what was given, else the first camera, else the browser's."""
    if given is None:
        return "camera:0" if capture_devices() else "browser:"
    if given.startswith("/dev/video"):
        return f"camera:{given}"
    if scheme_of(given, SOURCES) == "test" and not {"frames=", "seconds="} & set(re.findall(r"[a-z]+=", given)):
        return f"{given},seconds=inf"  # a camera does not end
    return given


def check_options(options: LiveOptions, uri: str) -> None:
    """Check that the options are consistent, before anything is opened."""
    if options.no_web and uri == "browser:":
        raise OptionError(
            "The browser's camera needs the page; leave out --no-web, or name a camera (engine live --list)."
        )
    if options.no_web and (options.web or options.host or options.open_page or options.web_transport != "socket"):
        raise OptionError("--no-web serves no page; leave out --web, --host, --open and --web-transport.")
    if (options.cert is None) != (options.key is None):
        raise OptionError("--cert and --key go together; give both.")
    for path in (options.cert, options.key):
        if path is not None and not path.is_file():
            raise OptionError(f"{path}: no such file.")
    for name in (*(options.outputs or ()), *([options.record] if options.record else ())):
        if _is_video_file(name) and Path(name).exists() and not options.overwrite:
            raise MediaError(f"{name} exists; pass -y to overwrite it.")
    if options.record is not None and not _is_video_file(options.record):
        raise OptionError(f"--record {options.record}: expected a video file ({', '.join(CONTAINERS)}).")
    if not Path(options.folder).is_dir():
        raise OptionError(f"--folder {options.folder}: the folder does not exist; create it first.")


def make_session(options: LiveOptions, uri: str) -> LiveSession:
    """A session as the command line asks for it; nothing is opened yet."""
    controls = Controls(opacity=options.opacity, detail=options.detail, compare=options.compare, mirror=options.mirror)
    session = LiveSession(
        source_opener(options, uri),
        models=options.models or [DEFAULT_MODEL],
        controls=controls,
        options=SessionOptions(
            policy=options.live,
            fps=options.fps,
            size=None if options.size is None else parse_size("--size", options.size),
            framing=options.framing,
            backend=options.backend,
            threads=options.threads,
            device=options.device,
            loop=options.loop,
            record_folder=Path(options.folder),
        ),
        presets=Presets(Path(options.preset) if options.preset else default_file()),
    )
    if options.settings:
        session.set_controls(attributes=parse_settings("--set", options.settings))
    return session


def source_opener(options: LiveOptions, uri: str) -> Callable[[], FrameSource]:
    """What opens the source, each time that it is lost."""
    size = None if options.camera_size is None else parse_size("--camera-size", options.camera_size)
    hints = {"size": size, "rate": options.fps} if uri.startswith(("camera:", "browser:")) else {}

    def open_it() -> FrameSource:
        return open_source(uri, hints=hints)

    return open_it


def sinks_of(options: LiveOptions) -> Iterator[tuple[str, OpenSink]]:
    """Names of the sinks, and what opens each."""
    names = list(options.outputs or ())
    if options.virtual_camera:
        names.append("camera:")
    for name in names:
        if name.startswith("/dev/video"):
            name = f"camera:{name}"
        scheme_of(name, SINKS)
        yield name, _sink_opener(name, options.overwrite)


def _sink_opener(name: str, overwrite: bool) -> OpenSink:
    if _is_video_file(name):
        return lambda format: RecordingSink(Path(name), format, overwrite=overwrite)
    return lambda format: open_sink(name, format)


def _is_video_file(name: str) -> bool:
    return scheme_of(name, SINKS) == "" and Path(name).suffix.lower() in CONTAINERS


def listen(options: LiveOptions) -> Listener:
    """Take the page's address; connections wait until its server, which takes longer to import, answers them."""
    packages = [(name, "live") for name in ("starlette", "uvicorn", "wsproto")]
    if options.web_transport == "webrtc":
        packages.append(("aiortc", "webrtc"))
    for package, extra in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingExtra("The page, which --no-web leaves out,", package, extra)
    host, port = _web_address(options)
    ports = [port] if port is not None else range(_DEFAULT_PORT, _DEFAULT_PORT + _PORTS)
    problem: MediaError | None = None
    for number in ports:
        try:
            return Listener(Address(host, number, options.cert, options.key))
        except MediaError as error:
            problem = problem or error
    assert problem is not None
    raise problem


def _web_address(options: LiveOptions) -> tuple[str, int | None]:
    """The host, and the port if one was named."""
    host, port = "", None
    if options.web is not None:
        host, _, text = options.web.rpartition(":")
        host = host.strip("[]")
        if not text.isdecimal() or int(text) > 65535:
            raise OptionError(f"--web {options.web}: expected PORT or HOST:PORT, such as 127.0.0.1:8000.")
        port = int(text)
    if options.host is not None and host and host != options.host:
        raise OptionError(f"--web names {host} and --host {options.host}; name the address once.")
    host = options.host or host or _DEFAULT_HOST
    from ..live.web.guard import is_loopback

    if options.host is None and not is_loopback(host):
        raise OptionError(
            f"--web {options.web}: other machines could reach the page at {host}. If that is intended, add "
            f"--host {host}; a token in the address then protects it."
        )
    return host, port


def _record_from_start(session: LiveSession, path: Path, *, overwrite: bool) -> None:
    """Begin to record with the first picture."""

    def begin() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not session.wait(0.02):
            if session.statistics.shown:
                with contextlib.suppress(EngineError):
                    session.start_recording(path, overwrite=overwrite)
                return

    threading.Thread(target=begin, name="first recording", daemon=True).start()
