"""What all tests share: the folder of tiny models, and a memory of timings that is not the user's own."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # for "from tests.kit.models import …", however pytest was started
    sys.path.insert(0, str(ROOT))


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> None:
    """A job in the background of a script ignores Ctrl-C, and so would the programs that tests start and interrupt."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder for each test."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("GANLENS_CACHE", str(folder))
    return folder


@functools.cache
def cuda_devices() -> int:
    """NVIDIA GPUs that the driver reports."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    works = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if works else 0


@functools.cache
def no_browser() -> str:
    """What is missing for tests in a browser; "" if nothing is."""
    if importlib.util.find_spec("playwright") is None:
        return "no playwright; install it with: pip install playwright"
    if not (os.environ.get("CHROMIUM") or shutil.which("chromium")):
        return "no Chromium; install it with: apt install chromium, or name one in CHROMIUM"
    return ""


@functools.cache
def no_rtsp_server() -> str:
    """What is missing for tests against GStreamer's RTSP server; "" if nothing is."""
    check = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    python = "/usr/bin/python3"
    if not Path(python).exists() or subprocess.run([python, "-c", check], capture_output=True, check=False).returncode:
        return "no RTSP server; install it with: apt install python3-gi gir1.2-gst-rtsp-server-1.0"
    return ""


_NEEDED = {
    "gpu": (lambda: "" if cuda_devices() else "no NVIDIA GPU", "REQUIRE_CUDA"),
    "browser": (no_browser, "REQUIRE_BROWSER"),
    "rtsp": (no_rtsp_server, "REQUIRE_RTSP"),
}
"""By marker: what says what is missing, and the variable that makes its absence a failure."""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests that need what is missing here, unless the job says that it must be there."""
    for marker, (missing, variable) in _NEEDED.items():
        if item.get_closest_marker(marker) and os.environ.get(variable) != "1" and missing():
            pytest.skip(f"{missing()} ({variable}=1 makes this a failure)")
