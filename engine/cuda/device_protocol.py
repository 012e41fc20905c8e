"""The seam between the GPU pipeline and the libraries that run a network in device memory."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from .device import Device
from .memory import DeviceArray


class DeviceBinding(Protocol):
    """One network prepared for inputs of fixed shapes, reading and writing device memory that stays where it is."""

    inputs: tuple[DeviceArray, ...]
    """Device memory that the network reads, in the order of the spec: (N, 3, H, W) image, then attributes; each
    float16 or float32, C-contiguous, in the spec's value range and channel order."""
    outputs: tuple[DeviceArray, ...]
    """Device memory that it writes, in the order of the spec: (N, 3, H, W) translated, then (N, 1, H, W) mask."""
    capturable: bool
    """Whether :meth:`enqueue` may be recorded into a CUDA graph. If not, it is called once per frame."""

    def enqueue(self, stream: int) -> None:
        """Start the network on a CUDA stream (its handle as an integer) and return at once.

        Everything before it on the stream has happened when it reads, and what follows on the stream sees its answer.
        It never waits for the device. Where it is ``capturable``, it allocates nothing once it has run before.

        Raises:
            BackendError: the library refused.
        """
        ...


@runtime_checkable
class DeviceBackend(Protocol):
    """A backend whose networks can be bound to device memory."""

    concurrent: bool
    """Whether several bound networks run beside each other, each on the stream that it is put into."""

    @property
    def gpu(self) -> Device:
        """The GPU on which its networks run.

        Raises:
            BackendUnavailable: the library works on a stream or a context of its own.
        """
        ...

    def bind_device(self, device: Device, shapes: tuple[tuple[int, ...], ...]) -> DeviceBinding:
        """Prepare the network for inputs of these shapes, in the order of the spec; it has run once when this returns.

        Raises:
            ShapeError: the model does not take them.
            DeviceMemoryError, BackendError: the device or the library refused.
        """
        ...
