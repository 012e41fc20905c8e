"""What Video4Linux 2 says about its devices, asked by ioctl: names, directions, formats, sizes and rates.

Layouts and numbers are of linux/videodev2.h (Linux 6.1); structures are little-endian as the CPUs that ganlens runs on.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

_CAPABILITY = struct.Struct("16s32s32sIII12x")
_FORMAT = struct.Struct("III32sII12x")
_FRAME_SIZE = struct.Struct("IIIIIIIII8x")
_FRAME_INTERVAL = struct.Struct("IIIIIIIIIII8x")

_CAPTURE, _OUTPUT = 0x1, 0x2
_CAPTURE_PLANES, _OUTPUT_PLANES = 0x1000, 0x2000
_BUFFER_CAPTURE, _BUFFER_OUTPUT, _BUFFER_CAPTURE_PLANES = 1, 2, 9
_DISCRETE = 1
_COMPRESSED = 0x1
_BIG_ENDIAN = 1 << 31
_MOST = 1000
"""Answers asked for at most, should a driver never say that there are no more."""


def _ioctl_number(direction: int, number: int, size: int) -> int:
    return direction << 30 | size << 16 | ord("V") << 8 | number


_QUERYCAP = _ioctl_number(2, 0, _CAPABILITY.size)
_STREAMON = _ioctl_number(1, 18, 4)
_ENUM_FMT = _ioctl_number(3, 2, _FORMAT.size)
_ENUM_FRAMESIZES = _ioctl_number(3, 74, _FRAME_SIZE.size)
_ENUM_FRAMEINTERVALS = _ioctl_number(3, 75, _FRAME_INTERVAL.size)


@dataclass(frozen=True)
class Mode:
    """A picture size of a format, with the rates that the driver names."""

    size: tuple[int, int]
    """(height, width); of a range of sizes, the largest."""
    rates: tuple[Fraction, ...]
    """Frames per second, highest first; of a range of rates, its ends."""
    stepwise: bool = False
    """Whether smaller sizes in steps are possible too."""


@dataclass(frozen=True)
class PixelLayout:
    """A format that a device gives."""

    code: str
    """Four characters, such as "MJPG" or "YUYV"."""
    name: str
    compressed: bool
    modes: tuple[Mode, ...]


@dataclass(frozen=True)
class Device:
    """A Video4Linux device."""

    path: str
    name: str
    driver: str
    capture: bool
    output: bool
    formats: tuple[PixelLayout, ...] = ()

    @property
    def loopback(self) -> bool:
        """Whether it is one of v4l2loopback."""
        return "loopback" in self.driver


def devices(*, with_formats: bool = False) -> list[Device]:
    """All Video4Linux devices that can be asked, by number; without permission a device is left out."""
    if not sys.platform.startswith("linux"):
        return []
    paths = sorted(Path("/dev").glob("video*"), key=lambda path: (len(path.name), path.name))
    found = []
    for path in paths:
        try:
            handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            found.append(_ask(str(path), handle, with_formats))
        except OSError:
            continue
        finally:
            os.close(handle)
    return found


def capture_devices(*, with_formats: bool = False) -> list[Device]:
    """Cameras, by number. A loopback device is one only while a program feeds it."""
    return [device for device in devices(with_formats=with_formats) if device.capture]


def output_devices() -> list[Device]:
    """Devices that a program can feed: virtual cameras."""
    return [device for device in devices() if device.output or device.loopback]


def revive(device: Device) -> None:
    """Let a loopback device that announces nothing be fed again.

    v4l2loopback up to 0.12 with exclusive_caps forgets that it can be fed once a program has done so by write(), as
    libav does. A stream that is started, even in vain, and closed makes it remember.
    """
    if not device.loopback or device.output or device.capture:
        return
    with contextlib.suppress(OSError):
        handle = os.open(device.path, os.O_RDWR | os.O_NONBLOCK)
        try:
            _query(handle, _STREAMON, struct.pack("i", _BUFFER_OUTPUT))
        finally:
            os.close(handle)
    devices()  # the kernel believes what the driver answered last


def _ask(path: str, handle: int, with_formats: bool) -> Device:
    driver, card, _, _, physical, own = _CAPABILITY.unpack(_query(handle, _QUERYCAP, bytes(_CAPABILITY.size)))
    abilities = own or physical
    planes = not abilities & _CAPTURE and bool(abilities & _CAPTURE_PLANES)
    capture = bool(abilities & (_CAPTURE | _CAPTURE_PLANES))
    formats: tuple[PixelLayout, ...] = ()
    if with_formats and capture:
        formats = tuple(_formats(handle, _BUFFER_CAPTURE_PLANES if planes else _BUFFER_CAPTURE))
    return Device(path, _text(card), _text(driver), capture, bool(abilities & (_OUTPUT | _OUTPUT_PLANES)), formats)


def _query(handle: int, request: int, data: bytes) -> bytes:
    from fcntl import ioctl

    return ioctl(handle, request, data)


def _formats(handle: int, kind: int) -> Iterator[PixelLayout]:
    for index in range(_MOST):
        try:
            answer = _query(handle, _ENUM_FMT, _FORMAT.pack(index, kind, 0, b"", 0, 0))
        except OSError:  # EINVAL: there are no more
            return
        _, _, flags, name, code, _ = _FORMAT.unpack(answer)
        yield PixelLayout(_letters(code), _text(name), bool(flags & _COMPRESSED), tuple(_modes(handle, code)))


def _modes(handle: int, code: int) -> Iterator[Mode]:
    for index in range(_MOST):
        try:
            answer = _query(handle, _ENUM_FRAMESIZES, _FRAME_SIZE.pack(index, code, *[0] * 7))
        except OSError:
            return
        _, _, kind, a, b, _, _, d, _ = _FRAME_SIZE.unpack(answer)
        width, height = (a, b) if kind == _DISCRETE else (b, d)  # stepwise: min, max, step of width, then of height
        yield Mode((height, width), tuple(_rates(handle, code, width, height)), kind != _DISCRETE)
        if kind != _DISCRETE:
            return


def _rates(handle: int, code: int, width: int, height: int) -> list[Fraction]:
    rates: set[Fraction] = set()
    for index in range(_MOST):
        try:
            answer = _query(handle, _ENUM_FRAMEINTERVALS, _FRAME_INTERVAL.pack(index, code, width, height, *[0] * 7))
        except OSError:
            break
        _, _, _, _, kind, *numbers = _FRAME_INTERVAL.unpack(answer)
        intervals = [numbers[:2]] if kind == _DISCRETE else [numbers[:2], numbers[2:4]]
        rates.update(Fraction(below, above) for above, below in intervals if above)
        if kind != _DISCRETE:
            break
    return sorted(rates, reverse=True)


def _letters(code: int) -> str:
    """A format's code as v4l2-ctl writes it."""
    letters = struct.pack("<I", code & ~_BIG_ENDIAN).decode("latin-1").strip()
    return letters + ("-BE" if code & _BIG_ENDIAN else "")


def _text(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode("utf-8", "replace")
