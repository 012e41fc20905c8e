"""A start for the linear map from noise and labels to codes: the Gaussian that the autoencoder's codes are nearest to.

With ``h | c ~ N(A c + b, R)`` fitted to codes ``h`` of faces with labels ``c``, the map ``M_z z + A c + b`` whose
``M_z`` holds the principal axes of ``R``, each as long as its deviation, turns noise and labels into codes that
the decoder knows. Not in the paper, which does not say how the map starts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..processes import mean_over_processes

FORGETTING = 0.995
"""Decay of the moments at each step: codes of earlier states of the autoencoder must fade."""


class CodeMoments:
    """Running second moments of ``[1, labels, code]``.

    Args:
        labels: length K of the label vector; code: length of the codes.
    """

    def __init__(self, labels: int, code: int) -> None:
        self.labels = labels
        self.matrix = torch.zeros(1 + labels + code, 1 + labels + code)

    @torch.no_grad()
    def add(self, codes: Tensor, labels: Tensor) -> None:
        """Take in a batch: codes (N, H), labels (N, K)."""
        rows = torch.cat([torch.ones_like(codes[:, :1]), labels, codes], dim=1).float()
        self.matrix = FORGETTING * self.matrix.to(rows.device) + rows.T @ rows

    def state_dict(self) -> Tensor:
        """The matrix."""
        return self.matrix

    def load_state_dict(self, state: Tensor) -> None:
        """Continue from :meth:`state_dict`."""
        self.matrix = state


@torch.no_grad()
def fit_map(linear: nn.Linear, moments: CodeMoments, latent: int) -> None:
    """Set weights and bias of the map, in place; one with ``latent`` inputs only gets the codes' marginal Gaussian."""
    matrix = mean_over_processes(moments.matrix).double().cpu()  # every process has seen its own part of the faces
    matrix = matrix / matrix[0, 0]
    mean = matrix[0, 1:]
    covariance = matrix[1:, 1:] - torch.outer(mean, mean)
    k = moments.labels if linear.in_features > latent else 0
    cut = moments.labels
    mean_labels, mean_code = mean[:k], mean[cut:]
    across, spread = covariance[cut:, :k], covariance[cut:, cut:]
    slopes = across @ torch.linalg.pinv(covariance[:k, :k], hermitian=True) if k else across
    values, vectors = torch.linalg.eigh(spread - slopes @ across.T)  # in rising order
    kept = min(latent, len(values))
    axes = vectors[:, -kept:].flip(1) * values[-kept:].flip(0).clamp(min=0).sqrt()
    weight = torch.zeros(linear.weight.shape, dtype=torch.float64)
    weight[:, :kept] = axes
    weight[:, latent:] = slopes
    linear.weight.copy_(weight)
    linear.bias.copy_(mean_code - slopes @ mean_labels)
