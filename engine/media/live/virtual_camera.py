"""Virtual cameras: what video calls and other programs read as a camera.

On Linux a v4l2loopback device, fed through PyAV; on Windows and macOS through pyvirtualcam (extra "virtualcam").
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from abc import ABC, abstractmethod
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np

from ...errors import MediaError, MissingExtra, reason
from ...pixels.frame import Frame
from ..base import FileInfo, FrameFormat, FrameSource, Notes
from .conversion import Converter
from .v4l2 import output_devices, revive

MODPROBE = "sudo modprobe v4l2loopback video_nr=10 card_label=ganlens exclusive_caps=1"
"""How a virtual camera is made on Linux."""


class VirtualCameraSink:
    """A virtual camera. Its size is that of the first frames: others are scaled to it.

    Args:
        device: "/dev/video10", or "camera:/dev/video10"; "" or "camera:": the first one there is.
        format: size and rate of the frames.
        origin: unused.

    Raises:
        MediaError: there is no virtual camera, or its driver refuses a second program (v4l2loopback 0.12 does not).
    """

    def __init__(self, device: str, format: FrameFormat, *, origin: FrameSource | FileInfo | None = None) -> None:
        self.notes = Notes()
        name = device.removeprefix("camera:") or None
        height, width = (side - side % 2 for side in format.size)
        self.size = height, width
        rate = format.rate or Fraction(30)
        self._output: _Output = (_Loopback if sys.platform.startswith("linux") else _OtherPrograms)(
            name, self.size, rate
        )
        self.device = self._output.device

    def write(self, frame: Frame) -> None:
        """Show a frame."""
        if tuple(side - side % 2 for side in frame.size) != self.size:
            self.notes.add(
                f"{self.device} keeps its size {self.size[1]}x{self.size[0]}; frames of {frame.size[1]}x"
                f"{frame.size[0]} are scaled to it"
            )
        self._output.write(frame)

    def close(self, *, complete: bool = True) -> None:
        """Release the device."""
        self._output.close()

    def abort(self) -> None:
        """Release the device."""
        self._output.close()

    def __enter__(self) -> VirtualCameraSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Output(ABC):
    """What a virtual camera is written through."""

    device = ""

    @abstractmethod
    def __init__(self, device: str | None, size: tuple[int, int], rate: Fraction) -> None:
        """Open a device; None: the first one."""

    @abstractmethod
    def write(self, frame: Frame) -> None:
        """Give the next frame."""

    @abstractmethod
    def close(self) -> None:
        """Give the device back."""


class _Loopback(_Output):
    """A v4l2loopback device."""

    def __init__(self, device: str | None, size: tuple[int, int], rate: Fraction) -> None:
        self.device = device or _first_loopback()
        if not Path(self.device).exists():
            raise MediaError(f"There is no virtual camera {self.device}. Make one with: {MODPROBE}")
        for found in output_devices():
            if found.path == os.path.realpath(self.device):
                revive(found)
        try:
            self._container = av.open(self.device, "w", format="v4l2")
            stream = self._container.add_stream("rawvideo", rate=rate)
            assert isinstance(stream, av.VideoStream)
            stream.height, stream.width = size
            stream.pix_fmt = "yuv420p"
            stream.codec_context.time_base = 1 / rate
            self._container.start_encoding()  # opens the device: what is wrong with it is said now
            self._stream = stream
            self._convert = Converter("yuv420p", size, matrix="bt601" if size[0] < 720 else "bt709", full_range=False)
            self._count = 0
        except (av.FFmpegError, OSError) as error:
            raise MediaError(f"{self.device} cannot be used as a virtual camera: {_why(error)}") from error

    def write(self, frame: Frame) -> None:
        picture = self._convert(frame)
        picture.pts, picture.time_base, picture.pict_type = self._count, self._stream.codec_context.time_base, 0
        self._count += 1
        try:
            for packet in self._stream.encode(picture):
                self._container.mux(packet)
        except (av.FFmpegError, OSError) as error:
            raise MediaError(f"{self.device} accepts no more pictures ({reason(error)}).") from error

    def close(self) -> None:
        with contextlib.suppress(av.FFmpegError, OSError):
            self._container.close()


class _OtherPrograms(_Output):
    """OBS's virtual camera or UnityCapture, through pyvirtualcam."""

    def __init__(self, device: str | None, size: tuple[int, int], rate: Fraction) -> None:
        try:
            import pyvirtualcam
        except ModuleNotFoundError as error:
            raise MissingExtra("A virtual camera", "pyvirtualcam", "virtualcam") from error
        height, width = size
        try:
            self._camera: Any = pyvirtualcam.Camera(
                width, height, float(rate), fmt=pyvirtualcam.PixelFormat.RGB, device=device
            )
        except RuntimeError as error:
            raise MediaError(
                f"No virtual camera can be used ({reason(error)}). Install OBS Studio, which has one."
            ) from error
        self.device = str(self._camera.device)
        self._convert = Converter("rgb24", size)

    def write(self, frame: Frame) -> None:
        self._camera.send(np.ascontiguousarray(self._convert(frame).to_ndarray(format="rgb24")))

    def close(self) -> None:
        self._camera.close()


def _first_loopback() -> str:
    found = [device.path for device in output_devices() if device.loopback]
    if not found:
        raise MediaError(f"There is no virtual camera here. Make one with: {MODPROBE}")
    return found[0]


def _why(error: BaseException) -> str:
    number = getattr(error, "errno", None)
    if number == errno.EBUSY:
        return "another program feeds it. Close that program, or choose another device."
    if number in (errno.EACCES, errno.EPERM):
        return "permission denied. Add yourself to the group 'video': sudo usermod -aG video $USER, then log in again."
    if number in (errno.EINVAL, errno.ENOTTY):
        return f"it is not a loopback device. Make one with: {MODPROBE}"
    return f"{reason(error)}. Make one with: {MODPROBE}"
