"""Checkpoints of other programs: recognised by the names and shapes of their weights, and read as our generators.

Known are the ResNet and U-Net generators of pytorch-CycleGAN-and-pix2pix (``latest_net_G.pth`` and the like) and the
generator of yunjey's StarGAN (``200000-G.ckpt``). Files are loaded without running code from them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ganlens.engine.errors import ModelFileError, OptionError
from ganlens.engine.spec import AttributeInput, GeneratorSpec, SizeRule
from ganlens.train.data.hair import hair_columns
from ganlens.train.networks import make_generator
from ganlens.train.specs import CELEBA

Weights = dict[str, Tensor]

WRAPPERS = ("state_dict", "model_state_dict", "params", "model", "netG", "G", "generator", "net")
"""Keys under which checkpoints keep the weights of their generator."""
SHOWN = 5
"""Names that a message shows."""
STARGAN_ATTRIBUTES = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young")
"""The published five, in the order of yunjey's code."""
RESNET_FIRST_BLOCK = 10
STARGAN_BLOCKS = range(9, 15)


class Foreign(NamedTuple):
    """A recognised checkpoint."""

    generator: nn.Module
    """Eval mode, on the CPU."""
    spec: GeneratorSpec
    family: str
    """What it was recognised as, in words."""


class Found(NamedTuple):
    """What a recogniser makes of weights."""

    family: str
    spec: GeneratorSpec
    weights: Weights
    """Under the names of our network."""


def load_foreign(path: Path, *, name: str = "", size: int = 0, attributes: tuple[str, ...] = ()) -> Foreign:
    """Read a foreign checkpoint.

    Args:
        path: ``.pth``, ``.pt``, ``.ckpt`` or ``.safetensors``.
        name: of the model in its record; empty: the file's.
        size: side of the pictures that it was trained on; 0: the family's usual one.
        attributes: names of StarGAN's labels, in their order; empty: the published five.

    Raises:
        ModelFileError: missing, unreadable, or of no known family; the message shows the first names of weights.
        OptionError: ``attributes`` or ``size`` do not fit.
    """
    weights = read_weights(path)
    request = Request(name or path.stem, size, attributes)
    for recognise in RECOGNISERS:
        found = recognise(weights, request)
        if found is None:
            continue
        generator = make_generator(found.spec)
        needed = generator.state_dict()
        wrong = [n for n in needed if n not in found.weights or found.weights[n].shape != needed[n].shape]
        unknown = [n for n in found.weights if n not in needed]
        if wrong or unknown:
            raise ModelFileError(
                f"{path} resembles {found.family}, but does not match: {len(wrong)} weights are missing or misshapen"
                f"{_some(wrong)}, {len(unknown)} are unknown{_some(unknown)}."
            )
        generator.load_state_dict(found.weights)
        return Foreign(generator.eval(), found.spec, found.family)
    raise ModelFileError(
        f"{path} is not a known generator: its first weights are {', '.join(list(weights)[:SHOWN])}. Known are "
        "ResNet-6, ResNet-9 and U-Net of pytorch-CycleGAN-and-pix2pix and the generator of yunjey's StarGAN. "
        "For others, build the network in PyTorch, and export it with ganlens.export.export_onnx."
    )


class Request(NamedTuple):
    """What the user says of a checkpoint."""

    name: str
    size: int
    attributes: tuple[str, ...]


def read_weights(path: Path) -> Weights:
    """The tensors of a checkpoint by name, float32, unwrapped and without the prefix of ``DataParallel``.

    Raises:
        ModelFileError: missing, unreadable, or holding something else than weights.
    """
    if not path.is_file():
        raise ModelFileError(f"There is no file {path}. Give a checkpoint: .pth, .pt, .ckpt or .safetensors.")
    try:
        if path.suffix == ".safetensors":
            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError) as error:
        raise ModelFileError(f"{path} cannot be read: {error}.") from error
    except Exception as error:  # PyTorch's unpickler stumbles over foreign bytes in many ways
        raise ModelFileError(
            f"{path} cannot be loaded safely ({type(error).__name__}): it is damaged, or holds Python objects beside "
            "weights, which could run code. Save its state_dict() alone with torch.save."
        ) from error
    while isinstance(found, Mapping) and not any(isinstance(value, Tensor) for value in found.values()):
        inner = next((found[key] for key in WRAPPERS if isinstance(found.get(key), Mapping)), None)
        if inner is None:
            break
        found = inner
    if not isinstance(found, Mapping) or not any(isinstance(value, Tensor) for value in found.values()):
        holds = ", ".join(map(str, list(found)[:SHOWN])) if isinstance(found, Mapping) else type(found).__name__
        raise ModelFileError(f"{path} holds no weights ({holds}); expected the state_dict of a generator.")
    weights = {str(key): value for key, value in found.items() if isinstance(value, Tensor)}
    if all(key.startswith("module.") for key in weights):
        weights = {key.removeprefix("module."): value for key, value in weights.items()}
    return {key: value.float() if value.is_floating_point() else value for key, value in weights.items()}


def _norm_of(weights: Weights, norm: str, conv: str) -> str:
    """ "bn", "in" or "none", by the weights of a layer's norm and the bias of its convolution."""
    if f"{norm}.weight" in weights:
        return "bn"
    return "in" if f"{conv}.bias" in weights else "none"


def _without_statistics(weights: Weights) -> Weights:
    """Without what instance norms of old PyTorch versions saved though they never used it."""
    unused = ("running_mean", "running_var", "num_batches_tracked")
    return {key: value for key, value in weights.items() if key.rpartition(".")[2] not in unused}


def _resnet(weights: Weights, request: Request) -> Found | None:
    """``ResnetGenerator``: ``model.1`` … with blocks ``model.10.conv_block.1`` …"""
    blocks = {int(m[1]) for m in (re.match(r"model\.(\d+)\.conv_block\.", key) for key in weights) if m}
    first = weights.get("model.1.weight")
    if not blocks or first is None or first.ndim != 4:
        return None
    norm = _norm_of(weights, "model.2", "model.1")
    if norm != "bn":
        weights = _without_statistics(weights)
    dropout = any(re.match(r"model\.\d+\.conv_block\.7\.", key) for key in weights) or (
        any(re.match(r"model\.\d+\.conv_block\.6\.weight", key) and weights[key].ndim == 4 for key in weights)
    )
    count = len(blocks)
    places = {1: 1, 2: 2, 6: 5, 7: 6} if dropout else {1: 1, 2: 2, 5: 5, 6: 6}
    end = RESNET_FIRST_BLOCK + count
    renamed: Weights = {}
    for key, value in weights.items():
        block = re.fullmatch(r"model\.(\d+)\.conv_block\.(\d+)\.(\w+)", key)
        plain = re.fullmatch(r"model\.(\d+)\.(\w+)", key)
        if block and int(block[2]) in places:
            renamed[f"body.{int(block[1]) - RESNET_FIRST_BLOCK}.layers.{places[int(block[2])]}.{block[3]}"] = value
        elif plain and int(plain[1]) < RESNET_FIRST_BLOCK:
            renamed[f"encoder.{plain[1]}.{plain[2]}"] = value
        elif plain:
            renamed[f"decoder.{int(plain[1]) - end}.{plain[2]}"] = value
        else:
            renamed[key] = value
    if norm == "none":  # there convolutions have no bias
        for key in [key for key in renamed if key.endswith(".weight") and renamed[key].ndim == 4]:
            outputs = renamed[key].shape[1 if key in ("decoder.0.weight", "decoder.3.weight") else 0]
            renamed.setdefault(key.replace(".weight", ".bias"), torch.zeros(outputs))
    family = f"the ResNet generator of pytorch-CycleGAN-and-pix2pix with {count} blocks"
    if count not in (6, 9):
        raise ModelFileError(f"This is {family}; expected 6 or 9 blocks.")
    side = request.size or (256 if count == 9 else 128)
    spec = GeneratorSpec(
        name=request.name,
        architecture="cyclegan",
        tier=f"resnet{count}",
        options={"norm": norm, "activation": "relu", "width": int(first.shape[0])},
        size=SizeRule(multiple_of=4, minimum=16, preferred=(side, side)),
    )
    return Found(family, spec, renamed)


def _unet(weights: Weights, request: Request) -> Found | None:
    """``UnetGenerator``: ``model.model.0``, ``model.model.1.model.1``, ``model.model.1.model.3.model.1`` …"""
    first = weights.get("model.model.0.weight")
    if first is None or first.ndim != 4 or "model.model.1.model.1.weight" not in weights:
        return None
    depth, prefix = 1, "model.model.1"
    while f"{prefix}.model.1.weight" in weights:
        depth += 1
        prefix += ".model.3"
    norm = _norm_of(weights, "model.model.1.model.2", "model.model.0")
    if norm != "bn":
        weights = _without_statistics(weights)
    family = f"the U-Net generator of pytorch-CycleGAN-and-pix2pix with {depth} halvings"
    if depth not in (7, 8):
        raise ModelFileError(f"This is {family}; expected 7 (128 px) or 8 (256 px).")
    side = 2**depth
    if request.size and request.size % side:
        raise OptionError(f"--size {request.size}: a U-Net with {depth} halvings takes multiples of {side}.")
    preferred = request.size or side
    spec = GeneratorSpec(
        name=request.name,
        architecture="pix2pix",
        tier=f"unet{side}",
        options={"norm": norm, "width": int(first.shape[0])},
        size=SizeRule(multiple_of=side, minimum=side, preferred=(preferred, preferred)),
    )
    return Found(family, spec, dict(weights))


def _stargan(weights: Weights, request: Request) -> Found | None:
    """``Generator`` of yunjey's StarGAN: ``main.0`` …, blocks ``main.9.main.0`` …"""
    first = weights.get("main.0.weight")
    if first is None or first.ndim != 4 or "main.9.main.0.weight" not in weights:
        return None
    # The public code translates in training mode: statistics of the picture, not those that it saved.
    weights = _without_statistics(weights)
    labels = int(first.shape[1]) - 3
    names = request.attributes or (STARGAN_ATTRIBUTES if labels == len(STARGAN_ATTRIBUTES) else ())
    if len(names) != labels:
        raise OptionError(
            f"This StarGAN takes {labels} attributes, got {len(names)} names. Give --attributes A,B,... in the order "
            "of its training (--selected_attrs)."
        )
    renamed = {}
    for key, value in weights.items():
        block = re.fullmatch(r"main\.(\d+)\.main\.(\d+)\.(\w+)", key)
        plain = re.fullmatch(r"main\.(\d+)\.(\w+)", key)
        if block:
            renamed[f"layers.{block[1]}.layers.{block[2]}.{block[3]}"] = value
        elif plain:
            renamed[f"layers.{plain[1]}.{plain[2]}"] = value
        else:
            renamed[key] = value
    hair = tuple(names[column] for column in hair_columns(names))
    side = request.size or 128
    spec = GeneratorSpec(
        name=request.name,
        architecture="stargan",
        tier="stargan",
        options={"width": int(first.shape[0])},
        attributes=AttributeInput(names=tuple(names), groups=(hair,) if len(hair) > 1 else (), complement=False),
        size=SizeRule(multiple_of=4, minimum=16, preferred=(side, side)),
        face_alignment="celeba" if CELEBA.issuperset(names) else "",
    )
    return Found("the generator of yunjey's StarGAN", spec, renamed)


RECOGNISERS: tuple[Callable[[Weights, Request], Found | None], ...] = (_resnet, _unet, _stargan)
"""Each says of weights whether they are of its family. A new family is a function here."""


def _some(names: list[str]) -> str:
    return f" ({', '.join(names[:SHOWN])}{', …' if len(names) > SHOWN else ''})" if names else ""
