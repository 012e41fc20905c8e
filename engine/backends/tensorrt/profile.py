"""Which shapes a plan takes: the smallest, the one it is made fastest for, and the largest, for each input."""

from __future__ import annotations

import re
from typing import NamedTuple

from ...errors import OptionError
from ...model.description import OnnxFile
from ...model.plan_record import Profile, ShapeRange
from ...spec import GeneratorSpec, format_size

BATCHES = 4
"""Pictures at once that a plan takes where the graph leaves the batch free and nothing else is asked for."""
WIDEST = 512
"""A plan takes sides up to this, or up to twice the model's preferred size; larger ones get a plan of their own."""
UNKNOWN_MINIMUM = 64
"""Smallest side for a graph without our record, which may refuse smaller ones."""


class Extent(NamedTuple):
    """Batch, height and width of an image input; in text ``BATCHxWIDTHxHEIGHT``, as ``--opt 4x512x288`` gives them."""

    batch: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.batch}x{format_size((self.height, self.width))}"


def parse_extent(option: str, text: str) -> Extent:
    """``"512x288"`` (width x height) or, with the batch, ``"4x512x288"``.

    Raises:
        OptionError: it is neither.
    """
    found = re.fullmatch(r"(?:(\d+)x)?(\d+)x(\d+)", text.strip().lower())
    if not found or any(part is not None and int(part) < 1 for part in found.groups()):
        raise OptionError(f"{option}: got {text}, expected WIDTHxHEIGHT or BATCHxWIDTHxHEIGHT, for example 4x512x288.")
    batch, width, height = found.groups()
    return Extent(int(batch or 1), int(height), int(width))


def make_profile(
    file: OnnxFile,
    spec: GeneratorSpec,
    *,
    smallest: Extent | None = None,
    fastest: Extent | None = None,
    largest: Extent | None = None,
) -> Profile:
    """The profile of a plan: as given, the rest from the record.

    Where only ``fastest`` is given, the range grows to hold it.

    Raises:
        OptionError: the sizes do not rise, the model does not take them, or its graph fixes others.
    """
    opt = fastest or Extent(1, *(spec.size.fixed or spec.size.preferred))
    low = smallest or _lowest(spec, opt)
    high = largest or _highest(spec, opt)
    for what, extent in (("smallest", low), ("fastest", opt), ("largest", high)):
        if spec.image is not None and not spec.size.accepts((extent.height, extent.width)):
            nearest = spec.size.round_up((extent.height, extent.width))
            raise OptionError(
                f"got {extent} as the {what} shape; {spec.name} takes {spec.size}. Nearest: "
                f"{Extent(extent.batch, *nearest)}."
            )
    if not all(a <= b <= c for a, b, c in zip(low, opt, high, strict=True)):
        raise OptionError(f"got the shapes {low}, {opt} and {high}, expected smallest <= fastest <= largest.")
    ranges: dict[str, ShapeRange] = {}
    for value in file.inputs:
        dims = value.dims or ()
        shapes = []
        for extent in (low, opt, high):
            free = (
                (extent.batch, *dims[1:2], extent.height, extent.width) if len(dims) == 4 else (extent.batch, *dims[1:])
            )
            shapes.append(
                tuple(dim if isinstance(dim, int) else _integer(n) for dim, n in zip(dims, free, strict=True))
            )
        ranges[value.name] = ShapeRange(*shapes)
        given = Extent(opt.batch, opt.height, opt.width)
        if fastest is not None and len(dims) == 4 and ranges[value.name].opt[::2] != (given.batch, given.height):
            raise OptionError(f"{file.path.name} is made for {value}; got {given}. Leave the shapes out.")
    return Profile(ranges)


def _integer(value: object) -> int:
    assert isinstance(value, int)  # channels and vector lengths are fixed in a graph that fits its record
    return value


def _lowest(spec: GeneratorSpec, opt: Extent) -> Extent:
    if spec.size.fixed is not None:
        return Extent(1, *spec.size.fixed)
    least = UNKNOWN_MINIMUM if spec.architecture == "onnx" else spec.size.minimum
    height, width = spec.size.round_up((least, least))
    return Extent(1, min(height, opt.height), min(width, opt.width))


def _highest(spec: GeneratorSpec, opt: Extent) -> Extent:
    batch = max(BATCHES, opt.batch)
    if spec.size.fixed is not None:
        return Extent(batch, *spec.size.fixed)
    step = spec.size.multiple_of
    sides = (max(WIDEST, 2 * side) // step * step for side in spec.size.preferred)
    height, width = sides
    return Extent(batch, max(height, opt.height), max(width, opt.width))
