"""Image files: read upright as RGB, written whole or not at all, and listed in natural order."""

from __future__ import annotations

import glob
import os
import re
import struct
from pathlib import Path

import numpy as np

from ..errors import MediaError, OptionError, reason
from ..files import cannot_write, read_file, replace_file
from ..pixels.frame import Frame
from . import limits
from .av_frames import Orientation
from .color_profile import read_profile
from .picture_codec import IMAGE_SUFFIXES, decode_still, encode_still

__all__ = ["IMAGE_SUFFIXES", "check_target", "list_images", "read_image", "write_image"]

_ORIENTATION_TAG = 0x0112
# EXIF 2.3, "Orientation": position of the stored rows and columns in the upright picture.
_EXIF_ORIENTATIONS = {
    2: Orientation(False, False, True),
    3: Orientation(False, True, True),
    4: Orientation(False, True, False),
    5: Orientation(True, False, False),
    6: Orientation(True, False, True),
    7: Orientation(True, True, True),
    8: Orientation(True, True, False),
}


def read_image(path: str | os.PathLike[str], notes: list[str] | None = None, *, largest: int | None = None) -> Frame:
    """Read a picture as an RGB frame, turned as its EXIF orientation says.

    Grey and palette pictures become RGB, 16 bit becomes 8, alpha is dropped.

    Args:
        path: a PNG, JPEG, WebP, BMP or TIFF file.
        notes: gets a sentence for each loss.
        largest: pixels above which it is refused; None: :data:`~.picture_codec.LARGEST`, or as the environment says.

    Raises:
        MediaError: missing, empty, damaged, too large, or not a picture.
    """
    path = Path(path)
    notes = [] if notes is None else notes
    pixels = decode_still(path, notes, largest)
    data = _content(path)
    profile = read_profile(data)
    if profile is not None and not profile.is_srgb:
        if profile.matrix is None:
            notes.append(f"{path.name}: the colour profile '{profile.name}' is not applied; colours are taken for sRGB")
        else:
            pixels = profile.to_srgb(pixels)
            notes.append(f"{path.name}: converted from the colour profile '{profile.name}' to sRGB")
    orientation = _EXIF_ORIENTATIONS.get(exif_orientation(data))
    if orientation is not None:
        pixels = np.ascontiguousarray(orientation.apply(pixels))
    return Frame.from_rgb(pixels)


def _content(path: Path) -> bytes:
    """A picture's file, for what libav does not hand on."""
    try:
        return read_file(path, most=limits.LARGEST_FILE)
    except OSError as error:
        raise MediaError(f"{path} cannot be read: {reason(error)}.") from error


def write_image(path: str | os.PathLike[str], frame: Frame, *, overwrite: bool = False) -> None:
    """Write an RGB frame as an image file of the kind that the suffix names.

    Raises:
        OptionError: unknown suffix.
        MediaError: the file exists, or cannot be written; an existing file stays as it was.
    """
    path = Path(path)
    check_target(path, overwrite=overwrite)
    if frame.format != "rgb24":
        raise OptionError(f"got a frame of pixel format {frame.format}; images are written from rgb24")
    content = encode_still(frame.planes[0], path.suffix.lower())
    try:
        replace_file(path, content, overwrite=overwrite)
    except OSError as error:
        raise cannot_write(path, error) from error


def check_target(path: Path, *, overwrite: bool, parents: bool = False) -> None:
    """Refuse a name that :func:`write_image` would refuse, before there is a picture to write.

    Args:
        parents: missing folders will be made.

    Raises:
        OptionError: unknown suffix.
        MediaError: the file exists, is a folder, or its folder does not exist.
    """
    if path.is_dir():
        raise MediaError(f"{path} is a folder; expected the name of a file to write.")
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise OptionError(
            f"{path}: cannot tell the image format from the suffix '{path.suffix}'; "
            f"expected one of {', '.join(IMAGE_SUFFIXES)}."
        )
    if path.exists() and not overwrite:
        raise MediaError(f"{path} exists; pass -y to overwrite it.")
    if not parents and not path.absolute().parent.is_dir():
        raise MediaError(f"{path} cannot be written: the folder {path.parent} does not exist; create it first.")


def list_images(folder_or_pattern: str | os.PathLike[str]) -> list[Path]:
    """The image files in a folder, or those that a pattern such as ``shots/*.png`` matches, in natural order.

    Natural: ``frame2.png`` comes before ``frame10.png``.

    Raises:
        MediaError: there is none.
    """
    text = os.fspath(folder_or_pattern)
    folder = Path(text)
    found = folder.iterdir() if folder.is_dir() else (Path(name) for name in glob.glob(text, recursive=True))
    images = [path for path in found if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    if not images:
        raise MediaError(f"{text}: no pictures there; expected files that end in {', '.join(IMAGE_SUFFIXES)}.")
    return sorted(images, key=natural)


def natural(path: str | Path) -> list[tuple[int, int, str]]:
    """A sort key by which ``frame2`` comes before ``frame10``."""
    parts = re.split(r"(\d+)", str(path))
    return [(0, int(part), "") if part.isdigit() else (1, 0, part.casefold()) for part in parts]


def exif_orientation(data: bytes) -> int:
    """The EXIF orientation (1 to 8) of an image file's content; 1 where there is none.

    Read here because libav hands on rotations, but no mirroring.
    """
    for tiff in _tiff_headers(data):
        try:
            return _orientation_of(tiff)
        except struct.error:  # cut off or damaged: as if it had none
            continue
    return 1


def _tiff_headers(data: bytes) -> list[bytes]:
    """The parts of a JPEG, PNG, WebP or TIFF file that may hold EXIF fields."""
    if data[:2] == b"\xff\xd8":
        found, at = [], 2
        while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:  # up to the picture itself
            size = int.from_bytes(data[at + 2 : at + 4], "big")
            if data[at + 1] == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
                found.append(data[at + 10 : at + 2 + size])
            at += 2 + size
        return found
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _chunks(data, 8, b"eXIf", ">I4s", order=(0, 1), tail=4)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return [part.removeprefix(b"Exif\0\0") for part in _chunks(data, 12, b"EXIF", "<4sI", order=(1, 0), tail=0)]
    return [data] if data[:4] in (b"II*\0", b"MM\0*") else []


def _chunks(data: bytes, at: int, wanted: bytes, header: str, *, order: tuple[int, int], tail: int) -> list[bytes]:
    """Chunks named ``wanted`` of a file made of headers (size and name in ``order``), content and ``tail`` bytes."""
    found = []
    while at + 8 <= len(data):
        fields = struct.unpack_from(header, data, at)
        size, name = fields[order[0]], fields[order[1]]
        if name == wanted:
            found.append(data[at + 8 : at + 8 + size])
        at += 8 + size + tail
        if tail == 0:
            at += size % 2  # RIFF pads chunks to even sizes
    return found


def _orientation_of(tiff: bytes) -> int:
    order = "<" if tiff[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(order + "I", tiff, 4)
    (count,) = struct.unpack_from(order + "H", tiff, directory)
    for index in range(count):
        tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, directory + 2 + 12 * index)
        if tag == _ORIENTATION_TAG:
            return int(value) if 1 <= value <= 8 else 1
    return 1
