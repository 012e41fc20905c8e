"""Generator → checked ONNX file with its record inside."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import onnx
import onnxruntime
import torch
from torch import nn

from ganlens.engine.errors import ExportError, MediaError, ModelFileError, OptionError
from ganlens.engine.files import OutputFile
from ganlens.engine.model.latents import draw, seeded
from ganlens.engine.model.relabel import with_margin
from ganlens.engine.spec import GeneratorSpec, Parity, Size, format_size
from ganlens.train.checkpoint import weights_sha256
from ganlens.train.networks.layers import fold

from .cost import multiply_accumulates
from .parity import THRESHOLDS, Feed, Precision, Threshold, batched, measure, sample_attributes, worst
from .pictures import choose_pictures, load_picture
from .precision import to_fp16, to_int8, with_half_weights
from .wrapper import ExportGenerator, graph_spec, input_names, output_names

OPSETS = range(17, 24)
"""Opsets that can be asked for; torch's exporter writes 18 and up itself, 17 through onnx's converter."""

MAX_SIDE = 16384
MAX_BATCH = 1024


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """How a generator is exported."""

    size: Size | None = None
    """(height, width) of the graph; for a graph of free size the preferred one. None: the record's preferred size."""
    dynamic: bool = False
    """Free batch; and free height and width, where the generator takes more than one size."""
    precision: Precision = "fp32"
    half_io: bool = False
    """Float16 inputs and outputs (with precision "fp16")."""
    half_weights: bool = False
    """Weights stored as float16, which the graph casts to float32 once (with precision "fp32"): half the file."""
    opset: int = 20
    detail: float | None = None
    """How much of the original's fine detail the runtime adds back by default, 0 to 1; None: as the checkpoint says."""
    margin: int | None = None
    """Pixels of repeated edge that the runtime adds around a frame and cuts off the answer; None: as the checkpoint
    says."""
    name: str = ""
    """Name of the model in its record; empty: the checkpoint's."""
    parity_pictures: int = 8
    calibration_pictures: int = 32
    overwrite: bool = False


@dataclass(frozen=True)
class ExportReport:
    """What an export found; the file exists only if ``passed``."""

    path: Path
    spec: GeneratorSpec
    sizes: dict[Size, Parity]
    """Parity at each size that was tried."""
    parity: Parity
    """The worst over all sizes: the figures that are judged."""
    threshold: Threshold
    failures: list[str]
    nodes: int
    macs: int
    """Multiply-accumulates per image at the preferred size."""
    file_bytes: int
    seconds: float
    calibration_pictures: int

    @property
    def passed(self) -> bool:
        """Whether the gate let the graph through."""
        return not self.failures


def export_onnx(
    generator: nn.Module,
    spec: GeneratorSpec,
    path: Path,
    pictures: Sequence[Path],
    options: ExportOptions | None = None,
) -> ExportReport:
    """Export a generator, compare the graph with PyTorch, and keep the file only if it passes.

    Args:
        generator: float32, on the CPU; called as :class:`~ganlens.export.wrapper.ExportGenerator` says. It is put into
            eval mode.
        spec: the checkpoint's record.
        path: the file to write, ending in ``.onnx``.
        pictures: picture files for the parity gate and for calibration; may be empty for a generator without image.
        options: how; None: a static float32 graph.

    Raises:
        OptionError: an option has no such value, or does not fit the generator.
        MediaError: the target cannot be written or exists, or no picture can be read.
        ExportError: PyTorch cannot express the generator as a graph, or too few pictures for INT8.
    """
    options = options or ExportOptions()
    started = time.perf_counter()
    if options.margin is not None:
        spec = with_margin(spec, options.margin)
    size = _check(spec, options)
    free_size = options.dynamic and spec.image is not None and spec.size.fixed is None
    graph = graph_spec(spec, None if free_size else size)
    graph = graph.model_copy(
        update={
            "name": options.name or spec.name,
            "detail": spec.detail if options.detail is None else options.detail,
            "precision": options.precision,
            "size": graph.size.model_copy(update={"preferred": size}),
            "weights_sha256": weights_sha256(generator.state_dict()),
            "producer": f"ganlens {_version()}",
            "parity": None,
        }
    )
    with _target(path, overwrite=options.overwrite) as output:
        parity_files, calibration_files = _split(pictures, graph, options)
        module = ExportGenerator(generator, spec, graph.frame_border_px)
        example = _feeds(parity_files[:1], graph, size)[0]
        plain = ExportGenerator(fold(generator), spec, graph.frame_border_px)
        model = to_graph(plain, graph, example, dynamic=options.dynamic, opset=options.opset)
        macs = multiply_accumulates(model, graph, size)
        model = _reduce(model, options, _feeds(calibration_files, graph, size, first=len(parity_files)))
        _clear_traces(model)
        content = model.SerializeToString()
        sizes = {}
        for tried in _sizes_to_try(graph, size):
            feeds = _feeds(parity_files, graph, tried)
            sizes[tried] = measure(module, content, graph, batched(feeds) if options.dynamic else feeds)
        parity = worst(list(sizes.values()))
        threshold = THRESHOLDS["fp16" if options.half_weights else options.precision]
        failures = threshold.failures(parity)
        graph = graph.model_copy(update={"parity": parity})
        onnx.helper.set_model_props(model, graph.to_metadata())
        content = model.SerializeToString()
        if not failures:
            _verify(model, content, graph)
            output.write(content)
            output.commit()
    return ExportReport(
        path=path,
        spec=graph,
        sizes=sizes,
        parity=parity,
        threshold=threshold,
        failures=failures,
        nodes=len(model.graph.node),
        macs=macs,
        file_bytes=len(content),
        seconds=time.perf_counter() - started,
        calibration_pictures=len(calibration_files),
    )


def to_graph(
    module: ExportGenerator, spec: GeneratorSpec, feed: Feed, *, dynamic: bool = False, opset: int = 20
) -> onnx.ModelProto:
    """The float32 graph of a wrapped generator.

    Args:
        module: the wrapped generator.
        spec: the graph's record.
        feed: an example input.
        dynamic: free batch, and where ``spec.size.fixed`` is None, free height and width.
        opset: see :data:`OPSETS`.

    Raises:
        ExportError: PyTorch cannot express the module as one graph of this kind.
    """
    example = tuple(torch.from_numpy(value) for value in feed.values())
    shapes = None
    if dynamic:
        # Traced with two images: the exporter takes a size of 1 for a constant.
        example = tuple(tensor.repeat(2, *[1] * (tensor.ndim - 1)) for tensor in example)
        shapes = (_free_dimensions(spec),)
    try:
        with _quiet_exporter():
            program = torch.onnx.export(
                module,
                example,
                dynamo=True,
                input_names=input_names(spec),
                output_names=output_names(spec),
                dynamic_shapes=shapes,
                opset_version=opset,
                verbose=False,
            )
    except (torch.onnx.OnnxExporterError, RuntimeError) as error:
        raise ExportError(
            f"PyTorch cannot export '{spec.name}' ({spec.architecture} {spec.tier}) as a "
            f"{'dynamic' if dynamic else 'static'} graph of opset {opset}: {_first_line(error)}"
        ) from error
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    written = model.opset_import[0].version
    if written != opset:
        raise ExportError(f"PyTorch wrote opset {written} where {opset} was asked for. Use --opset {written}.")
    if dynamic:
        _require_free_batch(model, spec)
        _name_dimensions(model)
    return model


def composition_nodes(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes that the wrapper added around the generator (composition, frame, clipping)."""
    found = []
    for node in model.graph.node:
        scopes = {entry.key: entry.value for entry in node.metadata_props}.get("pkg.torch.onnx.name_scopes")
        if scopes is not None and "'generator'" not in scopes:
            found.append(node.name)
    return found


def _check(spec: GeneratorSpec, options: ExportOptions) -> Size:
    """The size to export at, if the options fit the generator."""
    if options.opset not in OPSETS:
        raise OptionError(f"opset: got {options.opset}, expected {OPSETS[0]} to {OPSETS[-1]}.")
    if options.precision not in THRESHOLDS:
        raise OptionError(f"precision: got '{options.precision}', expected one of {', '.join(THRESHOLDS)}.")
    if options.half_weights and options.precision != "fp32":
        raise OptionError(f"Weights stored as float16 need precision fp32; got {options.precision}.")
    if options.half_io and options.precision != "fp16":
        raise OptionError(f"Float16 inputs and outputs need precision fp16; got {options.precision}.")
    size = options.size or spec.size.fixed or spec.size.preferred
    if not spec.size.accepts(size):
        nearest = spec.size.round_up(size)
        raise OptionError(
            f"got size {format_size(size)}; '{spec.name}' takes {spec.size}. Use --size {format_size(nearest)}."
        )
    if spec.output.kind == "segment" and spec.image is None:
        raise ModelFileError(f"'{spec.name}' returns a segment but has no image to compose it over.")
    return size


@contextmanager
def _target(path: Path, *, overwrite: bool) -> Iterator[OutputFile]:
    """The file to write, opened before minutes of work; it is gone at the end unless it was committed."""
    if path.suffix.lower() != ".onnx":
        raise MediaError(f"The output is called '{path.name}'; expected a name that ends in .onnx.")
    output = OutputFile(path, overwrite=overwrite)
    try:
        yield output
    finally:
        output.discard()


def _split(pictures: Sequence[Path], spec: GeneratorSpec, options: ExportOptions) -> tuple[list[Path], list[Path]]:
    """Pictures for the gate and, apart from them, pictures for calibration."""
    calibrate = options.precision == "int8"
    if spec.image is None:
        # The genuine input of such a generator is noise; numbers stand for the draws.
        draws = [Path(str(i)) for i in range(options.parity_pictures + calibrate * options.calibration_pictures)]
        return draws[: options.parity_pictures], draws[options.parity_pictures :]
    if not pictures:
        raise MediaError("The parity gate needs real pictures. Give a folder of them with --images DIR.")
    if not calibrate:
        return choose_pictures(pictures, options.parity_pictures), []
    chosen = choose_pictures(pictures, options.parity_pictures + options.calibration_pictures)
    return chosen[: options.parity_pictures], chosen[options.parity_pictures :]


def _feeds(files: Sequence[Path], spec: GeneratorSpec, size: Size, first: int = 0) -> list[Feed]:
    """One input per picture. Noise and attributes come from seeds, ``first`` and those after it, as in the runtime."""
    feeds = []
    for seed, file in enumerate(files, first):
        random = seeded(seed)
        feed: Feed = {}
        if spec.image is not None:
            feed[spec.image.name] = load_picture(file, spec, size)
        if spec.latent is not None:
            feed[spec.latent.name] = draw(spec.latent, random)[None]
        if spec.attributes is not None:
            feed[spec.attributes.name] = sample_attributes(spec.attributes, random)
        feeds.append(feed)
    return feeds


def _sizes_to_try(spec: GeneratorSpec, size: Size) -> list[Size]:
    """The preferred size; for a graph of free size also an odd shape of about the same area."""
    if spec.size.fixed is not None:
        return [size]
    height, width = size
    return [size, spec.size.round_up((height * 3 // 4, width * 5 // 4))]


def _reduce(model: onnx.ModelProto, options: ExportOptions, calibration: Sequence[Feed]) -> onnx.ModelProto:
    if options.precision == "fp16":
        return to_fp16(model, keep_nodes=composition_nodes(model), half_io=options.half_io)
    if options.precision == "int8":
        return to_int8(model, calibration)
    return with_half_weights(model) if options.half_weights else model


def _verify(model: onnx.ModelProto, content: bytes, spec: GeneratorSpec) -> None:
    """The file to be written is a valid model that gives its record back as a runtime will read it."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"The graph is not valid ONNX: {_first_line(error)}") from error
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    if GeneratorSpec.from_metadata(session.get_modelmeta().custom_metadata_map) != spec:
        raise ExportError("The record in the file is not the record that was written.")


def _free_dimensions(spec: GeneratorSpec) -> tuple[dict[int, object], ...]:
    dim = torch.export.Dim
    batch = dim("batch", min=1, max=MAX_BATCH)
    multiple = spec.size.multiple_of
    least = -(-spec.size.minimum // multiple)
    height, width = (multiple * dim(name, min=least, max=MAX_SIDE // multiple) for name in ("rows", "columns"))
    free = spec.image.name if spec.image and spec.size.fixed is None else None
    return tuple({0: batch, 2: height, 3: width} if name == free else {0: batch} for name in input_names(spec))


def _require_free_batch(model: onnx.ModelProto, spec: GeneratorSpec) -> None:
    """Refuse a graph for the example's batch only: the exporter keeps to a number that the network's code reads."""
    for entry in model.graph.input:
        batch = entry.type.tensor_type.shape.dim[0]
        if not batch.dim_param:
            raise ExportError(
                f"PyTorch exports '{spec.name}' ({spec.architecture} {spec.tier}) for a batch of {batch.dim_value} "
                "only: its forward reads the batch as a number (len(x), int(...)). Export it without --dynamic, or let "
                "the network use unflatten or -1."
            )


def _name_dimensions(model: onnx.ModelProto) -> None:
    """Call the free dimensions batch, height and width, in place of expressions such as ``8*rows``."""
    for entry in [*model.graph.input, *model.graph.output]:
        for dim, name in zip(entry.type.tensor_type.shape.dim, ("batch", "", "height", "width"), strict=False):
            if dim.dim_param:
                dim.dim_param = name
    del model.graph.value_info[:]


def _clear_traces(model: onnx.ModelProto) -> None:
    """Remove the exporter's notes: they hold source lines and paths of the machine that exported."""
    graph = model.graph
    del model.metadata_props[:]
    graph.ClearField("metadata_props")
    for entry in [*graph.node, *graph.input, *graph.output, *graph.initializer, *graph.value_info]:
        entry.ClearField("metadata_props")
        entry.ClearField("doc_string")


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence what torch's exporter says about itself."""
    levels = {name: logging.getLogger(name).level for name in ("torch.onnx", "onnxscript")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated", category=FutureWarning)
            warnings.filterwarnings("ignore", message="# The axis name: batch will not be used", category=UserWarning)
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _version() -> str:
    try:
        return version("ganlens")
    except PackageNotFoundError:
        return "(not installed)"
