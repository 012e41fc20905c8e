"""Where models are measured: on the device on which they are trained."""

from __future__ import annotations

import torch
from torch import nn


def measuring_device() -> torch.device:
    """The GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_of(network: nn.Module) -> torch.device:
    """Where a network's parameters are; the CPU if it has none."""
    parameter = next(network.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device
