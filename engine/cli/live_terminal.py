"""What ``engine live`` shows in a terminal or a log, the keys that it takes there, and the list of devices."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ..errors import EngineError, MediaError
from ..live.recording import free_name
from ..live.session import LiveSession
from ..media.live.v4l2 import PixelLayout, capture_devices, output_devices
from .console import make_console
from .options.live import LiveOptions

_LOG_EVERY_S = 10.0
_REFRESH_S = 0.25
_STEP = 0.1
_KEY = re.compile(r"\x1b[\[O].|.", re.DOTALL)
_COMPARE = ("off", "split", "side")
_KEYS = "1-9 model  ←→ attribute  ↑↓ value  c compare  m mirror  s snapshot  r record  space original  q quit"


def show_devices() -> None:
    """Print the cameras with their formats, sizes and rates, and the virtual cameras."""
    console = make_console()
    cameras = capture_devices(with_formats=True)
    for number, camera in enumerate(cameras):
        console.print(f"camera:{number}  {camera.path}  {camera.name} ({camera.driver})", markup=False)
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for column in ("  format", "size", "frames/s"):
            table.add_column(column)
        for layout in camera.formats:
            for mode in layout.modes or ():
                rates = ", ".join(f"{float(rate):g}" for rate in mode.rates) or "–"
                size = f"{mode.size[1]}x{mode.size[0]}" + (" and smaller" if mode.stepwise else "")
                table.add_row(f"  {_layout_name(layout)}", size, rates)
        console.print(table)
    if not cameras:
        console.print("No camera is connected. The browser's can be used: engine live browser:")
    outputs = output_devices()
    for device in outputs:
        console.print(f"virtual camera  {device.path}  {device.name} ({device.driver})", markup=False)
    if not outputs and sys.platform.startswith("linux"):
        from ..media.live.virtual_camera import MODPROBE

        console.print(f"No virtual camera. Make one with: {MODPROBE}", markup=False, soft_wrap=True)


def _layout_name(layout: PixelLayout) -> str:
    return f"{layout.code} {'compressed' if layout.compressed else 'raw'}"


def watch(session: LiveSession, uri: str, url: str, options: LiveOptions, console: Console | None = None) -> None:
    """Show what happens until the session ends.

    Args:
        uri: the source's address.
        url: the page's; "" without one.
        console: None: standard error.
    """
    console = console or make_console(stderr=True, quiet=options.quiet)
    keys = Keys(session, Path(options.folder))
    end = None if options.seconds is None else time.monotonic() + options.seconds
    if url:
        console.print(f"page    {url}", markup=False, soft_wrap=True)
    console.print(f"source  {uri}", markup=False, soft_wrap=True)
    notes = _SourceNotes(console)
    if not console.is_terminal:
        _log(session, console, end, notes)
        return
    with keys.reading(), Live(console=console, refresh_per_second=4, transient=True, auto_refresh=False) as live:
        while not keys.quit.is_set() and not session.wait(_REFRESH_S) and not _over(end):
            state = session.state()
            notes.show(state)
            live.update(_lines(state, keys), refresh=True)


def _over(end: float | None) -> bool:
    return end is not None and time.monotonic() >= end


class _SourceNotes:
    """What a user should know of the source, such as a rate that a camera claims and does not keep: each note once."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: set[str] = set()

    def show(self, state: dict[str, Any]) -> None:
        """Print the notes that are new."""
        for note in state["source"]["notes"]:
            if note not in self._shown:
                self._shown.add(note)
                self._console.print(f"note    {note}", markup=False, soft_wrap=True)


def _log(session: LiveSession, console: Console, end: float | None, notes: _SourceNotes) -> None:
    """Lines for a log: what changed, and numbers now and then."""
    seen: tuple[object, ...] = ()
    logged = 0.0
    while not session.wait(_REFRESH_S) and not _over(end):
        state = session.state()
        notes.show(state)
        source, model = state["source"], state["model"]
        now = (source["state"], source["message"], *(model[name] for name in ("running", "state", "message", "size")))
        if now != seen or time.monotonic() - logged > _LOG_EVERY_S:
            seen, logged = now, time.monotonic()
            stamp = time.strftime("%H:%M:%S")
            console.print(f"{stamp} {_summary(state)}", markup=False, soft_wrap=True)


def _summary(state: dict[str, Any]) -> str:
    source, model, timing = state["source"], state["model"], state["timing"]
    word = source["connection"] if source["state"] == "live" else source["state"]
    parts = [f"source {word}" + (f" ({source['message']})" if source["message"] else "")]
    parts.append(_model_words(model))
    parts.append(f"{timing['fps_in']:.1f} fps in, {timing['fps_out']:.1f} out")
    if timing["latency_ms"]["p50"] is not None:
        parts.append(f"{timing['latency_ms']['p50']:.0f} ms")
    dropped = sum(state["counters"]["dropped"].values())
    if dropped:
        parts.append(f"{dropped} dropped")
    if state["counters"]["reconnects"]:
        parts.append(f"{state['counters']['reconnects']} reconnects")
    if state["recording"]["active"]:
        seconds = int(state["recording"]["seconds"])
        parts.append(f"REC {seconds // 60}:{seconds % 60:02d}")
    return ", ".join(parts)


def _model_words(model: dict[str, Any]) -> str:
    if model["state"] == "failed":
        return f"{model['name']} failed: {model['message']}"
    if model["state"] == "opening":
        return f"{model['name']} opening" + (f" ({model['running']} runs)" if model["running"] else "")
    size = f" {model['size'][0]}x{model['size'][1]}" if model["size"] else ""
    return f"{model['name']}{size} on {model['backend']}" if model["backend"] else str(model["name"])


def _lines(state: dict[str, Any], keys: Keys) -> Group:
    lines = [Text(_summary(state), overflow="fold")]
    control = keys.attribute_line(state)
    if control:
        lines.append(Text(control, style="cyan", overflow="ellipsis", no_wrap=True))
    if keys.said:
        lines.append(Text(keys.said, style="yellow", overflow="fold"))
    lines.append(Text(_KEYS, style="dim", overflow="fold"))
    return Group(*lines)


class Keys:
    """Single keys of the terminal, read in a thread of their own."""

    def __init__(self, session: LiveSession, folder: Path) -> None:
        self.quit = threading.Event()
        self.said = ""
        """The last answer to a key."""
        self._session = session
        self._folder = folder
        self._attribute = 0
        self._actions: dict[str, Callable[[], str]] = {
            "q": self._quit,
            "c": self._compare,
            "m": lambda: self._toggle("mirror"),
            " ": lambda: self._toggle("bypass"),
            "s": self._snapshot,
            "r": self._record,
            "\x1b[C": lambda: self._next_attribute(1),
            "\x1b[D": lambda: self._next_attribute(-1),
            "\x1b[A": lambda: self._turn(_STEP),
            "\x1b[B": lambda: self._turn(-_STEP),
        }

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Read keys inside the ``with`` block, if standard input is a terminal that can give single ones."""
        try:
            import termios
            import tty

            handle = sys.stdin.fileno()
            before = termios.tcgetattr(handle)
        except (ImportError, OSError, ValueError, termios.error):
            yield
            return
        tty.setcbreak(handle)
        threading.Thread(target=self._read, args=(handle,), name="keys", daemon=True).start()
        try:
            yield
        finally:
            self.quit.set()
            termios.tcsetattr(handle, termios.TCSADRAIN, before)

    def _read(self, handle: int) -> None:
        import select

        while not self.quit.is_set():
            if not select.select([handle], [], [], 0.2)[0]:
                continue
            text = os.read(handle, 1024).decode("utf-8", "replace")
            if not text:
                return
            for key in _KEY.findall(text):  # a key that is held gives several at once
                self.press(key.replace("\x1bO", "\x1b["))

    def press(self, key: str) -> None:
        """Do what a key means; an unknown one does nothing."""
        if key.isdecimal() and len(key) == 1:
            action: Callable[[], str] | None = lambda: self._model(int(key))  # noqa: E731
        else:
            action = self._actions.get(key if key.startswith("\x1b") else key.lower())
        if action is None:
            return
        try:
            self.said = action()
        except EngineError as error:
            self.said = str(error)

    def attribute_line(self, state: dict[str, Any]) -> str:
        """The attribute that the arrow keys change, and its value."""
        name = self._name()
        value = self._value(name)
        lowest, highest = self._bounds(name)
        full = round((value - lowest) / (highest - lowest) * 20)
        bar = "█" * full + "░" * (20 - full)
        return f"{name.replace('_', ' ').lower():<24} {bar} {value:.0%}"

    def _names(self) -> list[str]:
        port = self._session.model.spec.attributes
        return ["strength", *(port.names if port is not None else ())]

    def _name(self) -> str:
        names = self._names()
        return names[self._attribute % len(names)]

    def _value(self, name: str) -> float:
        settings = self._session.controls.snapshot()
        if name == "strength":
            return settings.opacity
        port = self._session.model.spec.attributes
        return settings.attributes.get(name, port.rest(name) if port is not None else 0.0)

    def _bounds(self, name: str) -> tuple[float, float]:
        port = self._session.model.spec.attributes
        return (0.0, 1.0) if name == "strength" or port is None else port.bounds(name)

    def _next_attribute(self, step: int) -> str:
        self._attribute = (self._attribute + step) % len(self._names())
        return ""

    def _turn(self, step: float) -> str:
        name = self._name()
        lowest, highest = self._bounds(name)
        value = round(min(highest, max(lowest, self._value(name) + step)), 2)
        if name == "strength":
            self._session.set_controls(opacity=value)
        else:
            self._session.set_controls(attributes={name: value})
        return ""

    def _quit(self) -> str:
        self.quit.set()
        return ""

    def _model(self, number: int) -> str:
        names = list(self._session.models)
        if 1 <= number <= len(names):
            self._session.choose_model(names[number - 1])
        return ""

    def _compare(self) -> str:
        now = self._session.controls.snapshot().compare
        self._session.set_controls(compare=_COMPARE[(_COMPARE.index(now) + 1) % len(_COMPARE)])
        return ""

    def _toggle(self, name: str) -> str:
        self._session.set_controls(**{name: not getattr(self._session.controls.snapshot(), name)})
        return ""

    def _snapshot(self) -> str:
        path = free_name(self._folder, "png")
        try:
            path.write_bytes(self._session.snapshot())
        except OSError as error:
            raise MediaError(f"{path} cannot be written ({error.strerror}).") from error
        return f"saved {path}"

    def _record(self) -> str:
        if self._session.recorder.active:
            path = self._session.recorder.stop()
            return f"recorded {path}" if path else ""
        return f"recording {self._session.start_recording()}"
