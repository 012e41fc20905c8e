"""Pictures in a GPU's memory that are used again."""

from __future__ import annotations

from collections import deque
from functools import partial

import numpy as np

from ..cuda import Device, DeviceArray, Stream
from ..pixels.frame import Frame
from .lent import Loan


class DevicePictures:
    """NV12 pictures, so that a stream allocates none per frame.

    One block of memory each, the chroma right below the luma with the same bytes from row to row: NVENC gets the
    address of the luma alone. A block is free again when nothing refers to its picture any more, encoders included.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._like: tuple[int, int, int] | None = None
        self._free: deque[DeviceArray] = deque()

    def copy(self, frame: Frame, stream: Stream) -> tuple[Frame, list[DeviceArray]]:
        """A copy of a frame in the GPU's memory, made when ``stream`` gets there.

        The frame's owner keeps it until then.

        Returns:
            The copy, and its planes (H, W) and (H/2, W/2, 2) uint8.

        Raises:
            DeviceMemoryError: there is not enough memory.
        """
        given = [DeviceArray.of(self._device, plane, stream) for plane in frame.device_planes or ()]
        planes = self._take(*frame.size, given[0].strides[0])
        for plane, source in zip(planes, given, strict=True):
            _copy_rows(stream, plane, source)
        return frame.over(planes), planes

    def _take(self, height: int, width: int, pitch: int) -> list[DeviceArray]:
        if self._like != (height, width, pitch):  # blocks of the last size are freed when they come back
            self._like, self._free = (height, width, pitch), deque()
        block = self._free.pop() if self._free else self._device.empty((height + height // 2, pitch), np.uint8)
        loan = Loan(partial(self._free.append, block))
        below = block.pointer + height * pitch
        return [
            DeviceArray(self._device, block.pointer, (height, width), np.uint8, strides=(pitch, 1), owner=loan),
            DeviceArray(self._device, below, (height // 2, width // 2, 2), np.uint8, strides=(pitch, 2, 1), owner=loan),
        ]


def _copy_rows(stream: Stream, destination: DeviceArray, source: DeviceArray) -> None:
    rows, row = source.shape[0], int(np.prod(source.shape[1:]))
    if destination.strides[0] == source.strides[0]:  # padding goes along: fewer and larger copies
        stream.copy(destination.pointer, source.pointer, (rows - 1) * source.strides[0] + row)
        return
    for index in range(rows):
        at, to = (array.pointer + index * array.strides[0] for array in (source, destination))
        stream.copy(to, at, row)
