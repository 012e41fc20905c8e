"""The native kernels beside memcpy of the same bytes, OpenCV and the NumPy reference, on one thread.

    python -m benchmarks.kernels [--json FILE] [--quick]

Outputs are checked against the reference before the clock runs. Frames and tensors rotate through enough buffers that
a call does not find them in the L2 cache, as after a decoder; the candidates take turns. What memcpy copies:
:class:`CopyOfTheSameBytes`.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ganlens.engine._kernels import Compose, Prepare, targets
from ganlens.engine.benchmark.stats import interleave, paired_ratio
from ganlens.engine.pixels import reference_kernels as reference

from . import results

Planes = tuple[NDArray[np.uint8], ...]
Tensor = NDArray[np.float32]
Calls = dict[str, Callable[[], object]]

SIZE = (256, 256)
CASES = {
    "720p, region 512": ((720, 1280), (104, 384, 512, 512)),
    "1080p, region 768": ((1080, 1920), (156, 576, 768, 768)),
    "720p, whole frame": ((720, 1280), (0, 0, 720, 1280)),
}
FORMATS = ("rgb24", "yuv420p")
KINDS = ("prepare", "compose", "compose, feather", "compose, mask")
BUFFERS = 12
FEATHER = 16
VALUE_RANGE = (-1.0, 1.0)


def options(case: str, format: str) -> dict[str, Any]:
    """What kernels and reference are told."""
    frame_size, region = CASES[case]
    return {
        "format": format,
        "frame_size": frame_size,
        "region": tuple(map(float, region)),
        "size": SIZE,
        "matrix": "bt601",  # the only one that OpenCV knows
        "full_range": False,
        "siting": "center",
        "value_range": VALUE_RANGE,
        "bgr": False,
    }


def smooth(seed: int, *shape: int) -> NDArray[np.float32]:
    """Noise without its highest frequencies, 0..1: filters that differ only there must agree on it."""
    height, width, *channels = shape
    coarse = np.random.default_rng(seed).random((height // 32 + 2, width // 32 + 2, *channels), np.float32)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32).clip(0, 1)


def make_frame(format: str, size: tuple[int, int], seed: int) -> Planes:
    """A smooth picture in planes, inside the gamut."""
    height, width = size
    picture = (smooth(seed, height, width, 3) * 200 + 25).astype(np.uint8)
    if format == "rgb24":
        return (picture,)
    whole = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420).reshape(-1).astype(np.uint8)
    luma, half = height * width, (height // 2, width // 2)
    chroma = luma // 4
    return (
        whole[:luma].reshape(height, width).copy(),
        whole[luma : luma + chroma].reshape(half).copy(),
        whole[luma + chroma :].reshape(half).copy(),
    )


def crop(planes: Planes, format: str, region: tuple[int, int, int, int]) -> Planes:
    """Views of the region, which is even."""
    top, left, height, width = region
    if format == "rgb24":
        return (planes[0][top : top + height, left : left + width],)
    luma, *chroma = planes
    half = slice(top // 2, (top + height) // 2), slice(left // 2, (left + width) // 2)
    return (luma[top : top + height, left : left + width], *(plane[half] for plane in chroma))


# ---------------------------------------------------------------------------------------------- OpenCV, tuned


class OpenCV:
    """The quickest sequences found: the region only, 8 bit until the end or from the start, buffers reused."""

    def __init__(self, case: str, format: str) -> None:
        self.format = format
        self.region = CASES[case][1]
        _, _, self.height, self.width = self.region
        self.i420 = np.empty((self.height * 3 // 2, self.width), np.uint8)
        rows = cv2.resize(ramp(self.height)[:, None], (self.width, self.height))
        self.feather = np.ascontiguousarray(rows * ramp(self.width))
        self.no_feather = 1 - self.feather

    def prepare(self, planes: Planes) -> NDArray[Any]:
        pixels = crop(planes, self.format, self.region)
        rgb = pixels[0] if self.format == "rgb24" else self.to_rgb(pixels)
        return np.asarray(cv2.dnn.blobFromImage(rgb, 1 / 127.5, SIZE[::-1], (127.5, 127.5, 127.5), swapRB=False)[0])

    def to_rgb(self, planes: Planes) -> NDArray[Any]:
        height, width = self.height, self.width
        self.i420[:height] = planes[0]
        chroma = self.i420[height:].reshape(2, height // 2, width // 2)
        chroma[0], chroma[1] = planes[1:]
        return np.asarray(cv2.cvtColor(self.i420, cv2.COLOR_YUV2RGB_I420))

    def compose(self, translated: Tensor, planes: Planes, mask: Tensor | None, feather: bool) -> None:
        small = cv2.convertScaleAbs(cv2.merge(list(translated + np.float32(1))), alpha=127.5)
        large = cv2.resize(small, (self.width, self.height), interpolation=cv2.INTER_LINEAR)
        region = crop(planes, self.format, self.region)
        if self.format == "rgb24":
            if mask is not None:
                weight = cv2.resize(mask, (self.width, self.height), interpolation=cv2.INTER_LINEAR)
                large = cv2.blendLinear(large, region[0], weight, 1 - weight)
            elif feather:
                large = cv2.blendLinear(large, region[0], self.feather, self.no_feather)
            region[0][:] = large
            return
        i420 = cv2.cvtColor(large, cv2.COLOR_RGB2YUV_I420)
        chroma = i420[self.height :].reshape(2, self.height // 2, self.width // 2)
        for plane, new in zip(region, (i420[: self.height], *chroma), strict=True):
            plane[:] = new


def ramp(length: int) -> Tensor:
    """Weights of the feather along one axis."""
    at = np.arange(length) + 0.5
    return (reference.ramp(at, FEATHER) * reference.ramp(length - at, FEATHER)).astype(np.float32)


class CopyOfTheSameBytes:
    """The yardstick: rows of a region out of a frame into packed memory, or back, and nothing else.

    As many bytes are read, and as many written, as half of what the kernel reads and writes together. The rows are as
    long and as far apart as those of the region in each plane, in buffers of their own, as cold as the kernel's: where
    a kernel moves more than it reads from the frame there are more rows, else fewer. A packed block is quicker to copy.
    """

    def __init__(self, frame: Planes, region: Planes, count: float) -> None:
        share = count / sum(plane.nbytes for plane in region)
        self.rows = []
        for whole, part in zip(frame, region, strict=True):
            height, width = round(part.shape[0] * share), part[0].nbytes
            self.rows.append(np.ones((height, whole[0].nbytes), np.uint8)[:, :width])
        self.packed = [np.zeros(rows.shape, np.uint8) for rows in self.rows]

    def read(self) -> None:
        for packed, rows in zip(self.packed, self.rows, strict=True):
            np.copyto(packed, rows)

    def write(self) -> None:
        for packed, rows in zip(self.packed, self.rows, strict=True):
            np.copyto(rows, packed)


# ---------------------------------------------------------------------------------------------- calls


def rotating(call: Callable[[int], object]) -> Callable[[], float]:
    """``call`` with the number of a buffer, another one each time; answers the seconds it took."""
    numbers = itertools.cycle(range(BUFFERS))

    def timed() -> float:
        number = next(numbers)
        start = time.perf_counter()
        call(number)
        return time.perf_counter() - start

    return timed


def candidates(kind: str, case: str, format: str, target: str) -> tuple[dict[str, Callable[[], float]], float]:
    """The calls to compare, checked, and the seconds of the reference."""
    frame_size, region = CASES[case]
    keys = options(case, format)
    frames = [make_frame(format, frame_size, seed) for seed in range(BUFFERS)]
    tensors = [np.ascontiguousarray(smooth(seed, *SIZE, 3).transpose(2, 0, 1) * 1.6 - 0.8) for seed in range(BUFFERS)]
    masks = [smooth(90 + seed, *SIZE) for seed in range(BUFFERS)]
    opencv = OpenCV(case, format)
    calls: dict[str, Callable[[int], object]] = {}
    moved = region[2] * region[3] * (3 if format == "rgb24" else 1.5) + tensors[0].nbytes

    if kind == "prepare":
        kernel = Prepare(**keys, target=target)
        outs = [np.zeros_like(tensor) for tensor in tensors]
        calls["ganlens"] = lambda i: kernel(frames[i], outs[i])
        calls["opencv"] = lambda i: opencv.prepare(frames[i])
        start = time.perf_counter()
        expected = reference.prepare(frames[0], **keys)
        reference_seconds = time.perf_counter() - start
        kernel(frames[0], outs[0])
        assert_close("ganlens", outs[0], expected, mean=0.001, largest=0.01)
        assert_close("opencv", opencv.prepare(frames[0]), expected, mean=0.03, largest=0.3)
    else:
        masked, feather = kind.endswith("mask"), kind.endswith("feather")
        blending: dict[str, Any] = {"feather": (FEATHER,) * 4} if feather else {}
        composer = Compose(**keys, **blending, target=target)
        chosen = masks if masked else [None] * BUFFERS
        if masked:
            moved += masks[0].nbytes
        if masked:  # here every sample is read too, and in the ramps of a feather some
            moved += region[2] * region[3] * (3 if format == "rgb24" else 1.5)
        calls["ganlens"] = lambda i: composer(tensors[i], frames[i], mask=chosen[i])
        written = {name: tuple(plane.copy() for plane in frames[0]) for name in ("ganlens", "opencv", "reference")}
        start = time.perf_counter()
        reference.compose(tensors[0], written["reference"], **keys, **blending, mask=chosen[0])
        reference_seconds = time.perf_counter() - start
        composer(tensors[0], written["ganlens"], mask=chosen[0])
        for ours, expected_plane in zip(written["ganlens"], written["reference"], strict=True):
            assert_close("ganlens", ours, expected_plane, mean=0.5, largest=1)
        if format == "rgb24" or (not blending and not masked):
            calls["opencv"] = lambda i: opencv.compose(tensors[i], frames[i], chosen[i], feather)
            opencv.compose(tensors[0], written["opencv"], chosen[0], feather)
            for theirs, expected_plane in zip(written["opencv"], written["reference"], strict=True):
                assert_close("opencv", theirs, expected_plane, mean=2, largest=12)

    copies = [CopyOfTheSameBytes(frame, crop(frame, format, region), moved / 2) for frame in frames]
    calls["memcpy"] = (lambda i: copies[i].read()) if kind == "prepare" else (lambda i: copies[i].write())
    timed = {name: rotating(call) for name, call in calls.items()}
    for call in timed.values():
        for _ in range(BUFFERS):
            call()
    return timed, reference_seconds


def assert_close(name: str, came: NDArray[Any], expected: NDArray[Any], *, mean: float, largest: float) -> None:
    """That a candidate does the work that it is timed for."""
    difference = np.abs(came.astype(np.float64) - expected)
    if difference.mean() > mean or difference.max() > largest:
        raise SystemExit(
            f"{name} differs from the reference by {difference.mean():.4f} on average and {difference.max():.3f} at "
            f"most; expected {mean} and {largest}. Nothing was timed."
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, default=results.FOLDER / "kernels.json", help="where the result goes")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--target", default=targets()[-1], choices=targets(), help="instruction set of our kernels")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds, to see that it works")
    arguments = parser.parse_args()
    rounds = max(1, arguments.rounds // 10) if arguments.quick else arguments.rounds
    cv2.setNumThreads(1)

    rows: list[list[results.Cell]] = []
    details: dict[str, object] = {}
    for case, format, kind in itertools.product(CASES, FORMATS, KINDS):
        calls, reference_seconds = candidates(kind, case, format, arguments.target)
        samples = interleave(calls, rounds)
        microseconds = {name: statistics.median(times) * 1e6 for name, times in samples.items()}
        memcpy, lower, upper = paired_ratio(samples["ganlens"], samples["memcpy"])
        faster = paired_ratio(samples["opencv"], samples["ganlens"])[0] if "opencv" in samples else None
        rows.append(
            [
                f"{case}, {format}",
                kind,
                round(microseconds["ganlens"]),
                round(memcpy, 2),
                f"{faster:.1f}" if faster else "–",
                f"{reference_seconds * 1e6 / microseconds['ganlens']:.0f}",
            ]
        )
        details[f"{case}, {format}, {kind}"] = {
            "median_us": microseconds,
            "ratio_to_memcpy_quartiles": [lower, upper],
            "lowest_us": {name: min(times) * 1e6 for name, times in samples.items()},
            "reference_us": reference_seconds * 1e6,
        }
    results.write(
        arguments.json,
        "kernels",
        title=f"Prepare and compose, one thread, generator {SIZE[0]}x{SIZE[1]}, target {arguments.target}",
        columns=["frame", "kernel", "µs", "time / memcpy", "OpenCV / ours", "reference / ours"],
        rows=rows,
        settings={"rounds": rounds, "buffers": BUFFERS, "size": list(SIZE), "target": arguments.target},
        details=details,
    )


if __name__ == "__main__":
    main()
