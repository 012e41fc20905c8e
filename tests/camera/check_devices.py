"""Checks of cameras and virtual cameras against vivid and v4l2loopback; run as root in the guest of guest.sh.

check_devices.py MODEL [CHECK...]      MODEL inverts its pictures; all checks, or those named
"""

# ruff: noqa: T201  (the guest has nothing but its console)

from __future__ import annotations

import contextlib
import faulthandler
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from ganlens.engine.controls import Controls
from ganlens.engine.errors import MediaError
from ganlens.engine.live.policy import wait_limit
from ganlens.engine.live.queue import Captured
from ganlens.engine.live.session import LiveSession
from ganlens.engine.media.base import FrameFormat
from ganlens.engine.media.live.camera import CameraSource
from ganlens.engine.media.live.program import FunctionSink
from ganlens.engine.media.live.v4l2 import capture_devices, output_devices
from ganlens.engine.media.live.virtual_camera import VirtualCameraSink
from ganlens.engine.pixels.frame import Frame

CAMERA, LOOPBACK, MJPEG_CAMERA = "/dev/video0", "/dev/video10", "/dev/video11"
DRIVER = Path("/sys/bus/platform/drivers/vivid")
MODEL = sys.argv[1] if len(sys.argv) > 1 else ""
SIZE = (180, 320)
CHECK_LIMIT_S = 150


# --- opening ----------------------------------------------------------------------------------------------------------


def the_list_is_what_v4l2_ctl_says() -> str:
    (camera,) = [device for device in capture_devices(with_formats=True) if device.path == CAMERA]
    ours = {
        layout.code: {mode.size: [round(float(rate), 3) for rate in mode.rates] for mode in layout.modes}
        for layout in camera.formats
    }
    theirs = asked_by_v4l2_ctl()
    assert camera.driver == "vivid", camera
    assert ours == theirs, differences(ours, theirs)
    assert theirs["YUYV"][360, 640], "v4l2-ctl names no rates, so nothing was compared"
    assert LOOPBACK in [device.path for device in output_devices()]
    return f"{len(ours)} formats; YUYV 640x360 at {ours['YUYV'][360, 640]}"


def the_command_lists_both() -> str:
    start = time.monotonic()
    done = subprocess.run(["engine", "live", "--list"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(line.startswith("camera:0") and CAMERA in line and "vivid" in line for line in lines), done.stdout
    assert any(line.startswith("virtual camera") and LOOPBACK in line for line in lines), done.stdout
    for (height, width), rates in asked_by_v4l2_ctl()["YUYV"].items():
        words = f"YUYV raw {width}x{height} " + ", ".join(f"{rate:.4g}" for rate in rates)
        assert words in [" ".join(line.split()) for line in lines], f"{words!r} is not in\n{done.stdout}"
    shown = "\n".join(line for line in lines if "camera" in line or "YUYV" in line)
    return f"{time.monotonic() - start:.1f} s, {len(lines)} lines, among them\n{shown}"


def the_rate_is_what_it_says() -> str:
    said = []
    for asked in (15, 30):
        with CameraSource(CAMERA, size=SIZE, rate=asked) as camera:
            assert camera.format.size == SIZE and camera.format.rate == asked, camera.format
            rate = measured_rate(camera, 30)
            assert abs(rate / asked - 1) < 0.2, f"{rate} frames/s, {asked} asked for"
            said.append(f"{asked} asked for, {rate:.1f} measured")
    return "; ".join(said)


def a_wrong_claim_is_said() -> str:
    with controls(percentage_of_dropped_buffers=60), CameraSource(CAMERA, size=SIZE, rate=30) as camera:
        end = time.monotonic() + 20
        for _ in camera:
            if camera.notes or time.monotonic() > end:
                break
        (note,) = camera.notes
    assert "claims 30 frames/s" in note, note
    return note


def a_size_that_the_camera_lacks() -> str:
    sizes = asked_by_v4l2_ctl()["YUYV"]
    assert (500, 700) not in sizes
    with CameraSource(CAMERA, size=(500, 700), rate=30) as camera:
        given = camera.format.size
        pictures = [next(iter(camera)).size for _ in range(3)]
        (note,) = [note for note in camera.notes if "700x500" in note]
    assert given == (480, 640) and pictures == [given] * 3, (given, pictures)
    return note


def damaged_pictures_are_skipped() -> str:
    with CameraSource(CAMERA, size=SIZE, rate=30) as camera:
        frames = iter(camera)
        next(frames)
        for _ in range(3):
            control("inject_v4l2_buf_flag_error", 1)
            for _ in range(3):
                next(frames)
    return "3 pictures marked as damaged by the driver, iteration went on"


def mjpeg_is_asked_for_at_large_sizes() -> str:
    with fed_with_mjpeg(MJPEG_CAMERA, (480, 848)), CameraSource(MJPEG_CAMERA, size=(480, 848), rate=10) as camera:
        frame = next(iter(camera))
        codec = camera._container.streams.video[0].codec_context.name
    assert (codec, frame.size) == ("mjpeg", (480, 848)), (codec, frame.size)
    rgb = frame.to_rgb()
    left, right = rgb[:, :400].mean(), rgb[:, 448:].mean()
    assert left < 30 and right > 220, (left, right)
    return f"{codec} {frame.size[1]}x{frame.size[0]}, black {left:.0f}, white {right:.0f}"


def a_camera_in_use_is_said() -> str:
    with CameraSource(CAMERA, size=SIZE) as camera:
        next(iter(camera))
        return refused(lambda: CameraSource(CAMERA, size=SIZE), "another program uses it")


def missing_permission_is_said() -> str:
    os.seteuid(65534)
    try:
        return refused(lambda: CameraSource(CAMERA, size=SIZE), "usermod -aG video")
    finally:
        os.seteuid(0)


# --- times ------------------------------------------------------------------------------------------------------------


def the_age_is_of_the_cameras_clock() -> str:
    said = []
    for name, settings in {
        "start of exposure": {"timestamp_source": 1},
        "end of exposure, which vivid states ahead of it": {"timestamp_source": 0},
        "another clock": {"wrap_timestamp": 1},
    }.items():
        with controls(**settings), CameraSource(CAMERA, size=SIZE, rate=30) as camera:
            frames = iter(camera)
            ages, times = [], []
            for _ in range(40):
                times.append(float(next(frames).time))
                ages.append(time.monotonic() - times[-1])
            foreign = bool(camera._clock._offset)
        assert foreign == ("wrap_timestamp" in settings), f"{name}: the driver's clock is not the one expected here"
        ages, times = ages[10:], times[10:]
        assert min(ages) >= 0 and sorted(ages)[len(ages) // 2] < 0.5, (name, ages)
        assert abs((times[-1] - times[0]) / 29 * 30 - 1) < 0.2, (name, times)
        assert all(later > earlier for earlier, later in itertools.pairwise(times)), (name, times)
        said.append(f"{name}: {min(ages) * 1000:.0f} to {max(ages) * 1000:.0f} ms")
    return "; ".join(said)


def a_slow_reader_gets_the_newest_frame() -> str:
    pause, count = 0.25, 16
    with controls(timestamp_source=1):
        plain = []
        options = {"video_size": f"{SIZE[1]}x{SIZE[0]}", "framerate": "15"}
        with av.open(CAMERA, format="video4linux2,v4l2", options=options) as container:
            for _, frame in zip(range(count), container.decode(video=0), strict=False):
                plain.append(time.monotonic() - float(frame.time))
                time.sleep(pause)
            del frame  # it is the driver's memory
        assert plain[-1] > 2 * pause, f"reading slowly makes no backlog here, so nothing is proven: {plain}"
        ages: list[float] = []
        with CameraSource(CAMERA, size=SIZE, rate=15) as camera:
            for _, frame in zip(range(count), camera, strict=False):
                ages.append(time.monotonic() - float(frame.time))
                time.sleep(pause)
            skipped = camera.dropped
        alone = not_growing(ages, pause)
        assert skipped > count / 2, skipped

        ages = []

        def slow_model(item: Captured) -> None:
            """What is called in the session's thread takes its time, as a slow model does."""
            ages.append(time.monotonic() - item.at)
            time.sleep(pause)

        with session(lambda: CameraSource(CAMERA, size=SIZE, rate=15)) as running:
            running.view(slow_model)
            until(lambda: len(ages) > count, 40)
            seen = list(ages)  # a frame that is still queued grows old while the session ends
            dropped, captured = running.state()["counters"]["dropped"], running.statistics.captured
        live = not_growing(seen, pause)
    assert sum(dropped.values()) > captured / 2, (dropped, captured)
    return (
        f"libav alone: {plain[0] * 1000:.0f} to {plain[-1] * 1000:.0f} ms; source: {alone}; session: {live}, "
        f"{captured} captured, {dropped} dropped"
    )


def not_growing(ages: list[float], limit: float) -> str:
    """The largest ages of the first third and of the last, which may not be 1.5 times as large."""
    ages = ages[1:]
    third = len(ages) // 3
    first, last = max(ages[:third]), max(ages[-third:])
    assert last < max(1.5 * first, limit), f"the age grows: {ages}"
    return f"at most {first * 1000:.0f} ms in the first third, {last * 1000:.0f} ms in the last"


def a_slow_sink_costs_the_others_nothing() -> str:
    slow: list[float] = []
    quick: list[float] = []

    def wait(frame: Frame) -> None:
        slow.append(time.monotonic())
        time.sleep(0.5)

    with session(lambda: CameraSource(CAMERA, size=SIZE, rate=10)) as running:
        running.add_sink("slow", lambda format: FunctionSink(wait))
        running.add_sink("quick", lambda format: FunctionSink(lambda frame: quick.append(time.monotonic())))
        until(lambda: len(slow) >= 8, 30)
        shown = running.statistics.shown
    assert len(quick) >= 0.8 * shown and len(quick) > 3 * len(slow), (len(slow), len(quick), shown)
    return f"{shown} shown, the slow sink got {len(slow)}, the other {len(quick)}"


# --- loss and return --------------------------------------------------------------------------------------------------


def taken_away_and_back() -> str:
    sizes = iter([SIZE, (360, 640)])
    size = next(sizes)

    def opener() -> CameraSource:
        return CameraSource(CAMERA, size=size, rate=15)

    with session(opener) as running:
        log = Log(running)
        log.wait_for("live")
        until(lambda: log.pictures > 5, 10)
        size = next(sizes)
        threading.Thread(target=(DRIVER / "unbind").write_text, args=("vivid.0",), daemon=True).start()
        start = time.monotonic()
        noticed = log.wait_for("lost", 8) - start
        assert not Path(CAMERA).exists(), "vivid is still there"
        assert noticed <= wait_limit(1 / 15), noticed
        stale = log.stale
        until(lambda: log.stale >= stale + 5, 10)
        assert running.state()["source"]["connection"] == "unusable", running.state()["source"]
        said = running.source_message
        (DRIVER / "bind").write_text("vivid.0")
        start = time.monotonic()
        log.wait_for("live", 15)
        until(lambda: log.last_size == (360, 640), 10)
        back = time.monotonic() - start
        until(lambda: running.state()["source"]["connection"] == "excellent", 10)
        excellent = time.monotonic() - start
        assert running.statistics.reconnects == 1, running.statistics
        repeated = running.statistics.repeated
    return (
        f"noticed after {noticed:.2f} s ({said}); {repeated} repeated pictures; frames of the new size after "
        f"{back:.2f} s, excellent after {excellent:.1f} s"
    )


def a_disconnected_camera_is_lost() -> str:
    """vivid's own "disconnect": the device stays, and answers ENODEV."""
    with session(lambda: CameraSource(CAMERA, size=SIZE, rate=15)) as running:
        log = Log(running)
        log.wait_for("live")
        control("disconnect", 1)
        start = time.monotonic()
        noticed = log.wait_for("lost", 8) - start
        said = running.source_message
    rebind()
    assert noticed <= wait_limit(1 / 15), noticed
    return f"noticed after {noticed:.2f} s ({said})"


def a_silent_camera_is_opened_again() -> str:
    """The camera hangs: the device is there and gives nothing."""
    with session(lambda: CameraSource(CAMERA, size=SIZE, rate=15)) as running:
        log = Log(running)
        log.wait_for("live")
        until(lambda: log.pictures > 5, 10)
        with controls(percentage_of_dropped_buffers=100):
            start = time.monotonic()
            stalled = log.wait_for("stalled", 8) - start
            until(lambda: log.stale > 5, 10)
            lost = log.wait_for("lost", 8) - start
            said = running.source_message
        log.wait_for("live", 20)
        pictures = log.pictures
        until(lambda: log.pictures > pictures + 5, 10)
        control("percentage_of_dropped_buffers", 100)
        time.sleep(0.5)
        start = time.monotonic()
    stopped = time.monotonic() - start
    control("percentage_of_dropped_buffers", 0)
    assert stalled < wait_limit(1 / 15) + 0.5, stalled
    assert stopped < 2, f"stopping took {stopped:.1f} s while the camera gave nothing"
    CameraSource(CAMERA, size=SIZE).close()  # the device was given back
    return f"stalled after {stalled:.2f} s, lost after {lost:.2f} s ({said}); stopping took {stopped:.2f} s"


# --- virtual cameras --------------------------------------------------------------------------------------------------


def another_program_reads_the_virtual_camera() -> str:
    generator = np.random.default_rng(0)
    rgb = np.kron(generator.integers(0, 256, (18, 32, 3)), np.ones((10, 10, 1))).astype(np.uint8)
    with VirtualCameraSink(LOOPBACK, FrameFormat(SIZE, rate=Fraction(30))) as sink:
        sink.write(Frame.from_rgb(rgb))
        with reader(LOOPBACK, 5) as (read, device_format):
            while not read():
                sink.write(Frame.from_rgb(rgb))
                time.sleep(1 / 30)
            pictures = read()
    assert LOOPBACK in [device.path for device in output_devices()], "it is not found again once it was fed"
    shown = av.VideoFrame.from_ndarray(pictures[-1], format="yuv420p")
    shown.colorspace, shown.color_range = 6, 1  # BT.601, as the sink says for small pictures
    error = np.abs(shown.to_ndarray(format="rgb24").astype(int) - rgb)[4::10, 4::10]
    assert "320/180" in device_format and "YU12" in device_format, device_format
    assert len(pictures) == 5 and error.max() <= 6, (len(pictures), error.max())
    assert np.ptp(rgb.astype(int)) > 200
    return f"v4l2-ctl read {len(pictures)} pictures of 320x180 YU12; largest error in the middles {error.max()} of 255"


def the_command_filters_a_camera_into_a_virtual_one() -> str:
    """What a user leaves running: first camera, model, virtual camera, no page. The model turns white into black."""
    command = ["engine", "live", "--no-web", "--virtual-camera", "--camera-size", "320x180", "--fps", "10"]
    with controls(test_pattern=6, osd_text_mode=2):
        with CameraSource(CAMERA, size=SIZE) as camera:
            original = float(next(iter(camera)).to_rgb().mean())
        live = subprocess.Popen(
            [*command, "--model", MODEL, "--backend", "cpu"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            until(lambda: LOOPBACK in [device.path for device in capture_devices()] or live.poll() is not None, 90)
            assert live.poll() is None, live.communicate()[0]
            with reader(LOOPBACK, 40) as (read, device_format):
                until(lambda: bool(read()) or live.poll() is not None, 60)
                pictures = read()
        finally:
            live.send_signal(signal.SIGINT)
            start = time.monotonic()
            text, _ = live.communicate(timeout=30)
            stopped = time.monotonic() - start
    assert "320/180" in device_format and "YU12" in device_format, device_format
    assert len(pictures) == 40 and original > 200, (len(pictures), original, text)
    last = float(pictures[-1][:180].mean())
    assert last < 40, f"white was not turned into black: {last}\n{text}"
    assert live.returncode in (0, 130) and "Traceback" not in text, (live.returncode, text)
    return f"white {original:.0f} became {last:.0f}; Ctrl-C after {stopped:.1f} s: status {live.returncode}\n{text}"


def a_camera_is_no_virtual_camera() -> str:
    return refused(lambda: VirtualCameraSink(CAMERA, FrameFormat(SIZE)), "not a loopback device")


# --- helpers ----------------------------------------------------------------------------------------------------------


class Log:
    """What a session says and shows."""

    def __init__(self, running: LiveSession) -> None:
        self.pictures = self.stale = 0
        self.last_size: tuple[int, int] | None = None
        self._running = running
        self._seen: list[tuple[str, float]] = [(running.source_state, time.monotonic())]
        self._next = 0
        running.watch(self._changed)
        running.view(self._shown)

    def _changed(self) -> None:
        state = self._running.source_state
        if state != self._seen[-1][0]:
            self._seen.append((state, time.monotonic()))

    def _shown(self, item: Captured) -> None:
        self.pictures += not item.stale
        self.stale += item.stale
        if not item.stale:
            self.last_size = item.frame.size

    def wait_for(self, state: str, seconds: float = 10) -> float:
        """When the source next was in a state, by time.monotonic()."""

        def found() -> bool:
            return any(seen == state for seen, _ in self._seen[self._next :])

        until(found, seconds, lambda: f"source is {self._running.source_state}, not {state}; was {self._seen}")
        index = next(i for i in range(self._next, len(self._seen)) if self._seen[i][0] == state)
        self._next = index + 1
        return self._seen[index][1]


@contextlib.contextmanager
def session(opener: Callable[[], CameraSource]) -> Iterator[LiveSession]:
    """A session without the cost of a model: what is tested here is in front of it and behind it."""
    with LiveSession(opener, models=[MODEL], controls=Controls(bypass=True)) as running:
        yield running


def until(true: Callable[[], bool], seconds: float, why: Callable[[], str] = lambda: "it did not happen") -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"{why()} within {seconds} s"
        time.sleep(0.01)


def measured_rate(camera: CameraSource, count: int) -> float:
    """Frames per second as they arrive, after those that were queued while the camera was opened."""
    frames, start = iter(camera), time.monotonic()
    while time.monotonic() - start < 1:
        next(frames)
    start = time.monotonic()
    for _ in range(count):
        next(frames)
    return count / (time.monotonic() - start)


def control(name: str, value: int, device: str = CAMERA) -> None:
    run("v4l2-ctl", "-d", device, "--set-ctrl", f"{name}={value}")


@contextlib.contextmanager
def controls(**settings: int) -> Iterator[None]:
    for name, value in settings.items():
        control(name, value)
    try:
        yield
    finally:
        for name in settings:
            control(name, 0)


def rebind() -> None:
    (DRIVER / "unbind").write_text("vivid.0")
    (DRIVER / "bind").write_text("vivid.0")
    until(Path(CAMERA).exists, 10)


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout


def asked_by_v4l2_ctl() -> dict[str, dict[tuple[int, int], list[float]]]:
    """Rates by size by format of the camera, highest first."""
    found: dict[str, dict[tuple[int, int], list[float]]] = {}
    code, size = "", (0, 0)
    for line in run("v4l2-ctl", "-d", CAMERA, "--list-formats-ext").splitlines():
        if match := re.search(r"\[\d+\]: '(.{4}(?:-BE)?)'", line):
            code = match[1].replace(" ", "")
            found[code] = {}
        elif match := re.search(r"Size: Discrete (\d+)x(\d+)", line):
            size = int(match[2]), int(match[1])
            found[code][size] = []
        elif match := re.search(r"Interval: Discrete .*\(([\d.]+) fps\)", line):
            found[code][size].append(float(match[1]))
    return {code: {size: sorted(rates, reverse=True) for size, rates in sizes.items()} for code, sizes in found.items()}


def differences(ours: dict[str, object], theirs: dict[str, object]) -> str:
    return "\n".join(
        f"{code}: {ours.get(code)} {theirs.get(code)}"
        for code in sorted({*ours, *theirs})
        if ours.get(code) != theirs.get(code)
    )


def refused(make: Callable[[], CameraSource | VirtualCameraSink], words: str) -> str:
    try:
        make().close()
    except MediaError as error:
        assert words in str(error), error
        return str(error)
    raise AssertionError(f"it was opened; expected an error with {words!r}")


@contextlib.contextmanager
def reader(device: str, count: int) -> Iterator[tuple[Callable[[], list[np.ndarray]], str]]:
    """Let v4l2-ctl read pictures from a camera: a function that gives them once all were read, and the format."""
    target = Path("/tmp/read.yuv")
    target.unlink(missing_ok=True)
    device_format = " ".join(run("v4l2-ctl", "-d", device, "--get-fmt-video").split())
    width, height = (int(n) for n in re.findall(r"Width/Height : (\d+)/(\d+)", device_format)[0])
    command = ["v4l2-ctl", "-d", device, "--stream-mmap", f"--stream-count={count}", f"--stream-to={target}"]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def read() -> list[np.ndarray]:
        if program.poll() is None:
            return []
        assert program.returncode == 0, program.communicate()[0]
        return list(np.fromfile(target, np.uint8).reshape(-1, height * 3 // 2, width))

    try:
        yield read, device_format
    finally:
        program.kill()
        program.wait()


@contextlib.contextmanager
def fed_with_mjpeg(device: str, size: tuple[int, int]) -> Iterator[None]:
    """A loopback device as a camera that gives MJPEG: the left half black, the right half white."""
    rgb = np.zeros((*size, 3), np.uint8)
    rgb[:, size[1] // 2 :] = 255
    container = av.open(device, "w", format="v4l2")
    stream = container.add_stream("mjpeg", rate=10)
    stream.height, stream.width = size
    stream.pix_fmt = "yuvj420p"
    stop = threading.Event()

    def feed() -> None:
        packet = stream.encode(av.VideoFrame.from_ndarray(rgb))[0]
        number = 0
        while not stop.is_set():
            packet.pts = packet.dts = number = number + 1
            packet.stream = stream
            container.mux(packet)
            time.sleep(0.1)

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    try:
        until(lambda: device in [camera.path for camera in capture_devices()], 20)
        yield
    finally:
        stop.set()
        thread.join()
        container.close()


CHECKS: list[Callable[[], str]] = [
    the_list_is_what_v4l2_ctl_says,
    the_rate_is_what_it_says,
    a_wrong_claim_is_said,
    a_size_that_the_camera_lacks,
    damaged_pictures_are_skipped,
    mjpeg_is_asked_for_at_large_sizes,
    a_camera_in_use_is_said,
    missing_permission_is_said,
    the_age_is_of_the_cameras_clock,
    a_slow_reader_gets_the_newest_frame,
    a_slow_sink_costs_the_others_nothing,
    a_silent_camera_is_opened_again,
    taken_away_and_back,
    a_disconnected_camera_is_lost,
    another_program_reads_the_virtual_camera,
    a_camera_is_no_virtual_camera,
    the_command_filters_a_camera_into_a_virtual_one,
    the_command_lists_both,
]


def main() -> int:
    """Run the checks; the number of those that failed is the exit status."""
    print(f"PyAV {av.__version__}, NumPy {np.__version__}, up {uptime():.0f} s")
    failed = 0
    checks = [check for check in CHECKS if not sys.argv[2:] or check.__name__ in sys.argv[2:]]
    for check in checks:
        start = time.monotonic()
        faulthandler.dump_traceback_later(CHECK_LIMIT_S, exit=True)  # a driver may never answer
        try:
            said = check()
            print(f"passed  {check.__name__} ({time.monotonic() - start:.1f} s): {said}")
        except Exception:
            failed += 1
            print(f"FAILED  {check.__name__} ({time.monotonic() - start:.1f} s)\n{traceback.format_exc()}")
    print(f"{len(checks) - failed} of {len(checks)} checks passed, up {uptime():.0f} s")
    return failed


def uptime() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(min(status, 100))  # a thread that hangs in a driver must not hold the guest
