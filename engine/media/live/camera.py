"""Cameras of this machine (Video4Linux 2)."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import threading
import time
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import cast

import av

from ...errors import MediaError, reason
from ..libav import open_to_read
from .decoding import LiveInput
from .v4l2 import capture_devices

DEFAULT_SIZE = (720, 1280)
DEFAULT_RATE = Fraction(30)
_OPEN_TIMEOUT_S = 3.0
_OPTIONS = {"fflags": "+4", "fpsprobesize": "0", "max_ts_probe": "0"}
"""+4 is AVFMT_FLAG_NONBLOCK, which has no name among libav's options. Otherwise libav waits in the driver, where
neither a timeout nor an interrupt reaches it: a camera that hangs would hold the thread for ever. The others: no
picture is read to find out what the driver has told already."""
_SILENT_S, _SILENT_PERIODS = 2.0, 10
"""A camera is lost when it gives no picture for the longer of these."""
_BACKLOG_S = 0.1
"""Age from which a queued frame is skipped for a newer one: a reader that is held up for a moment loses nothing."""
_KEPT = 0.8
"""Share of the claimed rate below which the claim is wrong."""
_LARGE = 640 * 480
"""Pixels above which uncompressed pictures do not fit through USB 2 at 30 frames a second: MJPEG is asked for first."""


class CameraSource(LiveInput):
    """Frames of a camera, as they are captured; their times are of the clock of :func:`time.monotonic`.

    The driver queues what is not read in time. Frames of that queue that are older than 0.1 s are skipped while newer
    ones wait, so that a slow reader does not fall behind; ``dropped`` counts them.

    Args:
        device: "/dev/video0", or a number: the nth camera that ``engine live --list`` shows, from 0. Either may follow
            "camera:".
        size: (height, width) to ask for; the camera's nearest is taken. None: 1280x720.
        rate: frames per second to ask for; None: 30.

    ``notes`` lists the requested settings that the camera did not apply, and a rate that it claims but does not keep.

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
        self._claimed: Fraction | None = None
        self._interrupted = threading.Event()
        self.dropped = 0
        self._arrived = time.monotonic()
        self._clock = CaptureClock()
        self._rate = ArrivalRate(self._arrived)
        before = _descriptors(self.device)
        container = self._open(wanted_size, wanted_rate)
        self._poll = select.poll()
        self._watched = _descriptors(self.device) - before
        for handle in self._watched:
            self._poll.register(handle, select.POLLIN)
        super().__init__(container, self.device, Fraction(1, 1_000_000))
        self._claimed = self.format.rate
        self._say_differences(wanted_size if size else None, wanted_rate)

    def interrupt(self) -> None:
        """End the iteration within 0.1 s; may be called by any thread."""
        self._interrupted.set()

    def _packets(
        self, container: av.container.InputContainer, stream: av.VideoStream
    ) -> Iterator[av.Packet[av.VideoStream]]:
        """Packets as they arrive, copied: libav's are the driver's own memory, which is gone once the device is closed.

        For the same reason nothing here holds one while it waits.
        """
        waiting: av.Packet[av.VideoStream] | None = None
        while True:
            try:
                packet = _copied_packet(container, stream)
            except av.error.BlockingIOError:
                if waiting is not None:
                    yield waiting
                    waiting = None
                elif not self._wait():
                    return
                continue
            if packet is None:
                return
            if not packet.size:  # libav empties what the driver marks as damaged
                continue
            self._note_arrival()
            if waiting is not None:  # the reader is slow
                if self._arrived - float(self._time(_stamp(waiting))) > _BACKLOG_S:
                    self.dropped += 1
                else:
                    yield waiting
            waiting = packet

    def _wait(self) -> bool:
        """Wait until the driver has a picture; False after :meth:`interrupt`."""
        period = 1 / float(self._claimed or DEFAULT_RATE)
        limit = max(_SILENT_S, _SILENT_PERIODS * period)
        self._rate.waited()
        while not self._interrupted.is_set():
            silent = time.monotonic() - self._arrived
            if silent > limit:
                raise TimeoutError(f"no picture for {silent:.1f} s")
            events = self._poll.poll(100) if self._watched else []
            if any(event & select.POLLIN for _, event in events):
                return True
            if events or not self._watched:  # an error of the device: the next read tells which
                return not self._interrupted.wait(0.002)
        return False

    def _note_arrival(self) -> None:
        self._arrived = time.monotonic()
        found = self._rate.arrived(self._arrived)
        if found is not None and self._claimed is not None and found < _KEPT * self._claimed:
            self.notes.add(
                f"{self.device} claims {float(self._claimed):g} frames/s and gives {found:.1f}. Many cameras expose "
                "longer in the dark: more light, or a fixed exposure, may help"
            )

    def _time(self, stamp: Fraction | None) -> Fraction:
        return self._clock.time(stamp, Fraction(round(self._arrived * 1_000_000), 1_000_000))

    def _open(self, size: tuple[int, int], rate: Fraction) -> av.container.InputContainer:
        """Open the device with the settings nearest to those requested."""
        ask = {"video_size": f"{size[1]}x{size[0]}", "framerate": str(float(rate))}
        attempts: list[dict[str, str]] = [ask, {"video_size": ask["video_size"]}, {"framerate": ask["framerate"]}, {}]
        if size[0] * size[1] > _LARGE:
            attempts.insert(0, {**ask, "input_format": "mjpeg"})
        problem: BaseException | None = None
        for options in attempts:
            try:
                return open_to_read(
                    self.device,
                    format="video4linux2,v4l2",
                    options={**options, **_OPTIONS},
                    timeout=(_OPEN_TIMEOUT_S, None),
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
                "asked for. A smaller --camera-size may be faster"
            )


class CaptureClock:
    """When frames were captured, by the clock of the program, from the time stamps of their camera.

    Drivers stamp with the same clock as a rule. Some have one of their own, or the time of day: then the first frame is
    taken to be captured when it arrives. Some state the end of an exposure before it is over: no frame is captured
    after it arrived.
    """

    _OTHER_S = 5
    """Difference from which a time stamp is of another clock."""

    def __init__(self) -> None:
        self._offset = Fraction(0)

    def time(self, stamp: Fraction | None, now: Fraction) -> Fraction:
        """Seconds, for a frame that arrives at ``now``; None: it has no time stamp."""
        if stamp is None:
            return now
        if abs(now - stamp - self._offset) > self._OTHER_S:
            self._offset = Fraction(0) if abs(now - stamp) <= self._OTHER_S else now - stamp
        return min(stamp + self._offset, now)


class ArrivalRate:
    """How many frames per second a camera gives; a reader that is slower than the camera cannot tell.

    Args:
        start: seconds, by the clock of the times that :meth:`arrived` gets.
    """

    _SPAN_S = 3.0

    def __init__(self, start: float) -> None:
        self._start = start
        self._frames = self._waits = 0

    def waited(self) -> None:
        """The reader asked for a frame that was not there yet."""
        self._waits += 1

    def arrived(self, now: float) -> float | None:
        """Count a frame; the rate of the last seconds, now and then, if the reader waited for most of them."""
        self._frames += 1
        seconds = now - self._start
        if seconds < self._SPAN_S:
            return None
        rate = self._frames / seconds if self._waits > self._frames / 2 else None
        self._start, self._frames, self._waits = now, 0, 0
        return rate


def _copied_packet(container: av.container.InputContainer, stream: av.VideoStream) -> av.Packet[av.VideoStream] | None:
    """The next packet with memory of its own; None at the end."""
    with contextlib.closing(cast("Generator[av.Packet[av.VideoStream]]", container.demux(stream))) as packets:
        packet = next(packets, None)
        if packet is None:
            return None
        copy = cast("av.Packet[av.VideoStream]", av.Packet(packet.size))
        copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
        if packet.size:
            copy.update(cast(bytes, packet))  # anything with the buffer protocol
        return copy


def _stamp(packet: av.Packet[av.VideoStream]) -> Fraction | None:
    return None if packet.pts is None or not packet.time_base else packet.pts * packet.time_base


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


def _descriptors(device: str) -> set[int]:
    """This process's descriptors of a device. libav does not tell the one that it opened."""
    found = set()
    with contextlib.suppress(OSError):  # without /proc, pictures are asked for every 2 ms
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # closed meanwhile
                if os.path.samefile(f"/proc/self/fd/{name}", device):
                    found.add(int(name))
    return found


def _known() -> str:
    names = [camera.path for camera in capture_devices()]
    if names:
        return f"Cameras here: {', '.join(names)}. See engine live --list."
    return "No camera is connected. Use the browser's with: engine live browser:"


def _why(error: BaseException) -> str:
    number = getattr(error, "errno", None)
    if isinstance(error, av.error.ExitError):
        return f"it gave no picture within {_OPEN_TIMEOUT_S:g} s. Unplug it and connect it again."
    if number == errno.EBUSY:
        return "another program uses it. Close that program, or choose another camera (engine live --list)."
    if number in (errno.EACCES, errno.EPERM):
        return "permission denied. Add yourself to the group 'video': sudo usermod -aG video $USER, then log in again."
    if number in (errno.ENOTTY, errno.ENODEV, errno.ENXIO):
        return "it is not a camera, or it is no longer connected. See engine live --list."
    return f"{reason(error)}. See engine live --list."
