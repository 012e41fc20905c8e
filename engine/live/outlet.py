"""Fan-out: every sink has its own thread and queue, so that a slow one holds up neither the others nor the camera."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from ..errors import EngineError
from ..media.base import FrameFormat, FrameSink
from .policy import Policy
from .queue import Captured, Clock, FrameQueue

OpenSink = Callable[[FrameFormat], FrameSink]
OutletState = Literal["waiting", "open", "failed", "closed"]


class Outlet:
    """A sink behind a queue.

    Args:
        name: for reports.
        open_sink: makes the sink for frames of a format.
        policy: which frames the sink gets where it is slower than the session.
        clock: of the session.
        on_change: called when the sink fails.
    """

    def __init__(
        self, name: str, open_sink: OpenSink, policy: Policy, clock: Clock, on_change: Callable[[], None]
    ) -> None:
        self.name = name
        self.state: OutletState = "waiting"
        self.message = ""
        self.written = 0
        self._open_sink = open_sink
        self._queue = FrameQueue(policy, clock=clock)
        self._on_change = on_change
        self._sink: FrameSink | None = None
        self._thread = threading.Thread(target=self._work, name=f"sink {name}", daemon=True)

    def open(self, format: FrameFormat) -> None:
        """Make the sink now, in this thread, so that its errors are raised here."""
        self._sink = self._open_sink(format)
        self.state = "open"

    def start(self) -> None:
        """Take frames from now on."""
        self._thread.start()

    def give(self, item: Captured) -> None:
        """Leave a picture for the sink."""
        if self.state in ("waiting", "open"):
            self._queue.put(item)

    @property
    def dropped(self) -> int:
        """Pictures that the sink did not get because it is too slow."""
        return self._queue.dropped.total()

    @property
    def sink(self) -> FrameSink | None:
        """The sink, once it is open."""
        return self._sink

    def close(self, *, complete: bool = True) -> None:
        """Write what is queued and finish the sink."""
        self._queue.close()
        if self._thread.ident is not None:
            self._thread.join(10.0)
        sink, self._sink = self._sink, None
        if sink is None:
            return
        if self.state == "failed":
            with contextlib.suppress(EngineError):
                sink.abort()
            return
        self.state = "closed"
        try:
            sink.close(complete=complete)
        except EngineError as error:
            self.state, self.message = "failed", str(error)

    def _work(self) -> None:
        last = None
        while True:
            item = self._queue.take(0.5)
            if item is None:
                if self._queue.closed:
                    return
                continue
            try:
                if self._sink is None:
                    frame = item.frame
                    self.open(FrameFormat(frame.size, frame.format, color=frame.color))
                assert self._sink is not None
                frame = item.frame
                if last is not None and frame.time is not None and frame.time <= last:
                    frame = replace(frame, time=None)
                else:
                    last = frame.time
                self._sink.write(frame)
                self.written += 1
            except (EngineError, OSError) as error:
                self.state, self.message = "failed", str(error)
                self._queue.close()
                self._on_change()
                return
