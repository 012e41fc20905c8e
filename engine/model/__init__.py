"""The models that come with ganlens, and how a name or path becomes a model file."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ..errors import ModelFileError, UnknownModel, did_you_mean
from ..spec import GeneratorSpec, ValueRange
from .description import read_spec

FOLDER = Path(__file__).parent / "shipped"

CHECKPOINTS = (".pth", ".pt", ".ckpt", ".safetensors")
PLANS = (".plan", ".engine", ".trt")


class ModelCard(NamedTuple):
    """A shipped model."""

    name: str
    path: Path
    spec: GeneratorSpec


def shipped(folder: Path = FOLDER) -> list[ModelCard]:
    """The shipped models by name.

    Raises:
        ModelFileError: a shipped file is damaged.
    """
    return [ModelCard(path.stem, path, read_spec(path)) for path in sorted(folder.glob("*.onnx"))]


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
    names = {file.stem: file for file in sorted(folder.glob("*.onnx"))}
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
        from ..backends.tensorrt import read_record  # it needs all of the package, an ONNX file does not

        return read_record(path).plan_spec
    return read_spec(path, value_range=value_range)


def _known(stem: str, names: dict[str, Path]) -> str:
    return f"Models by name: {did_you_mean(stem, names)}"


def _checkpoint_hint(path: Path) -> str:
    """A run folder of ``engine train`` is a likely mistake."""
    if any(file.suffix == ".safetensors" for file in path.glob("*")):
        return f". It looks like a training run; export it first: engine export {path} -o model.onnx"
    return ""
