"""Networks from pictures to feature vectors, for distances between sets of pictures; each says what they may be called.

"FID" and "KID" are names for the FID Inception only. On other features the same formulas are "FD-…" and "KD-…": good
for comparing rows of one table, never with papers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ganlens.engine.errors import TrainingError, install_command

from ..config import VGGScaling
from ..networks.inception import CLASSES, FEATURES, SIZE, FIDInception
from ..networks.vgg16 import VGG16
from .device import device_of

MIXED5 = "mixed5_gap"


class Extractor(nn.Module, ABC):
    """Pictures (N, 3, H, W) RGB in [-1, 1] to features (N, D) float64; frozen, in eval mode.

    Args:
        num_features: D.
        frechet, kernel: what the two distances on these features are called.
        features: what they are, for records.
        resize: what is done to the pictures before the network.
    """

    def __init__(self, num_features: int, *, frechet: str, kernel: str, features: str, resize: str) -> None:
        super().__init__()
        self.num_features = num_features
        self.frechet = frechet
        self.kernel = kernel
        self.features = features
        self.resize = resize

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) in [-1, 1] to (N, D) float64."""
        return self.extract(x.to(device_of(self))).double()

    @abstractmethod
    def extract(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) in [-1, 1] to (N, D)."""


class VGGFeatures(Extractor):
    """VGG16's last layer that it holds, averaged over positions, at the pictures' own size."""

    def __init__(self, network: VGG16) -> None:
        channels = network.channels
        super().__init__(
            channels,
            frechet="FD-VGG",
            kernel="KD-VGG",
            features=f"VGG16 {network.layer}, mean over positions, {channels}-d",
            resize="none before the network",
        )
        self.network = network

    def extract(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, C)."""
        return self.network.pooled(x)


class FIDFeatures(Extractor):
    """The FID Inception's pooling layer.

    Args:
        weights: a state dict with torchvision's names (``Conv2d_1a_3x3.conv.weight`` … ``fc.bias``, 1008 classes), as
            PyTorch file or safetensors: the published conversions of the graph of 2015-12-05.

    Raises:
        TrainingError: the file is missing or holds something else.
    """

    def __init__(self, weights: Path) -> None:
        super().__init__(
            FEATURES,
            frechet="FID",
            kernel="KID",
            features=f"FID Inception (2015-12-05), pool3, {FEATURES}-d",
            resize=f"bilinear (PyTorch, no antialiasing) to {SIZE} px before the network",
        )
        self.network = FIDInception()
        found = read_state(weights, "the FID Inception")
        needed = {name: value for name, value in self.network.state_dict().items() if "num_batches" not in name}
        wrong = [name for name, value in needed.items() if name not in found or found[name].shape != value.shape]
        if wrong:
            raise TrainingError(
                f"{weights} does not hold the FID Inception: {wrong[0]} is missing or misshapen ({len(wrong)} of "
                f"{len(needed)} are). Expected a conversion of the graph of 2015-12-05, with {CLASSES} classes."
            )
        self.network.load_state_dict({name: found[name].float() for name in needed}, strict=False)
        self.eval().requires_grad_(False)

    def extract(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 2048)."""
        features: Tensor = self.network(interpolate(x, (SIZE, SIZE), mode="bilinear", align_corners=False))
        return features

    @torch.no_grad()
    def class_logits(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) in [-1, 1] to logits (N, 1008): for the Inception Score."""
        return self.network.class_logits(self.extract(x)).double()


class Mixed5Features(Extractor):
    """The output ``mixed5_gap`` of an ONNX Inception-v3 with input (N, 3, 299, 299) RGB in [0, 1].

    Raises:
        TrainingError: the file is missing, has no such output, or ONNX Runtime is not installed.
    """

    def __init__(self, model: Path) -> None:
        if not model.is_file():
            raise TrainingError(f"There is no file {model}. Give an ONNX Inception-v3 with an output {MIXED5}.")
        try:
            import onnxruntime
        except ImportError as error:
            raise TrainingError(f"ONNX features need ONNX Runtime. Install it: {install_command('cpu')}.") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self.session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own exceptions have no common public base
            raise TrainingError(f"{model} cannot be opened: {str(error).splitlines()[0]}") from error
        outputs = {output.name: output.shape for output in self.session.get_outputs()}
        if MIXED5 not in outputs:
            raise TrainingError(f"{model} has the outputs {', '.join(outputs)}; expected {MIXED5} among them.")
        super().__init__(
            int(outputs[MIXED5][-1]),
            frechet="FD-mixed5",
            kernel="KD-mixed5",
            features=f"Inception-v3 mixed5, mean over positions, {outputs[MIXED5][-1]}-d (not the FID Inception)",
            resize=f"bilinear (PyTorch, antialiased) to {SIZE} px before the network",
        )
        self.input = self.session.get_inputs()[0].name

    def extract(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 768)."""
        resized = interpolate(x, (SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False)
        images = ((resized.clamp(-1, 1) + 1) / 2).float().cpu().numpy()
        rows = [self.session.run([MIXED5], {self.input: image[None]})[0] for image in images]
        return torch.from_numpy(np.concatenate(rows)).to(x.device)


def open_extractor(
    inception: Path | None = None, vgg: Path | None = None, vgg_scaling: VGGScaling = "caffe"
) -> Extractor:
    """The best features that the files given allow.

    Args:
        inception: FID Inception weights, or an ONNX Inception with ``mixed5_gap`` (by its suffix ``.onnx``).
        vgg: VGG16 weights, used where there is no ``inception``.
        vgg_scaling: input that they were trained for.

    Raises:
        TrainingError: neither is given, or the file is not what it should be.
    """
    if inception is not None:
        return Mixed5Features(inception) if inception.suffix == ".onnx" else FIDFeatures(inception)
    if vgg is None:
        raise TrainingError(
            "A distance between pictures needs features: the FID Inception's weights or an ONNX Inception "
            "(--inception), or VGG16's convolutions (--weights)."
        )
    return VGGFeatures(VGG16.load(vgg, scaling=vgg_scaling))


def read_state(path: Path, what: str) -> dict[str, Tensor]:
    """A state dict from a PyTorch file or safetensors; no code of the file runs.

    Args:
        what: it should hold, for messages.

    Raises:
        TrainingError: the file is missing or unreadable.
    """
    if not path.is_file():
        raise TrainingError(f"There is no file {path}. Give the weights of {what} (.pth or .safetensors).")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on foreign bytes PyTorch's unpickler stumbles over whatever comes first
        raise TrainingError(f"{path} is not a readable file of weights ({type(error).__name__}).") from error
    if not isinstance(found, dict):
        raise TrainingError(f"{path} holds a {type(found).__name__}; expected a state dict of {what}.")
    return found
