"""VGG16 with random weights, for tests: nothing here may need a file that is not made here."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from ganlens.train.networks.vgg16 import VGG16


def save_vgg(path: Path, layer: str = "relu5_3") -> Path:
    """Random weights that keep the scale of what goes through, in half precision, with one foreign key."""
    torch.manual_seed(0)
    network = VGG16(layer)
    for module in network.features:
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, 0, math.sqrt(2 / (9 * module.in_channels)))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    weights = {name: value.half() for name, value in network.state_dict().items()}
    save_file({**weights, "classifier.0.bias": torch.zeros(1)}, path)
    return path
