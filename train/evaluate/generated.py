"""How far generated pictures are from real ones: for generators from noise, with or without classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ganlens.engine.errors import OptionError
from ganlens.engine.model.attributes import label_vectors
from ganlens.engine.spec import GeneratorSpec

from ..data.attribute_table import find_classes, find_faces, has_table, picture_folder, split_faces
from ..data.pictures import centre, list_pictures, read_picture, to_tensor
from ..losses.attribute import with_complement
from .device import device_of
from .extractors import Extractor
from .metrics import Features, Figure, SetDistance, in_batches, inception_score
from .progress import tracked

BATCH = 32
RESIZE = "central square of the shorter side, bicubic (Pillow)"


class GeneratedEvaluation(NamedTuple):
    """Distances of generated pictures to real ones."""

    frechet: Figure
    kernel: Figure
    inception: Figure | None = None
    """Inception Score, on the FID Inception."""

    @property
    def figures(self) -> list[Figure]:
        """Those that were measured."""
        return [figure for figure in self if figure is not None]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: figure.to_dict() for name, figure in self._asdict().items() if figure is not None}

    def metrics(self) -> dict[str, float]:
        """For the record of a generator."""
        return {
            f"{f.name} {f.features}, {f.generated} generated / {f.real} real, {f.size[1]} px": f.value
            for f in self.figures
        }


def generate(generator: nn.Module, spec: GeneratorSpec, count: int, seed: int = 0) -> Iterator[Tensor]:
    """Batches (N, 3, H, W) in [-1, 1], on the CPU; with classes, each as often as the others; attributes by coin.

    Args:
        generator: in eval mode, on any device.
        spec: its record: length and distribution of the noise, number of classes.
        count: pictures in all.
        seed: of the noise; the same pictures for the same seed.
    """
    if spec.latent is None:
        raise OptionError(f"'{spec.name}' does not generate from noise.")
    device = device_of(generator)
    source = torch.Generator().manual_seed(seed)
    attributes = spec.attributes
    for start in range(0, count, BATCH):
        rows = min(BATCH, count - start)
        if spec.latent.distribution == "uniform":
            z = 2 * torch.rand(rows, spec.latent.dim, generator=source) - 1
        else:
            z = torch.randn(rows, spec.latent.dim, generator=source)
        inputs = [z.to(device)]
        if attributes is not None and attributes.complement:
            chosen = torch.randint(0, 2, (rows, len(attributes.names)), generator=source).float()
            inputs.append(with_complement(chosen).to(device))
        elif attributes is not None and len(attributes.groups) > 1:
            randoms = [np.random.default_rng((seed, number)) for number in range(start, start + rows)]
            inputs.append(torch.from_numpy(label_vectors(attributes, [], randoms)).to(device))
        elif attributes is not None:
            numbers = torch.arange(start, start + rows) % attributes.length
            inputs.append(torch.eye(attributes.length)[numbers].to(device))
        with torch.no_grad():
            yield generator(*inputs).cpu()


def real_pictures(
    data: str, table: str, identities: str, holdout: int, classes: Sequence[str] = ()
) -> tuple[list[Path], str]:
    """The pictures to compare with, and which they are: those held out, where a table or subfolders label them, else
    all.

    Raises:
        TrainingError: there are none.
    """
    if (classes or has_table(data, table)) and holdout:
        labelled = find_classes(data, classes) if classes else find_faces(data, (), table=table, identities=identities)
        held_out = split_faces(labelled, holdout)[1]
        if len(held_out.paths) > 1:
            return held_out.paths, "held out"
    return list_pictures(str(picture_folder(Path(data)))), "of the training"


def evaluate_generated(
    generator: nn.Module, spec: GeneratorSpec, real: list[Path], extractor: Extractor, count: int
) -> GeneratedEvaluation:
    """Distances of ``count`` generated pictures to the real ones, both at the generator's size."""
    size = spec.size.preferred[0]
    squares = (to_tensor(centre(read_picture(path, size), size)) for path in real)
    batches = tracked(in_batches(squares, BATCH), -(-len(real) // BATCH), "real pictures")
    distance = SetDistance(extractor, Features.of(extractor, batches), resize=RESIZE)
    score = inception_score(extractor, generate(generator, spec, count), count, resize=RESIZE)
    made = tracked(generate(generator, spec, count), -(-count // BATCH), "generated pictures")
    return GeneratedEvaluation(*distance(made), score)
