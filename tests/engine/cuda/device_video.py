"""``engine translate`` over the stub driver with NVDEC and NVENC: device_video.py MODEL '[["a.mp4", "-o", ...], ...]'

The network runs by ONNX Runtime's CPU provider, in what the stub takes for the GPU's memory. Commands run one after
the other; the answer is one line of JSON with a list for each: status, bytes from the host, to the host and within the
device, and kernels. A command that begins with "host" keeps no frame on the GPU; ["decode", CLIP, OUT.npz] saves what
NVDEC gives.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ganlens.engine import model
from ganlens.engine.backends.onnxruntime_backend import OnnxRuntimeCuda
from ganlens.engine.cli import main
from ganlens.engine.cuda import Device
from ganlens.engine.media import VideoSource
from ganlens.engine.ways import opening

MODEL = Path(sys.argv[1])


class OnnxRuntimeOnStub(OnnxRuntimeCuda):
    """The CUDA backend with ONNX Runtime's CPU provider over the stub's memory."""

    provider = "CPUExecutionProvider"
    memory = "cpu"

    def __init__(self, *_: object, **__: object) -> None:
        self._index = 0
        self._device = Device()
        self._stream = self._device.stream()
        super().__init__(model.open(MODEL), threads=1)

    def _check_provider(self) -> None:
        pass

    def _providers(self) -> list[Any]:
        return [self.provider]


def counts() -> list[int]:
    """Bytes from the host, to the host, within the device, and kernels, so far."""
    out = (ctypes.c_longlong * 4)()
    ctypes.CDLL("libcuda.so.1").stub_counts(out)
    return list(out)


def run(arguments: list[str]) -> int:
    if arguments[0] == "decode":
        with VideoSource(arguments[1], decoder="nvdec") as video:
            frames = list(video)
        np.savez(
            arguments[2],
            luma=[frame.planes[0] for frame in frames],
            chroma=[frame.planes[1] for frame in frames],
            times=[float(frame.time or 0) for frame in frames],
        )
        return 0
    keep = VideoSource.keep_on_device
    if arguments[0] == "host":
        VideoSource.keep_on_device = lambda *_: False  # type: ignore[method-assign]
    sys.argv = ["engine", "translate", *arguments[arguments[0] == "host" :]]
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        VideoSource.keep_on_device = keep  # type: ignore[method-assign]
    return 0


if __name__ == "__main__":
    opening.open_backend = OnnxRuntimeOnStub  # type: ignore[assignment]
    rows = []
    for command in json.loads(sys.argv[2]):
        before = counts()
        status = run(command)
        rows.append([status, *(now - then for now, then in zip(counts(), before, strict=True))])
    sys.stdout.write(json.dumps(rows) + "\n")
