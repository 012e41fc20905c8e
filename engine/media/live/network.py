"""Streams of a network: RTSP, MPEG-TS over UDP, HTTP, RTMP."""

from __future__ import annotations

from urllib.parse import urlsplit

import av

from ...errors import MediaError, OptionError, reason
from ..libav import open_to_read
from .decoding import LiveInput

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


class NetworkSource(LiveInput):
    """Frames of a network stream, as they arrive.

    Iteration ends, or raises, when the stream is lost; a source opened again begins where the stream is then.

    Args:
        url: of a scheme in :data:`SCHEMES`.

    Raises:
        MediaError: nothing answers there, or what answers has no video.
        OptionError: an unknown scheme.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        scheme = urlsplit(url).scheme.lower()
        if scheme not in SCHEMES:
            raise OptionError(f"{url}: unknown scheme '{scheme}'; expected one of {', '.join(SCHEMES)}.")
        shown = without_password(url)
        options = {**_LOW_DELAY, **_BY_SCHEME.get(scheme, {}), "protocol_whitelist": _PROTOCOLS}
        try:
            container = open_to_read(url, options=options, timeout=(OPEN_TIMEOUT_S, READ_TIMEOUT_S))
        except av.error.ProtocolNotFoundError as error:
            raise MediaError(f"{shown}: this build of PyAV cannot read {scheme}; use rtsp, udp or http.") from error
        except (av.FFmpegError, OSError) as error:
            raise MediaError(
                f"{shown} cannot be opened ({reason(error)}). Check the address, and that the stream is running."
            ) from error
        duration = container.duration
        self.live = not duration or duration < 0
        super().__init__(container, shown)


def without_password(url: str) -> str:
    """The address as it may be shown and logged."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.hostname or ""
    place = f"{parts.username or ''}:***@{host}" + (f":{parts.port}" if parts.port else "")
    return parts._replace(netloc=place).geturl()
