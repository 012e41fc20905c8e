"""A translator's stream for callers that have frames one at a time, and want each back at once."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import suppress

from .controls import Controls
from .errors import EngineError
from .pixels.frame import Frame
from .translator import Translator


class PushedStream:
    """:meth:`Translator.stream <ganlens.engine.Translator.stream>`, pushed: what it remembers of a clip (faces,
    settings) goes on from call to call.

    Args:
        translator: one frame in flight; not closed with the stream.
        controls: as of :meth:`Translator.stream`.
    """

    def __init__(self, translator: Translator, controls: Controls) -> None:
        self._translator, self._controls = translator, controls
        self._frame: Frame | None = None
        self._stream: Generator[Frame, None, None] | None = None

    def __call__(self, frame: Frame) -> Frame:
        """The frame, translated. After an error the next call begins a new stream."""
        if self._stream is None:
            self._stream = self._translator.stream(self._frames(), controls=self._controls)
        self._frame = frame
        try:
            return next(self._stream)
        except BaseException:
            self.close()
            raise
        finally:
            self._frame = None

    def close(self) -> None:
        """End the stream; a second call does nothing, and a call with a frame begins a new one."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with suppress(EngineError, RuntimeError):
                stream.close()

    def _frames(self) -> Iterator[Frame]:
        while self._frame is not None:
            frame, self._frame = self._frame, None
            yield frame
            del frame
