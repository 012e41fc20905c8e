"""What is measured: the generator of a run folder, of a checkpoint, or of an ONNX file; and where the figures go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ganlens.engine.errors import ModelFileError, OptionError, install_command
from ganlens.engine.files import replace_file
from ganlens.engine.model import read_model_spec
from ganlens.engine.spec import GeneratorSpec, format_size

from ..checkpoint import GENERATOR_NAME, load_generator, save_generator
from .device import measuring_device

ONNX = ".onnx"


class Subject(NamedTuple):
    """A generator to be measured, in eval mode, on the measuring device."""

    generator: nn.Module
    spec: GeneratorSpec
    file: Path
    """The checkpoint or ONNX file."""

    def report(self, values: dict[str, Any], metrics: dict[str, float], *, result: Path | None, record: bool) -> None:
        """Write the figures where they are asked for.

        Args:
            values: for JSON.
            metrics: for the generator's record.
            result: JSON file to write.
            record: put ``metrics`` into the checkpoint's own record.
        """
        if result is not None:
            whole = {"model": self.spec.name, "weights_sha256": self.spec.weights_sha256, **values}
            write_json(result, whole)
        if record:
            spec = self.spec.model_copy(update={"metrics": {**self.spec.metrics, **metrics}})
            save_generator(self.generator, spec, self.file)


def open_subject(model: Path, *, record: bool = False) -> Subject:
    """Open a run folder, a checkpoint (.safetensors) or an ONNX file.

    Args:
        record: the figures will be put into its record.

    Raises:
        ModelFileError: it is none of them.
        OptionError: ``record`` of an ONNX file.
    """
    if model.suffix.lower() == ONNX:
        if record:
            raise OptionError("--record writes into checkpoints. Evaluate the run with --record, then export it.")
        spec = read_model_spec(model)
        return Subject(ONNXGenerator(model, spec), spec, model)
    generator, spec = load_generator(model)
    file = model / GENERATOR_NAME if model.is_dir() else model
    return Subject(generator.to(measuring_device()), spec, file)


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a result, replacing an older one."""
    replace_file(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


class ONNXGenerator(nn.Module):
    """An exported generator with the calls of the trained one: tensors in [-1, 1], RGB. Runs on the CPU.

    Args:
        path: the file.
        spec: its record.

    Raises:
        ModelFileError: the file cannot be opened, or ONNX Runtime is not installed.
    """

    def __init__(self, path: Path, spec: GeneratorSpec) -> None:
        super().__init__()
        try:
            import onnxruntime
        except ImportError as error:
            raise ModelFileError(f"ONNX files need ONNX Runtime. Install it: {install_command('cpu')}.") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own exceptions have no common public base
            raise ModelFileError(f"{path} cannot be opened: {str(error).splitlines()[0]}") from error
        self.spec = spec
        self.types = {
            port.name: np.float16 if "float16" in port.type else np.float32 for port in self.session.get_inputs()
        }
        self.labels = 0 if spec.attributes is None or spec.image is not None else spec.attributes.length

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Picture, noise and labels, as the record has them, in this order; one picture at a time."""
        spec = self.spec
        names = [port.name for port in (spec.image, spec.latent, spec.attributes) if port is not None]
        outputs = [spec.output.name, *([spec.output.mask] if spec.output.mask else [])]
        rows = []
        for row in range(len(inputs[0])):
            feed = {}
            for name, tensor in zip(names, inputs, strict=True):
                value = tensor[row : row + 1].float()
                if spec.image is not None and name == spec.image.name:
                    if not spec.size.accepts((value.shape[2], value.shape[3])):
                        raise OptionError(
                            f"'{spec.name}' takes {spec.size}, got {format_size(value.shape[2:])}. Give --size."
                        )
                    value = self._colours(value) * self._half_range + self._middle
                feed[name] = value.cpu().numpy().astype(self.types[name])
            rows.append(self.session.run(outputs, feed))
        made, *masks = (torch.from_numpy(np.concatenate(part)).float() for part in zip(*rows, strict=True))
        made = self._colours((made - self._middle) / self._half_range)
        return (made, masks[0]) if masks else made

    @property
    def _half_range(self) -> float:
        low, high = self.spec.value_range
        return (high - low) / 2

    @property
    def _middle(self) -> float:
        low, high = self.spec.value_range
        return (high + low) / 2

    def _colours(self, x: Tensor) -> Tensor:
        return x.flip(1) if self.spec.channel_order == "BGR" else x
