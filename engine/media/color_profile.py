"""ICC profiles of pictures (ICC.1:2022): found, named, and matrix profiles converted to sRGB."""

from __future__ import annotations

import contextlib
import struct
import zlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_LONGEST = 1 << 20
_CLASSES = (b"mntr", b"scnr", b"prtr", b"spac")
_SRGB: NDArray[np.float64] = np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
"""XYZ under D50 of the primaries of sRGB, as columns."""


class ColorProfile(NamedTuple):
    """What a profile says."""

    name: str
    matrix: NDArray[np.float64] | None = None
    """XYZ under D50 of its red, green and blue as columns; None for profiles of other kinds (tables, grey, CMYK)."""
    curves: NDArray[np.float64] | None = None
    """(3, 256): the light of each 8-bit value, 0 to 1."""

    @property
    def is_srgb(self) -> bool:
        """Whether conversion would change nothing noticeable."""
        if self.matrix is None or self.curves is None:
            return "srgb" in self.name.lower()
        return bool(np.abs(self.matrix - _SRGB).max() < 0.005 and np.abs(self.curves - _light()).max() < 0.01)

    def to_srgb(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB as sRGB; colours outside are clipped, as players do."""
        assert self.matrix is not None and self.curves is not None
        change = (np.linalg.inv(_SRGB) @ self.matrix).astype(np.float32)
        curves = self.curves.astype(np.float32)
        steps = np.linspace(0, 1, 4097)
        shades = np.rint(255 * np.where(steps <= 0.0031308, 12.92 * steps, 1.055 * steps ** (1 / 2.4) - 0.055))
        converted = np.empty_like(pixels)
        for row in range(0, len(pixels), 64):  # in strips: floats of a whole photo would take gigabytes
            light = np.stack([curves[channel][pixels[row : row + 64, :, channel]] for channel in range(3)], -1)
            light = np.clip(light @ change.T, 0, 1)
            converted[row : row + 64] = shades[np.rint(light * 4096).astype(np.intp)].astype(np.uint8)
        return converted


def read_profile(data: bytes) -> ColorProfile | None:
    """The profile in an image file's content; None where there is none."""
    profile = _find(data)
    if len(profile) < 132 or profile[36:40] != b"acsp":
        return None
    tags: dict[bytes, bytes] = {}
    with contextlib.suppress(struct.error):
        for index in range(min(100, struct.unpack_from(">I", profile, 128)[0])):
            tag, at, size = struct.unpack_from(">4sII", profile, 132 + 12 * index)
            tags[tag] = profile[at : at + size]
    name = _name(tags.get(b"desc", b""))
    try:
        columns = [struct.unpack_from(">3i", tags[tag], 8) for tag in (b"rXYZ", b"gXYZ", b"bXYZ")]
        with np.errstate(all="ignore"):
            curves = [np.nan_to_num(_curve(tags[tag])).clip(0, 1) for tag in (b"rTRC", b"gTRC", b"bTRC")]
    except (KeyError, struct.error, ValueError):
        return ColorProfile(name)
    if profile[16:20] != b"RGB " or b"A2B0" in tags:
        return ColorProfile(name)
    return ColorProfile(name, np.array(columns).T / 65536, np.stack(curves))


def _find(data: bytes) -> bytes:
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        at = data.find(b"iCCP", 8, 1 << 16)
        if at < 0:
            return b""
        size = int.from_bytes(data[at - 4 : at], "big")
        packed = data[at + 4 : at + 4 + size].partition(b"\0")[2][1:]
        with contextlib.suppress(zlib.error):
            return zlib.decompressobj().decompress(packed, _LONGEST)
        return b""
    at = data.find(
        b"acsp"
    )  # in JPEG, WebP and TIFF it is not compressed, perhaps in pieces, of which the first has the header
    if at < 36 or data[at - 24 : at - 20] not in _CLASSES:
        return b""
    return data[at - 36 : at - 36 + min(_LONGEST, int.from_bytes(data[at - 36 : at - 32], "big"))]


def _name(text: bytes) -> str:
    words = ""
    with contextlib.suppress(struct.error, UnicodeDecodeError):
        if text[:4] == b"desc":
            words = text[12 : 12 + struct.unpack_from(">I", text, 8)[0]].decode("latin-1")
        elif text[:4] == b"mluc":
            length, begin = struct.unpack_from(">II", text, 20)
            words = text[begin : begin + length].decode("utf-16-be")
    return "".join(letter for letter in words if letter.isprintable())[:80] or "without a name"


def _curve(tag: bytes) -> NDArray[np.float64]:
    """The light of each 8-bit value.

    Raises:
        ValueError: it is not of a kind that the standard defines.
    """
    x: NDArray[np.float64] = np.linspace(0, 1, 256)
    if tag[:4] == b"curv":
        count = struct.unpack_from(">I", tag, 8)[0]
        if count == 0:
            return x
        if count == 1:
            exponent: float = struct.unpack_from(">H", tag, 12)[0] / 256
            return np.power(x, exponent)
        table = np.frombuffer(tag, ">u2", count, 12) / 65535
        return np.interp(x, np.linspace(0, 1, count), table)
    if tag[:4] == b"para":
        kind = struct.unpack_from(">H", tag, 8)[0]
        counts = (1, 3, 4, 5, 7)
        if kind < len(counts):
            given = [value / 65536 for value in struct.unpack_from(f">{counts[kind]}i", tag, 12)]
            filled: list[float] = [*given, *(1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)[len(given) :]]
            g, a, b, c, d, e, f = filled
            if kind in (1, 2):  # d is where a x + b becomes positive; the third number is an offset of both parts
                e = f = c
                c, d = 0.0, -b / a if a else 0.0
            power = np.maximum(a * x + b, 0) ** g + e
            curve: NDArray[np.float64] = np.clip(np.where(x >= d, power, c * x + f), 0, 1)
            return curve
    raise ValueError(tag[:4])


def _light() -> NDArray[np.float64]:
    x = np.linspace(0, 1, 256)
    light: NDArray[np.float64] = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    return light
