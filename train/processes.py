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


class SyncedBatchNorm(_BatchNorm):
    """Batch norm by the mean and variance over the pictures of all processes, (N, C, …).

    PyTorch's own SyncBatchNorm runs on GPUs only, and its gradient cannot be differentiated, as penalties do.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The normalised input; in eval mode, plain batch norm. All processes must have batches of equal size."""
        if not self.training:
            return super().forward(x)
        from torch.distributed.nn import functional  # not in every build of PyTorch

        dims = [dim for dim in range(x.ndim) if dim != 1]
        wide = x.float()
        moments = torch.stack([wide.mean(dims), wide.square().mean(dims)])
        mean, squared = functional.all_reduce(moments) / distributed.get_world_size()  # type: ignore[no-untyped-call]
        variance = squared - mean.square()
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                count = x.numel() // x.shape[1] * distributed.get_world_size()
                share = self.momentum if self.momentum is not None else 0.1
                self.running_mean.lerp_(mean.to(self.running_mean), share)
                self.running_var.lerp_((variance * count / max(count - 1, 1)).to(self.running_var), share)
                if self.num_batches_tracked is not None:
                    self.num_batches_tracked.add_(1)
        shape = [1, -1, *[1] * (x.ndim - 2)]
        normed = (wide - mean.view(shape)) * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            normed = normed * self.weight.view(shape) + self.bias.view(shape)
        return normed.to(x.dtype)  # type: ignore[no-any-return]

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"expected at least 2 dimensions, got {input.ndim}")


def synchronise_batch_norms(network: nn.Module) -> None:
    """Put a :class:`SyncedBatchNorm` in the place of every batch norm, in place; the names of weights stay."""
    for name, layer in network.named_children():
        if isinstance(layer, _BatchNorm) and not isinstance(layer, SyncedBatchNorm):
            synced = SyncedBatchNorm(layer.num_features, layer.eps, layer.momentum, layer.affine)
            synced.weight, synced.bias = layer.weight, layer.bias
            synced.running_mean, synced.running_var = layer.running_mean, layer.running_var
            synced.num_batches_tracked = layer.num_batches_tracked
            synced.train(layer.training)
            setattr(network, name, synced)
        else:
            synchronise_batch_norms(layer)


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
