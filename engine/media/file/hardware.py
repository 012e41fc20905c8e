"""Decoding and encoding on an NVIDIA GPU: NVDEC and NVENC, as libav offers them.

A list of decoders names what libav was built with, not what the machine has: a driver may be missing or without its
video libraries, data-centre GPUs (A100, H100) have no encoder, and neither takes every size and profile. So the answer
comes from trying: :func:`encoder_problem` encodes a few pictures just as they will be, and
:class:`~ganlens.engine.media.VideoSource` decodes the first picture of its file.

Pictures are in the GPU's memory, in the process's primary context, which the networks use too. Who reads them in host
memory downloads them, whole; NVENC takes those that are there as they are, and libav uploads the others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Literal, NamedTuple

import av
import av.logging
from av.codec import Codec, CodecContext
from av.codec.hwaccel import HWAccel, HWDeviceType

from ...errors import reason
from ..av_frames import SHARES_MEMORY, stored_format
from .codecs import NVENC

DecoderName = Literal["auto", "nvdec", "cpu"]
EncoderName = Literal["auto", "nvenc", "cpu"]

OF_NVDEC = ("nv12", "p010le", "p016le", "nv16", "p210le", "p216le")
"""Pixel formats of pictures from NVDEC, in either memory. Software decoders of the same codecs give none of these: a
picture's format tells which of the two decoded it. 4:4:4 is the same from both, and counts as not decoded by NVDEC."""

TRIED = 4
"""Pictures by which an encoder is tried."""

DRIVER_CURE = "Install NVIDIA's driver (see nvidia-smi)"


class Coder(NamedTuple):
    """What decodes or encodes a video, and why not the GPU."""

    name: str
    """As in ``--decoder`` and ``--encoder``: "nvdec", "nvenc" or "cpu"."""
    line: str = ""
    """For the user; empty where there was no choice."""


class Problem(NamedTuple):
    """Why the GPU cannot do it."""

    reason: str
    cure: str = ""

    def __str__(self) -> str:
        return f"{self.reason}. {self.cure}." if self.cure else f"{self.reason}."


_MEANINGS = (
    (("libcuda", "dynamically load CUDA"), Problem("no NVIDIA driver is installed", DRIVER_CURE)),
    (
        ("nvcuvid", "libnvidia-encode"),
        Problem(
            "the driver's video libraries are not installed",
            "Install the whole driver; a container needs NVIDIA_DRIVER_CAPABILITIES=video,compute,utility",
        ),
    ),
    (
        ("unsupported device", "No capable devices", "no encode device"),
        Problem("this GPU has no encoder, as data-centre GPUs have none"),
    ),
    (("API version",), Problem("the NVIDIA driver is too old for this build of FFmpeg", "Install a newer driver")),
)
"""Words of libav, and what they mean; of several, the first here is the cause."""


def cuda(device: int = 0) -> HWAccel:
    """The GPU, for :func:`av.open`; pictures that it refuses are decoded in software, and show that by their format.

    In the process's primary context, which the networks and other libraries use too; a context of libav's own would
    take some hundred MiB, and pointers of one would mean nothing in the other.

    Args:
        device: which GPU.
    """
    kept: dict[str, Any] = {"is_hw_owned": True} if SHARES_MEMORY else {}
    return HWAccel("cuda", str(device), allow_software_fallback=True, options={"primary_ctx": "1"}, **kept)


def nvdec_problem(codec: Codec, device: int = 0) -> Problem | None:
    """Why NVDEC decodes nothing of this codec here, as far as shows without a picture; None if nothing prevents it.

    Args:
        codec: the decoder that libav would take.
        device: which GPU.
    """
    if HWDeviceType.cuda not in [way.device_type for way in codec.hardware_configs or () if way.is_supported]:
        return Problem(f"{codec.name} is not supported by NVDEC")
    with complaints() as said:
        try:
            cuda(device).create(codec)
        except (av.FFmpegError, NotImplementedError, ValueError) as error:
            return explain(said, error)
    return None


def nvdec_refusal(said: list[Said], error: BaseException | None, picture: av.VideoFrame | None) -> Problem | None:
    """Why NVDEC did not decode a picture that was asked of it; None: it did.

    Args:
        said, error: what libav said and raised meanwhile.
        picture: the decoded one.
    """
    if picture is not None and stored_format(picture) in OF_NVDEC:
        return None
    if picture is not None and not said:
        return Problem(f"NVDEC does not decode this pixel format ({stored_format(picture)})")
    return explain(said, error)


def encoder_problem(
    library: str, size: tuple[int, int], pixel_format: str, options: dict[str, str], accelerator: HWAccel | None = None
) -> Problem | None:
    """Why an encoder does not encode such pictures here; None: it just did.

    Args:
        library: libav's name of it, for example "h264_nvenc".
        size: (height, width).
        pixel_format: libav's name.
        options: of the encoder.
        accelerator: in whose memory it takes them; None: in the host's.
    """
    with complaints() as said:
        try:
            packets = len(_encoded(library, size, pixel_format, options, accelerator))
        except (av.FFmpegError, NotImplementedError, ValueError) as error:
            return explain(said, error)
    return None if packets == TRIED else Problem(f"{library} gave {packets} pictures for {TRIED}")


def decoder_problem() -> Problem | None:
    """Why NVDEC does not decode H.264 here; None: it just did."""
    decoder = Codec("h264", "r")
    problem = nvdec_problem(decoder)
    if problem is not None:
        return problem
    try:
        packets = _encoded("libx264", (256, 256), "yuv420p", {"preset": "ultrafast"})
    except (av.FFmpegError, ValueError) as error:
        return Problem(f"it cannot be tested: libx264 failed ({reason(error)})")
    with complaints() as said:
        try:
            context: Any = CodecContext.create(decoder, "r", cuda())
            context.thread_type = "NONE"
            pictures = [picture for packet in [*packets, None] for picture in context.decode(packet)]
        except av.FFmpegError as error:
            return explain(said, error)
        return nvdec_refusal(said, None, pictures[0] if pictures else None)


def h264_encoder_problem() -> Problem | None:
    """Why NVENC does not encode H.264 here; None: it just did."""
    encoder = NVENC["h264"]
    options = encoder.options(None, "veryfast")
    return encoder_problem(encoder.library, (256, 256), "nv12", options, encodes_there(encoder.library))


def encodes_there(library: str, device: int = 0) -> HWAccel | None:
    """What an encoder is opened with to take pictures in the GPU's memory; libav then uploads others.

    Args:
        library: libav's name of the encoder.
        device: which GPU.

    Returns:
        None: this encoder, or this PyAV, takes pictures in host memory alone.
    """
    ways = Codec(library, "w").hardware_configs or () if SHARES_MEMORY else ()
    if HWDeviceType.cuda not in [way.device_type for way in ways]:
        return None
    return HWAccel("cuda", str(device), options={"primary_ctx": "1"})


def ffmpeg_version() -> str:
    """Versions of the libav libraries shipped with PyAV."""
    return str(av.ffmpeg_version_info)


def _encoded(
    library: str, size: tuple[int, int], pixel_format: str, options: dict[str, str], accelerator: HWAccel | None = None
) -> list[Any]:
    """A few pictures of an encoder, opened as :class:`~ganlens.engine.media.VideoSink` does."""
    context: Any = CodecContext.create(library, "w", accelerator)
    context.height, context.width = size
    context.pix_fmt = pixel_format
    context.framerate, context.time_base = 25, Fraction(1, 25)
    context.options = dict(options)
    packets: list[Any] = []
    for number in range(TRIED):
        picture = av.VideoFrame(size[1], size[0], pixel_format)
        picture.pts, picture.time_base = number, context.time_base
        packets += context.encode(picture)
    return [*packets, *context.encode(None)]


# --- what libav says --------------------------------------------------------------------------------------------------

Said = tuple[int, str, str]
"""Level, who, what."""


@contextlib.contextmanager
def complaints() -> Iterator[list[Said]]:
    """Collects libav's errors of this thread. Otherwise its log stays off, as PyAV advises programs with threads."""
    before = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.ERROR)
    av.logging.set_skip_repeated(False)  # or the same reason would not be heard twice
    try:
        with av.logging.Capture() as said:
            yield said
    finally:
        av.logging.set_level(before[0])
        av.logging.set_skip_repeated(before[1])


def explain(said: list[Said], error: BaseException | None) -> Problem:
    """What libav said, in the user's terms."""
    texts = [text.strip().rstrip(".") for _, _, text in said]
    for words, meaning in _MEANINGS:
        for text in texts:
            if any(word in text for word in words):
                return meaning._replace(reason=f"{meaning.reason} ({text})")
    if texts:
        return Problem(texts[0])
    return Problem("it gave no picture" if error is None else reason(error))
