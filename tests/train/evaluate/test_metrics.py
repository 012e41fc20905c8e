"""The figures against closed forms: two Gaussians, kernels by hand, certain and uncertain classifiers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from ganlens.engine.errors import TrainingError
from ganlens.train.evaluate.extractors import Extractor
from ganlens.train.evaluate.metrics import (
    LPIPS_LAYERS,
    Features,
    SetDistance,
    class_score,
    draw_pairs,
    in_batches,
    joint_logits,
    lpips,
    perceptual_distance,
)
from ganlens.train.networks.vgg16 import VGG16

Array = NDArray[np.float64]


class Mean(Extractor):
    """The three channel means: features that a test can choose."""

    def __init__(self, dimensions: int = 3) -> None:
        super().__init__(dimensions, frechet="FD-mean", kernel="KD-mean", features="channel means", resize="none")

    def extract(self, x: Tensor) -> Tensor:
        return adaptive_avg_pool2d(x, 1).flatten(1)


def features(values: Array) -> Features:
    return Features(torch.from_numpy(values), (8, 8))


def sample(mean: list[float], covariance: list[list[float]], count: int = 60, seed: int = 0) -> Array:
    """Vectors whose own mean and covariance (divided by N - 1) are exactly these."""
    raw = np.random.default_rng(seed).normal(size=(count, len(mean)))
    raw -= raw.mean(axis=0)
    white = raw @ np.linalg.inv(np.linalg.cholesky(np.atleast_2d(np.cov(raw, rowvar=False)))).T
    values: Array = white @ np.linalg.cholesky(np.array(covariance)).T + np.array(mean)
    return values


def frechet(a: Array, b: Array) -> float:
    distance = SetDistance(Mean(a.shape[1]), features(b), resize="none")
    return distance(features(a)).frechet.value


def test_frechet_in_one_dimension() -> None:
    # (m1 - m2)^2 + (s1 - s2)^2
    assert frechet(sample([1.0], [[4.0]]), sample([4.0], [[25.0]], seed=1)) == pytest.approx(9 + 9, rel=1e-12)


def test_frechet_of_commuting_covariances() -> None:
    a, b = sample([0, 0], [[4, 0], [0, 9]]), sample([1, 2], [[1, 0], [0, 16]], 80, seed=1)
    assert frechet(a, b) == pytest.approx(1 + 4 + (2 - 1) ** 2 + (3 - 4) ** 2, rel=1e-12)


def test_frechet_of_covariances_that_do_not_commute() -> None:
    # For 2x2: Tr sqrt(A B) = sqrt(Tr(A B) + 2 sqrt(det(A B)))
    first, second = [[2.0, 1.0], [1.0, 3.0]], [[5.0, -2.0], [-2.0, 1.5]]
    product = np.array(first) @ np.array(second)
    trace_root = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    expected = np.trace(first) + np.trace(second) - 2 * trace_root
    assert frechet(sample([0, 0], first), sample([0, 0], second, seed=1)) == pytest.approx(expected, rel=1e-12)


def test_frechet_with_fewer_pictures_than_features() -> None:
    # Then Tr sqrt(S1 S2) is the sum of the singular values of A B^T, S1 = A^T A: exact without any root of rounding.
    random = np.random.default_rng(0)
    a, b = (random.normal(size=(10, 64)) * (1 + i) for i in range(2))
    centred = [(x - x.mean(axis=0)) / math.sqrt(len(x) - 1) for x in (a, b)]
    trace_root = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    expected = np.square(a.mean(0) - b.mean(0)).sum() + sum(np.square(x).sum() for x in centred) - 2 * trace_root
    assert frechet(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet(a, b) == pytest.approx(frechet(b, a), rel=1e-6)
    assert frechet(a, a) == pytest.approx(0, abs=1e-6)


def test_frechet_of_samples_of_known_gaussians() -> None:
    random = np.random.default_rng(1)
    a, b = random.normal(0, 1, (800, 3)), random.normal(1, 2, (800, 3))
    assert frechet(a, b) == pytest.approx(3 * (1 + 1), rel=0.2)


def test_one_picture_is_too_few() -> None:
    with pytest.raises(TrainingError, match="at least 2 pictures in each, got 1"):
        SetDistance(Mean(), [torch.zeros(1, 3, 8, 8)], resize="none")
    with pytest.raises(TrainingError, match="got 0"):
        SetDistance(Mean(), [torch.zeros(2, 3, 8, 8)], resize="none")([])


def test_kernel_distance_is_the_unbiased_estimate() -> None:
    # All subsets of 2 of a set of 5: the mean over them is the estimate on the whole set.
    random = np.random.default_rng(2)
    a, b = random.normal(size=(5, 3)), random.normal(0.5, 1, size=(5, 3))
    found = SetDistance(Mean(), features(b), resize="none")(features(a)).kernel

    def kernel(u: Array, v: Array) -> float:
        return float((u @ v / 3 + 1) ** 3)

    def estimate(x: Array, y: Array) -> float:
        m = len(x)
        within = sum(kernel(p, q) for s in (x, y) for p, q in itertools.permutations(s, 2)) / (m * (m - 1))
        return within - 2 * sum(kernel(p, q) for p in x for q in y) / m**2

    subsets = [
        estimate(a[list(i)], b[list(j)])
        for i in itertools.combinations(range(5), 2)
        for j in itertools.combinations(range(5), 2)
    ]
    whole, deviation = estimate(a, b), float(np.std(subsets))
    assert np.mean(subsets) == pytest.approx(whole)  # unbiased
    assert found.value == pytest.approx(whole, abs=4 * deviation / math.sqrt(100))  # 100 of them were drawn
    assert found.spread == pytest.approx(deviation, rel=0.5)


def test_kernel_distance_of_equal_distributions_is_around_zero() -> None:
    random = np.random.default_rng(3)
    distance = SetDistance(Mean(), features(random.normal(size=(400, 3))), resize="none")
    same = distance(features(random.normal(size=(400, 3)))).kernel
    other = distance(features(random.normal(0.5, 1, size=(400, 3)))).kernel
    assert same.spread is not None and abs(same.value) < same.spread < other.value


def test_a_result_says_what_it_was_measured_on_and_moves_no_random_state() -> None:
    distance = SetDistance(Mean(), in_batches(torch.rand(7, 3, 8, 12), 4), resize="bicubic")
    before = torch.get_rng_state()
    first, second = (distance(in_batches(torch.linspace(-1, 1, 9).view(9, 1, 1, 1).expand(9, 3, 8, 12), 2)),) * 2
    assert torch.equal(torch.get_rng_state(), before)
    assert first == second
    for figure in first:
        assert (figure.generated, figure.real, figure.size) == (9, 7, (8, 12))
        assert figure.resize == "bicubic; none"
        assert "channel means" in figure.features
    assert (first.frechet.name, first.kernel.name) == ("FD-mean", "KD-mean")
    assert "100 subsets of 3" in first.kernel.features
    assert str(first.frechet).endswith("(channel means; 9 generated / 7 real; 12x8; bicubic; none)")


def test_several_sets_against_one_real_set() -> None:
    real, a, b = (sample([m, m], [[1, 0], [0, 1]], seed=m) for m in range(3))
    distance = SetDistance(Mean(2), features(real), resize="none")
    found = [distance(features(x)).frechet.value for x in (a, b, a)]
    assert found == pytest.approx([2, 8, 2])


def test_class_score_of_certain_classifiers() -> None:
    pictures = torch.zeros(40, 3, 4, 4) + torch.arange(40).view(40, 1, 1, 1) % 4

    def score(strength: float, **options: int) -> float:
        def classify(x: Tensor) -> Tensor:
            return strength * torch.nn.functional.one_hot(x[:, 0, 0, 0].long(), 4)

        return class_score(classify, in_batches(pictures, 8), classes="made up", resize="none", **options).value

    assert score(0.0) == pytest.approx(1)  # no idea
    assert score(1e4, splits=2) == pytest.approx(4, rel=0.05)  # certain, all four classes (splits are random)
    certain = 4 * math.exp(-math.log(4) + 0.5 * math.log(4))
    assert 1 < score(1.0) < certain


def test_class_score_by_hand() -> None:
    # Every picture p or 1 - p, half of each: KL = log 2 - entropy, whatever the split if all its pictures are alike.
    p = 0.8
    entropy = -p * math.log(p) - (1 - p) * math.log(1 - p)
    logits = torch.tensor([math.log(p), math.log(1 - p)])

    def classify(x: Tensor) -> Tensor:
        return torch.where(x[:, :1, 0, 0] > 0, logits, logits.flip(0))

    pictures = torch.tensor([1.0, -1.0]).repeat(2000).view(-1, 1, 1, 1).expand(-1, 3, 1, 1)
    found = class_score(classify, in_batches(pictures, 500), classes="two", resize="none", splits=2)
    assert found.value == pytest.approx(math.exp(math.log(2) - entropy), rel=1e-3)
    assert found.spread is not None and found.spread < 1e-3
    assert (found.name, found.generated, found.real, found.features) == ("CS", 4000, 0, "two; 2 splits")


def test_the_spread_of_a_class_score_is_the_population_s() -> None:
    logits = torch.randn(40, 3, generator=torch.Generator().manual_seed(3)) * 2
    pictures = torch.arange(40.0).view(-1, 1, 1, 1).expand(-1, 3, 1, 1)
    found = class_score(
        lambda x: logits[x[:, 0, 0, 0].long()], in_batches(pictures, 40), classes="three", resize="none", splits=4
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        order = torch.randperm(40)  # as torchmetrics shuffles before it splits
    scores = []
    for part in logits.double().softmax(dim=1)[order].chunk(4):
        divergence = (part * (part.log() - part.mean(0, keepdim=True).log())).sum(dim=1)
        scores.append(float(divergence.mean().exp()))
    assert found.value == pytest.approx(float(np.mean(scores)))
    assert found.spread == pytest.approx(float(np.std(scores)))  # divided by N, as the reference code of 1606.03498


def test_class_score_refuses_few_pictures() -> None:
    with pytest.raises(TrainingError, match="at least 20 pictures, got 3"):
        class_score(lambda x: x[:, :, 0, 0], [torch.zeros(3, 3, 4, 4)], classes="", resize="")
    with pytest.raises(TrainingError, match="at least 2 splits"):
        class_score(lambda x: x[:, :, 0, 0], [torch.zeros(3, 3, 4, 4)], classes="", resize="", splits=1)


def test_joint_logits_are_products() -> None:
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    joint = joint_logits(logits, [(0, 1, 2), (3,)]).exp()
    assert joint.shape == (5, 6)
    assert torch.allclose(joint.sum(dim=1), torch.ones(5, dtype=torch.float64))
    one_of_three, yes = logits[:, :3].double().softmax(dim=1), logits[:, 3].double().sigmoid()
    assert torch.allclose(joint[:, 2], one_of_three[:, 1] * yes)
    assert torch.allclose(joint[:, 3], one_of_three[:, 1] * (1 - yes))


@pytest.fixture(scope="module")
def vgg() -> VGG16:
    torch.manual_seed(0)
    return VGG16()


def test_lpips_by_hand(vgg: VGG16) -> None:
    a, b = torch.rand(2, 2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    found = lpips(vgg, a, b)
    assert found.dtype == torch.float64 and found.shape == (2,)
    expected = 0.0
    for h, k in zip(*(vgg.activations(x[:1], LPIPS_LAYERS) for x in (a, b)), strict=True):
        for row in range(h.shape[2]):
            for column in range(h.shape[3]):
                u, v = h[0, :, row, column], k[0, :, row, column]
                difference = (u / (u.norm() + 1e-10) - v / (v.norm() + 1e-10)).square().sum()
                expected += float(difference) / (h.shape[2] * h.shape[3])
    assert found[0].item() == pytest.approx(expected, rel=1e-4)
    assert torch.equal(lpips(vgg, a, b), lpips(vgg, b, a))
    assert lpips(vgg, a, a).abs().max() == 0


def test_perceptual_distance_is_the_mean_over_pairs(vgg: VGG16) -> None:
    a, b = torch.rand(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(2)) * 2 - 1
    found = perceptual_distance(vgg, [(a[:2], b[:2]), (a[2:], b[2:])], resize="none")
    assert found.value == pytest.approx(lpips(vgg, a, b).mean().item(), rel=1e-6)
    assert (found.name, found.generated, found.size) == ("LPIPS-VGG-unweighted", 3, (32, 32))
    with pytest.raises(TrainingError, match="at least one pair"):
        perceptual_distance(vgg, [], resize="none")


def test_pairs_share_their_condition() -> None:
    generated, real = "abcab", "bbad"
    pairs = draw_pairs(generated, real, 200)
    assert {(generated[i], real[j]) for i, j in pairs} == {("a", "a"), ("b", "b")}
    assert {j for _, j in pairs} == {0, 1, 2} and {i for i, _ in pairs} == {0, 1, 3, 4}
    assert pairs == draw_pairs(generated, real, 200) != draw_pairs(generated, real, 200, seed=1)
    with pytest.raises(TrainingError, match="same condition"):
        draw_pairs("c", real, 1)
