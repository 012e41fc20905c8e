"""Streams of a network: RTSP, MPEG-TS over UDP, HTTP, RTMP."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from types import TracebackType
from urllib.parse import urlsplit

import av

from ...errors import MediaError, OptionError, reason
from ..av_frames import VideoFrame
from ..base import FileInfo, FrameFormat, Notes
from .decoding import FrameMaker, decoded, described

SCHEMES = ("rtsp", "rtsps", "udp", "rtp", "tcp", "http", "https", "rtmp", "srt")
OPEN_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 2.0
"""How long libav waits for data before it gives a stream up."""

_LOW_DELAY = {"fflags": "nobuffer", "flags": "low_delay", "probesize": "200000", "analyzeduration": "500000"}
_BY_SCHEME = {
    "rtsp": {"rtsp_transport": "tcp"},
    "rtsps": {"rtsp_transport": "tcp"},
    "udp": {"fifo_size": "20000", "overrun_nonfatal": "1"},
}
# No local files: a playlist from the network must not read them.
_PROTOCOLS = "rtsp,rtsps,rtp,udp,tcp,tls,http,https,httpproxy,crypto,hls,rtmp,rtmps,srt"


class NetworkSource:
    """Frames of a network stream, as they arrive.

    Iteration ends, or raises, when the stream is lost; a source opened again begins where the stream is then.

    Args:
        url: of a scheme in :data:`SCHEMES`.

    Raises:
        MediaError: nothing answers there, or what answers has no video.
        OptionError: an unknown scheme.
    """

    file: FileInfo | None = None
    frames: int | None = None

    def __init__(self, url: str) -> None:
        self.url = url
        self.notes = Notes()
        scheme = urlsplit(url).scheme.lower()
        if scheme not in SCHEMES:
            raise OptionError(f"{url}: unknown scheme '{scheme}'; expected one of {', '.join(SCHEMES)}.")
        shown = without_password(url)
        options = {**_LOW_DELAY, **_BY_SCHEME.get(scheme, {}), "protocol_whitelist": _PROTOCOLS}
        try:
            self._container = av.open(url, "r", options=options, timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S))
        except av.error.ProtocolNotFoundError as error:
            raise MediaError(f"{shown}: this build of PyAV cannot read {scheme}; use rtsp, udp or http.") from error
        except (av.FFmpegError, OSError) as error:
            raise MediaError(
                f"{shown} cannot be opened ({reason(error)}). Check the address, and that the stream is running."
            ) from error
        try:
            if not self._container.streams.video:
                raise MediaError(f"{shown} has no video.")
            self._stream = self._container.streams.video[0]
            self._stream.codec_context.thread_count = 1  # frame threads would each hold a picture back
            self._make = FrameMaker(self._stream.codec_context.codec.name)
            duration = self._container.duration
            self.live = not duration or duration < 0
            self._pictures = decoded(self._container, self._stream)
            first = self._next()
            if first is None:
                raise MediaError(f"{shown} was opened, but no picture of it can be decoded.")
            self._first: VideoFrame | None = first
            rate = self._stream.average_rate or self._stream.guessed_rate or None
            self.format: FrameFormat = described(first, rate, self._stream.time_base or Fraction(1, 90_000))
        except BaseException:
            self._container.close()
            raise

    def _next(self) -> VideoFrame | None:
        try:
            picture = next(self._pictures, None)
        except (av.FFmpegError, OSError) as error:
            raise MediaError(f"{without_password(self.url)} was lost ({reason(error)}).") from error
        if picture is None:
            return None
        time = None if picture.pts is None or picture.time_base is None else picture.pts * picture.time_base
        return self._make(picture, time)

    def __iter__(self) -> Iterator[VideoFrame]:
        """Frames until the stream is lost."""
        first, self._first = self._first, None
        yield from chain(() if first is None else (first,), iter(self._next, None))

    def close(self) -> None:
        """Close the connection."""
        with contextlib.suppress(av.FFmpegError):
            self._container.close()

    def __enter__(self) -> NetworkSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def without_password(url: str) -> str:
    """The address as it may be shown and logged."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.hostname or ""
    place = f"{parts.username or ''}:***@{host}" + (f":{parts.port}" if parts.port else "")
    return parts._replace(netloc=place).geturl()
