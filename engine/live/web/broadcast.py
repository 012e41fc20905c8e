"""Pictures to pages: encoded once for all that take the same codec, never faster than a page draws them."""

from __future__ import annotations

import asyncio
import json
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Literal

from ...errors import EngineError
from ...media.live.encoding import Encoded, H264Encoder, JpegEncoder
from ..queue import Captured, FrameQueue

Codec = Literal["h264", "jpeg"]
HEADER = struct.Struct("<BBHHHId")
"""Header of an outgoing picture: codec (1 H.264, 2 JPEG), flags (1 key frame, 2 stale), width, height, 0, number, and
the frame's time by the source's clock in microseconds."""
_CODES = {"h264": 1, "jpeg": 2}
MOST_IN_FLIGHT = 4
"""Pictures on their way to a page that it has not drawn yet; more would only grow older on the way."""
MOST_WIDTH = 1280
"""Wider pictures are shrunk for pages."""
_SILENT_S = 3.0
"""After so long without an answer a page gets one more picture: the answer may be lost, or the page hidden."""


class Viewer:
    """One page: what is on its way to it. Used in the server's event loop only.

    Args:
        ask_for_key: makes the next H.264 picture a key frame.
    """

    def __init__(self, ask_for_key: Callable[[], None]) -> None:
        self.codec: Codec | None = None
        """None: the page takes no pictures."""
        self.sent = self.dropped = 0
        self._outgoing: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        """None stands for the state."""
        self._state: str | None = None
        self._ask_for_key = ask_for_key
        self._needs_key = True
        self._config = ""
        self._in_flight: OrderedDict[int, float] = OrderedDict()

    def take(self, codec: Codec | None) -> None:
        """Send pictures of this codec from now on."""
        self.codec = codec
        self._needs_key = True
        self._config = ""
        self._in_flight.clear()
        self._ask_for_key()

    def say(self, message: dict[str, Any]) -> None:
        """Send a JSON message."""
        self._outgoing.put_nowait(_json(message))

    def tell(self, state: str) -> None:
        """Send what :func:`state_message` made; a page that is behind gets the newest one only."""
        if self._state is None:
            self._outgoing.put_nowait(None)
        self._state = state

    @property
    def waiting(self) -> int:
        """Messages that the page has not taken yet."""
        return self._outgoing.qsize()

    async def next(self) -> str | bytes:
        """The next message for the page."""
        message = await self._outgoing.get()
        if message is None:
            message, self._state = self._state, None
            assert message is not None
        return message

    def show(self, picture: Encoded, number: int, data: bytes) -> None:
        """Send a picture, unless the page is behind."""
        now = time.monotonic()
        while self._in_flight and now - next(iter(self._in_flight.values())) > _SILENT_S:
            self._in_flight.popitem(last=False)
        if len(self._in_flight) >= MOST_IN_FLIGHT or self.waiting >= 2 * MOST_IN_FLIGHT:
            self.dropped += 1
            self._needs_key = self._needs_key or self.codec == "h264"
            return
        if self._needs_key and not picture.key:
            self.dropped += 1
            self._ask_for_key()
            return
        self._needs_key = False
        config = f"{picture.codec} {picture.size}"
        if picture.key and config != self._config:
            self._config = config
            self.say({"type": "video", "codec": picture.codec, "width": picture.size[1], "height": picture.size[0]})
        self._in_flight[number] = now
        self.sent += 1
        self._outgoing.put_nowait(data)

    def drawn(self, number: int) -> bool:
        """The page drew a picture; whether it was on its way. Those before it are no longer waited for."""
        if number not in self._in_flight:
            return False
        while self._in_flight:
            first, _ = self._in_flight.popitem(last=False)
            if first == number:
                break
        return True


def state_message(state: dict[str, Any]) -> str:
    """What pages are told of a state."""
    return _json({"type": "state", "state": state})


def _json(message: dict[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"))


class Broadcast:
    """Encodes pictures in a thread of its own while a page takes them.

    Args:
        loop: the server's event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.viewers: set[Viewer] = set()
        """Changed in the event loop only."""
        self.encode_s = 0.0
        """CPU seconds in encoders."""
        self.encoded = 0
        self._loop = loop
        self._queue = FrameQueue("fresh")
        self._encoders: dict[Codec, H264Encoder | JpegEncoder] = {}
        self._wanted: frozenset[Codec] = frozenset()
        self._key_wanted = False
        self._captured: OrderedDict[int, float] = OrderedDict()
        self._number = 0
        self._thread = threading.Thread(target=self._work, name="page encoder", daemon=True)
        self._thread.start()

    def give(self, item: Captured) -> None:
        """Leave a picture; called by the session's thread."""
        if self._wanted:
            self._queue.put(item)

    def update(self) -> None:
        """Note which codecs pages take; called in the event loop after each change."""
        self._wanted = frozenset(viewer.codec for viewer in self.viewers if viewer.codec is not None)

    def ask_for_key(self) -> None:
        """Make the next H.264 picture a key frame."""
        self._key_wanted = True

    def captured_at(self, number: int) -> float | None:
        """When the picture of that number was captured, if it was sent a short while ago."""
        return self._captured.get(number)

    def close(self) -> None:
        """End the thread."""
        self._queue.close()
        self._thread.join(5.0)

    def _work(self) -> None:
        while True:
            item = self._queue.take()
            if item is None:
                return
            self._number += 1
            for codec in self._wanted:
                try:
                    self._encode(codec, item, self._number)
                except (EngineError, OSError, ValueError):  # a picture that cannot be encoded is not shown
                    self._encoders.pop(codec, None)

    def _encode(self, codec: Codec, item: Captured, number: int) -> None:
        size = page_size(item.frame.size)
        encoder = self._encoders.get(codec)
        if encoder is None or encoder.size != size:
            encoder = self._encoders[codec] = H264Encoder(size) if codec == "h264" else JpegEncoder(size)
        if self._key_wanted and codec == "h264":
            self._key_wanted = False
            encoder.force_key()
        began = time.thread_time()
        picture = encoder.encode(item.frame)
        self.encode_s += time.thread_time() - began
        self.encoded += 1
        if not picture.data:
            return
        height, width = picture.size
        origin = item.origin if item.origin is not None else item.frame.time
        header = HEADER.pack(
            _CODES[codec],
            picture.key | item.stale << 1,
            width,
            height,
            0,
            number & 0xFFFFFFFF,
            float((origin or 0) * 1_000_000),
        )
        if not item.stale:
            self._captured[number] = item.at
            while len(self._captured) > 256:
                self._captured.popitem(last=False)
        self._loop.call_soon_threadsafe(self._deliver, codec, picture, number, header + picture.data)

    def _deliver(self, codec: Codec, picture: Encoded, number: int, data: bytes) -> None:
        for viewer in self.viewers:
            if viewer.codec == codec:
                viewer.show(picture, number, data)


def page_size(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) in which pages get pictures of ``size``: even, and at most :data:`MOST_WIDTH` wide."""
    height, width = size
    if width > MOST_WIDTH:
        height, width = round(height * MOST_WIDTH / width), MOST_WIDTH
    return max(2, height - height % 2), max(2, width - width % 2)
