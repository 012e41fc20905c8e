"""VGG16's convolutions, for perceptual features; own definition, weights from a file."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from ganlens.engine.errors import TrainingError

from ..config import VGGScaling

MEAN_RGB = (123.68, 116.779, 103.939)
"""Subtracted from RGB in 0..255; no division. These are the original Oxford weights' conventions."""

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""For weights as torchvision trained them: RGB in 0..1, minus the mean, over the deviation."""

WIDTHS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels of each convolution, by block; 2x2 max pooling between the blocks."""

LAYERS = tuple(f"relu{block}_{n}" for block, widths in enumerate(WIDTHS, 1) for n in range(1, len(widths) + 1))


class VGG16(nn.Module):
    """The 13 convolutions up to one layer, frozen, in eval mode.

    Args:
        layer: "relu1_1" … "relu5_3"; later convolutions are not built.
        scaling: the input that the weights were trained for; the network takes [-1, 1] either way.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, layer: str = "relu5_3", scaling: VGGScaling = "caffe") -> None:
        super().__init__()
        if layer not in LAYERS:
            raise TrainingError(f"VGG16 has no layer '{layer}'. Known: {', '.join(LAYERS)}.")
        self.layer = layer
        self.channels = WIDTHS[int(layer[4]) - 1][int(layer[6]) - 1]
        layers: list[nn.Module] = []
        channels = 3
        for number, name in enumerate(LAYERS[: LAYERS.index(layer) + 1]):
            block, place = int(name[4]), int(name[6])
            if number and place == 1:
                layers.append(nn.MaxPool2d(2))
            layers += [nn.Conv2d(channels, WIDTHS[block - 1][place - 1], 3, 1, 1), nn.ReLU()]
            channels = WIDTHS[block - 1][place - 1]
        self.features = nn.Sequential(*layers)  # the indices, and so the keys, are torchvision's
        mean, deviation = torch.tensor(MEAN_RGB), torch.ones(3)
        if scaling == "torchvision":
            mean, deviation = 255 * torch.tensor(MEAN), 255 * torch.tensor(DEVIATION)
        self.register_buffer("mean", mean.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", deviation.view(1, 3, 1, 1), persistent=False)
        self.eval().requires_grad_(False)

    @classmethod
    def load(cls, weights: Path, layer: str = "relu5_3", scaling: VGGScaling = "caffe") -> VGG16:
        """With the weights of a safetensors file (keys ``features.0.weight`` …, any float type).

        Raises:
            TrainingError: the file is missing or does not hold these weights.
        """
        network = cls(layer, scaling)
        if not weights.is_file():
            raise TrainingError(
                f"There is no file {weights}. VGG16 weights are needed: a safetensors file with keys "
                "features.0.weight … features.28.bias."
            )
        try:
            found = load_file(weights)
        except (SafetensorError, OSError) as error:
            raise TrainingError(f"{weights} is not a readable safetensors file: {error}.") from error
        needed = network.state_dict()
        missing = [key for key in needed if key not in found or found[key].shape != needed[key].shape]
        if missing:
            raise TrainingError(f"{weights} does not hold VGG16's convolutions: {missing[0]} is missing or misshapen.")
        network.load_state_dict({key: found[key].float() for key in needed})
        return network

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) RGB in [-1, 1] to the layer's activations (N, C, H/s, W/s)."""
        return self.features(self._scaled(x))  # type: ignore[no-any-return]

    def activations(self, x: Tensor, layers: tuple[str, ...]) -> list[Tensor]:
        """The activations of several layers, in the network's order; none later than its own."""
        h = self._scaled(x)
        found = []
        names = iter(LAYERS)
        for module in self.features:
            h = module(h)
            if isinstance(module, nn.ReLU) and next(names) in layers:
                found.append(h)
        return found

    def _scaled(self, x: Tensor) -> Tensor:
        return ((x.to(self.mean.device) + 1) * 127.5 - self.mean) / self.deviation

    def pooled(self, x: Tensor) -> Tensor:
        """The activations averaged over positions, (N, C)."""
        return functional.adaptive_avg_pool2d(self(x), 1).flatten(1)
