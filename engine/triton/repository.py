"""``engine triton export``: models as a repository that a Triton server serves."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from ..backends.base import input_names, output_names
from ..errors import MediaError, OptionError
from ..files import cannot_write, replace_file
from ..model import Model
from ..model import open as open_model

Platform = Literal["python", "onnxruntime", "tensorrt"]
NETWORK = "_network"
"""What the entry of the bare network is called after its model."""
HASH = "ganlens.sha256"
"""Parameter of an entry: SHA-256 of the model file, by which the remote backend knows that it is the same model."""
MOST_BATCH = 8


class Entry(NamedTuple):
    """A model of a repository."""

    name: str
    folder: Path


@dataclass(frozen=True)
class ServingOptions:
    """How the server is to run the models."""

    platform: Platform = "onnxruntime"
    """Backend of the bare network."""
    backend: str = "auto"
    """Backend of ganlens, if its Python runs on the server."""
    threads: int | None = None
    instances: int = 1
    version: int = 1


def export(
    models: Sequence[str], repository: Path, options: ServingOptions | None = None, *, overwrite: bool = False
) -> list[Entry]:
    """Write two entries for each model: ``NAME``, which takes and gives uint8 RGB pictures, and ``NAME_network``.

    Args:
        models: names of shipped models, ONNX files, or TensorRT plans.
        overwrite: replace an entry's version that is there.

    Raises:
        EngineError: a model cannot be read, or does not go with the platform; nothing is written then.
        MediaError: an entry exists, or cannot be written.
    """
    options = options or ServingOptions()
    if options.platform not in get_args(Platform):
        raise OptionError(f"--platform {options.platform}: expected one of {', '.join(get_args(Platform))}.")
    opened = [open_model(name) for name in models]
    names = [_entry_name(model) for model in opened]
    if len(set(names)) < len(names):
        raise OptionError(f"two models have one name: {', '.join(sorted(names))}. Export them apart.")
    planned: list[tuple[Entry, dict[str, str | bytes]]] = []
    for model, name in zip(opened, names, strict=True):
        platform: Platform = options.platform
        if model.kind == "plan":
            platform = "tensorrt"
        elif platform == "tensorrt":
            raise OptionError(
                f"{model.name} is an ONNX file; Triton's tensorrt runs plans. Build one first: engine build "
                f"{model.path}"
            )
        if model.spec.image is not None:
            files = {"config.pbtxt": frames_config(name, model, options), **_python(model, "frames_model.py", options)}
            planned.append((Entry(name, repository / name), files))
        files = {"config.pbtxt": network_config(name + NETWORK, model, platform, options)}
        files |= (
            _python(model, "network_model.py", options)
            if platform == "python"
            else {f"{options.version}/{path}": data for path, data in _weights(model).items()}
        )
        planned.append((Entry(name + NETWORK, repository / (name + NETWORK)), files))
    for entry, _ in planned:
        version = entry.folder / str(options.version)
        if version.exists() and not overwrite:
            raise MediaError(f"{version} exists; pass -y to overwrite it, or --version {options.version + 1}.")
    for entry, files in planned:
        for below, content in files.items():
            path = entry.folder / below
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                replace_file(path, content)
            except OSError as error:
                raise cannot_write(path, error) from error
    return [entry for entry, _ in planned]


def frames_config(name: str, model: Model, options: ServingOptions) -> str:
    """The config.pbtxt of an entry of pictures: (H, W, 3) uint8 RGB in and out, each value of the record optional."""
    port = model.spec.attributes
    optional = [*(port.names if port is not None else ()), "opacity"]
    inputs = [_tensor("image", "TYPE_UINT8", (-1, -1, 3))]
    inputs += [_tensor(each, "TYPE_FP32", (1,), optional=True) for each in optional]
    return _config(
        name,
        'backend: "python"',
        0,
        inputs,
        [_tensor("image", "TYPE_UINT8", (-1, -1, 3))],
        {HASH: model.file.sha256, "file": _file_name(model), "backend": options.backend, **_threads(options)},
        options,
    )


def network_config(name: str, model: Model, platform: Platform, options: ServingOptions) -> str:
    """The config.pbtxt of an entry of the bare network, from the record: float32 tensors in the model's range."""
    spec = model.spec
    free = model.batch is None
    fixed = spec.size.fixed or (-1, -1)
    rows = () if free else (model.batch or 1,)
    shapes: dict[str, tuple[int, ...]] = {}
    if spec.image is not None:
        shapes[spec.image.name] = (3, *fixed)
    if spec.attributes is not None:
        shapes[spec.attributes.name] = (spec.attributes.length,)
    if spec.latent is not None:
        shapes[spec.latent.name] = (spec.latent.dim,)
    outputs = dict(zip(output_names(spec), ((3, *fixed), (1, *fixed)), strict=False))
    kind = {"python": 'backend: "python"', "onnxruntime": 'platform: "onnxruntime_onnx"'}
    return _config(
        name,
        kind.get(platform, 'platform: "tensorrt_plan"'),
        MOST_BATCH if free else 0,
        [_tensor(each, "TYPE_FP32", (*rows, *shapes[each])) for each in input_names(spec)],
        [_tensor(each, "TYPE_FP32", (*rows, *dims)) for each, dims in outputs.items()],
        {HASH: model.file.sha256, "file": _file_name(model), "backend": options.backend, **_threads(options)},
        options,
        batching=free and platform != "python",
    )


def _entry_name(model: Model) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", model.path.stem)


def _file_name(model: Model) -> str:
    return "model.plan" if model.kind == "plan" else "model.onnx"


def _weights(model: Model) -> dict[str, bytes]:
    """The model file under the name that Triton looks for, with the files that hold its weights."""
    beside = {name: (model.path.resolve().parent / name).read_bytes() for name in model.file.external}
    return {_file_name(model): model.data, **beside}


def _python(model: Model, program: str, options: ServingOptions) -> dict[str, str | bytes]:
    if model.kind == "plan":
        from ..model.plan_record import record_path

        weights = {**_weights(model), record_path(Path(_file_name(model))).name: record_path(model.path).read_bytes()}
    else:
        weights = _weights(model)
    text = (Path(__file__).parent / program).read_text(encoding="utf-8")
    files: dict[str, str | bytes] = {f"{options.version}/{name}": data for name, data in weights.items()}
    return {f"{options.version}/model.py": text, **files}


def _threads(options: ServingOptions) -> dict[str, str]:
    return {} if options.threads is None else {"threads": str(options.threads)}


def _tensor(name: str, kind: str, dims: Sequence[int], *, optional: bool = False) -> str:
    text = f"  {{ name: {_quoted(name)}, data_type: {kind}, dims: [ {', '.join(map(str, dims))} ]"
    return text + (", optional: true }" if optional else " }")


def _config(
    name: str,
    kind: str,
    most: int,
    inputs: list[str],
    outputs: list[str],
    parameters: dict[str, str],
    options: ServingOptions,
    *,
    batching: bool = False,
) -> str:
    """A model configuration as protobuf text."""
    lines = [
        f"name: {_quoted(name)}",
        kind,
        f"max_batch_size: {most}",
        "input [\n" + ",\n".join(inputs) + "\n]",
        "output [\n" + ",\n".join(outputs) + "\n]",
    ]
    lines += [
        f"parameters {{ key: {_quoted(key)} value: {{ string_value: {_quoted(value)} }} }}"
        for key, value in parameters.items()
    ]
    if batching:
        lines.append("dynamic_batching { }")
    lines.append(f"instance_group [ {{ count: {options.instances} }} ]")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text)
