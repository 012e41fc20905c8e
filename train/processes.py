"""What the processes of one training agree on; with one process nothing happens."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm


def mean_over_processes(values: Tensor) -> Tensor:
    """The mean over all processes, the same on each; the tensor itself if there is one process."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return values
    values = values.clone()
    distributed.all_reduce(values)
    return values / distributed.get_world_size()


@torch.no_grad()
def average_statistics(networks: Iterable[nn.Module]) -> None:
    """Give the running statistics of all batch norms their mean over the processes, in place.

    Each process normalises with the statistics of its own part of the batch; without this, each would also keep
    running statistics of its own, and the network in eval mode would be another one on every process.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return
    buffers = [
        buffer
        for network in networks
        for layer in network.modules()
        if isinstance(layer, _BatchNorm) and layer.training
        for buffer in (layer.running_mean, layer.running_var)
        if buffer is not None
    ]
    average_in_place(buffers)


def average_in_place(tensors: list[Tensor]) -> None:
    """One reduction of all tensors to their means over the processes."""
    if not tensors:
        return
    flat = mean_over_processes(torch.cat([tensor.reshape(-1) for tensor in tensors]))
    offset = 0
    for tensor in tensors:
        tensor.copy_(flat[offset : offset + tensor.numel()].view_as(tensor))
        offset += tensor.numel()
