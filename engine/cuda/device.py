"""A GPU, its memory, streams, events and captured graphs, over the CUDA driver's C interface (cuda-bindings).

Objects free what they hold when they are collected. One device holds one context (the process's primary one, shared
with torch, CuPy, TensorRT and ONNX Runtime, so that pointers are good in all of them); :meth:`Device.use` makes it
current in the calling thread. Nothing is freed when the process ends: other objects may still be in use then, in any
order, and the driver frees everything.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import BackendError, BackendUnavailable, DeviceLost, DeviceMemoryError
from . import dlpack
from .driver import (
    BLOCKING_SYNC,
    CAPABILITY_MAJOR,
    CAPABILITY_MINOR,
    CAPTURE_THREAD_LOCAL,
    DEFAULT_STREAM,
    DRIVER_CURE,
    INTEGRATED,
    INVALID_DEVICE,
    LOST,
    NO_DEVICE,
    OUT_OF_MEMORY,
    SUCCESS,
    TOO_OLD,
    UNAVAILABLE,
    driver_problem,
    free_with,
    load,
    status_of,
    text,
)
from .graph import Event, Graph, Module, Stream
from .memory import Allocation, DeviceArray


@dataclass(frozen=True)
class DeviceInfo:
    """What the driver tells of a GPU without using it."""

    number: int
    """As in nvidia-smi and CUDA_VISIBLE_DEVICES."""
    name: str
    compute_capability: tuple[int, int]
    memory: int
    """Bytes."""
    integrated: bool
    """Whether it shares the host's memory, as on Jetson."""

    def __str__(self) -> str:
        memory = f"{self.memory / 2**30:.1f} GiB{' shared with the host' if self.integrated else ''}"
        return f"GPU {self.number}: {self.name}, compute capability {_dotted(self.compute_capability)}, {memory}"


def list_devices(*, driver: Any = None) -> list[DeviceInfo]:
    """The machine's GPUs, as far as CUDA_VISIBLE_DEVICES shows them; nothing of their memory is used.

    Raises:
        MissingExtra, BackendUnavailable: as for :class:`Device`; no GPU gives an empty list only if the driver says so.
    """
    started = _Driver(driver)
    return [started.describe(index) for index in range(started.count)]


class _Driver:
    """The driver, started and found new enough."""

    def __init__(self, driver: Any = None) -> None:
        if driver is None and (problem := driver_problem()):
            raise BackendUnavailable(problem)
        self._cuda = driver or load()
        self.name = "The GPU"
        try:
            result = self._cuda.cuInit(0)
        except RuntimeError as error:  # cuda-bindings, when there is no libcuda
            raise BackendUnavailable(f"No NVIDIA driver is installed ({error}). {DRIVER_CURE}.") from error
        self._check("cuInit", result)
        version = int(self.call("cuDriverGetVersion"))
        self.driver_version = (version // 1000, version % 1000 // 10)
        """The newest CUDA that the driver knows, as (major, minor)."""
        wanted = int(getattr(self._cuda, "CUDA_VERSION", 12000)) // 1000
        if self.driver_version[0] < wanted:
            raise BackendUnavailable(
                f"The NVIDIA driver is too old: it supports CUDA {_dotted(self.driver_version)}, and cuda-bindings "
                f"here is made for {wanted}. Install a newer driver, or: pip install 'cuda-bindings<{wanted}'"
            )
        self.count = int(self.call("cuDeviceGetCount"))

    def describe(self, index: int) -> DeviceInfo:
        """What the driver tells of a GPU."""
        device = self.call("cuDeviceGet", index)
        kind = getattr(self._cuda, "CUdevice_attribute", int)

        def attribute(number: int) -> int:
            return int(self.call("cuDeviceGetAttribute", kind(number), device))

        return DeviceInfo(
            index,
            text(self.call("cuDeviceGetName", 128, device)),
            (attribute(CAPABILITY_MAJOR), attribute(CAPABILITY_MINOR)),
            int(self.call("cuDeviceTotalMem", device)),
            bool(attribute(INTEGRATED)),
        )

    def call(self, function: str, *arguments: Any) -> Any:
        """Call a function of the driver.

        Returns:
            None, its one value, or the tuple of its values.

        Raises:
            DeviceMemoryError, DeviceLost, BackendUnavailable, BackendError: it failed.
        """
        return self._check(function, getattr(self._cuda, function)(*arguments))

    def _check(self, function: str, result: Any) -> Any:
        status, *values = result
        if int(status) != SUCCESS:
            raise self._error(function, int(status))
        return None if not values else values[0] if len(values) == 1 else tuple(values)

    def _error(self, function: str, status: int) -> BackendError | BackendUnavailable:
        said = self._said(status)
        if status == OUT_OF_MEMORY:
            return DeviceMemoryError(
                f"{self.name} has not enough free memory ({said}). Close what else uses it (nvidia-smi shows it), or "
                "take a smaller size, batch or number of frames in flight."
            )
        if status in (NO_DEVICE, INVALID_DEVICE):
            return BackendUnavailable(f"The driver finds no GPU ({said}). Look at nvidia-smi and CUDA_VISIBLE_DEVICES.")
        if status == UNAVAILABLE:
            return BackendUnavailable(
                f"{self.name} is in use exclusively by another program ({said}); nvidia-smi shows which."
            )
        if status in TOO_OLD:
            return BackendUnavailable(
                f"The NVIDIA driver is too old or does not match its libraries ({said}). "
                "Install a newer driver and restart."
            )
        if status in LOST:
            return DeviceLost(
                f"{self.name} stopped in {function} ({said}). Start the program again; if it happens again, look for "
                "'Xid' in the system's log (dmesg)."
            )
        return BackendError(f"{self.name}: {function} failed ({said}).")

    def _said(self, status: int) -> str:
        try:
            result, name = self._cuda.cuGetErrorName(status_of(self._cuda, status))
            _, words = self._cuda.cuGetErrorString(status_of(self._cuda, status))
        except (RuntimeError, ValueError):  # a result that cuda-bindings does not know
            return f"CUDA error {status}"
        return f"{text(name)}: {text(words)}" if int(result) == SUCCESS else f"CUDA error {status}"


class Device(_Driver):
    """One GPU.

    >>> device = Device()
    >>> image = device.empty((1, 3, 256, 256), np.float16)

    Args:
        index: which GPU, as in nvidia-smi and CUDA_VISIBLE_DEVICES.
        driver: the module with the driver's functions; for tests.

    Raises:
        BackendUnavailable: there is no driver, it is too old, or there is no such GPU; with the cure.
        MissingExtra: there is one, but cuda-bindings is not installed.
    """

    kind = dlpack.CUDA
    """DLPack's device type of its memory."""

    def __init__(self, index: int = 0, *, driver: Any = None) -> None:
        super().__init__(driver)
        self.index = index
        if not 0 <= index < self.count:
            known = f"0 to {self.count - 1}" if self.count > 1 else "0 only" if self.count else "none"
            raise BackendUnavailable(
                f"got GPU {index}; this machine shows {known} (see nvidia-smi and CUDA_VISIBLE_DEVICES)."
            )
        self.info = self.describe(index)
        self.name, self.compute_capability = self.info.name, self.info.compute_capability
        handle = self.call("cuDeviceGet", index)
        self._share_with_libav(handle)
        # Never released: others share it, and memory of ours may outlive this object.
        self._context = self.call("cuDevicePrimaryCtxRetain", handle)
        self.use()

    def __repr__(self) -> str:
        return f"Device({self.index}, {self.name!r}, sm_{self.arch}, CUDA {_dotted(self.driver_version)})"

    @property
    def arch(self) -> int:
        """Compute capability as in sm_90."""
        return self.compute_capability[0] * 10 + self.compute_capability[1]

    @property
    def free_memory(self) -> int:
        """Bytes that can be allocated now."""
        self.use()
        return int(self.call("cuMemGetInfo")[0])

    def _share_with_libav(self, handle: Any) -> None:
        """Give the primary context the one flag with which libav (NVDEC, NVENC) takes a context that is in use already.

        libav's hwcontext_cuda.c refuses one with other flags. With this one, threads that wait for the device sleep;
        events say for themselves whether to spin.
        """
        flags, _ = self.call("cuDevicePrimaryCtxGetState", handle)
        if int(flags) != BLOCKING_SYNC:
            with contextlib.suppress(
                BackendError
            ):  # a driver may refuse while the context is in use; libav says so then
                self.call("cuDevicePrimaryCtxSetFlags", handle, BLOCKING_SYNC)

    def use(self) -> None:
        """Make the device current in the calling thread; every thread does that once before it uses the device."""
        self.call("cuCtxSetCurrent", self._context)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Make the device current in the calling thread for a while; what was current before is so again afterwards.

        For threads of the caller: other libraries there take the GPU of the current context for their own.
        """
        self.call("cuCtxPushCurrent", self._context)
        try:
            yield
        finally:
            self._cuda.cuCtxPopCurrent()

    # --- memory -------------------------------------------------------------------------------------------------------

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike = np.float32) -> DeviceArray:
        """Device memory with undefined content, C-contiguous, freed when nothing refers to it.

        Raises:
            DeviceMemoryError: there is not enough.
        """
        kind = np.dtype(dtype)
        size = math.prod(shape) * kind.itemsize
        self.use()
        pointer = int(self.call("cuMemAlloc", max(size, 1)))
        owner = Allocation()
        free_with(owner, self, "cuMemFree", pointer)
        return DeviceArray(self, pointer, shape, kind, owner=owner)

    def upload(self, array: NDArray[Any]) -> DeviceArray:
        """A copy of a host array in device memory; returns when it is there."""
        array = np.ascontiguousarray(array)
        out = self.empty(array.shape, array.dtype)
        if array.nbytes:
            self.call("cuMemcpyHtoD", out.pointer, array.ctypes.data, array.nbytes)
            # From memory that is not page-locked it returns before all is there, and our streams do not wait for the
            # default one, on which it runs.
            self.call("cuStreamSynchronize", DEFAULT_STREAM)
        return out

    def download(self, array: DeviceArray) -> NDArray[Any]:
        """A copy of a C-contiguous device array in host memory; waits for all work of the device."""
        array.check_contiguous()
        out: NDArray[Any] = np.empty(array.shape, array.dtype)
        self.use()
        self.call("cuCtxSynchronize")
        if out.nbytes:
            self.call("cuMemcpyDtoH", out.ctypes.data, array.pointer, out.nbytes)
        return out

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike = np.uint8) -> NDArray[Any]:
        """A host array in page-locked memory, from and to which copies run beside everything else."""
        kind = np.dtype(dtype)
        size = max(math.prod(shape) * kind.itemsize, 1)
        self.use()
        pointer = int(self.call("cuMemHostAlloc", size, 0))
        memory: Any = (ctypes.c_uint8 * size).from_address(pointer)
        free_with(memory, self, "cuMemFreeHost", pointer)
        array: NDArray[Any] = np.frombuffer(memory, kind, math.prod(shape)).reshape(shape)
        return array

    def mapped(self, shape: tuple[int, ...], dtype: DTypeLike = np.uint8) -> tuple[NDArray[Any], DeviceArray]:
        """One piece of page-locked memory as a host array and as a device array, without a copy between the two.

        For GPUs that share memory with the host: others reach it over the bus, at each access anew.
        """
        host = self.pinned(shape, dtype)
        pointer = int(self.call("cuMemHostGetDevicePointer", host.ctypes.data, 0))
        return host, DeviceArray(self, pointer, host.shape, host.dtype, owner=host)

    # --- order --------------------------------------------------------------------------------------------------------

    def stream(self) -> Stream:
        """A queue of work of its own."""
        self.use()
        return Stream(self)

    def event(self, *, timed: bool = False, blocking: bool = False) -> Event:
        """A mark in a stream.

        Args:
            timed: it can tell how much time passed between it and another event.
            blocking: a thread that waits for it sleeps; otherwise it spins, which answers some 20-50 µs sooner and
                takes a core.
        """
        self.use()
        return Event(self, timed=timed, blocking=blocking)

    def synchronize(self) -> None:
        """Wait for all work of the device."""
        self.use()
        self.call("cuCtxSynchronize")

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph:
        """Record what ``work`` puts into ``stream`` as a graph, without running it.

        Raises:
            BackendError: something in it cannot be recorded, as an allocation or a wait for the device.
        """
        self.use()
        mode = getattr(self._cuda, "CUstreamCaptureMode", int)(CAPTURE_THREAD_LOCAL)
        # To free memory spoils a capture, and the garbage collector may come at any time.
        collecting = gc.isenabled()
        gc.disable()
        try:
            self.call("cuStreamBeginCapture", stream.handle, mode)
            try:
                work()
            except BaseException:
                status, *graph = self._cuda.cuStreamEndCapture(stream.handle)
                if int(status) == SUCCESS and graph and int(graph[0]):
                    self._cuda.cuGraphDestroy(graph[0])
                raise
            recorded = self.call("cuStreamEndCapture", stream.handle)
        finally:
            if collecting:
                gc.enable()
        return Graph(self, recorded)

    def module(self, image: bytes) -> Module:
        """Load a cubin, or PTX, which the driver compiles.

        Raises:
            BackendError: it is for another GPU or a newer driver.
        """
        self.use()
        return Module(self, image)


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
