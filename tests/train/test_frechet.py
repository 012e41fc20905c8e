"""The Fréchet distance against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from ganlens.engine.errors import TrainingError
from ganlens.train.frechet import Gaussian, frechet_distance


def gaussian(mean: list[float], covariance: list[list[float]]) -> Gaussian:
    return Gaussian(np.array(mean), np.array(covariance), 100)


def test_one_dimension() -> None:
    # (m1 - m2)^2 + (s1 - s2)^2
    assert frechet_distance(gaussian([1.0], [[4.0]]), gaussian([4.0], [[25.0]])) == pytest.approx(9 + 9)


def test_commuting_covariances() -> None:
    a, b = gaussian([0, 0], [[4, 0], [0, 9]]), gaussian([1, 2], [[1, 0], [0, 16]])
    assert frechet_distance(a, b) == pytest.approx(1 + 4 + (2 - 1) ** 2 + (3 - 4) ** 2)


def test_covariances_that_do_not_commute() -> None:
    # For 2x2: Tr sqrt(A B) = sqrt(Tr(A B) + 2 sqrt(det(A B)))
    first, second = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[5.0, -2.0], [-2.0, 1.5]])
    product = first @ second
    trace_root = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    expected = np.trace(first) + np.trace(second) - 2 * trace_root
    got = frechet_distance(Gaussian(np.zeros(2), first, 9), Gaussian(np.zeros(2), second, 9))
    assert got == pytest.approx(expected)


def test_same_set_is_at_zero_and_order_does_not_matter() -> None:
    random = np.random.default_rng(0)
    a, b = (Gaussian.fit(random.normal(size=(10, 64)) * (1 + i)) for i in range(2))  # rank deficient, as small sets are
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))


def test_covariance_is_divided_by_n_minus_one() -> None:
    fitted = Gaussian.fit(np.array([[0.0], [2.0]]))
    assert (fitted.mean[0], fitted.covariance[0, 0], fitted.samples) == (1, 2, 2)


def test_samples_of_known_gaussians() -> None:
    random = np.random.default_rng(1)
    a, b = random.normal(0, 1, (20_000, 3)), random.normal(1, 2, (20_000, 3))
    assert frechet_distance(Gaussian.fit(a), Gaussian.fit(b)) == pytest.approx(3 * (1 + 1), rel=0.05)


def test_one_vector_is_too_few() -> None:
    with pytest.raises(TrainingError, match="at least 2 feature vectors"):
        Gaussian.fit(np.zeros((1, 4)))
