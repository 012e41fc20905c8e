"""Recording of a running session into a video file, without holding the picture up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..errors import EngineError, MediaError
from ..media.base import FrameFormat, Notes
from ..media.file.sink import VideoSink
from ..media.live.conversion import Converter
from ..media.live.decoding import FrameMaker
from ..pixels.frame import Frame
from .outlet import Outlet
from .queue import Captured, Clock

TICK = Fraction(1, 90_000)
_LEAST_STEP = Fraction(1, 500)
"""Matroska keeps milliseconds: of two frames that come nearer than this, in a burst after a pause, one is enough."""


class RecordingSink:
    """A video file that begins with the first frame and keeps the times between frames.

    Its size is that of the first frame; others are scaled to it.
    """

    def __init__(self, path: Path, format: FrameFormat, *, overwrite: bool = False) -> None:
        self.notes = Notes()
        self.path = path
        self._format = format
        height, width = (side - side % 2 for side in format.size)
        self._size = height, width
        target = replace(format, size=self._size, pixels="yuv420p", time_base=TICK, rate=format.rate or Fraction(30))
        self._sink = VideoSink(path, target, preset="ultrafast", crf=21, threads=1, overwrite=overwrite)
        self._convert = Converter("yuv420p", self._size, matrix=format.color.matrix, full_range=format.color.full_range)
        self._make = FrameMaker()
        self._first: Fraction | None = None
        self._last: Fraction | None = None

    @property
    def seconds(self) -> float:
        """Length so far."""
        return 0.0 if self._first is None or self._last is None else float(self._last - self._first)

    def write(self, frame: Frame) -> None:
        """Write a frame; one without a time follows the last one."""
        if frame.size != self._size:
            self.notes.add(
                f"{self.path.name} keeps its size {self._size[1]}x{self._size[0]}; frames of {frame.size[1]}x"
                f"{frame.size[0]} are scaled to it"
            )
        time = frame.time
        if time is not None:
            self._first = time if self._first is None else self._first
            time = round((time - self._first) / TICK) * TICK
            if self._last is not None and time < self._last - self._first + _LEAST_STEP:
                return
            self._last = self._first + time
        picture = self._convert(frame)
        self._sink.write(replace(self._make(picture, time), color=self._format.color))

    def close(self, *, complete: bool = True) -> None:
        """Finish the file; one without a frame is removed."""
        if self._sink.frames:
            self._sink.close(complete=complete)
        else:
            self._sink.abort()

    def abort(self) -> None:
        """Keep what plays: a filter that ran for hours must not lose its recording to a full disk's last block."""
        try:
            self._sink.close(complete=False)
        except EngineError:
            self._sink.abort()


class Recorder:
    """Starts and stops recordings of a session.

    Args:
        folder: where files without a name of their own go.
        clock: of the session.
        on_change: called when a recording begins, ends or fails.
    """

    def __init__(self, folder: Path, clock: Clock, on_change: Callable[[], None]) -> None:
        self.folder = folder
        self.message = ""
        """Why the last recording failed."""
        self.finished: list[Path] = []
        """Recordings of this session, oldest first."""
        self._clock = clock
        self._on_change = on_change
        self._outlet: Outlet | None = None
        self._path: Path | None = None
        self._began = 0.0
        self._lock = threading.Lock()

    @property
    def active(self) -> bool:
        """Whether frames are being recorded."""
        return self._outlet is not None

    def start(self, format: FrameFormat, path: Path | None = None, *, overwrite: bool = False) -> Path:
        """Begin; the file takes its name when the recording stops.

        Args:
            path: the file; None: one named by date and time, in the recorder's folder.

        Raises:
            MediaError: the file exists or cannot be written, or a recording runs already.
        """
        with self._lock:
            if self._outlet is not None:
                raise MediaError(f"A recording is already running ({self._path}). Stop it first.")
            target = path or free_name(self.folder, "mp4")
            outlet = Outlet(
                target.name,
                lambda format: RecordingSink(target, format, overwrite=overwrite),
                "smooth",
                self._clock,
                self._failed,
            )
            outlet.open(format)
            outlet.start()
            self._outlet, self._path, self._began, self.message = outlet, target, self._clock(), ""
        self._on_change()
        return target

    def give(self, item: Captured) -> None:
        """Record a picture, if a recording runs."""
        outlet = self._outlet
        if outlet is not None:
            outlet.give(item)

    def stop(self) -> Path | None:
        """Finish the file; None if there is none to finish."""
        with self._lock:
            outlet, path, self._outlet = self._outlet, self._path, None
        if outlet is None or path is None:
            return None
        failed = outlet.state == "failed"
        outlet.close()
        if outlet.state == "failed":
            self.message = outlet.message
        if path.exists() and (not failed or path not in self.finished):
            self.finished.append(path)
        self._on_change()
        return path if path.exists() else None

    def _failed(self) -> None:
        outlet = self._outlet
        self.message = "" if outlet is None else outlet.message
        threading.Thread(target=self.stop, name="end of recording", daemon=True).start()

    def state(self) -> dict[str, Any]:
        """For reports."""
        active = self._outlet is not None
        return {
            "active": active,
            "file": self._path.name if self._path is not None and active else None,
            "seconds": round(self._clock() - self._began, 1) if active else 0.0,
            "dropped": self._outlet.dropped if self._outlet is not None else 0,
            "error": self.message or None,
            "files": [path.name for path in self.finished],
        }


def free_name(folder: Path, suffix: str) -> Path:
    """A name by date and time that no file of the folder has."""
    stem = "ganlens-" + datetime.now().strftime("%Y%m%d-%H%M%S")
    for number in range(1, 1000):
        path = folder / (f"{stem}.{suffix}" if number == 1 else f"{stem}-{number}.{suffix}")
        if not path.exists():
            return path
    raise MediaError(f"{folder} has too many files called {stem}; move some away.")
