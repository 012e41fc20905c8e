"""Where the weights of a new run begin: at another run's (``--start-from``), or at those of an exported file."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ganlens.engine.errors import MissingExtra, ModelFileError, TrainingError, UnknownModel
from ganlens.engine.model import open as open_model
from ganlens.engine.model import shipped_paths
from ganlens.engine.spec import AttributeInput, GeneratorSpec

from .checkpoint import load_generator
from .config import TrainConfig
from .methods.base import Method
from .networks import make_generator
from .networks.layers import fold, unfold

logger = logging.getLogger(__name__)

PREFIX, HALF = "generator.", ".half"
"""How an exported file names the generator's weights, and those of them that it stores as float16."""


def take_generators(method: Method, config: TrainConfig) -> None:
    """Give a new run the averaged generators that ``start_from`` names.

    That is a run folder, an exported ONNX file, or the name of a shipped model. A generator that is not there, as the
    way back in a CycleGAN begun from a paired run, starts new.

    Raises:
        TrainingError: the method has none to give, or they are of another kind.
        ModelFileError: there are none.
    """
    files = method.specs()
    if not files:
        raise TrainingError(f"--start-from {config.start_from}: {config.method} does not start from a generator.")
    start = Path(config.start_from)
    for stem, (name, spec) in files.items():
        if stem != "generator" and not (start / f"{stem}.safetensors").is_file():
            logger.info("%s has no %s: it starts new", config.start_from, stem)
            continue
        # A folder that is no run does not hide the model of its name.
        is_model = config.start_from in {path.stem for path in shipped_paths()}
        if (start / f"{stem}.safetensors").is_file() or (start.is_dir() and not is_model):
            generator, given = load_generator(start / f"{stem}.safetensors")
        else:
            generator, given = load_exported(config.start_from)
        if _labels(given) != _labels(spec):
            raise TrainingError(
                f"--start-from {config.start_from}: its generator takes {_names(given)}; this run's takes "
                f"{_names(spec)}. Give the same --attributes, in the same order."
            )
        try:
            method.networks[name].load_state_dict(generator.state_dict())
        except RuntimeError as error:
            raise TrainingError(
                f"--start-from {config.start_from}: its {stem} is a {given.tier} network ({given.options}), this run's "
                f"is {spec.tier} ({spec.options}). Give the same --tier, --shape, --norm and --activation."
            ) from error
        before = given.options.get("padding", "zeros")
        if before != config.padding:
            logger.warning(
                "%s was trained with --padding %s, this run has %s: what it draws along a border is learned anew. "
                "Keep it with --padding %s.",
                config.start_from,
                before,
                config.padding,
                before,
            )


def load_exported(name_or_path: str) -> tuple[nn.Module, GeneratorSpec]:
    """The generator of a file that ``engine export`` wrote, and its record.

    Args:
        name_or_path: an ONNX file, or the name of a shipped model.

    Raises:
        ModelFileError: there is no such file, another program wrote it, or its weights are not the network's: those of
            INT8, of FP16 and of batch norm, which export merges.
        MissingExtra: the package onnx is not installed.
    """
    try:
        model = open_model(name_or_path, foreign=False)
    except UnknownModel as error:
        raise ModelFileError(f"--start-from takes a run folder, an ONNX file or a model's name. {error}") from error
    if model.kind != "onnx":
        raise ModelFileError(f"--start-from {name_or_path}: a plan has no weights to start from. Give the run folder.")
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise MissingExtra("--start-from with an ONNX file", "onnx", "export") from error
    graph = onnx.load_model_from_string(model.data).graph
    found = {
        tensor.name.removeprefix(PREFIX).removesuffix(HALF): numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if tensor.name.startswith(PREFIX)
    }
    generator = make_generator(model.spec)
    plain = fold(generator)
    wanted = plain.state_dict()
    unlike = [name for name, value in wanted.items() if name not in found or found[name].shape != tuple(value.shape)]
    if unlike or model.spec.precision != "fp32":
        raise ModelFileError(
            f"--start-from {name_or_path}: a run starts from a generator whose weights are stored as they were trained "
            "(FP32, with or without --half-weights, and instance norm). Give the run folder."
        )
    plain.load_state_dict({name: torch.from_numpy(found[name].astype(np.float32)) for name in wanted})
    unfold(generator, plain)
    return generator.eval(), model.spec


def _labels(spec: GeneratorSpec) -> AttributeInput | None:
    """What a generator's network takes, whatever a user's value means."""
    return spec.attributes.model_copy(update={"strengths": {}}) if spec.attributes else None


def _names(spec: GeneratorSpec) -> str:
    return ", ".join(spec.attributes.names) if spec.attributes else "no attributes"
