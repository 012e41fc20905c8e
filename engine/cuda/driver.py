"""The NVIDIA driver's C interface, as cuda-bindings gives it: its numbers, and how it is found.

The driver's own names (``cuMemAlloc``, …) appear in this folder only.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from ..errors import MissingExtra, install_command

# Values of the driver's C interface (cuda.h); they are part of its stable binary interface.
SUCCESS, OUT_OF_MEMORY, NOT_INITIALIZED, UNAVAILABLE, NO_DEVICE, INVALID_DEVICE = 0, 2, 3, 46, 100, 101
TOO_OLD = (34, 36, 803, 804)
"""Stub library, call that requires a newer driver, driver and library of different versions, no compatibility."""
LOST = (214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 999)
"""Results after which the context answers nothing else: memory errors, wild addresses, failed launches."""
NOT_READY = 600
INTEGRATED, CAPABILITY_MAJOR, CAPABILITY_MINOR = 18, 75, 76
EVENT_BLOCKING, EVENT_UNTIMED = 1, 2
STREAM_NON_BLOCKING = 1
BLOCKING_SYNC = 4
"""Flag of a context: threads that wait for the device sleep."""
CAPTURE_THREAD_LOCAL = 1
DEFAULT_STREAM = 1
"""The legacy default stream, which other libraries use by default."""


class Owner(Protocol):
    """What the driver's objects belong to: a :class:`~.device.Device`."""

    _cuda: Any
    _context: Any


def load() -> Any:
    """cuda-bindings' module of the driver's functions.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise MissingExtra("CUDA", "cuda-bindings", cure=install_with("bindings")) from error
    return driver


@functools.cache
def installed_version() -> tuple[int, int] | None:
    """The newest CUDA that the installed driver supports, as (major, minor), without cuda-bindings; None: no driver."""
    library, version = _library(), ctypes.c_int(0)
    if library is None or library.cuDriverGetVersion(ctypes.byref(version)) != SUCCESS:
        return None
    return version.value // 1000, version.value % 1000 // 10


DRIVER_CURE = "Install NVIDIA's driver (see nvidia-smi), or use --backend cpu"


def driver_problem() -> str | None:
    """Why nothing can run on a GPU, as far as shows without cuda-bindings and the libraries over them: to import them
    takes longer than the rest of a start on a machine without a GPU."""
    if _library() is not None:
        return None
    return f"No NVIDIA driver is installed (libcuda.so.1 was not found). {DRIVER_CURE}."


@contextlib.contextmanager
def keeping_context() -> Iterator[None]:
    """Leave the calling thread with the context that is current now: other libraries take its GPU for their own."""
    library, before = _library(), ctypes.c_void_p()
    known = library is not None and library.cuCtxGetCurrent(ctypes.byref(before)) in (SUCCESS, NOT_INITIALIZED)
    try:
        yield
    finally:
        if library is not None and known:
            library.cuCtxSetCurrent(before)


@functools.cache
def _library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None


@functools.cache
def on_jetson() -> bool:
    """Whether this is a Jetson, whose CUDA and TensorRT come with JetPack and not from PyPI."""
    with contextlib.suppress(OSError):
        if b"nvidia,tegra" in Path("/proc/device-tree/compatible").read_bytes():
            return True
    return Path("/etc/nv_tegra_release").exists()  # in containers


JETPACK = {
    "tensorrt": "sudo apt install python3-libnvinfer, in an environment made with --system-site-packages",
    "cuda": "a wheel of NVIDIA's for Jetson, because PyPI has none; --backend tensorrt needs none",
}
"""How libraries are installed on a Jetson, where it is not by its extra."""


def install_with(library: str, *, version: tuple[int, int] | None = None, without: str = "") -> str:
    """How a library for this machine is installed; the end of a message.

    Packages for CUDA 12 run with drivers for 12 and newer, those for 13 need a driver for 13.

    Args:
        library: "bindings" (of the driver), "cuda" (ONNX Runtime's), "plans" (their cache), "tensorrt" or "rtx".
        version: CUDA version of the driver; None: the installed one's.
        without: packages to remove first.
    """
    if on_jetson():
        cure = JETPACK.get("tensorrt" if library == "rtx" else library)
        if cure is None:
            return install_command("jetson", without=without)
        return f"pip uninstall {without}; {cure}" if without else cure
    version = version or installed_version()
    old = version is not None and version[0] < 13
    if library in ("bindings", "cuda"):  # onnxruntime-gpu for CUDA 13 needs Python 3.11
        extra = "cuda12" if old or sys.version_info < (3, 11) else "cuda13"
    else:
        extra = ("rtx" if library == "rtx" else "tensorrt") + ("-cu12" if old else "")
    return install_command(extra, without=without)


def status_of(driver: Any, status: int) -> Any:
    """A result as cuda-bindings' functions take it."""
    return getattr(driver, "CUresult", int)(status)


def free_with(owner: object, device: Owner, function: str, handle: int) -> None:
    """Free ``handle`` once ``owner`` is collected; not at process exit, where the order is undefined."""
    weakref.finalize(owner, _free, device, function, handle).atexit = False


def _free(device: Owner, function: str, handle: int) -> None:
    """Free something, in whatever thread and however late; a lost device has freed everything itself.

    The thread may be another program's: its current context stays as it was.
    """
    driver = device._cuda
    (status,) = driver.cuCtxPushCurrent(device._context)
    if int(status) != SUCCESS:
        return
    try:
        getattr(driver, function)(handle)
    finally:
        driver.cuCtxPopCurrent()


def text(value: Any) -> str:
    """A C string."""
    said = value.split(b"\0")[0].decode(errors="replace") if isinstance(value, bytes) else str(value)
    return said.rstrip("\0")
