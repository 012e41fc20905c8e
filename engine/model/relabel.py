"""Another record for an ONNX file; every other byte, the weights first of all, stays as it is."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ValidationError

from ..errors import ModelFileError, OptionError, refusal
from ..spec import METADATA_KEY, GeneratorSpec
from .description import _varint as read_varint
from .description import _WireError as WireError

_METADATA_PROPS = 14  # of ModelProto: StringStringEntryProto, key = 1, value = 2


def with_record(data: bytes, spec: GeneratorSpec) -> bytes:
    """The bytes of an ONNX file with ``spec`` as its record, in place of the one it has, if any.

    Protobuf allows the fields of a message in any order, so that the record is put at the end and nothing else moves.

    Raises:
        ModelFileError: the bytes are not an ONNX model.
    """
    kept = bytearray()
    try:
        for number, field, content in _fields(memoryview(data)):
            if number == _METADATA_PROPS and _key(content) == METADATA_KEY:
                continue
            kept += field
    except WireError as error:
        raise ModelFileError(f"The file is not an ONNX model, or is cut off: {error}.") from None
    for key, text in spec.to_metadata().items():
        entry = _field(1, key.encode()) + _field(2, text.encode())
        kept += _field(_METADATA_PROPS, entry)
    return bytes(kept)


def with_margin(spec: GeneratorSpec, margin: int) -> GeneratorSpec:
    """The record with another margin (:attr:`~ganlens.engine.spec.SizeRule.margin`).

    Raises:
        OptionError: the model takes no such margin.
    """
    try:
        return GeneratorSpec.model_validate({**spec.model_dump(), "size": spec.size.with_margin(margin).model_dump()})
    except ValidationError as error:
        raise OptionError(f"--margin {margin}: {refusal(error)[1]}.") from error


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """(number, the whole field as stored, its content) of each field of a message."""
    start = 0
    while start < len(data):
        key, position = read_varint(data, start)
        wire = key & 7
        if wire == 0:
            _, end = read_varint(data, position)
        elif wire == 2:
            length, position = read_varint(data, position)
            end = position + length
        elif wire in (1, 5):
            end = position + (8 if wire == 1 else 4)
        else:
            raise WireError(f"a field has the unknown wire type {wire}")
        if end > len(data):
            raise WireError("a field ends after the file")
        yield key >> 3, data[start:end], data[position:end]
        start = end


def _key(entry: memoryview) -> str:
    return next((str(content, "utf-8") for number, _, content in _fields(entry) if number == 1), "")


def _field(number: int, content: bytes) -> bytes:
    """A field with a length: texts and messages."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
