"""What a GPU does and in which order: streams, events, kernels and recorded graphs."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ..errors import ShapeError
from .driver import EVENT_BLOCKING, EVENT_UNTIMED, NOT_READY, STREAM_NON_BLOCKING, free_with

if TYPE_CHECKING:
    from .device import Device
    from .memory import DeviceArray


class Stream:
    """A queue of work: what is put in runs in order, beside other streams. See :meth:`Device.stream`."""

    def __init__(self, device: Device) -> None:
        self.device = device
        handle = device.call("cuStreamCreate", STREAM_NON_BLOCKING)
        self.handle = int(handle)
        free_with(self, device, "cuStreamDestroy", self.handle)

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

    def copy(self, destination: int, source: int, size: int) -> None:
        """Copy ``size`` bytes within the device's memory, from address to address."""
        self.device.call("cuMemcpyDtoDAsync", destination, source, size, self.handle)


class Event:
    """A mark in a stream. See :meth:`Device.event`."""

    def __init__(self, device: Device, *, timed: bool, blocking: bool) -> None:
        self.device = device
        flags = (0 if timed else EVENT_UNTIMED) | (EVENT_BLOCKING if blocking else 0)
        self.handle = int(device.call("cuEventCreate", flags))
        free_with(self, device, "cuEventDestroy", self.handle)

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
        free_with(self, device, "cuGraphExecDestroy", self.handle)

    def launch(self, stream: Stream) -> None:
        """Put all of it into a stream."""
        self.device.call("cuGraphLaunch", self.handle, stream.handle)


class Module:
    """Kernels loaded into the device. See :meth:`Device.module`."""

    def __init__(self, device: Device, image: bytes) -> None:
        self.device = device
        self._image = image
        self.handle = int(device.call("cuModuleLoadData", image))
        free_with(self, device, "cuModuleUnload", self.handle)

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


def _check_sizes(destination: int, source: int) -> None:
    if destination != source:
        raise ShapeError(f"a copy of {source} bytes into {destination} was asked for; expected the same size.")
