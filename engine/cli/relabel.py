"""``engine relabel``: another record for an ONNX file, with the strengths of its attributes measured."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from pydantic import ValidationError

from ..backends import open_backend
from ..errors import MediaError, ModelFileError, OptionError, reason, refusal
from ..files import OutputFile, read_file
from ..media.pictures import list_images, read_image
from ..model import Model
from ..model import open as open_model
from ..model.description import parse_onnx, spec_of
from ..model.relabel import with_margin, with_record
from ..model.strengths import calibrate, default_strengths, mark_experimental, network_change
from ..pixels.compositor import Compositor
from ..spec import FORMAT_VERSION, AttributeInput, GeneratorSpec
from .console import make_console
from .info import settable_lines
from .options.relabel import RelabelOptions


def run(options: RelabelOptions) -> None:
    """Write the model with another record; the file is kept only if the record fits its graph.

    Raises:
        OptionError, ModelFileError, MediaError: with the cure in the message.
    """
    model = open_model(options.model)
    if model.kind == "plan":
        raise ModelFileError(
            f"{model.path} is a TensorRT plan; expected an ONNX file. Build the plan again afterwards."
        )
    changes = {
        name: getattr(options, name) for name in ("record", "strengths", "experimental", "detail", "margin", "licence")
    }
    if all(change is None for change in changes.values()):
        raise OptionError(f"nothing to change: give one of {', '.join('--' + name for name in changes)}.")
    if options.output.exists() and not options.overwrite:
        raise MediaError(f"{options.output} exists; pass -y to overwrite it.")
    console = make_console(stderr=True, quiet=options.quiet)
    spec = model.spec if options.record is None else _read_record(options.record)
    if options.strengths is not None:
        port = default_strengths(_attributes(spec))
        with console.status("Measuring …") as status:
            port = _measure(model, port, options, lambda name: status.update(f"Measuring {name} …"))
        spec = spec.model_copy(update={"attributes": port})
    if options.experimental is not None:
        names = [name.strip() for name in options.experimental.split(",") if name.strip()]
        spec = spec.model_copy(update={"attributes": mark_experimental(_attributes(spec), names)})
    if options.detail is not None:
        spec = spec.model_copy(update={"detail": options.detail})
    if options.margin is not None:
        spec = with_margin(spec, options.margin)
    if options.licence is not None:
        spec = spec.model_copy(update={"licence": options.licence})
    spec = spec.model_copy(update={"format_version": FORMAT_VERSION})
    data = with_record(model.data, spec)
    spec_of(parse_onnx(model.path, data))  # the record must fit the graph
    file = OutputFile(options.output, overwrite=options.overwrite)
    try:
        file.write(data)
        file.commit()
    finally:
        file.discard()
    for line in settable_lines(spec.attributes):
        console.print(line, markup=False)
    console.print(f"{options.output}: new record, everything else as in {model.path}", markup=False, soft_wrap=True)


def _read_record(source: str) -> GeneratorSpec:
    try:
        text = sys.stdin.read() if source == "-" else read_file(source).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"--record {source} cannot be read: {reason(error)}.") from error
    try:
        return GeneratorSpec.model_validate_json(text)
    except ValidationError as error:
        where, why = refusal(error)
        raise OptionError(
            f"--record {source}: {where or 'record'}: {why}. Begin with what 'engine info MODEL --json' prints."
        ) from error


def _attributes(spec: GeneratorSpec) -> AttributeInput:
    if spec.attributes is None or spec.image is None:
        raise OptionError(f"Model '{spec.name}' takes no picture with attributes, so there are no strengths to record.")
    return spec.attributes


def _measure(
    model: Model, port: AttributeInput, options: RelabelOptions, progress: Callable[[str], None]
) -> AttributeInput:
    found = list_images(options.strengths or "")
    places = np.linspace(0, len(found) - 1, min(options.limit, len(found))).round().astype(int)
    with open_backend(model, options.backend) as backend:
        compositor = Compositor(backend.spec)
        images = [compositor.prepare(read_image(found[place]))[None].copy() for place in np.unique(places)]
        return calibrate(port, network_change(backend, images), progress)
