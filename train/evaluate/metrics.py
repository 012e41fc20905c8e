"""Figures for sets of pictures: Fréchet and kernel distance, class score, perceptual distance (docs/methods.md).

Each result says what it was measured with and on how many pictures. The first three are torchmetrics', fed with
features in double precision; its LPIPS needs torchvision and that package's VGG16, so that ours is written out here.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.inception import InceptionScore
from torchmetrics.image.kid import KernelInceptionDistance

from ganlens.engine.errors import TrainingError

from ..networks.inception import CLASSES
from ..networks.vgg16 import VGG16
from .extractors import Extractor, FIDFeatures, read_state

KERNEL_SUBSETS = 100
KERNEL_SUBSET = 1000
"""The number of subsets of a kernel distance, and their largest size."""

LPIPS_LAYERS = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")


class Figure(NamedTuple):
    """One measured number, and all that must be known to read it."""

    name: str
    """What it may be called: "FID" and "KID" only on the FID Inception's features, "IS" only on its classes."""
    value: float
    spread: float | None
    """Standard deviation over subsets, splits or pairs; None where there is no such thing."""
    features: str
    generated: int
    real: int
    """How many pictures of each kind; 0: the figure does not look at such."""
    size: tuple[int, int]
    """Height and width of the pictures."""
    resize: str
    """How pictures were resized to that size; then the preprocessing of the network."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return self._asdict()

    def __str__(self) -> str:
        spread = "" if self.spread is None else f" ± {self.spread:.4g}"
        counts = f"{self.generated} generated" + (f" / {self.real} real" if self.real else "")
        height, width = self.size
        return f"{self.name} {self.value:.5g}{spread} ({self.features}; {counts}; {width}x{height}; {self.resize})"


class Features(NamedTuple):
    """A set of pictures as an extractor sees it: small enough to keep where the pictures are not."""

    values: Tensor
    """(N, D) float64, on the CPU."""
    size: tuple[int, int]
    """Height and width of the pictures."""

    @classmethod
    def of(cls, extractor: Extractor, pictures: Iterable[Tensor]) -> Features:
        """From batches (N, 3, H, W) in [-1, 1], all of one size."""
        values, size = [torch.zeros(0, extractor.num_features, dtype=torch.float64)], (0, 0)
        for batch in pictures:
            values.append(extractor(batch).cpu())
            size = (batch.shape[2], batch.shape[3])
        return cls(torch.cat(values), size)


class SetFigures(NamedTuple):
    """Both distances of a set of generated pictures to the real ones."""

    frechet: Figure
    kernel: Figure


class SetDistance:
    """Fréchet and kernel distance of sets of pictures to one real set, whose features are kept.

    Fréchet (1706.08500): ``|m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2))``, biased upward for few pictures: compare at
    equal numbers. Kernel (1801.01401): unbiased MMD² with ``(u·v / D + 1)^3``, mean and deviation over 100 random
    subsets of half the smaller set, 1,000 at most; to be preferred below about 2,000 pictures.

    Args:
        extractor: what makes features of pictures, and gives the distances their names.
        real: batches (N, 3, H, W) in [-1, 1], all of one size, or their features; at least 2 pictures in all.
        resize: how the pictures were brought to their size, for the record.
        seed: of the random subsets.

    Raises:
        TrainingError: fewer than 2 pictures, here or later.
    """

    def __init__(self, extractor: Extractor, real: Iterable[Tensor] | Features, *, resize: str, seed: int = 0) -> None:
        self.extractor = extractor
        self.resize = f"{resize}; {extractor.resize}"
        self.seed = seed
        found = real if isinstance(real, Features) else Features.of(extractor, real)
        self.real = self._features(found)
        self.real_size = found.size
        self._frechet = FrechetInceptionDistance(_AsGiven(extractor.num_features), reset_real_features=False)
        self._frechet.update(self.real, real=True)

    def __call__(self, generated: Iterable[Tensor] | Features) -> SetFigures:
        """Distances of batches (N, 3, H, W) in [-1, 1], or of their features, to the real set."""
        found = generated if isinstance(generated, Features) else Features.of(self.extractor, generated)
        features, what = self._features(found), self.extractor
        self._frechet.reset()
        self._frechet.update(features, real=False)
        # Where a covariance has no full rank, rounding may take a little more away than there is.
        frechet = max(float(self._frechet.compute()), 0.0)
        kernel, spread, each = self._kernel(features)
        subsets = f"{what.features}; {KERNEL_SUBSETS} subsets of {each}"
        counts = len(features), len(self.real), found.size, self.resize
        return SetFigures(
            Figure(what.frechet, frechet, None, what.features, *counts),
            Figure(what.kernel, kernel, spread, subsets, *counts),
        )

    def _kernel(self, features: Tensor) -> tuple[float, float, int]:
        each = max(2, min(KERNEL_SUBSET, min(len(features), len(self.real)) // 2))
        with _without_buffer_warning():
            metric = KernelInceptionDistance(_AsGiven(features.shape[1]), subsets=KERNEL_SUBSETS, subset_size=each)
        metric.update(self.real, real=True)
        metric.update(features, real=False)
        with _seeded(self.seed):
            mean, spread = metric.compute()
        return float(mean), float(spread), each

    def _features(self, pictures: Iterable[Tensor] | Features) -> Tensor:
        found = pictures if isinstance(pictures, Features) else Features.of(self.extractor, pictures)
        if len(found.values) < 2:
            raise TrainingError(f"A distance between sets needs at least 2 pictures in each, got {len(found.values)}.")
        return found.values


def class_score(
    classify: Callable[[Tensor], Tensor],
    pictures: Iterable[Tensor],
    *,
    classes: str,
    resize: str,
    name: str = "CS",
    splits: int = 10,
    seed: int = 0,
) -> Figure:
    """``exp(mean KL(p(y|x) ‖ p(y)))`` over random splits (1606.03498): from 1, no idea or one class, to K.

    Args:
        classify: pictures (N, 3, H, W) in [-1, 1] to logits (N, K), or to log-probabilities
            (:func:`joint_logits`); with ``FIDFeatures.class_logits`` the name is "IS".
        classes: what the K classes are and who tells them apart, for the record.
        splits: at least 2; p(y) is the mean within a split.

    Raises:
        TrainingError: fewer pictures than two for each split.
    """
    if splits < 2:
        raise TrainingError(f"A class score needs at least 2 splits for its spread, got {splits}.")
    with torch.no_grad():
        answers, sizes = [], []
        for batch in pictures:
            answers.append(classify(batch).double().cpu())
            sizes.append((batch.shape[2], batch.shape[3]))
    count = sum(len(answer) for answer in answers)
    if count < 2 * splits:
        raise TrainingError(f"A class score in {splits} splits needs at least {2 * splits} pictures, got {count}.")
    with _without_buffer_warning():
        metric = InceptionScore(_AsGiven(answers[0].shape[1]), splits=splits)
    metric.update(torch.cat(answers))
    with _seeded(seed):
        mean, spread = metric.compute()
    spread *= ((splits - 1) / splits) ** 0.5  # torchmetrics divides by splits - 1, the reference code by splits
    return Figure(name, float(mean), float(spread), f"{classes}; {splits} splits", count, 0, sizes[0], resize)


def joint_logits(logits: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """Log-probabilities of all combinations, for classifiers whose answers are independent given the picture.

    Args:
        logits: (N, C).
        groups: columns of which exactly one holds; a group of one column is a yes or no. K is the product of the
            sizes, of groups of one 2.

    Returns:
        (N, K) float64; the probabilities sum to 1.
    """
    joint = logits.new_zeros(len(logits), 1, dtype=torch.float64)
    for group in groups:
        chosen = logits[:, list(group)].double()
        if len(group) == 1:
            chosen = torch.cat([chosen, torch.zeros_like(chosen)], dim=1)
        parts = chosen.log_softmax(dim=1)
        joint = (joint[:, :, None] + parts[:, None, :]).flatten(1)
    return joint


def inception_score(
    extractor: Extractor | None, pictures: Iterable[Tensor], count: int, *, resize: str
) -> Figure | None:
    """The Inception Score (1606.03498) by the FID Inception's own logits, without their bias as the reference has them;
    None on other features, and for fewer than four pictures.

    Args:
        pictures: batches (N, 3, H, W) in [-1, 1], ``count`` in all.
    """
    if not isinstance(extractor, FIDFeatures) or count < 4:
        return None
    splits = max(2, min(10, count // 100))
    classes, whole = f"FID Inception (2015-12-05), {CLASSES} classes", f"{resize}; {extractor.resize}"
    return class_score(extractor.class_logits, pictures, classes=classes, resize=whole, name="IS", splits=splits)


Linear = Sequence[Tensor]
"""LPIPS's learned weights, (C,) for each layer of :data:`LPIPS_LAYERS`."""


def load_linear(path: Path, scaling: str) -> Linear:
    """The published weights of LPIPS on VGG16 (``lin0.model.1.weight`` … of version 0.1, .pth or .safetensors).

    Raises:
        TrainingError: the file holds something else, or VGG16's weights are not torchvision's.
    """
    if scaling != "torchvision":
        raise TrainingError(
            "--lpips: the learned weights belong to torchvision's VGG16; the channels of others mean other things. "
            "Give torchvision's with --weights, and --vgg-scaling torchvision."
        )
    found = read_state(path, "LPIPS's linear layers")
    channels = [64, 128, 256, 512, 512]
    linear = []
    for number, count in enumerate(channels):
        weight = found.get(f"lin{number}.model.1.weight")
        if weight is None or weight.numel() != count:
            raise TrainingError(
                f"{path} does not hold LPIPS's linear layers for VGG16: lin{number}.model.1.weight is missing or "
                "misshapen."
            )
        linear.append(weight.float().flatten())
    return linear


def lpips(network: VGG16, first: Tensor, second: Tensor, linear: Linear | None = None) -> Tensor:
    """LPIPS for each pair; without the learned weights of channels it is "LPIPS-VGG-unweighted".

    For each layer every position's channel vector is divided by its length, the squared differences are added over
    channels, with their weights where there are any, and averaged over positions; the layers are added (1801.03924).
    The published weights belong to torchvision's VGG16; the channels of others mean other things.

    Args:
        network: with all layers up to relu5_3; it scales its input itself.
        first, second: (N, 3, H, W) in [-1, 1].
        linear: :func:`load_linear`; None: all weights are 1.

    Returns:
        (N,) float64.
    """
    total = torch.zeros(len(first), dtype=torch.float64, device=network.mean.device)
    pairs = zip(network.activations(first, LPIPS_LAYERS), network.activations(second, LPIPS_LAYERS), strict=True)
    for number, (a, b) in enumerate(pairs):
        squares = (_unit(a) - _unit(b)).square()
        if linear is not None:
            squares = squares * linear[number].to(squares)[:, None, None]
        total += squares.sum(dim=1).mean(dim=(1, 2)).double()
    return total


def _unit(h: Tensor) -> Tensor:
    return h / (h.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)


def perceptual_distance(
    network: VGG16, pairs: Iterable[tuple[Tensor, Tensor]], *, resize: str, linear: Linear | None = None
) -> Figure:
    """Mean of :func:`lpips` over pairs of (generated, real) batches (N, 3, H, W) in [-1, 1]: lower is closer.

    Raises:
        TrainingError: no pairs.
    """
    found, size = [], (0, 0)
    with torch.no_grad():
        for generated, real in pairs:
            found.append(lpips(network, generated, real, linear).cpu())
            size = (generated.shape[2], generated.shape[3])
    if not found:
        raise TrainingError("A perceptual distance needs at least one pair of pictures, got none.")
    values = torch.cat(found)
    spread = float(values.std(unbiased=False))
    weighted = "unweighted" if linear is None else "with the learned weights of version 0.1"
    layers = f"VGG16 {', '.join(LPIPS_LAYERS)}, channels {weighted}"
    name = "LPIPS-VGG-unweighted" if linear is None else "LPIPS"
    return Figure(name, float(values.mean()), spread, layers, len(values), len(values), size, resize)


def draw_pairs(
    generated: Sequence[object], real: Sequence[object], count: int, *, seed: int = 0
) -> list[tuple[int, int]]:
    """Random (generated, real) indices of the same condition, with replacement; conditions as often as generated.

    Args:
        generated, real: the condition of each picture, anything that can be compared and hashed.

    Raises:
        TrainingError: no condition has pictures of both kinds.
    """
    places: dict[object, list[int]] = {}
    for place, condition in enumerate(real):
        places.setdefault(condition, []).append(place)
    usable = [place for place, condition in enumerate(generated) if condition in places]
    if not usable:
        raise TrainingError(
            "No generated picture has a real one of the same condition beside it, so none can be paired."
        )
    random = torch.Generator().manual_seed(seed)

    def draw(choices: Sequence[int]) -> int:
        return choices[int(torch.randint(len(choices), (), generator=random))]

    return [(place, draw(places[generated[place]])) for place in (draw(usable) for _ in range(count))]


def in_batches(pictures: Iterable[Tensor], size: int = 16) -> Iterator[Tensor]:
    """Pictures (3, H, W), all of one size, as batches of up to ``size``."""
    pictures = iter(pictures)
    while batch := list(itertools.islice(pictures, size)):
        yield torch.stack(batch)


class _AsGiven(nn.Module):
    """The extractor of a torchmetrics class that is fed with features instead of pictures."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Inside, torchmetrics' subsets and splits are those of the seed; outside, no random state has moved."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def _without_buffer_warning() -> Iterator[None]:
    """torchmetrics warns at each construction that it keeps the features; here they are few."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*will save all extracted features in buffer.*")
        yield
