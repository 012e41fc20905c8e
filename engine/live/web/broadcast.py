"""Pictures to pages: encoded once for all that take the same codec and quality, never faster than a page draws them,
and no larger than its link carries."""

from __future__ import annotations

import asyncio
import json
import struct
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, Literal

from ...errors import EngineError
from ...media.live.encoding import Encoded, H264Encoder, JpegEncoder
from ..policy import QualityState, choose_quality
from ..queue import Captured, Clock, FrameQueue

Codec = Literal["h264", "jpeg"]
Stream = tuple[Codec, int]
"""A codec, and a level of its quality."""
QUALITIES: dict[Codec, tuple[int, ...]] = {"h264": (23, 29, 35, 41), "jpeg": (4, 7, 12, 22)}
"""Constant rate factors of x264 and quantisers of JPEG, from the best; each halves the size of a picture, about."""
LEVELS = 4
HEADER = struct.Struct("<BBHHHId")
"""Header of an outgoing picture: codec (1 H.264, 2 JPEG), flags (1 key frame, 2 stale), width, height, 0, number, and
the frame's time by the source's clock in microseconds."""
_CODES = {"h264": 1, "jpeg": 2}
MOST_IN_FLIGHT = 4
"""Pictures on their way to a page that it has not drawn yet; more would only grow older on the way."""
MOST_WIDTH = 1280
"""Wider pictures are shrunk for pages."""
_DUE_S = 0.5
"""Time over which pictures left out are counted: short, so that a moment's pause is soon forgotten."""
_DRAWN_S = 1.0
"""The same for pictures drawn: a slow link carries few."""
_SILENT_S = 3.0
"""After so long without an answer a page gets one more picture: the answer may be lost, or the page hidden."""


class Viewer:
    """One page: what is on its way to it. Used in the server's event loop only.

    Args:
        ask_for_key: makes the next picture of a stream a key frame.
        on_change: called when another stream is to be sent.
        clock: seconds that do not jump.
    """

    def __init__(
        self,
        ask_for_key: Callable[[Stream], None],
        on_change: Callable[[], None] = lambda: None,
        clock: Clock = time.monotonic,
    ) -> None:
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
        self._on_change = on_change
        self._clock = clock
        self._quality = QualityState()
        self._due: deque[tuple[float, bool]] = deque()
        """When a picture was to be sent of late, and whether the page was behind."""
        self._drawn: deque[float] = deque()
        self._older: set[int] = set()
        """Pictures on their way that were sent before the quality changed."""
        self._to_judge = 0
        """How many in the present quality are to be drawn before it is judged."""

    @property
    def level(self) -> int:
        """The quality of its pictures; 0 is the best."""
        return self._quality.level

    @property
    def stream(self) -> Stream | None:
        """What it is sent; None: no pictures."""
        return None if self.codec is None else (self.codec, self.level)

    def take(self, codec: Codec | None) -> None:
        """Send pictures of this codec from now on."""
        self.codec = codec
        self._needs_key = True
        self._config = ""
        self._in_flight.clear()
        self._quality = QualityState()
        self._due.clear()
        self._drawn.clear()
        self._ask()

    def _ask(self) -> None:
        if self.stream is not None:
            self._ask_for_key(self.stream)

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
        now = self._clock()
        while self._in_flight and now - next(iter(self._in_flight.values())) > _SILENT_S:
            self._in_flight.popitem(last=False)
        behind = len(self._in_flight) >= MOST_IN_FLIGHT or self.waiting >= 2 * MOST_IN_FLIGHT
        self._due.append((now, behind))
        if self._adapt(now):
            return
        if behind:
            self.dropped += 1
            self._needs_key = self._needs_key or self.codec == "h264"
            return
        if self._needs_key and not picture.key:
            self.dropped += 1
            self._ask()
            return
        self._needs_key = False
        config = f"{picture.codec} {picture.size} {self.level}"
        if picture.key and config != self._config:
            self._config = config
            height, width = picture.size
            about = {"codec": picture.codec, "width": width, "height": height, "level": self.level, "levels": LEVELS}
            self.say({"type": "video", **about})
        self._in_flight[number] = now
        self.sent += 1
        self._outgoing.put_nowait(data)

    def drawn(self, number: int) -> bool:
        """The page drew a picture; whether it was on its way. Those before it are no longer waited for."""
        if number not in self._in_flight:
            return False
        if number not in self._older:
            self._drawn.append(self._clock())
            self._to_judge -= 1
        while self._in_flight:
            first, _ = self._in_flight.popitem(last=False)
            if first == number:
                break
        return True

    def _adapt(self, now: float) -> bool:
        """Let the quality follow the link; whether another stream is to be sent from now on."""
        while self._due[0][0] < now - _DUE_S:
            self._due.popleft()
        while self._drawn and self._drawn[0] < now - _DRAWN_S:
            self._drawn.popleft()
        behind = sum(skipped for _, skipped in self._due) / len(self._due)
        before = self.level
        drawn = 0.0 if self._to_judge > 0 else len(self._drawn) / _DRAWN_S
        self._quality = choose_quality(self._quality, behind, drawn, now, LEVELS)
        if self.level == before:
            return False
        self._older = set(self._in_flight)
        self._to_judge = 2 * MOST_IN_FLIGHT
        self._drawn.clear()
        self._needs_key = True
        self._ask()
        self._on_change()
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
        self._encoders: dict[Stream, H264Encoder | JpegEncoder] = {}
        self._wanted: frozenset[Stream] = frozenset()
        self._key_wanted: set[Stream] = set()
        self._captured: OrderedDict[int, float] = OrderedDict()
        self._number = 0
        self._thread = threading.Thread(target=self._work, name="page encoder", daemon=True)
        self._thread.start()

    def give(self, item: Captured) -> None:
        """Leave a picture; called by the session's thread."""
        if self._wanted:
            self._queue.put(item)

    def update(self) -> None:
        """Note which streams pages take; called in the event loop after each change."""
        self._wanted = frozenset(viewer.stream for viewer in self.viewers if viewer.stream is not None)

    def ask_for_key(self, stream: Stream) -> None:
        """Make the next picture of a stream a key frame."""
        self._key_wanted.add(stream)

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
            wanted = self._wanted
            for stream in [each for each in self._encoders if each[1] and each not in wanted]:
                del self._encoders[stream]  # of the best quality it stays, for the next page
            for stream in wanted:
                try:
                    self._encode(stream, item, self._number)
                except (EngineError, OSError, ValueError):  # a picture that cannot be encoded is not shown
                    self._encoders.pop(stream, None)

    def _encode(self, stream: Stream, item: Captured, number: int) -> None:
        size = page_size(item.frame.size)
        encoder = self._encoders.get(stream)
        if encoder is None or encoder.size != size:
            encoder = self._encoders[stream] = _encoder(stream, size)
        if stream in self._key_wanted:
            self._key_wanted.discard(stream)
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
            _CODES[stream[0]],
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
        self._loop.call_soon_threadsafe(self._deliver, stream, picture, number, header + picture.data)

    def _deliver(self, stream: Stream, picture: Encoded, number: int, data: bytes) -> None:
        for viewer in list(self.viewers):
            if viewer.stream == stream:
                viewer.show(picture, number, data)


def _encoder(stream: Stream, size: tuple[int, int]) -> H264Encoder | JpegEncoder:
    codec, level = stream
    quality = QUALITIES[codec][level]
    return H264Encoder(size, crf=quality) if codec == "h264" else JpegEncoder(size, quality=quality)


def page_size(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width) in which pages get pictures of ``size``: even, and at most :data:`MOST_WIDTH` wide."""
    height, width = size
    if width > MOST_WIDTH:
        height, width = round(height * MOST_WIDTH / width), MOST_WIDTH
    return max(2, height - height % 2), max(2, width - width % 2)
