"""Checks of cameras and virtual cameras against vivid and v4l2loopback; run as root in the guest of guest.sh."""

# ruff: noqa: T201  (the guest has nothing but its console)

from __future__ import annotations

import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from ganlens.engine.errors import MediaError
from ganlens.engine.media.base import FrameFormat
from ganlens.engine.media.live.camera import CameraSource
from ganlens.engine.media.live.v4l2 import capture_devices, output_devices
from ganlens.engine.media.live.virtual_camera import VirtualCameraSink

CAMERA, LOOPBACK = "/dev/video0", "/dev/video10"
DRIVER = Path("/sys/bus/platform/drivers/vivid")


def formats_are_listed() -> str:
    (camera,) = [device for device in capture_devices(with_formats=True) if device.path == CAMERA]
    assert camera.driver == "vivid", camera
    layouts = {layout.code: layout for layout in camera.formats}
    assert "YUYV" in layouts, sorted(layouts)
    assert any(mode.size == (360, 640) and mode.rates for mode in layouts["YUYV"].modes), layouts["YUYV"]
    assert LOOPBACK in [device.path for device in output_devices()]
    return f"{len(layouts)} formats, YUYV {[mode.size for mode in layouts['YUYV'].modes]}"


def the_list_names_both() -> str:
    done = subprocess.run(["engine", "live", "--list"], capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    assert CAMERA in done.stdout and LOOPBACK in done.stdout, done.stdout
    return "\n" + done.stdout


def the_rate_is_what_it_says() -> str:
    with CameraSource(CAMERA, size=(360, 640), rate=30) as camera:
        assert camera.format.size == (360, 640), camera.format
        frames = iter(camera)
        times = [float(next(frames).time) for _ in range(31)]
        rate = 30 / (times[-1] - times[0])
        age = time.monotonic() - times[-1]
        assert camera.format.rate is not None and abs(rate / float(camera.format.rate) - 1) < 0.2, (rate, camera.format)
        assert 0 <= age < 1, age
        return f"says {float(camera.format.rate):g}, measured {rate:.1f} frames/s; age {age * 1000:.0f} ms"


def other_settings_are_said() -> str:
    with CameraSource(CAMERA, size=(500, 700), rate=30) as camera:
        assert camera.format.size != (500, 700)
        assert list(camera.notes), "a size that the camera does not have is not said"
        return str(list(camera.notes))


def a_camera_in_use_is_said() -> str:
    with CameraSource(CAMERA, size=(360, 640)):
        try:
            CameraSource(CAMERA, size=(360, 640)).close()
        except MediaError as error:
            assert "another program uses it" in str(error), error
            return str(error)
    raise AssertionError("two sources opened one camera")


def taken_away_and_back() -> str:
    with CameraSource(CAMERA, size=(360, 640)) as camera:
        frames = iter(camera)
        next(frames)
        threading.Thread(target=(DRIVER / "unbind").write_text, args=("vivid.0",), daemon=True).start()
        start = time.monotonic()
        try:
            while time.monotonic() - start < 8:
                next(frames)
        except (MediaError, StopIteration) as error:
            noticed = time.monotonic() - start
            said = repr(error)
        else:
            raise AssertionError("the loss was not noticed in 8 s")
    assert noticed < 2.5, noticed
    time.sleep(0.5)
    (DRIVER / "bind").write_text("vivid.0")
    start = time.monotonic()
    while True:
        try:
            with CameraSource(CAMERA, size=(360, 640)) as camera:
                next(iter(camera))
            break
        except MediaError:
            if time.monotonic() - start > 8:
                raise
            time.sleep(0.1)
    return f"noticed after {noticed:.2f} s as {said}; frames again after {time.monotonic() - start:.2f} s"


def another_program_reads_the_virtual_camera() -> str:
    from fractions import Fraction

    with CameraSource(CAMERA, size=(360, 640), rate=30) as camera:
        frames = iter(camera)
        with VirtualCameraSink(LOOPBACK, FrameFormat((360, 640), rate=Fraction(30)), origin=camera) as sink:
            sent = next(frames)
            sink.write(sent)
            code = (
                "import av, numpy as np\n"
                f"c = av.open({LOOPBACK!r}, format='video4linux2,v4l2', timeout=(5, 5))\n"
                "f = [p for _, p in zip(range(10), c.decode(video=0))][-1]\n"
                "print(f.width, f.height, f.format.name, float(f.to_ndarray(format='rgb24').std()))\n"
            )
            reader = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
            start = time.monotonic()
            while reader.poll() is None and time.monotonic() - start < 30:
                sink.write(next(frames))
            assert reader.wait(5) == 0
            assert reader.stdout is not None
            width, height, name, spread = reader.stdout.read().split()
    assert (width, height, name) == ("640", "360", "yuv420p")
    assert float(spread) > 10, f"the pictures are flat ({spread})"
    return f"{width}x{height} {name}, standard deviation {float(spread):.1f}"


def a_camera_is_no_virtual_camera() -> str:
    try:
        VirtualCameraSink(CAMERA, FrameFormat((360, 640))).close()
    except MediaError as error:
        return str(error)
    raise AssertionError("a camera was taken for a virtual camera")


CHECKS: list[Callable[[], str]] = [
    formats_are_listed,
    the_rate_is_what_it_says,
    other_settings_are_said,
    a_camera_in_use_is_said,
    taken_away_and_back,
    another_program_reads_the_virtual_camera,
    a_camera_is_no_virtual_camera,
    the_list_names_both,  # last: the command takes long to start in an emulated guest
]


def main() -> int:
    """Run all checks; the number of those that failed is the exit status."""
    print(f"PyAV {av.__version__}, NumPy {np.__version__}")
    failed = 0
    for check in CHECKS:
        try:
            print(f"passed  {check.__name__}: {check()}")
        except Exception:
            failed += 1
            print(f"FAILED  {check.__name__}\n{traceback.format_exc()}")
    print(f"{len(CHECKS) - failed} of {len(CHECKS)} checks passed")
    return failed


if __name__ == "__main__":
    sys.exit(main())
