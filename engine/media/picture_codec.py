"""Single pictures through libav."""

from __future__ import annotations

import contextlib
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

from ..errors import MediaError, reason
from . import limits
from .av_frames import BEST, FramePool, plane_views, rgb_to_yuv
from .file.hardware import complaints
from .file.source import open_input

_IMAGE_FORMATS = {"image2", "mjpeg", "apng"}
_ENCODERS: dict[str, tuple[str, str, dict[str, str]]] = {
    ".png": ("png", "rgb24", {}),
    ".jpg": ("mjpeg", "yuvj444p", {"qmin": "2", "qmax": "2"}),
    ".webp": ("libwebp", "yuv420p", {"quality": "92"}),
    ".bmp": ("bmp", "bgr24", {}),
    ".tif": ("tiff", "rgb24", {"compression_algo": "deflate"}),
}
_ENCODERS |= {".jpeg": _ENCODERS[".jpg"], ".tiff": _ENCODERS[".tif"]}

IMAGE_SUFFIXES = tuple(sorted(_ENCODERS))


def decode_still(path: Path, notes: list[str], largest: int | None = None) -> NDArray[np.uint8]:
    """The picture of a file as stored, (H, W, 3) uint8 RGB; ``notes`` gets what was lost.

    Raises:
        MediaError: the file is not a picture, or is damaged.
    """
    limits.check_file(path)
    if path.is_file() and _is_animated_webp(path):  # only PyAV 19 has a decoder
        raise MediaError(f"{path} is an animated WebP, which is not read here. Convert it to an animated PNG or GIF.")
    with open_input(path, "picture") as container:
        name = container.format.name
        if not (name.endswith("_pipe") or name in _IMAGE_FORMATS) or not container.streams.video:
            raise MediaError(_not_a_picture(path, name))
        context = container.streams.video[0].codec_context
        context.thread_count = 1
        if context.codec.name == "mjpeg":  # whose decoder paints what is missing from a cut file grey
            context.options = {"err_detect": "explode"}
        limits.check_decoder(path, context.codec.name)
        limits.check_picture(path, context.width, context.height, largest)
        if context.codec.name == "tiff":
            _check_compression(path)
        try:
            with complaints() as said:
                picture = next(container.decode(video=0), None)
        except av.FFmpegError as error:
            raise MediaError(f"{path} is damaged: it cannot be decoded ({reason(error)}).") from error
    if picture is None or picture.is_corrupt:
        raise MediaError(f"{path} is damaged or cut off: no whole picture could be decoded.")
    stored = picture.format
    transparent = context.codec.name != "mjpeg" and _is_transparent(picture)  # what JPEG calls so is the K of CMYK
    if transparent:
        notes.append(f"{path.name}: the alpha channel is dropped")
    if any(component.bits > 8 for component in stored.components):
        notes.append(f"{path.name}: {max(c.bits for c in stored.components)} bits are rounded to 8")
    rgb = picture
    if stored.name != "rgb24":
        rgb = VideoReformatter().reformat(
            picture, format="rgb24", dst_color_range=ColorRange.JPEG, interpolation=BEST, threads=1
        )
    pixels = np.ascontiguousarray(plane_views(rgb, "rgb24")[0])
    if said and (pixels == pixels[0, 0]).all():  # decoders return an empty picture where they lack a compression
        raise MediaError(f"{path} cannot be decoded ({said[0][2].strip().rstrip('.')}). Convert it to PNG first.")
    return pixels


def _check_compression(path: Path) -> None:
    """Refuse a TIFF file whose compression libav lacks: it gives an empty picture for it, and no error."""
    data = path.read_bytes()
    order = "<" if data[:2] == b"II" else ">"
    with contextlib.suppress(struct.error):
        (directory,) = struct.unpack_from(order + "I", data, 4)
        (count,) = struct.unpack_from(order + "H", data, directory)
        for index in range(count):
            tag, _, _, value = struct.unpack_from(order + "HHIH", data, directory + 2 + 12 * index)
            if tag == 259 and value not in _TIFF_COMPRESSIONS:
                kind = {6: "JPEG", 7: "JPEG", 34712: "JPEG 2000", 50000: "Zstandard", 50001: "WebP"}.get(
                    value, f"kind {value}"
                )
                raise MediaError(
                    f"{path} is a TIFF with {kind} compression, which is not read here. Convert it to PNG first."
                )


_TIFF_COMPRESSIONS = (1, 2, 3, 4, 5, 8, 32773, 32946, 34925)
"""None, fax, LZW, Deflate, PackBits and LZMA."""


def _is_transparent(picture: av.VideoFrame) -> bool:
    """Whether a picture has pixels that are not opaque."""
    if not picture.format.has_palette and not any(component.is_alpha for component in picture.format.components):
        return False
    rgba = VideoReformatter().reformat(picture, format="rgba", threads=1)
    return bool((rgba.to_ndarray()[..., 3] < 255).any())


def _not_a_picture(path: Path, name: str) -> str:
    head = path.open("rb").read(16)
    kinds = "PNG, JPEG, WebP, BMP or TIFF"
    if head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1"):
        return f"{path} is an AVIF or HEIC picture, which is not read here. Convert it to {kinds} first."
    if name == "gif":
        return f"{path} is a GIF. Convert it to {kinds}, or give it with --video if it is animated."
    return f"{path} is not a picture but {name}; a video is translated with --video."


def _is_animated_webp(path: Path) -> bool:
    """Whether the extended header of a WebP file has its animation flag (WebP container specification)."""
    head = b""
    with contextlib.suppress(OSError), path.open("rb") as file:
        head = file.read(21)
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and bool(head[20:] and head[20] & 0x02)


def encode_still(pixels: NDArray[np.uint8], suffix: str) -> bytes:
    """The content of an image file of the kind that ``suffix`` names; ``pixels`` are (H, W, 3) uint8 RGB."""
    library, format, options = _ENCODERS[suffix]
    height, width = pixels.shape[:2]
    picture = FramePool(width, height, "rgb24").take()
    np.copyto(plane_views(picture, "rgb24")[0], pixels)
    reformatter = VideoReformatter()
    if format.startswith("yuv"):
        picture = rgb_to_yuv(
            reformatter, picture, format, matrix=Colorspace.ITU601, full_range=format.startswith("yuvj")
        )
    elif format != "rgb24":
        picture = reformatter.reformat(picture, format=format, threads=1)
    context = av.CodecContext.create(library, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = width, height, format
    context.time_base = Fraction(1, 25)
    context.thread_count = 1
    context.options = options
    picture.pts = 0
    packets = [*context.encode(picture), *context.encode(None)]
    return b"".join(bytes(packet) for packet in packets)
