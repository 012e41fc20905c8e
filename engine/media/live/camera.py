"""Cameras of this machine (Video4Linux 2)."""

from __future__ import annotations

import errno
from fractions import Fraction
from pathlib import Path

import av

from ...errors import MediaError, reason
from .decoding import LiveInput
from .v4l2 import capture_devices

DEFAULT_SIZE = (720, 1280)
DEFAULT_RATE = Fraction(30)
_OPEN_TIMEOUT_S, _READ_TIMEOUT_S = 3.0, 2.0
_LARGE = 640 * 480
"""Pixels above which uncompressed pictures do not fit through USB 2 at 30 frames a second: MJPEG is asked for first."""


class CameraSource(LiveInput):
    """Frames of a camera, as they are captured; their times are of the clock of :func:`time.monotonic`.

    Args:
        device: "/dev/video0", or a number: the nth camera that ``engine live --list`` shows, from 0. Either may follow
            "camera:".
        size: (height, width) to ask for; the camera's nearest is taken. None: 1280x720.
        rate: frames per second to ask for; None: 30.

    ``notes`` lists the requested settings that the camera did not apply.

    Raises:
        MediaError: there is no such camera, it is in use, or it gives no picture.
    """

    live = True
    monotonic = True
    """Times are of the clock of :func:`time.monotonic`."""

    def __init__(
        self, device: str | int = 0, *, size: tuple[int, int] | None = None, rate: float | Fraction | None = None
    ) -> None:
        self.device = _device(device)
        wanted_size = size or DEFAULT_SIZE
        wanted_rate = DEFAULT_RATE if rate is None else Fraction(str(rate))
        super().__init__(self._open(wanted_size, wanted_rate), self.device, Fraction(1, 1_000_000))
        self._say_differences(wanted_size if size else None, wanted_rate)

    def _open(self, size: tuple[int, int], rate: Fraction) -> av.container.InputContainer:
        """Open the device with the settings nearest to those requested."""
        ask = {"video_size": f"{size[1]}x{size[0]}", "framerate": str(float(rate))}
        attempts = [ask, {"video_size": ask["video_size"]}, {"framerate": ask["framerate"]}, {}]
        if size[0] * size[1] > _LARGE:
            attempts.insert(0, {**ask, "input_format": "mjpeg"})
        problem: BaseException | None = None
        for options in attempts:
            try:
                return av.open(
                    self.device,
                    "r",
                    format="video4linux2,v4l2",
                    options=options,
                    timeout=(_OPEN_TIMEOUT_S, _READ_TIMEOUT_S),
                )
            except (av.FFmpegError, OSError) as error:
                problem = error
                if getattr(error, "errno", None) != errno.EINVAL:  # the requested settings are not the cause
                    break
        assert problem is not None
        raise MediaError(f"{self.device} cannot be opened as a camera: {_why(problem)}") from problem

    def _say_differences(self, size: tuple[int, int] | None, rate: Fraction) -> None:
        height, width = self.format.size
        if size is not None and (height, width) != size:
            self.notes.add(f"{self.device} has no {size[1]}x{size[0]}; it gives {width}x{height}")
        if self.format.rate is not None and self.format.rate < rate * Fraction(9, 10):
            self.notes.add(
                f"{self.device} gives {float(self.format.rate):g} frames/s at {width}x{height}; {float(rate):g} was "
                "asked for. A smaller --size may be faster"
            )


def _device(device: str | int) -> str:
    """The path of a camera given by path or number."""
    if isinstance(device, str):
        device = device.removeprefix("camera:") or "0"
    if isinstance(device, str) and not device.isdecimal():
        if not Path(device).exists():
            raise MediaError(f"There is no camera {device}. {_known()}")
        return device
    cameras = capture_devices()
    number = int(device)
    if number >= len(cameras):
        raise MediaError(f"There is no camera {number}. {_known()}")
    return cameras[number].path


def _known() -> str:
    names = [camera.path for camera in capture_devices()]
    if names:
        return f"Cameras here: {', '.join(names)}. See engine live --list."
    return "No camera is connected. Use the browser's with: engine live browser:"


def _why(error: BaseException) -> str:
    number = getattr(error, "errno", None)
    if number == errno.EBUSY:
        return "another program uses it. Close that program, or choose another camera (engine live --list)."
    if number in (errno.EACCES, errno.EPERM):
        return "permission denied. Add yourself to the group 'video': sudo usermod -aG video $USER, then log in again."
    if number in (errno.ENOTTY, errno.ENODEV, errno.ENXIO):
        return "it is not a camera, or it is no longer connected. See engine live --list."
    return f"{reason(error)}. See engine live --list."
