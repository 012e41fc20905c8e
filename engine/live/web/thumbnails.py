"""Pictures of what each model does, made of the user's own picture: in memory only, one at a time, on one thread."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from ...errors import EngineError
from ...media.live.conversion import Converter
from ...media.live.encoding import JpegEncoder
from ...pixels.frame import Frame
from ...translator import Translator
from ..session import LiveSession

SIZE = (135, 240)


class Thumbnails:
    """Makes thumbnails of a session's models; each is made once."""

    def __init__(self, session: LiveSession) -> None:
        self._session = session
        self._made: dict[str, bytes] = {}
        self._worker = ThreadPoolExecutor(1, "thumbnails", initializer=_yield_to_others)
        self._closed = threading.Event()

    async def get(self, name: str) -> bytes | None:
        """A JPEG of the session's newest picture through a model; None while there is no picture."""
        if name not in self._made and not self._closed.is_set():
            await asyncio.get_running_loop().run_in_executor(self._worker, self._make, name)
        return self._made.get(name)

    def close(self) -> None:
        """Make no more."""
        self._closed.set()
        self._worker.shutdown(wait=True, cancel_futures=True)

    def _make(self, name: str) -> None:
        frame = self._session.last_original()
        if frame is None or name in self._made or self._closed.is_set():
            return
        choice = self._session.models[name]
        try:
            small = _shrunk(frame)
            # The cheap CPU backend, whatever runs the session: a plan or a kernel cache is not built for a thumbnail.
            with Translator.open(choice.file, backend="cpu", threads=1, frame_size=small.size) as translator:
                picture = translator(small)
            self._made[name] = JpegEncoder(SIZE, quality=5).encode(picture).data
        except (EngineError, OSError, RuntimeError):
            return


def _yield_to_others() -> None:
    """Give this thread, in which its network runs too, a tenth of the weight that the session's threads have."""
    if sys.platform == "linux":  # where a thread has a priority of its own
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


def _shrunk(frame: Frame) -> Frame:
    height, width = frame.size
    scale = max(SIZE[0] / height, SIZE[1] / width) * 1.5
    size = (max(16, round(height * scale)), max(16, round(width * scale)))
    pixels = Converter("rgb24", size)(frame).to_ndarray(format="rgb24")
    # The middle of the thumbnail's shape.
    shape = min(size[0], round(size[1] * SIZE[0] / SIZE[1])), min(size[1], round(size[0] * SIZE[1] / SIZE[0]))
    top, left = (size[0] - shape[0]) // 2, (size[1] - shape[1]) // 2
    return Frame.from_rgb(pixels[top : top + shape[0], left : left + shape[1]].copy())
