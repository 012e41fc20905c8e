"""Checkpoints: the generator to export (safetensors with its record), and the state from which a run continues."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ganlens.engine.errors import ModelFileError, TrainingError
from ganlens.engine.files import replace_file
from ganlens.engine.spec import GeneratorSpec

from .networks import make_generator

GENERATOR_NAME = "generator.safetensors"
STATE_NAME = "state.pt"
STATE_ENTRIES = frozenset(
    {"version", "config", "step", "seconds", "networks", "averaged", "optimizers", "scaler", "ranks"}
)


def save_generator(generator: nn.Module, spec: GeneratorSpec, path: Path) -> GeneratorSpec:
    """Write weights and record, atomically; the returned record holds the weights' sha256."""
    weights = {name: value.detach().cpu().contiguous() for name, value in generator.state_dict().items()}
    complete = spec.model_copy(update={"weights_sha256": weights_sha256(weights)})
    replace_file(path, save(weights, metadata=complete.to_metadata()), durable=True)
    return complete


def load_generator(path: str | Path) -> tuple[nn.Module, GeneratorSpec]:
    """The generator of a checkpoint or run folder, in eval mode on the CPU, and its record.

    Raises:
        ModelFileError: missing, not a safetensors file, without a record, or weights that do not fit it.
    """
    file = Path(path)
    if file.is_dir():
        file = file / GENERATOR_NAME
    spec, weights = read_generator_file(file)
    generator = make_generator(spec)
    try:
        generator.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelFileError(
            f"The weights in {file} do not fit the {spec.tier} network of its record: {error}. The file was "
            "changed, or written by another version; train or download it again."
        ) from error
    return generator.eval(), spec


def read_generator_file(file: Path) -> tuple[GeneratorSpec, dict[str, Tensor]]:
    """Record and weights of a checkpoint, unbuilt."""
    if not file.is_file():
        raise ModelFileError(
            f"There is no checkpoint {file}. Give a run folder of engine train, or its {GENERATOR_NAME}."
        )
    try:
        with safe_open(str(file), framework="pt") as opened:
            metadata = opened.metadata() or {}
            weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{file} is not a readable safetensors file: {error}.") from error
    spec = GeneratorSpec.from_metadata(metadata)
    if spec is None:
        raise ModelFileError(f"{file} has no ganlens record. Only checkpoints written by engine train can be used.")
    return spec, weights


def weights_sha256(weights: Mapping[str, Tensor]) -> str:
    """Digest of names, dtypes, shapes and values, independent of the file that holds them."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_state(state: dict[str, Any], folder: Path) -> None:
    """Write the run's state; a crash in the middle leaves the previous one.

    Raises:
        OSError: the disk is full, for example.
    """
    replace_file(folder / STATE_NAME, lambda file: torch.save(state, file), durable=True)


def load_state(folder: Path) -> dict[str, Any]:
    """The state written by :func:`save_state`, on the CPU; tensors and plain values only, so loading runs no code.

    Raises:
        TrainingError: missing, unreadable, or something else than such a state.
    """
    file = folder / STATE_NAME
    if not file.is_file():
        raise TrainingError(f"{folder} has no checkpoint to resume from. Start without --resume.")
    try:
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for a damaged file
        raise TrainingError(f"{file} cannot be read ({error}). It may be damaged; start a new run folder.") from error
    missing = sorted(STATE_ENTRIES - set(state)) if isinstance(state, dict) else ["a table of entries"]
    if missing:
        raise TrainingError(
            f"{file} is not a complete checkpoint of engine train: {', '.join(missing)} missing. Start a new run."
        )
    return state


def state_stamp(folder: Path) -> tuple[int, int]:
    """Changes whenever a state is written to the folder: its file's number and time of change, ns."""
    found = (folder / STATE_NAME).stat()
    return found.st_ino, found.st_mtime_ns
