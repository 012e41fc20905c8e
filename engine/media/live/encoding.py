"""Encoders without delay: one picture in, its bytes out at once."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
from av.video.frame import PictureType

from ...pixels.frame import Frame
from .conversion import Converter

TICK = Fraction(1, 90_000)


@dataclass(frozen=True)
class Encoded:
    """One picture as bytes."""

    data: bytes
    key: bool
    """Whether a decoder can begin here."""
    codec: str
    """"jpeg", or the RFC 6381 name of an H.264 stream, such as "avc1.42c01f"."""
    size: tuple[int, int]
    """(height, width)."""


class H264Encoder:
    """H.264 without B-frames or look-ahead, Annex B; parameter sets before every key frame.

    Args:
        size: (height, width), made even; frames of another size are scaled to it.
        rate: frames per second, about.
        crf: constant quality, lower is better.
        key_every_s: seconds from one key frame to the next; a key frame can be asked for at any time.
        context: of a container's stream; None: one of the encoder's own.
    """

    def __init__(
        self,
        size: tuple[int, int],
        rate: Fraction | None = None,
        *,
        crf: int = 23,
        key_every_s: float = 10.0,
        context: av.VideoCodecContext | None = None,
    ) -> None:
        self.size = size[0] - size[0] % 2, size[1] - size[1] % 2
        rate = rate or Fraction(30)
        matrix = "bt601" if size[0] < 720 else "bt709"
        self._convert = Converter("yuv420p", self.size, matrix=matrix, full_range=False)
        if context is None:
            created = av.CodecContext.create("libx264", "w")
            assert isinstance(created, av.VideoCodecContext)
            context = created
        context.height, context.width = self.size
        context.pix_fmt = "yuv420p"
        context.time_base = TICK
        context.framerate = rate
        context.thread_count = 1
        context.colorspace = context.color_primaries = context.color_trc = 6 if matrix == "bt601" else 1
        context.color_range = 1
        context.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "profile": "baseline",
            "crf": str(crf),
            "g": str(max(1, round(float(rate) * key_every_s))),
        }
        self.context = context
        self._codec = ""
        self._key = True
        self._pts = 0

    def force_key(self) -> None:
        """Make the next picture one that a decoder can begin with."""
        self._key = True

    def packets(self, frame: Frame, pts: int) -> list[av.Packet[av.VideoStream]]:
        """The packets of a frame; ``pts`` in 1/90000 s, rising."""
        picture = self._convert(frame)
        picture.pts, picture.time_base = pts, TICK
        picture.pict_type = PictureType.I if self._key else PictureType.NONE
        self._key = False
        return self.context.encode(picture)

    def encode(self, frame: Frame) -> Encoded:
        """One frame."""
        self._pts += 3000
        packets = self.packets(frame, self._pts)
        data = b"".join(bytes(packet) for packet in packets)
        key = any(packet.is_keyframe for packet in packets)
        if key:
            self._codec = avc_name(data)
        return Encoded(data, key, self._codec, self.size)


class JpegEncoder:
    """JPEG pictures, each whole in itself.

    Args:
        size: (height, width); frames of another size are scaled to it.
        quality: libav's quantiser, 2 (best) to 31.
    """

    def __init__(self, size: tuple[int, int], *, quality: int = 4) -> None:
        self.size = size[0] - size[0] % 2, size[1] - size[1] % 2
        self._convert = Converter("yuvj420p", self.size, matrix="bt601", full_range=True)
        context = av.CodecContext.create("mjpeg", "w")
        assert isinstance(context, av.VideoCodecContext)
        context.height, context.width = self.size
        context.pix_fmt = "yuvj420p"
        context.color_range = 2
        context.time_base = TICK
        context.thread_count = 1
        context.options = {"qmin": str(quality), "qmax": str(quality), "huffman": "default"}
        self._context = context
        self._pts = 0

    def force_key(self) -> None:
        """Every picture is one."""

    def encode(self, frame: Frame) -> Encoded:
        """One frame."""
        self._pts += 3000
        picture = self._convert(frame)
        picture.pts, picture.time_base, picture.pict_type = self._pts, TICK, PictureType.NONE
        data = b"".join(bytes(packet) for packet in self._context.encode(picture))
        return Encoded(data, True, "jpeg", self.size)


def avc_name(data: bytes) -> str:
    """The RFC 6381 name of an H.264 stream in Annex B, by its sequence parameter set; "" without one."""
    at = 0
    while (at := data.find(b"\0\0\1", at)) >= 0:
        if at + 6 < len(data) and data[at + 3] & 0x1F == 7:
            return "avc1." + data[at + 4 : at + 7].hex()
        at += 3
    return ""
