"""``engine relabel``: another record for an ONNX file, with the strengths of its attributes measured."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydantic import ValidationError
from rich.console import Console

from ..backends import open_backend
from ..errors import MediaError, ModelFileError, OptionError, reason
from ..files import OutputFile
from ..media.pictures import list_images, read_image
from ..model import PLANS, find_model
from ..model.description import read_onnx, read_spec, spec_of
from ..model.relabel import with_record
from ..model.strengths import calibrate, default_strengths, mark_experimental, network_change
from ..pixels.compositor import Compositor
from ..spec import AttributeInput, GeneratorSpec
from .info import settable_lines


def relabel(
    model: str,
    output: Path,
    *,
    record: str | None,
    strengths: str | None,
    limit: int,
    experimental: str | None,
    backend: str,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Write ``model`` with another record to ``output``; the file is kept only if the record fits its graph.

    Raises:
        OptionError, ModelFileError, MediaError: with the cure in the message.
    """
    path = find_model(model)
    if path.suffix.lower() in PLANS:
        raise ModelFileError(f"{path} is a TensorRT plan; expected an ONNX file. Build the plan again afterwards.")
    if record is None and strengths is None and experimental is None:
        raise OptionError("nothing to change: give --record, --strengths or --experimental.")
    if output.exists() and not overwrite:
        raise MediaError(f"{output} exists; pass -y to overwrite it.")
    console = Console(stderr=True, quiet=quiet, highlight=False)
    spec = read_spec(path) if record is None else _read_record(record)
    if strengths is not None:
        port = default_strengths(_attributes(spec))
        with console.status("Measuring …") as status:
            port = _measure(path, port, strengths, limit, backend, lambda name: status.update(f"Measuring {name} …"))
        spec = _with_attributes(spec, port)
    if experimental is not None:
        names = [name.strip() for name in experimental.split(",") if name.strip()]
        spec = _with_attributes(spec, mark_experimental(_attributes(spec), names))
    spec = spec.model_copy(update={"format_version": GeneratorSpec(name="", architecture="").format_version})
    file = OutputFile(output, overwrite=overwrite)
    try:
        file.write(with_record(path.read_bytes(), spec))
        file.check()
        spec_of(read_onnx(file.name))  # the record must fit the graph
        file.commit()
    finally:
        file.discard()
    for line in settable_lines(spec.attributes):
        console.print(line, markup=False)
    console.print(f"{output}: the record is new, all else as in {path}", markup=False, soft_wrap=True)


def _read_record(source: str) -> GeneratorSpec:
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"--record {source} cannot be read: {reason(error)}.") from error
    try:
        return GeneratorSpec.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "record"
        raise OptionError(
            f"--record {source}: {where}: {first['msg']}. Begin with what 'engine info MODEL --json' prints."
        ) from error


def _attributes(spec: GeneratorSpec) -> AttributeInput:
    if spec.attributes is None or spec.image is None:
        raise OptionError(f"Model '{spec.name}' takes no picture with attributes, so there are no strengths to record.")
    return spec.attributes


def _with_attributes(spec: GeneratorSpec, port: AttributeInput) -> GeneratorSpec:
    return spec.model_copy(update={"attributes": port})


def _measure(
    path: Path, port: AttributeInput, pictures: str, limit: int, backend: str, progress: Callable[[str], None]
) -> AttributeInput:
    found = list_images(pictures)
    chosen = [found[i] for i in np.unique(np.linspace(0, len(found) - 1, min(limit, len(found))).round().astype(int))]
    with open_backend(path, backend) as opened:
        compositor = Compositor(opened.spec)
        images = [compositor.prepare(read_image(picture)).copy() for picture in chosen]
        return calibrate(port, network_change(opened, images), progress)
