"""The camera of a browser: encoded pictures that a page sends, decoded here."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import av

from ...errors import OptionError
from ..av_frames import VideoFrame
from ..base import FileInfo, FrameFormat, Notes
from .decoding import FrameMaker

CODECS = ("h264", "jpeg", "vp8")
_LIBRARY = {"h264": "h264", "jpeg": "mjpeg", "vp8": "vp8"}
_MOST_WAITING = 12
"""Encoded pictures that wait for the decoder; beyond it they are dropped up to the next key frame."""
_MOST_PIXELS = 3840 * 2160


@dataclass(frozen=True)
class _Upload:
    codec: str
    data: bytes
    key: bool
    time: Fraction


class BrowserSource:
    """Frames of the camera of one page at a time.

    Args:
        uri: "browser:".
        size: (height, width) and
        rate: frames per second requested from the page.
    """

    live = True
    file: FileInfo | None = None
    frames: int | None = None

    def __init__(
        self, uri: str = "browser:", *, size: tuple[int, int] | None = None, rate: float | None = None
    ) -> None:
        if uri != "browser:":
            raise OptionError(f"{uri}: expected browser: alone.")
        self.notes = Notes()
        self.format = FrameFormat(size or (480, 640), "yuv420p", Fraction(str(rate or 30)), Fraction(1, 1_000_000))
        self.dropped = 0
        """Encoded pictures that were dropped because the decoder could not follow."""
        self._owner: object = None
        self._ask_for_key: Callable[[], None] = lambda: None
        self._waiting: deque[_Upload] = deque()
        self._needs_key = True
        self._closed = False
        self._changed = threading.Condition()

    def attach(self, owner: object, ask_for_key: Callable[[], None], rate: float | None = None) -> bool:
        """Take the pictures of one page from now on; False while another page has the camera.

        Args:
            ask_for_key: called, by any thread, when decoding must begin anew.
            rate: frames per second that the camera gives; None if the browser does not tell.
        """
        with self._changed:
            if self._owner is not None and self._owner is not owner:
                return False
            self._owner, self._ask_for_key = owner, ask_for_key
            if rate is not None:
                self.format = replace(self.format, rate=Fraction(str(rate)).limit_denominator(1001))
            self._waiting.clear()
            self._needs_key = True
        return True

    def detach(self, owner: object) -> None:
        """The page was closed, or stopped its camera."""
        with self._changed:
            if self._owner is owner:
                self._owner, self._ask_for_key = None, lambda: None

    @property
    def attached(self) -> bool:
        """Whether a page provides a camera."""
        return self._owner is not None

    def push(self, owner: object, codec: str, data: bytes, *, key: bool, time: Fraction) -> None:
        """One encoded picture of the page that is attached; of others it is ignored."""
        with self._changed:
            if owner is not self._owner or codec not in CODECS or self._closed:
                return
            if len(self._waiting) >= _MOST_WAITING:
                self.dropped += len(self._waiting)
                self._waiting.clear()
                self._needs_key = codec != "jpeg"
            if self._needs_key and not key:
                self.dropped += 1
                ask = self._ask_for_key
            else:
                self._needs_key = False
                self._waiting.append(_Upload(codec, data, key, time))
                self._changed.notify_all()
                return
        ask()

    def __iter__(self) -> Iterator[VideoFrame]:
        """Frames, until :meth:`close`."""
        decoder: av.VideoCodecContext | None = None
        made_for: tuple[object, str] | None = None
        make = FrameMaker()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                upload, owner = self._waiting.popleft(), self._owner
            if decoder is None or made_for != (owner, upload.codec):
                decoder, made_for = _decoder(upload.codec), (owner, upload.codec)
                make = FrameMaker(_LIBRARY[upload.codec])
            try:
                pictures = decoder.decode(av.Packet(upload.data))
            except av.FFmpegError:  # garbage, or references that are missing
                decoder = None
                with self._changed:
                    self._needs_key = True
                    ask = self._ask_for_key
                self.notes.add("some pictures of the browser's camera could not be decoded")
                ask()
                continue
            for picture in pictures:
                if picture.width * picture.height <= _MOST_PIXELS:
                    yield make(picture, upload.time)

    def interrupt(self) -> None:
        """End the iteration, from any thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    close = interrupt


def _decoder(codec: str) -> av.VideoCodecContext:
    context = av.CodecContext.create(_LIBRARY[codec], "r")
    assert isinstance(context, av.VideoCodecContext)
    context.thread_count = 1
    context.flags |= av.codec.context.Flags.low_delay
    return context
