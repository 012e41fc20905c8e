"""A network stream to send to: MPEG-TS over UDP or TCP."""

from __future__ import annotations

import contextlib
import time
from fractions import Fraction
from types import TracebackType

import av

from ...errors import MediaError, reason
from ...pixels.frame import Frame
from ..base import FileInfo, FrameFormat, FrameSource, Notes
from .encoding import H264Encoder

_TICK = Fraction(1, 90_000)


class StreamSink:
    """H.264 in MPEG-TS to a network address; players join at the next key frame, at most a second later.

    Args:
        url: "udp://HOST:PORT" or "tcp://HOST:PORT".
        format: size and rate of the frames; frames of another size are scaled to it.
        origin: unused.

    Raises:
        MediaError: the address cannot be used.
    """

    def __init__(self, url: str, format: FrameFormat, *, origin: FrameSource | FileInfo | None = None) -> None:
        self.notes = Notes()
        self.url = url
        address = url
        if url.startswith("udp:") and "pkt_size" not in url:
            address += ("&" if "?" in url else "?") + "pkt_size=1316"  # seven MPEG-TS packets: what Ethernet carries
        try:
            self._container = av.open(address, "w", format="mpegts", options={"flush_packets": "1"}, timeout=5.0)
            rate = format.rate or Fraction(30)
            stream = self._container.add_stream("libx264", rate=rate)
            assert isinstance(stream, av.VideoStream)
            self._stream = stream
            self._encoder = H264Encoder(format.size, rate, key_every_s=1.0, context=stream.codec_context)
            self._container.start_encoding()
        except (av.FFmpegError, OSError, ValueError) as error:
            raise MediaError(f"{url} cannot be sent to ({reason(error)}). Check the address.") from error
        self._began: float | None = None
        self._last = -1

    def write(self, frame: Frame) -> None:
        """Send a frame; its time is that of the call."""
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        pts = max(self._last + 1, round((now - self._began) / _TICK))
        self._last = pts
        try:
            for packet in self._encoder.packets(frame, pts):
                packet.stream = self._stream
                self._container.mux(packet)
        except (av.FFmpegError, OSError) as error:
            raise MediaError(f"{self.url} accepts no more data ({reason(error)}).") from error

    def close(self, *, complete: bool = True) -> None:
        """End the stream."""
        with contextlib.suppress(av.FFmpegError, OSError):
            self._container.close()

    def abort(self) -> None:
        """End the stream."""
        self.close()

    def __enter__(self) -> StreamSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
