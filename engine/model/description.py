"""What an ONNX file says about itself, read without the onnx package.

A small reader of the protobuf wire format (https://protobuf.dev/programming-guides/encoding/) that knows the few fields
of ``onnx.proto`` which the engine needs: names and shapes of inputs and outputs, opset, metadata, and the
locations of external weights. Weights inside the file are stepped over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..errors import ModelFileError, OptionError, ShapeError
from ..files import read_file, untrusted
from ..spec import GeneratorSpec, ImageInput, ImageOutput, SizeRule, ValueRange

Dim = int | str | None
"""A fixed extent, the name of a free one, or None where the graph says nothing."""

VALUE_RANGES: dict[str, ValueRange] = {"-1..1": (-1.0, 1.0), "0..1": (0.0, 1.0), "0..255": (0.0, 255.0)}
"""What ``--range`` takes."""

FLOAT, FLOAT16 = 1, 10
ELEMENT_TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
}  # fmt: skip

LARGEST_FILE = 2**31 - 1
"""Bytes; protobuf's own limit."""
DEEPEST_GRAPH = 64
MOST_FIELDS = 1_000_000
"""All messages together may have so many; a hostile file is refused within seconds, an honest node has some twenty."""


class GraphValue(NamedTuple):
    """An input or output of the graph."""

    name: str
    element_type: int
    """Number of ``TensorProto.DataType``; 0 when the value is not a tensor."""
    dims: tuple[Dim, ...] | None
    """None: the graph declares no shape."""

    def __str__(self) -> str:
        shape = (
            "of unknown shape"
            if self.dims is None
            else f"({', '.join('?' if d is None else str(d) for d in self.dims)})"
        )
        return f"'{self.name}' {ELEMENT_TYPES.get(self.element_type, 'of no tensor type')} {shape}"


@dataclass(frozen=True)
class OnnxFile:
    """What :func:`read_onnx` finds."""

    path: Path
    sha256: str
    """SHA-256 of the file; external weights are not included."""
    opset: int
    """Version of the default operator set; 0 when the file names none."""
    producer: str
    metadata: dict[str, str]
    inputs: tuple[GraphValue, ...]
    """Without those that are only weights with a default value."""
    outputs: tuple[GraphValue, ...]
    external: tuple[str, ...]
    """Locations of weights outside the file, as written; all are inside its folder."""


def read_onnx(path: str | Path) -> OnnxFile:
    """Read the description of an ONNX file.

    Raises:
        ModelFileError: there is no such file, it is no ONNX model or is cut off, or weights are outside its folder.
    """
    path = Path(path)
    return parse_onnx(path, read_bytes(path))


def parse_onnx(path: Path, data: bytes) -> OnnxFile:
    """The description of an ONNX file whose content has been read.

    Raises:
        ModelFileError: as of :func:`read_onnx`.
    """
    try:
        content = _Content()
        _read_model(memoryview(data), content)
    except _WireError as error:
        raise ModelFileError(
            f"{path} is not an ONNX model, or is cut off: {error}. Export or download it again."
        ) from None
    if not content.has_graph:
        raise ModelFileError(f"{path} is not an ONNX model: it holds no graph. Export or download it again.")
    if content.external and untrusted():
        raise ModelFileError(
            f"{path.name} keeps weights in other files, which is refused because GANLENS_UNTRUSTED is set. Store them "
            "inside it."
        )
    _check_external(path, content.external)
    return OnnxFile(
        path=path,
        sha256=hashlib.sha256(data).hexdigest(),
        opset=content.opset,
        producer=" ".join(part for part in content.producer if part),
        metadata=content.metadata,
        inputs=tuple(value for value in content.inputs if value.name not in content.weights),
        outputs=tuple(content.outputs),
        external=tuple(sorted(content.external)),
    )


def parse_value_range(text: str) -> ValueRange:
    """The range that ``--range`` names.

    Raises:
        OptionError: it is not one of :data:`VALUE_RANGES`.
    """
    try:
        return VALUE_RANGES[text.replace(" ", "")]
    except KeyError:
        raise OptionError(f"got value range {text!r}, expected one of {', '.join(VALUE_RANGES)}.") from None


def read_spec(path: str | Path, *, value_range: ValueRange | None = None) -> GeneratorSpec:
    """The record of a model file: ours if the file has one, else made from its graph. See :func:`spec_of`."""
    return spec_of(read_onnx(path), value_range=value_range)


def spec_of(file: OnnxFile, *, value_range: ValueRange | None = None) -> GeneratorSpec:
    """The record of a model: ours if the file has one, else made from its graph.

    A foreign graph must have one image input (N, 3, H, W) and one image output of the same shape, float32 or float16.
    Its channel order is taken to be RGB, and ``value_range`` must be given, because no graph tells it. Where height and
    width are free, ``size.multiple_of`` is 1 here; the graph does not tell it, so
    :func:`~ganlens.engine.backends.open_backend` finds it by trying sizes.

    Raises:
        ModelFileError: our record does not fit the graph, or the value range of a foreign graph is missing.
        ShapeError: the graph is not from one image to one image.
        OptionError: ``value_range`` contradicts our record.
    """
    spec = GeneratorSpec.from_metadata(file.metadata)
    if spec is None:
        return _foreign_spec(file, value_range)
    if value_range is not None and value_range != spec.value_range:
        raise OptionError(
            f"{file.path.name} states the value range {_range_text(spec.value_range)}; "
            f"got {_range_text(value_range)}. Leave --range out."
        )
    _check_record(file, spec)
    return spec


def _range_text(value_range: ValueRange) -> str:
    return f"{value_range[0]:g}..{value_range[1]:g}"


# --- foreign graphs -----------------------------------------------------------------------------------------------


def _foreign_spec(file: OnnxFile, value_range: ValueRange | None) -> GeneratorSpec:
    name = file.path.name
    image = _only(file.inputs, name, "input")
    output = _only(file.outputs, name, "output")
    _check_image(image, name, "input")
    _check_image(output, name, "output")
    assert image.dims is not None
    size = _static_size(image.dims)
    answer = _static_size(output.dims) if output.dims is not None else None
    if size is not None and answer is not None and size != answer:
        raise ShapeError(
            f"{name}: the input is {image}, the output {output}; expected an output as large as the input."
        )
    if value_range is None:
        raise ModelFileError(
            f"{name} has no ganlens record, so the range of its pixel values is unknown. "
            f"Give it with --range {' | '.join(VALUE_RANGES)} (value_range=... in Python)."
        )
    if value_range[0] >= value_range[1]:
        raise OptionError(f"got value range {_range_text(value_range)}, expected a rising pair such as -1..1.")
    return GeneratorSpec(
        name=file.path.stem,
        architecture="onnx",
        image=ImageInput(name=image.name),
        output=ImageOutput(name=output.name),
        size=SizeRule(fixed=size, preferred=size) if size else SizeRule(),
        value_range=value_range,
        precision="fp16" if image.element_type == FLOAT16 else "fp32",
        producer=file.producer,
    )


def _only(values: tuple[GraphValue, ...], name: str, role: str) -> GraphValue:
    if len(values) == 1:
        return values[0]
    listed = ", ".join(str(value) for value in values) or "none"
    raise ShapeError(
        f"{name} has {len(values)} {role}s: {listed}. "
        f"A model without a ganlens record must have exactly one image {role}."
    )


def _check_image(value: GraphValue, name: str, role: str) -> None:
    """Refuse what is not (N, 3, H, W) float. An output may leave its shape open: the backend sees the array itself."""
    expected = "expected (N, 3, height, width) float32 or float16, RGB, N = 1 or free"
    if value.element_type not in (FLOAT, FLOAT16):
        raise ShapeError(f"{name}: the {role} is {value}; {expected}.")
    if value.dims is None and role == "output":
        return
    if value.dims is None or len(value.dims) != 4:
        raise ShapeError(f"{name}: the {role} is {value}; {expected}.")
    batch, channels, _, last = value.dims
    if last == 3 and channels != 3:
        raise ShapeError(
            f"{name}: the {role} is {value}, channels last (NHWC); {expected}. "
            "Convert the model to channels first (NCHW)."
        )
    channels_open = role == "output" and not isinstance(channels, int)
    if not (channels == 3 or channels_open) or (isinstance(batch, int) and batch != 1):
        raise ShapeError(f"{name}: the {role} is {value}; {expected}.")


def _static_size(dims: tuple[Dim, ...]) -> tuple[int, int] | None:
    """(height, width) where the graph fixes it. A graph that fixes only one side is run on squares of that side."""
    height, width = dims[2], dims[3]
    sides = [side for side in (height, width) if isinstance(side, int)]
    if not sides:
        return None
    return sides[0], sides[-1]


# --- our own record -----------------------------------------------------------------------------------------------


def _check_record(file: OnnxFile, spec: GeneratorSpec) -> None:
    """The record must describe the graph it belongs to: names, element types, ranks, channels, fixed sizes."""
    fixed: tuple[Dim, Dim] = spec.size.fixed or (None, None)
    inputs: dict[str, tuple[Dim, ...]] = {}
    if spec.image:
        inputs[spec.image.name] = (None, 3, *fixed)
    if spec.attributes:
        inputs[spec.attributes.name] = (None, spec.attributes.length)
    if spec.latent:
        inputs[spec.latent.name] = (None, spec.latent.dim)
    outputs: dict[str, tuple[Dim, ...]] = {spec.output.name: (None, 3, *fixed)}
    if spec.output.mask:
        outputs[spec.output.mask] = (None, 1, *fixed)
    _check_values(file, "input", {value.name: value for value in file.inputs}, inputs)
    _check_values(file, "output", {value.name: value for value in file.outputs}, outputs)
    if spec.image and spec.size.fixed is None:
        image = next(value for value in file.inputs if value.name == spec.image.name)
        if image.dims is not None and _static_size(image.dims) is not None:
            raise ModelFileError(
                f"{file.path.name}: the record allows {spec.size}, the graph only {image}. "
                "Export it again with engine export."
            )


def _check_values(
    file: OnnxFile, role: str, found: dict[str, GraphValue], expected: dict[str, tuple[Dim, ...]]
) -> None:
    cure = "The record belongs to another graph; export the model again with engine export."
    if set(found) != set(expected):
        raise ModelFileError(
            f"{file.path.name}: the graph has the {role}s {sorted(found)}, its record names {sorted(expected)}. {cure}"
        )
    for name, dims in expected.items():
        value = found[name]
        fits = value.element_type in (FLOAT, FLOAT16) and (
            value.dims is None
            or (
                len(value.dims) == len(dims)
                and all(
                    not isinstance(came, int) or not isinstance(want, int) or came == want
                    for came, want in zip(value.dims, dims, strict=True)
                )
            )
        )
        if not fits:
            wanted = ", ".join("?" if want is None else str(want) for want in dims)
            raise ModelFileError(f"{file.path.name}: the {role} is {value}, its record says ({wanted}) float. {cure}")


# --- files --------------------------------------------------------------------------------------------------------


def read_bytes(path: Path) -> bytes:
    """The content of an ONNX file.

    Raises:
        ModelFileError: it does not exist, cannot be read, is empty, or larger than an ONNX file can be.
    """
    try:
        data = read_file(path, most=LARGEST_FILE)
    except IsADirectoryError:
        raise ModelFileError(f"{path} is a folder; expected an ONNX file.") from None
    except FileNotFoundError:
        raise ModelFileError(f"{path} does not exist; expected an ONNX file.") from None
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not data:
        raise ModelFileError(f"{path} is empty (0 bytes); expected an ONNX file. Export or download it again.")
    return data


def _check_external(path: Path, locations: set[str]) -> None:
    """Refuse weights outside the model's folder: a downloaded model must not read other files of the machine."""
    folder = path.resolve().parent
    for location in sorted(locations):
        try:
            target = (folder / location).resolve()
            inside = location != "" and not Path(location).is_absolute() and target.is_relative_to(folder)
            exists = inside and target.is_file()
        except (OSError, ValueError, RuntimeError):  # a NUL character, a loop of links
            inside = exists = False
        if not inside:
            raise ModelFileError(
                f"{path.name} keeps weights in {location!r}, outside its own folder; that is refused. "
                "Put the weights beside the model file, or store them inside it."
            )
        if not exists:
            raise ModelFileError(
                f"{path.name} keeps weights in {location!r}, which is not there. Copy it beside the model."
            )


# --- wire format --------------------------------------------------------------------------------------------------


class _WireError(Exception):
    """The bytes are not a protobuf message of the expected kind."""


@dataclass
class _Content:
    """What the walk over the message collects."""

    has_graph: bool = False
    opset: int = 0
    producer: list[str] = field(default_factory=lambda: ["", ""])
    metadata: dict[str, str] = field(default_factory=dict)
    inputs: list[GraphValue] = field(default_factory=list)
    outputs: list[GraphValue] = field(default_factory=list)
    weights: set[str] = field(default_factory=set)
    external: set[str] = field(default_factory=set)
    left: int = field(default_factory=lambda: MOST_FIELDS)
    """Fields that may still be read."""

    def fields(self, data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
        """(field number, value): numbers for varint and fixed fields, the bytes for all others."""
        for found in _fields(data):
            self.left -= 1
            if self.left < 0:
                raise _WireError(f"it has more than {MOST_FIELDS} fields")
            yield found


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise _WireError("a number is cut off")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
        shift += 7


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise _WireError("a field has the number 0")
        if wire == 0:
            value, position = _varint(data, position)
            yield number, value
            continue
        if wire == 2:
            length, position = _varint(data, position)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise _WireError(f"a field has the unknown wire type {wire}")
        if position + length > len(data):
            raise _WireError(f"a field of {length} bytes ends after the file")
        chunk = data[position : position + length]
        position += length
        yield number, chunk if wire == 2 else int.from_bytes(chunk, "little")


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise _WireError("a number stands where a text or message is expected")
    return value


def _text(value: int | memoryview) -> str:
    try:
        return str(_bytes(value), "utf-8")
    except UnicodeDecodeError:
        raise _WireError("a text is not UTF-8") from None


def _number(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise _WireError("a text or message stands where a number is expected")
    return value - 2**64 if value >= 2**63 else value


# The field numbers are those of onnx.proto3 (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3).


def _read_model(data: memoryview, content: _Content) -> None:
    for number, value in content.fields(data):
        if number == 2:
            content.producer[0] = _text(value)
        elif number == 3:
            content.producer[1] = _text(value)
        elif number == 7:
            content.has_graph = True
            _read_graph(_bytes(value), content, depth=0)
        elif number == 8:
            _read_opset(_bytes(value), content)
        elif number == 14:
            entry = {key: _text(text) for key, text in content.fields(_bytes(value)) if key in (1, 2)}
            content.metadata[entry.get(1, "")] = entry.get(2, "")
        elif number == 20:  # training graphs may hold tensors as well
            for _, graph in content.fields(_bytes(value)):
                if isinstance(graph, memoryview):
                    _read_graph(graph, content, depth=1)
        elif number == 25:
            for key, part in content.fields(_bytes(value)):
                if key == 7:
                    _read_node(_bytes(part), content, depth=1)
                elif key == 11:  # default values of a function's attributes
                    _read_attribute(_bytes(part), content, depth=1)


def _read_opset(data: memoryview, content: _Content) -> None:
    domain, version = "", 0
    for number, value in content.fields(data):
        if number == 1:
            domain = _text(value)
        elif number == 2:
            version = _number(value)
    if domain in ("", "ai.onnx"):
        content.opset = version


def _read_graph(data: memoryview, content: _Content, depth: int) -> None:
    """Graph at any depth; only the outermost one names the inputs and outputs of the model."""
    if depth > DEEPEST_GRAPH:
        raise _WireError(f"graphs are nested more than {DEEPEST_GRAPH} deep")
    for number, value in content.fields(data):
        if number == 1:
            _read_node(_bytes(value), content, depth)
        elif number == 5:
            name = _read_tensor(_bytes(value), content)
            if depth == 0:
                content.weights.add(name)
        elif number == 15:
            for key, tensor in content.fields(_bytes(value)):
                if key in (1, 2):
                    name = _read_tensor(_bytes(tensor), content)
                    if depth == 0 and key == 1:
                        content.weights.add(name)
        elif number == 11 and depth == 0:
            content.inputs.append(_read_value(_bytes(value), content))
        elif number == 12 and depth == 0:
            content.outputs.append(_read_value(_bytes(value), content))


def _read_node(data: memoryview, content: _Content, depth: int) -> None:
    for number, attribute in content.fields(data):
        if number == 5:
            _read_attribute(_bytes(attribute), content, depth)


def _read_attribute(data: memoryview, content: _Content, depth: int) -> None:
    for key, value in content.fields(data):
        if key in (5, 10):
            _read_tensor(_bytes(value), content)
        elif key in (6, 11):
            _read_graph(_bytes(value), content, depth + 1)
        elif key in (22, 23):
            for part, tensor in content.fields(_bytes(value)):
                if part in (1, 2):
                    _read_tensor(_bytes(tensor), content)


def _read_tensor(data: memoryview, content: _Content) -> str:
    """Record the location of an external tensor; returns its name."""
    name, external = "", False
    location: str | None = None
    for number, value in content.fields(data):
        if number == 8:
            name = _text(value)
        elif number == 13:
            entry = {key: _text(text) for key, text in content.fields(_bytes(value)) if key in (1, 2)}
            if entry.get(1) == "location":
                location = entry.get(2, "")
        elif number == 14:
            external = external or _number(value) == 1
    if external or location is not None:
        content.external.add(location or "")
    return name


def _read_value(data: memoryview, content: _Content) -> GraphValue:
    name, element_type = "", 0
    dims: tuple[Dim, ...] | None = None
    for number, value in content.fields(data):
        if number == 1:
            name = _text(value)
        elif number == 2:
            for kind, tensor in content.fields(_bytes(value)):
                if kind != 1:
                    continue
                for key, part in content.fields(_bytes(tensor)):
                    if key == 1:
                        element_type = _number(part)
                    elif key == 2:
                        dims = tuple(
                            _read_dim(_bytes(dim), content)
                            for field_number, dim in content.fields(_bytes(part))
                            if field_number == 1
                        )
    return GraphValue(name, element_type, dims)


def _read_dim(data: memoryview, content: _Content) -> Dim:
    for number, value in content.fields(data):
        if number == 1:
            extent = _number(value)
            return extent if extent > 0 else None  # some exporters write -1 or 0 for a free side
        if number == 2:
            return _text(value) or None
    return None
