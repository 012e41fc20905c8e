"""A GPU, its memory, streams, events and captured graphs, over the CUDA driver's C interface (cuda-bindings).

The driver's own names (``cuMemAlloc``, …) appear here and in :mod:`.compiler` only. Objects free what they hold when
they are collected. One device holds one context (the process's primary one, shared with torch, CuPy, TensorRT and ONNX
Runtime, so that pointers are good in all of them); :meth:`Device.use` makes it current in the calling thread.
"""

from __future__ import annotations

import ctypes
import gc
import math
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import BackendError, BackendUnavailable, DeviceLost, DeviceMemoryError, MissingExtra, ShapeError
from . import dlpack

# Values of the driver's C interface (cuda.h); they are part of its stable binary interface.
SUCCESS, OUT_OF_MEMORY, UNAVAILABLE, NO_DEVICE, INVALID_DEVICE = 0, 2, 46, 100, 101
TOO_OLD = (34, 36, 803, 804)
"""Stub library, call that requires a newer driver, driver and library of different versions, no compatibility."""
LOST = (214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 999)
"""Results after which the context answers nothing else: memory errors, wild addresses, failed launches."""
NOT_READY = 600
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76
EVENT_BLOCKING, EVENT_UNTIMED = 1, 2
STREAM_NON_BLOCKING = 1
CAPTURE_THREAD_LOCAL = 1
DEFAULT_STREAM = 1
"""The legacy one, which others use unless told otherwise."""

DRIVER_CURE = "Install NVIDIA's driver (see nvidia-smi), or use --backend cpu"


class Device:
    """One GPU.

    >>> device = Device()
    >>> image = device.empty((1, 3, 256, 256), np.float16)

    Args:
        index: which GPU, as in nvidia-smi and CUDA_VISIBLE_DEVICES.
        driver: the module with the driver's functions; for tests.

    Raises:
        MissingExtra: cuda-bindings is not installed.
        BackendUnavailable: there is no driver, it is too old, or there is no such GPU; with the cure.
    """

    kind = dlpack.CUDA
    """DLPack's device type of its memory."""

    def __init__(self, index: int = 0, *, driver: Any = None) -> None:
        self._cuda = driver or _load_driver()
        self.index = index
        self.name = f"GPU {index}"
        try:
            result = self._cuda.cuInit(0)
        except RuntimeError as error:  # cuda-bindings, when there is no libcuda
            raise BackendUnavailable(f"There is no NVIDIA driver here ({error}). {DRIVER_CURE}.") from error
        self._check("cuInit", result)
        version = int(self.call("cuDriverGetVersion"))
        self.driver_version = (version // 1000, version % 1000 // 10)
        """The newest CUDA that the driver knows, as (major, minor)."""
        wanted = int(getattr(self._cuda, "CUDA_VERSION", 12000)) // 1000
        if self.driver_version[0] < wanted:
            raise BackendUnavailable(
                f"The NVIDIA driver is too old: it knows CUDA {_dotted(self.driver_version)}, and cuda-bindings "
                f"here is made for {wanted}. Install a newer driver, or pip install 'cuda-bindings<{wanted}'."
            )
        count = int(self.call("cuDeviceGetCount"))
        if not 0 <= index < count:
            raise BackendUnavailable(
                f"GPU {index} was asked for; this machine shows {count} (see nvidia-smi and CUDA_VISIBLE_DEVICES)."
            )
        self._device = self.call("cuDeviceGet", index)
        self.name = _text(self.call("cuDeviceGetName", 128, self._device))
        self.compute_capability = (self._attribute(CAPABILITY_MAJOR), self._attribute(CAPABILITY_MINOR))
        self.memory = int(self.call("cuDeviceTotalMem", self._device))
        """Bytes."""
        self._context = self.call("cuDevicePrimaryCtxRetain", self._device)
        weakref.finalize(self, self._cuda.cuDevicePrimaryCtxRelease, self._device)
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

    def use(self) -> None:
        """Make the device current in the calling thread; every thread does that once before it uses the device."""
        self.call("cuCtxSetCurrent", self._context)

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
            return BackendUnavailable(f"{self.name} is kept by another program ({said}); nvidia-smi shows which.")
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
            _, text = self._cuda.cuGetErrorString(status_of(self._cuda, status))
        except (RuntimeError, ValueError):  # a result that cuda-bindings does not know
            return f"CUDA error {status}"
        return f"{_text(name)}: {_text(text)}" if int(result) == SUCCESS else f"CUDA error {status}"

    def _attribute(self, attribute: int) -> int:
        kind = getattr(self._cuda, "CUdevice_attribute", int)
        return int(self.call("cuDeviceGetAttribute", kind(attribute), self._device))

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
        owner = _Allocation()
        weakref.finalize(owner, _free, self, "cuMemFree", pointer)
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
        weakref.finalize(memory, _free, self, "cuMemFreeHost", pointer)
        array: NDArray[Any] = np.frombuffer(memory, kind, math.prod(shape)).reshape(shape)
        return array

    # --- order --------------------------------------------------------------------------------------------------------

    def stream(self) -> Stream:
        """A queue of work of its own."""
        self.use()
        return Stream(self)

    def event(self, *, timed: bool = False, blocking: bool = False) -> Event:
        """A mark in a stream.

        Args:
            timed: it can tell how much time lies between it and another one.
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
        """Load a cubin.

        Raises:
            BackendError: it is for another GPU or a newer driver.
        """
        self.use()
        return Module(self, image)


class DeviceArray:
    """An array in a GPU's memory; a view with ``strides`` where rows are padded.

    Other libraries read it without a copy through ``__cuda_array_interface__`` (CuPy, PyCUDA, Numba, torch) and DLPack.
    """

    def __init__(
        self,
        device: Device,
        pointer: int,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        *,
        strides: tuple[int, ...] | None = None,
        owner: object = None,
        stream: Stream | None = None,
    ) -> None:
        """Describe memory that is there.

        Args:
            strides: bytes from element to element along each axis; None: C-contiguous.
            owner: kept alive as long as this array.
            stream: on which its content is made; None: it is there.
        """
        self.device = device
        self.pointer = pointer
        self.shape = tuple(int(length) for length in shape)
        self.dtype = np.dtype(dtype)
        dense = dlpack.dense_strides(self.shape, self.dtype.itemsize)
        self.strides = dense if strides is None else tuple(int(step) for step in strides)
        self.owner = owner
        self.stream = stream

    def __repr__(self) -> str:
        return f"DeviceArray({self.shape}, {self.dtype}, on {self.device.name})"

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
        return self.size * self.dtype.itemsize

    @property
    def contiguous(self) -> bool:
        """Whether it is C-contiguous."""
        dense = dlpack.dense_strides(self.shape, self.dtype.itemsize)
        return all(a == b for a, b, length in zip(self.strides, dense, self.shape, strict=True) if length > 1)

    def check_contiguous(self) -> None:
        """Raise ShapeError unless it is C-contiguous."""
        if not self.contiguous:
            raise ShapeError(f"a device array with strides {self.strides} came; expected {self.shape} C-contiguous.")

    def item(self, index: int) -> DeviceArray:
        """The part at ``index`` of the first axis, as a view."""
        if not 0 <= index < self.shape[0]:
            raise ShapeError(f"part {index} of a device array of shape {self.shape} was asked for.")
        at = self.pointer + index * self.strides[0]
        return DeviceArray(
            self.device, at, self.shape[1:], self.dtype, strides=self.strides[1:], owner=self.owner, stream=self.stream
        )

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "typestr": self.dtype.str,
            "data": (self.pointer, False),
            "strides": None if self.contiguous else self.strides,
            "stream": None if self.stream is None else self.stream.handle,
            "version": 3,
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device.kind, self.device.index

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> object:
        if copy or dl_device not in (None, self.__dlpack_device__()):
            raise BufferError("a device array is only given away where it is, without a copy")
        if self.stream is not None and stream != -1:
            self.device.use()
            # None: the consumer will use the legacy default stream.
            event = self.stream.record()
            self.device.call("cuStreamWaitEvent", DEFAULT_STREAM if stream is None else stream, event.handle, 0)
        return dlpack.export(self.pointer, self.shape, self.strides, self.dtype, self.__dlpack_device__(), self.owner)

    @staticmethod
    def take_options(stream: Stream | None) -> dict[str, int]:
        """What ``__dlpack__`` is asked for, so that the producer makes ``stream`` wait for the content."""
        return {} if stream is None else {"stream": stream.handle}

    @classmethod
    def of(cls, device: Device, array: object, stream: Stream | None = None) -> DeviceArray:
        """A view of another library's array on the same GPU, without a copy.

        Args:
            array: has ``__cuda_array_interface__`` or ``__dlpack__``.
            stream: what comes after on this stream finds the array's content ready; None: the caller sees to that.

        Raises:
            ShapeError: it is neither, or lies elsewhere.
        """
        if isinstance(array, DeviceArray):
            if stream is not None and array.stream is not None:
                stream.wait(array.stream.record())
            return array
        # DLPack first: torch says nothing of its stream in the other interface.
        if hasattr(array, "__dlpack__"):
            where = tuple(int(number) for number in array.__dlpack_device__())  # type: ignore[attr-defined]
            if where != (device.kind, device.index):
                raise ShapeError(f"an array on DLPack device {where} came; expected {(device.kind, device.index)}.")
            tensor = dlpack.take(array.__dlpack__(**cls.take_options(stream)))
            return cls(device, tensor.pointer, tensor.shape, tensor.dtype, strides=tensor.strides, owner=tensor)
        interface = getattr(array, "__cuda_array_interface__", None)
        if interface is None:
            raise ShapeError(
                f"{type(array).__name__} came; expected an array on the GPU, with __cuda_array_interface__ or "
                "__dlpack__."
            )
        if stream is not None:
            # Who says nothing is taken to have worked on the default stream, as PyCUDA does.
            event = device.event()
            device.call("cuEventRecord", event.handle, interface.get("stream") or DEFAULT_STREAM)
            stream.wait(event)
        return cls(
            device,
            int(interface["data"][0]),
            interface["shape"],
            interface["typestr"],
            strides=interface.get("strides"),
            owner=array,
        )


class Stream:
    """A queue of work: what is put in runs in order, beside other streams. See :meth:`Device.stream`."""

    def __init__(self, device: Device) -> None:
        self.device = device
        handle = device.call("cuStreamCreate", STREAM_NON_BLOCKING)
        self.handle = int(handle)
        weakref.finalize(self, _free, device, "cuStreamDestroy", self.handle)

    def synchronize(self) -> None:
        """Wait until it is empty."""
        self.device.call("cuStreamSynchronize", self.handle)

    def record(self, event: Event | None = None) -> Event:
        """Put a mark into the stream."""
        event = event or self.device.event()
        self.device.call("cuEventRecord", event.handle, self.handle)
        return event

    def wait(self, event: Event) -> None:
        """What comes after waits for the mark; the calling thread does not."""
        self.device.call("cuStreamWaitEvent", self.handle, event.handle, 0)

    def to_device(self, destination: DeviceArray, source: NDArray[Any]) -> None:
        """Copy from pinned host memory; both C-contiguous, of the same size in bytes."""
        _check_sizes(destination.nbytes, source.nbytes)
        self.device.call("cuMemcpyHtoDAsync", destination.pointer, source.ctypes.data, source.nbytes, self.handle)

    def to_host(self, destination: NDArray[Any], source: DeviceArray) -> None:
        """Copy to pinned host memory; both C-contiguous, of the same size in bytes."""
        _check_sizes(destination.nbytes, source.nbytes)
        self.device.call("cuMemcpyDtoHAsync", destination.ctypes.data, source.pointer, source.nbytes, self.handle)


class Event:
    """A mark in a stream. See :meth:`Device.event`."""

    def __init__(self, device: Device, *, timed: bool, blocking: bool) -> None:
        self.device = device
        flags = (0 if timed else EVENT_UNTIMED) | (EVENT_BLOCKING if blocking else 0)
        self.handle = int(device.call("cuEventCreate", flags))
        weakref.finalize(self, _free, device, "cuEventDestroy", self.handle)

    @property
    def reached(self) -> bool:
        """Whether all before it has happened."""
        (status,) = self.device._cuda.cuEventQuery(self.handle)
        if int(status) == NOT_READY:
            return False
        self.device._check("cuEventQuery", (status,))
        return True

    def synchronize(self) -> None:
        """Wait for it."""
        self.device.call("cuEventSynchronize", self.handle)

    def milliseconds_since(self, earlier: Event) -> float:
        """Between two timed events, both reached."""
        return float(self.device.call("cuEventElapsedTime", earlier.handle, self.handle))


class Graph:
    """Recorded work that starts with one call. See :meth:`Device.capture`."""

    def __init__(self, device: Device, graph: Any) -> None:
        self.device = device
        try:
            self.handle = int(device.call("cuGraphInstantiate", graph, 0))
        finally:
            device._cuda.cuGraphDestroy(graph)
        weakref.finalize(self, _free, device, "cuGraphExecDestroy", self.handle)

    def launch(self, stream: Stream) -> None:
        """Put all of it into a stream."""
        self.device.call("cuGraphLaunch", self.handle, stream.handle)


class Module:
    """Kernels loaded into the device. See :meth:`Device.module`."""

    def __init__(self, device: Device, image: bytes) -> None:
        self.device = device
        self._image = image
        self.handle = int(device.call("cuModuleLoadData", image))
        weakref.finalize(self, _free, device, "cuModuleUnload", self.handle)

    def kernel(self, name: str) -> Kernel:
        """One kernel by its C name."""
        return Kernel(self, name)


class Kernel:
    """A kernel and its module."""

    def __init__(self, module: Module, name: str) -> None:
        self.module = module
        self.name = name
        self.handle = int(module.device.call("cuModuleGetFunction", module.handle, name.encode()))

    def launch(self, stream: Stream, grid: tuple[int, int, int], block: tuple[int, int, int], *arguments: Any) -> None:
        """Start it.

        Args:
            arguments: ctypes values of exactly the kernel's parameters; the driver copies them before this returns.
        """
        table = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(argument) for argument in arguments))
        self.module.device.call(
            "cuLaunchKernel", self.handle, *grid, *block, 0, stream.handle, ctypes.addressof(table), 0
        )


class _Allocation:
    """Stands for memory of the device; freed with it."""


def status_of(driver: Any, status: int) -> Any:
    """A result as cuda-bindings' functions take it."""
    return getattr(driver, "CUresult", int)(status)


def _load_driver() -> Any:
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise MissingExtra("CUDA", "cuda-bindings", "cuda") from error
    return driver


def _free(device: Device, function: str, handle: int) -> None:
    """Free something, in whatever thread and however late; a lost device has freed everything itself."""
    driver = device._cuda
    driver.cuCtxSetCurrent(device._context)
    getattr(driver, function)(handle)


def _check_sizes(destination: int, source: int) -> None:
    if destination != source:
        raise ShapeError(f"a copy of {source} bytes into {destination} was asked for; expected the same size.")


def _text(value: Any) -> str:
    text = value.split(b"\0")[0].decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text.rstrip("\0")


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
