"""The models that come with ganlens, and how a name or path becomes a model file."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from ..errors import ModelFileError, UnknownModel, did_you_mean, reason
from ..files import open_file, parse_json
from ..spec import METADATA_KEY, GeneratorSpec, SizeRule, ValueRange
from .description import OnnxFile, parse_onnx, read_bytes, read_spec, spec_of

if TYPE_CHECKING:
    from .plan_record import PlanRecord

FOLDER = Path(__file__).parent / "shipped"

CHECKPOINTS = (".pth", ".pt", ".ckpt", ".safetensors")
PLANS = (".plan", ".engine", ".trt")


class ModelCard(NamedTuple):
    """A shipped model."""

    name: str
    path: Path
    spec: GeneratorSpec


@dataclass(frozen=True)
class Model:
    """A model file, read once: the same bytes for every network that is opened from it.

    A file that is replaced meanwhile changes nothing. Weights kept in other files are not read here;
    a backend that opens them by path asks :meth:`source` first, which refuses files that have changed since.
    """

    path: Path
    """Where it was read from; for messages."""
    file: OnnxFile
    """What the graph says of itself; of a plan, what the graph said that it was built from."""
    spec: GeneratorSpec
    kind: Literal["onnx", "plan"]
    data: bytes
    """The file's content; of a plan, checked against the record beside it."""
    sizes_known: bool = True
    """False for a graph without record and of free size, until a backend has found by trying which sizes it takes."""
    plan: PlanRecord | None = None
    """What the record beside a plan says."""
    stamps: tuple[tuple[Path, tuple[int, ...]], ...] = ()
    """The file and those that hold its weights, as they were when it was read; empty if it holds all its weights."""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    @property
    def batch(self) -> int | None:
        """Pictures that every run must have, if the graph fixes their number."""
        spec = self.spec
        first = next(port.name for port in (spec.image, spec.attributes, spec.latent) if port is not None)
        dims = next((value.dims for value in self.file.inputs if value.name == first), None)
        return dims[0] if dims and isinstance(dims[0], int) else None

    def source(self) -> bytes | Path:
        """What a library opens: the content, or the path if weights are in other files.

        Raises:
            ModelFileError: the file or its weights have been replaced since it was read.
        """
        for path, stamp in self.stamps:
            if _stamp(path) != stamp:
                raise ModelFileError(f"{path} was changed or replaced since {self.name} was opened. Open it again.")
        return self.path if self.stamps else self.data

    def with_sizes(self, rule: SizeRule) -> Model:
        """The same model with the sizes that it was found to take."""
        return replace(self, spec=self.spec.model_copy(update={"size": rule}), sizes_known=True)


def open(name_or_path: str | Path, value_range: ValueRange | None = None, *, foreign: bool = True) -> Model:
    """Read a model file, given by path or by the name of a shipped model.

    Args:
        value_range: what the image tensor's values span, for an ONNX file without our record.
        foreign: whether it may be an ONNX file without our record.

    Raises:
        UnknownModel, ModelFileError, ShapeError, OptionError: see :func:`find_model` and
            :func:`~ganlens.engine.model.description.spec_of`.
        PlanError: a TensorRT plan without a valid record, or not the one that its record describes.
    """
    path = find_model(name_or_path)
    if path.suffix.lower() in PLANS:
        from .plan_record import read_plan  # its types take a while to make

        plan = read_plan(path)
        return Model(path, plan.record.onnx(path), plan.record.plan_spec, "plan", plan.content, plan=plan.record)
    before = _stamp(path)
    data = read_bytes(path)
    file = parse_onnx(path, data)
    if not foreign and METADATA_KEY not in file.metadata:
        raise ModelFileError(
            f"{path.name} has no ganlens record, so its input format is unknown. Export it with engine export, or "
            "run an image-to-image graph without a record with: engine translate --range ..."
        )
    spec = spec_of(file, value_range=value_range)
    weights = [path.resolve().parent / location for location in file.external]
    stamps = ((path, before), *((part, _stamp(part)) for part in weights)) if weights else ()
    free = spec.architecture == "onnx" and spec.size.fixed is None
    return Model(path, file, spec, "onnx", data, sizes_known=not free, stamps=stamps)


def _stamp(path: Path) -> tuple[int, ...]:
    """Changes when a file is written or replaced; empty if there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def shipped(folder: Path = FOLDER) -> list[ModelCard]:
    """The shipped models by name.

    Raises:
        ModelFileError: a shipped file is damaged.
    """
    return [ModelCard(path.stem, path, read_spec(path)) for path in shipped_paths(folder)]


def shipped_paths(folder: Path = FOLDER) -> list[Path]:
    """The files of the shipped models by name, not read."""
    return sorted(folder.glob("*.onnx"))


def find_model(name_or_path: str | Path, folder: Path = FOLDER) -> Path:
    """The file of a model given by path or by the name of a shipped model. An existing path wins over a name.

    It is an ONNX file, or a TensorRT plan, told by its suffix (:data:`PLANS`).

    Raises:
        UnknownModel: neither a file nor a shipped model has that name.
        ModelFileError: it is a folder or a file of another kind.
    """
    given = str(name_or_path)
    path = Path(given)
    suffix = path.suffix.lower()
    names = {file.stem: file for file in shipped_paths(folder)}
    try:
        exists, is_folder = given != "" and path.exists(), given != "" and path.is_dir()
    except (OSError, ValueError):  # too long a name, a NUL character
        exists = is_folder = False
    if given in names and (not exists or is_folder):  # a folder "monet" beside you does not hide the model "monet"
        return names[given]
    if is_folder:
        raise ModelFileError(f"{given} is a folder; expected an ONNX file{_checkpoint_hint(path)}.")
    if not exists:
        if given and not suffix and path.name == given:
            raise UnknownModel(
                f"No model is called {given!r}. {did_you_mean(given, names)} A path to an ONNX file works too."
            )
        raise UnknownModel(
            f"{given!r} does not exist; expected the path of an ONNX file or a model's name. "
            + _known(path.stem, names)
        )
    if suffix in CHECKPOINTS:
        raise ModelFileError(
            f"{given} holds PyTorch weights; the engine runs ONNX files. "
            f"Export it first: engine export {given} -o {path.stem}.onnx"
        )
    if suffix != ".onnx" and suffix not in PLANS:
        raise ModelFileError(f"{given} ends in {suffix or 'no suffix'}; expected an ONNX file (.onnx).")
    return path


def read_model_spec(path: Path, *, value_range: ValueRange | None = None) -> GeneratorSpec:
    """The record of a file that :func:`find_model` found; of a TensorRT plan, with the sizes that the plan takes.

    Raises:
        ModelFileError, ShapeError, OptionError: see :func:`~ganlens.engine.model.description.read_spec`.
        PlanError: the plan has no valid record beside it.
    """
    if path.suffix.lower() in PLANS:
        from .plan_record import read_record  # its types take a while to make

        return read_record(path).plan_spec
    return read_spec(path, value_range=value_range)


def read_checkpoint_spec(path: Path) -> GeneratorSpec:
    """The record of a checkpoint of ``engine train``: a ``.safetensors`` file, or the run folder that holds it.

    Raises:
        ModelFileError: it is missing, damaged, or without a record.
    """
    file = path / "generator.safetensors" if path.is_dir() else path
    try:
        with open_file(file) as opened:
            length = int.from_bytes(opened.read(8), "little")
            header = parse_json(opened.read(length)) if length <= LONGEST_HEADER else None
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{file} is not a readable checkpoint: {reason(error)}.") from error
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    spec = GeneratorSpec.from_metadata(metadata) if isinstance(metadata, dict) else None
    if spec is None:
        raise ModelFileError(f"{file} has no ganlens record; expected a checkpoint of engine train.")
    return spec


def is_checkpoint(name_or_path: str) -> bool:
    """Whether this names a ``.safetensors`` file, or a run folder with one."""
    path = Path(name_or_path)
    try:
        return (path.suffix == ".safetensors" and path.is_file()) or (path / "generator.safetensors").is_file()
    except (OSError, ValueError):  # too long a name, a NUL character
        return False


LONGEST_HEADER = 100_000_000
"""Bytes; the safetensors format's own limit."""


def _known(stem: str, names: dict[str, Path]) -> str:
    return f"Models by name: {did_you_mean(stem, names)}"


def _checkpoint_hint(path: Path) -> str:
    """A run folder of ``engine train`` is a likely mistake."""
    if any(file.suffix == ".safetensors" for file in path.glob("*")):
        return f". It looks like a training run; export it first: engine export {path} -o model.onnx"
    return ""
