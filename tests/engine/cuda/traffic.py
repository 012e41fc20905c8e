"""What crosses the bus for one frame, counted by the stub driver, as JSON: traffic.py "nv12 fit host" ..."""

from __future__ import annotations

import ctypes
import json
import sys
from typing import Any

import numpy as np

from ganlens.engine import Compositor, Frame, Framing, GeneratorSpec
from ganlens.engine.cuda import Device, DeviceArray
from ganlens.engine.pixels.frame import plane_shapes
from ganlens.engine.spec import SizeRule
from ganlens.engine.ways.base import Item, Look
from ganlens.engine.ways.gpu import FramePipeline

SIZE = (720, 1280)


class Nothing:
    """A backend whose network does nothing: only the way there and back is counted."""

    def bind_device(self, device: Device, shapes: tuple[tuple[int, ...], ...]) -> Nothing:
        self.inputs = tuple(device.empty(shape, np.float32) for shape in shapes)
        self.outputs = (device.empty(shapes[0], np.float32),)
        self.capturable = True
        return self

    def enqueue(self, stream: int) -> None: ...

    def close(self) -> None: ...


def counts() -> Any:
    """(bytes from the host, bytes to the host, bytes within the device, kernels) so far."""
    out = (ctypes.c_longlong * 4)()
    ctypes.CDLL("libcuda.so.1").stub_counts(out)
    return np.array(out)


def traffic(format: str, mode: str, where: str) -> list[int]:
    record = GeneratorSpec.model_validate(
        {"name": "tiny", "architecture": "cyclegan", "size": SizeRule(multiple_of=4, preferred=(256, 256))}
    )
    framing = Framing("crop", region=(384, 104, 512, 512)) if mode == "crop" else Framing(mode)
    device = Device()
    way = FramePipeline(device, Nothing(), Compositor(record, framing))
    planes = tuple(np.full(shape, 100, np.uint8) for shape in plane_shapes(SIZE, format))
    look = Look(opacity=1.0, detail=0.0)
    arrays: list[DeviceArray] = [device.upload(plane) for plane in planes] if where == "device" else []

    def once() -> None:
        if where == "device":
            way.on_device(arrays, format, look=look)
        else:
            way.translate(Item(Frame(planes, format), look))

    once()
    before = counts()
    for _ in range(10):
        once()
    return [int(number) for number in (counts() - before) / 10]


if __name__ == "__main__":
    sys.stdout.write(json.dumps({case: traffic(*case.split()) for case in sys.argv[1:]}))
