"""The record beside a TensorRT plan: what it was built from, for which shapes, and how its bytes are known."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydantic import Field, ValidationError

from ..errors import PlanError, reason, refusal
from ..files import read_file, read_private
from ..spec import GeneratorSpec, Record, SizeRule
from .description import GraphValue, OnnxFile

FORMAT_VERSION = 1

Shape = tuple[int, ...]


class ShapeRange(NamedTuple):
    """The shapes of one input; equal where the graph fixes them."""

    min: Shape
    opt: Shape
    max: Shape

    def holds(self, shape: Shape) -> bool:
        """Whether ``shape`` is inside the profile."""
        return len(shape) == len(self.min) and all(
            low <= n <= high for low, n, high in zip(self.min, shape, self.max, strict=True)
        )


@dataclass(frozen=True)
class Profile:
    """The shapes of all inputs, by name."""

    ranges: Mapping[str, ShapeRange]

    @property
    def fixed(self) -> bool:
        """Whether there is one shape only."""
        return all(shapes.min == shapes.max for shapes in self.ranges.values())

    def covers(self, shapes: Mapping[str, Shape]) -> bool:
        """Whether a plan of this profile takes inputs of these shapes."""
        return shapes.keys() == self.ranges.keys() and all(
            self.ranges[name].holds(shape) for name, shape in shapes.items()
        )

    def distance(self, shapes: Mapping[str, Shape]) -> float:
        """How far the shapes are from those that a plan is made fastest for; 0: they are those."""
        return sum(
            abs(math.log(n / m))
            for name, shape in shapes.items()
            for n, m in zip(shape, self.ranges[name].opt, strict=True)
        )

    def __str__(self) -> str:
        shapes = next(iter(self.ranges.values()))
        words = ["x".join(map(str, shape)) for shape in shapes]
        return words[0] if len(set(words)) == 1 else f"{words[0]} to {words[2]}, fastest at {words[1]}"


class PlanKey(Record):
    """All that a plan depends on, but for its shapes."""

    onnx_sha256: str
    """SHA-256 of the ONNX file and its external weights."""
    library: str
    """Name and version: "TensorRT 11.4.0"."""
    driver: str
    """The newest CUDA that the driver knows; empty where the plan is for a target, not for one GPU. So the next two."""
    gpu: str
    """Name."""
    compute_capability: str
    """"9.0"."""
    target: str
    """What the plan runs on: "this GPU", a compute capability, or how far it reaches."""
    precision: str
    workspace: int = 0
    """Bytes that a kernel may use; 0: all."""
    version_compatible: bool = False

    def digest(self) -> str:
        """The beginning of the names of its plans."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


class Tensor(Record):
    """An input or output of the graph."""

    name: str
    element_type: int
    dims: tuple[int | str | None, ...] | None


class PlanRecord(Record):
    """What is written beside a plan."""

    format_version: int = FORMAT_VERSION
    key: PlanKey
    shapes: dict[str, ShapeRange]
    spec: GeneratorSpec
    model: str
    """Name of the ONNX file."""
    opset: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    plan_sha256: str
    plan_bytes: int = Field(gt=0)
    build_seconds: float
    built: str
    """UTC, ISO 8601."""
    producer: str

    @property
    def profile(self) -> Profile:
        """The shapes that the plan takes."""
        return Profile(self.shapes)

    @property
    def plan_spec(self) -> GeneratorSpec:
        """The record of the generator, with the sizes that the plan takes."""
        if self.spec.image is None:
            return self.spec
        smallest, opt, largest = self.shapes[self.spec.image.name]
        size = (opt[2], opt[3])
        if smallest[2:] == largest[2:]:
            rule = SizeRule(fixed=size, preferred=size, margin=self.spec.size.margin)
        else:
            least = max(self.spec.size.minimum, *smallest[2:])
            rule = self.spec.size.model_copy(update={"preferred": size, "minimum": least})
        return self.spec.model_copy(update={"size": rule})

    def onnx(self, path: Path) -> OnnxFile:
        """What the ONNX file that the plan was built from says of itself."""
        return OnnxFile(
            path=path,
            sha256=self.key.onnx_sha256,
            opset=self.opset,
            producer=self.producer,
            metadata={},
            inputs=tuple(GraphValue(*_fields(tensor)) for tensor in self.inputs),
            outputs=tuple(GraphValue(*_fields(tensor)) for tensor in self.outputs),
            external=(),
        )


def _fields(tensor: Tensor) -> tuple[str, int, tuple[int | str | None, ...] | None]:
    return tensor.name, tensor.element_type, tensor.dims


def tensors(values: tuple[GraphValue, ...]) -> tuple[Tensor, ...]:
    """Inputs or outputs for a record."""
    return tuple(Tensor(name=value.name, element_type=value.element_type, dims=value.dims) for value in values)


class Plan(NamedTuple):
    """A plan that was found whole."""

    path: Path
    record: PlanRecord
    content: bytes


def record_path(plan: Path) -> Path:
    """Path of the record of a plan: ``face.plan`` → ``face.plan.json``."""
    return plan.with_name(f"{plan.name}.json")


def read_record(plan: Path, *, private: bool = False) -> PlanRecord:
    """The record of a plan, without a look at the plan itself.

    Args:
        private: refuse one that another user may have written.

    Raises:
        PlanError: there is none, or it is not valid.
    """
    path = record_path(plan)
    try:
        text = (read_private(path) if private else read_file(path)).decode()
    except PermissionError as error:
        raise PlanError(f"{path.name} is not opened: {reason(error)}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(
            f"{plan.name} has no readable record {path.name} beside it ({reason(error)}); a plan is not opened without."
        ) from error
    try:
        record = PlanRecord.model_validate_json(text)
    except ValidationError as error:
        where, why = refusal(error)
        raise PlanError(f"{path.name} is not valid: {where or 'record'}: {why}.") from error
    if record.format_version != FORMAT_VERSION:
        raise PlanError(
            f"{path.name} has format version {record.format_version}; this ganlens writes {FORMAT_VERSION}."
        )
    return record


def read_plan(path: Path, *, private: bool = False) -> Plan:
    """A plan whose bytes are those that its record names.

    Args:
        private: refuse one that another user may have written.

    Raises:
        PlanError: they are not, or there is no record.
    """
    record = read_record(path, private=private)
    try:
        size = path.stat().st_size
        if size != record.plan_bytes:
            raise PlanError(f"{path.name} has {size} bytes; its record says {record.plan_bytes}.")
        content = read_private(path) if private else read_file(path, most=size)
    except PermissionError as error:
        raise PlanError(f"{path.name} is not opened: {reason(error)}.") from error
    except OSError as error:
        raise PlanError(f"{path} cannot be read ({reason(error)}).") from error
    if hashlib.sha256(content).hexdigest() != record.plan_sha256:
        raise PlanError(f"{path.name} is not the plan that its record describes (sha256 differs).")
    return Plan(path, record, content)
