"""What the GPU kernels need to know about one frame size: the C++ kernels' tables, in the layout of kernels.cu."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _kernels
from ..cuda import Device, DeviceArray, Kernel, Module, Stream
from ..pixels.frame import plane_shapes

BLOCK = (32, 8)
"""Threads, x and y: a warp is a stretch of one row, whose reads and writes are contiguous."""
ALIGNMENT = 256
"""Bytes between the beginnings of the planes in a block, a multiple of what one memory transaction takes."""

STRENGTHS = 64
"""Blendings whose structs are kept."""

KERNELS = {np.dtype(np.float32): "float32", np.dtype(np.float16): "float16"}

# ---------------------------------------------------------------- structs of kernels.cu


class Taps(ctypes.Structure):
    _fields_ = (
        ("first", ctypes.c_void_p),
        ("weight", ctypes.c_void_p),
        ("taps", ctypes.c_int),
        ("count", ctypes.c_int),
    )


class Channel(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_longlong), ("stride", ctypes.c_int), ("step", ctypes.c_int))


MOST_BLOCKS = 16
"""Frames of one launch."""


class Blocks(ctypes.Structure):
    _fields_ = (("at", ctypes.c_void_p * MOST_BLOCKS),)


class PreparePart(ctypes.Structure):
    _fields_ = (("down", Taps), ("across", Taps), ("unit", ctypes.c_float))


class PrepareTables(ctypes.Structure):
    _fields_ = (
        ("parts", PreparePart * 2),
        ("channels", Channel * 3),
        ("part_of", ctypes.c_int * 3),
        ("affine", ctypes.c_float * 12),
        ("low", ctypes.c_float),
        ("high", ctypes.c_float),
        ("height", ctypes.c_int),
        ("width", ctypes.c_int),
        ("bgr", ctypes.c_int),
    )


class ComposePart(ctypes.Structure):
    _fields_ = (
        ("down", Taps),
        ("across", Taps),
        ("lerp", ctypes.c_void_p),
        ("row_ramp", ctypes.c_void_p),
        ("column_ramp", ctypes.c_void_p),
        ("rows", ctypes.c_int),
        ("columns", ctypes.c_int),
        ("channels", ctypes.c_int),
        ("first_channel", ctypes.c_int),
        ("luma", ctypes.c_int),
        ("samples", Channel * 3),
    )


class Coding(ctypes.Structure):
    _fields_ = (
        ("low", ctypes.c_float),
        ("high", ctypes.c_float),
        ("affine", ctypes.c_float * 12),
        ("detail", ctypes.c_float * 3),
        ("detail_bias", ctypes.c_float),
        ("detail_in_all", ctypes.c_int),
    )


class Strength(ctypes.Structure):
    _fields_ = (
        ("detail", ctypes.c_float * 3),
        ("detail_bias", ctypes.c_float),
        ("luma_factors", ctypes.c_int * 3),
        ("detailed", ctypes.c_int),
        ("opacity", ctypes.c_double),
    )


class ComposeTables(ctypes.Structure):
    _fields_ = (
        ("parts", ComposePart * 2),
        ("coding", Coding),
        ("strength", Strength),
        ("strength_at", ctypes.c_longlong),
        ("height", ctypes.c_int),
        ("width", ctypes.c_int),
        ("bgr", ctypes.c_int),
        ("masked", ctypes.c_int),
        ("used", ctypes.c_int),
    )


# ---------------------------------------------------------------- planes


@dataclass(frozen=True)
class Window:
    """The part of one plane that the kernels read or write."""

    top: int
    left: int
    rows: int
    columns: int
    """In samples."""
    step: int
    """Bytes from sample to sample: the interleaved channels."""

    @property
    def row_bytes(self) -> int:
        return self.columns * self.step

    def of(self, plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The view of a plane, (rows, row_bytes)."""
        flat = plane.reshape(plane.shape[0], -1) if plane.ndim == 3 else plane
        return flat[self.top : self.top + self.rows, self.left * self.step : self.left * self.step + self.row_bytes]


@dataclass(frozen=True)
class Place:
    """Offset of the first sample of a plane (bytes from the beginning of the block), and the bytes from row to row.

    The first sample of the plane itself, which need not be in the block.
    """

    origin: int
    stride: int


class Geometry:
    """Windows, tables and launches for one frame size and pixel format.

    Args:
        module: the kernels.
        prepare, compose: the C++ kernels of the same geometry; their tables are taken.
        options: what both were made with.
    """

    def __init__(
        self,
        device: Device,
        module: Module,
        prepare: _kernels.Prepare,
        compose: _kernels.Compose,
        options: dict[str, Any],
    ) -> None:
        self.size: tuple[int, int] = options["size"]
        """(height, width) of the generator's image."""
        self._module = module
        self._kernels: dict[str, Kernel] = {}
        self._prepare, self._compose = prepare.tables(), compose.tables()
        self._strength = compose.strength
        self._strengths: dict[tuple[float | None, float | None], bytes] = {}
        self._options = options
        self.windows = self._find_windows()
        self.places, self.strength_at = self._place_windows()
        """Where the planes and the frame's :class:`Strength` are in a block."""
        self.block_bytes = self.strength_at + ALIGNMENT
        self._pack = _Pack()
        prepare_parts = [self._prepare_part(part) for part in self._prepare["parts"]]
        compose_parts = [self._compose_part(part) for part in self._compose["parts"]]
        memory = self._pack.upload(device)
        self._memory = memory  # the tables point into it
        self._prepare_parts = [relocated(part, memory.pointer) for part in prepare_parts]
        self._compose_parts = [relocated(part, memory.pointer) for part in compose_parts]

    @property
    def whole(self) -> bool:
        """Whether the windows are all of the frame."""
        shapes = plane_shapes(self._options["frame_size"], self._options["format"])
        return all(
            (window.top, window.left, window.rows, window.row_bytes) == (0, 0, shape[0], math.prod(shape[1:]))
            for window, shape in zip(self.windows, shapes, strict=True)
        )

    def views(self, planes: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
        """The windows of a frame's planes."""
        return [window.of(plane) for window, plane in zip(self.windows, planes, strict=True)]

    def block_views(self, block: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        """The windows' places in a block of ``block_bytes`` in host memory."""
        views = []
        for window, place in zip(self.windows, self.places, strict=True):
            begin = place.origin + window.top * place.stride + window.left * window.step
            views.append(
                block[begin : begin + window.rows * place.stride].reshape(window.rows, -1)[:, : window.row_bytes]
            )
        return views

    def strength(self, opacity: float | None = None, detail: float | None = None) -> bytes:
        """The struct :class:`Strength`; None: as compose was made."""
        made = self._strengths.get((opacity, detail))
        if made is None:
            if len(self._strengths) >= STRENGTHS:
                self._strengths.clear()
            made = self._strengths[opacity, detail] = self._strength(opacity=opacity, detail=detail)
        return made

    def prepare(
        self, stream: Stream, blocks: Sequence[int], out: DeviceArray, places: Sequence[Place] | None = None
    ) -> None:
        """Put the launch of prepare into a stream.

        Args:
            blocks: addresses of the frames' blocks in device memory, at most :data:`MOST_BLOCKS`.
            out: (N, 3, h, w) float32 or float16, one row a block.
            places: where the planes are, if not in blocks of ours; the same in each.
        """
        tables = PrepareTables(low=self._options["value_range"][0], high=self._options["value_range"][1])
        tables.height, tables.width = self.size
        tables.bgr = self._options["bgr"]
        tables.affine[:] = np.frombuffer(self._prepare["affine"], np.float32).tolist()
        for index, (part, ready) in enumerate(zip(self._prepare["parts"], self._prepare_parts, strict=True)):
            tables.parts[index] = ready
            for channel, where in self._channels(part, places, 0, 0):
                tables.channels[channel] = where
                tables.part_of[channel] = index
        kernel = self._kernel("prepare", out)
        grid = (-(-self.size[1] // BLOCK[0]), -(-self.size[0] // BLOCK[1]), len(blocks))
        kernel.launch(stream, grid, (*BLOCK, 1), tables, _blocks(blocks), ctypes.c_void_p(out.pointer))

    def compose(
        self,
        stream: Stream,
        translated: DeviceArray,
        mask: DeviceArray | None,
        prepared: DeviceArray | None,
        blocks: Sequence[int],
        places: Sequence[Place] | None = None,
        strength: bytes | None = b"",
    ) -> None:
        """Put the launch of compose into a stream; the frames at ``blocks`` are changed in place.

        Args:
            translated: (N, 3, h, w), mask: (N, 1, h, w), prepared: what prepare gave, for detail; all of one dtype.
            blocks, places: as of :meth:`prepare`.
            strength: what :meth:`strength` gives, for all frames; empty: as compose was made; None: each frame's own,
                at ``strength_at`` in its block, where it may change until the launch runs.
        """
        parts = self._compose["parts"]
        if not parts:  # the region is outside the frame
            return
        tables = ComposeTables(masked=mask is not None, used=len(parts))
        tables.height, tables.width = self.size
        tables.bgr = self._options["bgr"]
        tables.coding = Coding.from_buffer_copy(self._compose["coding"])
        tables.strength = Strength.from_buffer_copy(strength or self.strength())
        tables.strength_at = self.strength_at if strength is None else -1
        for index, (part, ready) in enumerate(zip(parts, self._compose_parts, strict=True)):
            tables.parts[index] = ready
            for channel, where in self._channels(part, places, part["top"], part["left"]):
                tables.parts[index].samples[channel - part["first_channel"]] = where
        kernel = self._kernel("compose", translated)
        rows, columns = (max(getattr(part, side) for part in self._compose_parts) for side in ("rows", "columns"))
        kernel.launch(
            stream,
            (-(-columns // BLOCK[0]), -(-rows // BLOCK[1]), len(parts) * len(blocks)),
            (*BLOCK, 1),
            tables,
            _blocks(blocks),
            *(ctypes.c_void_p(0 if array is None else array.pointer) for array in (translated, mask, prepared)),
        )

    def _kernel(self, name: str, array: DeviceArray) -> Kernel:
        full = f"{name}_{KERNELS[array.dtype]}"
        if full not in self._kernels:
            self._kernels[full] = self._module.kernel(full)
        return self._kernels[full]

    # --- windows ------------------------------------------------------------------------------------------------------

    def _find_windows(self) -> list[Window]:
        """For each plane the smallest rectangle that holds all samples that are read or written."""
        spans: dict[int, list[tuple[int, int, int, int]]] = {}
        steps: dict[int, int] = {}
        for part in self._prepare["parts"]:
            for plane in planes_of(part):
                spans.setdefault(plane, []).append((*reach(part["down"]), *reach(part["across"])))
                steps[plane] = part["channels"] if part["interleaved"] else 1
        for part in self._compose["parts"]:
            rows, columns = outputs(part["down"]), outputs(part["across"])
            for plane in planes_of(part):
                spans[plane].append((part["top"], part["top"] + rows, part["left"], part["left"] + columns))
        windows = []
        for plane in sorted(spans):
            top, left = min(span[0] for span in spans[plane]), min(span[2] for span in spans[plane])
            bottom, right = max(span[1] for span in spans[plane]), max(span[3] for span in spans[plane])
            windows.append(Window(top, left, bottom - top, right - left, steps[plane]))
        return windows

    def _place_windows(self) -> tuple[list[Place], int]:
        places, end = [], 0
        for window in self.windows:
            stride = -(-window.row_bytes // 16) * 16
            places.append(Place(end - window.top * stride - window.left * window.step, stride))
            end += -(-window.rows * stride // ALIGNMENT) * ALIGNMENT
        return places, end

    def _channels(
        self, part: dict[str, Any], places: Sequence[Place] | None, top: int, left: int
    ) -> list[tuple[int, Channel]]:
        """For each channel of a part its number and the offset of its sample (top, left)."""
        out = []
        for index in range(part["channels"]):
            plane = part["first_plane"] + (0 if part["interleaved"] else index)
            within = index if part["interleaved"] else 0
            step = self.windows[plane].step
            place = (places or self.places)[plane]
            origin = place.origin + top * place.stride + left * step + within
            out.append((part["first_channel"] + index, Channel(origin, place.stride, step)))
        return out

    # --- tables -------------------------------------------------------------------------------------------------------

    def _taps(self, axis: dict[str, Any]) -> Taps:
        first = np.frombuffer(axis["first"], np.int32)
        # Neighbouring threads read neighbouring weights.
        weight = np.frombuffer(axis["weight"], np.float32).reshape(len(first), axis["taps"]).T
        return Taps(self._pack.add(first), self._pack.add(weight), axis["taps"], len(first))

    def _prepare_part(self, part: dict[str, Any]) -> PreparePart:
        return PreparePart(self._taps(part["down"]), self._taps(part["across"]), part["unit"])

    def _compose_part(self, part: dict[str, Any]) -> ComposePart:
        weights = (
            self._pack.add(np.frombuffer(part[name], dtype))
            for name, dtype in (("lerp", np.int16), ("row_ramp", np.float64), ("column_ramp", np.int16))
        )
        return ComposePart(
            self._taps(part["down"]),
            self._taps(part["across"]),
            *weights,
            outputs(part["down"]),
            outputs(part["across"]),
            part["channels"],
            part["first_channel"],
            part["luma"],
        )


def _blocks(addresses: Sequence[int]) -> Blocks:
    return Blocks((ctypes.c_void_p * MOST_BLOCKS)(*addresses))


class _Pack:
    """Arrays that go to the device in one piece."""

    def __init__(self) -> None:
        self._arrays: list[NDArray[Any]] = []
        self._end = 0

    def add(self, array: NDArray[Any]) -> int:
        """Take an array; returns its offset from the beginning."""
        at = self._end
        self._arrays.append(np.ascontiguousarray(array))
        self._end += -(-array.nbytes // 16) * 16
        return at

    def upload(self, device: Device) -> DeviceArray:
        memory = np.zeros(self._end, np.uint8)
        at = 0
        for array in self._arrays:
            memory[at : at + array.nbytes] = array.view(np.uint8).reshape(-1)
            at += -(-array.nbytes // 16) * 16
        return device.upload(memory)


def relocated(part: Any, base: int) -> Any:
    """A struct whose pointers count from ``base`` on."""
    out = type(part).from_buffer_copy(part)
    for name, kind in out._fields_:
        value = getattr(out, name)
        if kind is Taps:
            value.first = (value.first or 0) + base
            value.weight = (value.weight or 0) + base
        elif kind is ctypes.c_void_p:
            setattr(out, name, (value or 0) + base)
    return out


def planes_of(part: dict[str, Any]) -> range:
    """The planes that hold the channels of a part."""
    return range(part["first_plane"], part["first_plane"] + (1 if part["interleaved"] else part["channels"]))


def reach(axis: dict[str, Any]) -> tuple[int, int]:
    """The inputs that an axis reads: first, and one after the last."""
    first = np.frombuffer(axis["first"], np.int32)
    return int(first.min()), int(first.max()) + int(axis["taps"])


def outputs(axis: dict[str, Any]) -> int:
    """How many outputs an axis has."""
    return len(axis["first"]) // 4
