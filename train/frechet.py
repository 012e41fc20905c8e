"""The Fréchet distance between two sets of feature vectors, in double precision."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ganlens.engine.errors import TrainingError


class Gaussian(NamedTuple):
    """Mean (D,), covariance (D, D) divided by N - 1, and N."""

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    samples: int

    @classmethod
    def fit(cls, features: NDArray[np.floating]) -> Gaussian:
        """From features (N, D), N at least 2."""
        if features.ndim != 2 or len(features) < 2:
            raise TrainingError(f"A Fréchet distance needs at least 2 feature vectors, got shape {features.shape}.")
        values = features.astype(np.float64)
        return cls(values.mean(axis=0), np.atleast_2d(np.cov(values, rowvar=False)), len(values))


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """``|m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2))``.

    The root's trace comes from the symmetric form ``S1^(1/2) S2 S1^(1/2)``, which has the same eigenvalues and stays
    real where a covariance has no full rank (fewer pictures than features).
    """
    values, vectors = np.linalg.eigh(a.covariance)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    product = root @ b.covariance @ root
    trace_root = np.sqrt(np.linalg.eigvalsh((product + product.T) / 2).clip(min=0)).sum()
    distance = np.square(a.mean - b.mean).sum() + np.trace(a.covariance) + np.trace(b.covariance) - 2 * trace_root
    return float(max(distance, 0.0))
