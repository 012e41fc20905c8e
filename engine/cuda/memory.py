"""Arrays in a GPU's memory, lent to and borrowed from other libraries without a copy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from ..errors import ShapeError
from . import dlpack
from .driver import DEFAULT_STREAM

if TYPE_CHECKING:
    from .device import Device
    from .graph import Stream


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
            raise ShapeError(f"got a device array with strides {self.strides}, expected {self.shape} C-contiguous.")

    def part(self, begin: int, count: int) -> DeviceArray:
        """The part of ``count`` items from ``begin`` on, along the first axis, as a view."""
        if not 0 <= begin <= begin + count <= self.shape[0]:
            raise ShapeError(
                f"parts {begin} to {begin + count} of a device array of shape {self.shape} were asked for."
            )
        at = self.pointer + begin * self.strides[0]
        shape = (count, *self.shape[1:])
        return DeviceArray(
            self.device, at, shape, self.dtype, strides=self.strides, owner=self.owner, stream=self.stream
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
            with self.device.entered():
                # None: the consumer will use the legacy default stream.
                event = self.stream.record()
                self.device.call("cuStreamWaitEvent", DEFAULT_STREAM if stream is None else stream, event.handle, 0)
        return dlpack.export(self.pointer, self.shape, self.strides, self.dtype, self.__dlpack_device__(), self.owner)

    @staticmethod
    def take_options(stream: Stream | None) -> dict[str, int]:
        """What ``__dlpack__`` is asked for, so that the producer makes ``stream`` wait for the content."""
        return {} if stream is None else {"stream": stream.handle}

    @staticmethod
    def _wait_for(device: Device, other: int, stream: Stream | None) -> None:
        """Let ``stream``, if there is one, wait for what another library's stream has been given so far."""
        if stream is not None:
            event = device.event()
            device.call("cuEventRecord", event.handle, other)
            stream.wait(event)

    @classmethod
    def of(cls, device: Device, array: object, stream: Stream | None = None) -> DeviceArray:
        """A view of another library's array on the same GPU, without a copy.

        Args:
            array: has ``__cuda_array_interface__`` or ``__dlpack__``.
            stream: what comes after on this stream finds the array's content ready; None: the caller sees to that.

        Raises:
            ShapeError: it is neither, or is on another device.
        """
        if isinstance(array, DeviceArray):
            if stream is not None and array.stream is not None:
                stream.wait(array.stream.record())
            return array
        # DLPack first: torch says nothing of its stream in the other interface.
        if hasattr(array, "__dlpack__"):
            where = tuple(int(number) for number in array.__dlpack_device__())  # type: ignore[attr-defined]
            if where != (device.kind, device.index):
                raise ShapeError(f"got an array on DLPack device {where}, expected {(device.kind, device.index)}.")
            try:
                capsule = array.__dlpack__(**cls.take_options(stream))
            except NotImplementedError:  # PyAV: libav makes its frames on the default stream
                cls._wait_for(device, DEFAULT_STREAM, stream)
                capsule = array.__dlpack__()
            tensor = dlpack.take(capsule)
            return cls(device, tensor.pointer, tensor.shape, tensor.dtype, strides=tensor.strides, owner=tensor)
        interface = getattr(array, "__cuda_array_interface__", None)
        if interface is None:
            raise ShapeError(
                f"got {type(array).__name__}, expected an array on the GPU, with __cuda_array_interface__ or "
                "__dlpack__."
            )
        # Who says nothing is taken to have worked on the default stream, as PyCUDA does.
        cls._wait_for(device, interface.get("stream") or DEFAULT_STREAM, stream)
        return cls(
            device,
            int(interface["data"][0]),
            interface["shape"],
            interface["typestr"],
            strides=interface.get("strides"),
            owner=array,
        )


class Allocation:
    """Stands for memory of the device; freed with it."""
