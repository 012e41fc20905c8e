"""Frames from and to the program that embeds a session: no device, no file."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from fractions import Fraction

from ...errors import ShapeError
from ...pixels.frame import Frame
from ..base import FileInfo, FrameFormat, Notes


class QueueSource:
    """Frames that a program puts in; the newest one is kept where they are not taken in time.

    >>> source = QueueSource(size=(480, 640), rate=30)
    >>> source.put(frame)

    Args:
        size: (height, width) of the frames to come; others are taken as well.
        rate: frames per second, about; None if unknown.
    """

    live = True
    monotonic = True
    file: FileInfo | None = None
    frames: int | None = None

    def __init__(self, size: tuple[int, int], rate: float | Fraction | None = None) -> None:
        self.notes = Notes()
        self.format = FrameFormat(size, "rgb24", None if rate is None else Fraction(str(rate)), Fraction(1, 1_000_000))
        self._items: deque[Frame] = deque(maxlen=1)
        self._closed = False
        self._changed = threading.Condition()

    def put(self, frame: Frame) -> None:
        """Give a frame; without a time it gets that of the call."""
        if not isinstance(frame, Frame):
            raise ShapeError(f"put: got a {type(frame).__name__}, expected a Frame. Frame.from_rgb(array) makes one.")
        if frame.time is None:
            microseconds = round(time.monotonic() * 1_000_000)
            frame = Frame(frame.planes, frame.format, frame.color, Fraction(microseconds, 1_000_000))
        with self._changed:
            self._items.append(frame)
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Frame]:
        """Frames until :meth:`close`."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._closed)
                if not self._items:
                    return
                frame = self._items.popleft()
            yield frame

    def interrupt(self) -> None:
        """No frame comes after this; called by any thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    close = interrupt


class FunctionSink:
    """Gives every frame to a function of the program, in a thread of the sink's own.

    Args:
        function: called with each frame; an exception ends the sink, not the session.
    """

    def __init__(self, function: Callable[[Frame], object]) -> None:
        self.notes = Notes()
        self._function = function

    def write(self, frame: Frame) -> None:
        """Give a frame."""
        self._function(frame)

    def close(self, *, complete: bool = True) -> None:
        """Nothing to do."""

    def abort(self) -> None:
        """Nothing to do."""
