"""What ACL-GAN says of class losses (its figures 1 and 2), measured: which loss moves generated samples, and when.

    python -m studies.attribute_gradients

Two attributes are two Gaussians in the plane (Real A, Real B). Generated A and Generated B are clouds of free points,
so that a loss's gradient is where it would push samples, without a generator in between. They begin far from the real
ones, as in figure 1, or over them, as in figure 2. Two losses are compared, each with a discriminator of its own:

- class: cross entropy; the discriminator learns it on real samples only, as StarGAN's does, and the points want to be
  taken for their class;
- attribute: the LSGAN form, a head for each attribute, real samples of it against generated ones.

Reported is the norm of the gradient at a point, mean over the points, over the first steps, and the part of it that
leads towards the real samples of the point's attribute. A minute on one thread of a CPU.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from ganlens.train.losses.attribute import attribute_loss

CENTRES = torch.tensor([[1.5, 0.0], [-1.5, 0.0]])
DEVIATION = 0.5
POINTS = 256
STARTS = {
    # Figure 1: each generated cloud is far from both real ones, on its own side: the classes are told apart already.
    "far": torch.tensor([[4.5, 6.0], [-4.5, 6.0]]),
    # Figure 2: a little beside the real ones.
    "overlapping": CENTRES + torch.tensor([0.0, 0.5]),
}


class Norms(NamedTuple):
    """The gradient at a point: mean over points, over three parts of the run."""

    first: float
    middle: float
    last: float
    towards: float
    """Mean cosine of the descent direction with the way to the centre of the attribute's real samples, all steps."""


def measure(loss: str, start: str, seed: int, steps: int) -> Norms:
    """One run: at each step the discriminator learns, then the gradient at the points is measured; they stay."""
    torch.manual_seed(seed)
    discriminator = nn.Sequential(
        nn.Linear(2, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 2)
    )
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=1e-3, betas=(0.5, 0.999))
    lsgan = attribute_loss("lsgan")
    norms, cosines = [], []
    for _ in range(steps):
        classes = torch.randint(2, (POINTS,))
        real = CENTRES[classes] + DEVIATION * torch.randn(POINTS, 2)
        wished = torch.randint(2, (POINTS,))
        points = (STARTS[start][wished] + DEVIATION * torch.randn(POINTS, 2)).requires_grad_(True)
        labels, targets = one_hot(classes, 2).float(), one_hot(wished, 2).float()
        scores, made = discriminator(real), discriminator(points.detach())
        learned = (
            cross_entropy(scores, classes)
            if loss == "class"
            else lsgan.discriminator_loss(scores, labels, made, targets)
        )
        optimizer.zero_grad()
        learned.backward()
        optimizer.step()
        answer = discriminator(points)
        each = (
            cross_entropy(answer, wished, reduction="none")
            if loss == "class"
            else ((answer - 1).square() * targets).sum(1)
        )
        (gradient,) = torch.autograd.grad(each.sum(), points)
        norms.append(float(gradient.norm(dim=1).mean()))
        cosines.append(float(_cosine(-gradient, CENTRES[wished] - points.detach())))
    third = steps // 3
    parts = (norms[:third], norms[third : 2 * third], norms[2 * third :])
    return Norms(*(statistics.mean(part) for part in parts), statistics.mean(cosines))


def _cosine(one: Tensor, other: Tensor) -> Tensor:
    return torch.nn.functional.cosine_similarity(one, other, dim=1, eps=1e-12).mean()


def table(steps: int, seeds: int) -> str:
    """The measurements as a Markdown table."""
    lines = [
        f"**Gradient at a generated sample, {POINTS} samples, {steps} steps, {seeds} seeds (means)**",
        "",
        "| start | loss | first third | second | last | cosine with the way to the real samples |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for start in STARTS:
        for loss in ("class", "attribute"):
            found = [measure(loss, start, seed, steps) for seed in range(seeds)]
            means = [statistics.mean(values) for values in zip(*found, strict=True)]
            lines.append(f"| {start} | {loss} | " + " | ".join(f"{value:.3g}" for value in means) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(table(options.steps, options.seeds))


if __name__ == "__main__":
    main()
