"""How far translated photos are from paintings: Fréchet distances beside two floors, and a grid to look at.

The distance is on VGG16 features ("FD-VGG"), not on the FID Inception: it compares rows of one table, never papers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from .checkpoint import GENERATOR_NAME, load_generator, save_generator
from .colour import ColourTransfer, Pixels
from .data import centre, list_pictures, read_picture, to_pixels, to_tensor
from .features import VGG16
from .frechet import Gaussian, frechet_distance

Translate = Callable[[Pixels], Pixels]


class Evaluation(NamedTuple):
    """Distances to the paintings, and what they were measured on."""

    distances: dict[str, float]
    """Row → Fréchet distance; rows are "identity", "colour transfer" and "model"."""
    features: str
    photos: int
    paintings: int
    size: int
    resize: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return self._asdict()

    def metrics(self) -> dict[str, float]:
        """For the record of a generator; each name says the features and the set sizes."""
        return {
            f"FD-VGG {self.features}, {row}, {self.photos} photos / {self.paintings} paintings, {self.size} px": value
            for row, value in self.distances.items()
        }


def evaluate(
    generator: nn.Module, photos: Sequence[Path], paintings: Sequence[Path], weights: Path, *, size: int = 256
) -> Evaluation:
    """Fréchet distances of {photos as they are, colour-transferred, translated} to the paintings.

    Args:
        generator: (N, 3, H, W) in [-1, 1] to the same.
        photos, paintings: picture files, at least 2 of each.
        weights: VGG16 weights, see :class:`.features.VGG16`.
        size: pictures are resized to this shorter side and cropped to the central square.
    """
    network = VGG16.load(weights)
    target = Gaussian.fit(extract(network, (load(path, size) for path in paintings)))
    rows: dict[str, Translate] = {"identity": lambda pixels: pixels, **translations(generator, paintings, size)}
    distances = {}
    for name, translate in rows.items():
        features = extract(network, (translate(load(path, size)) for path in photos))
        distances[name] = frechet_distance(Gaussian.fit(features), target)
    return Evaluation(
        distances=distances,
        features=f"VGG16 {network.layer}, mean over positions, {len(target.mean)}-d",
        photos=len(photos),
        paintings=len(paintings),
        size=size,
        resize="shorter side, bicubic (Pillow), central square",
    )


def translations(generator: nn.Module, paintings: Sequence[Path], size: int) -> dict[str, Translate]:
    """The two ways to make a painting of a photo: the plain one, and the model."""

    @torch.no_grad()
    def model(pixels: Pixels) -> Pixels:
        return to_pixels(generator(to_tensor(pixels)[None])[0])

    return {"colour transfer": ColourTransfer.fit(load(path, size) for path in paintings).apply, "model": model}


def extract(network: VGG16, pictures: Iterable[Pixels]) -> NDArray[np.float32]:
    """Pooled features (N, D), one picture at a time."""
    with torch.no_grad():
        return np.concatenate([network.pooled(to_tensor(picture)[None]).numpy() for picture in pictures])


def load(path: Path, size: int) -> Pixels:
    """The central square of a picture, (size, size, 3) uint8 RGB."""
    return centre(read_picture(path, size), size)


def make_grid(
    generator: nn.Module, photos: Sequence[Path], paintings: Sequence[Path], *, size: int = 256
) -> Image.Image:
    """One row for each photo: as it is, colour-transferred, translated."""
    ways = translations(generator, paintings, size).values()
    rows = []
    for path in photos:
        photo = load(path, size)
        rows.append(np.concatenate([photo, *(translate(photo) for translate in ways)], axis=1))
    return Image.fromarray(np.concatenate(rows, axis=0))


def evaluate_files(
    model: Path,
    photos: Sequence[str],
    paintings: str,
    weights: Path,
    *,
    size: int = 256,
    grid: Path | None = None,
    grid_rows: int = 8,
    result: Path | None = None,
    record: bool = False,
) -> Evaluation:
    """The command: read the files, measure, write what was asked for.

    Args:
        model: checkpoint or run folder.
        photos: folders or globs; taken together.
        grid: PNG to write, rows spread evenly over the photos.
        result: JSON to write.
        record: put the distances into the checkpoint's own record.
    """
    generator, spec = load_generator(model)
    photo_paths = [path for source in photos for path in list_pictures(source)]
    painting_paths = list_pictures(paintings)
    evaluation = evaluate(generator, photo_paths, painting_paths, weights, size=size)
    if grid is not None:
        chosen = np.linspace(0, len(photo_paths) - 1, min(grid_rows, len(photo_paths))).round().astype(int)
        make_grid(generator, [photo_paths[i] for i in chosen], painting_paths, size=size).save(grid)
    if result is not None:
        report = {"model": spec.name, "weights_sha256": spec.weights_sha256, **evaluation.to_dict()}
        result.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if record:
        file = model / GENERATOR_NAME if model.is_dir() else model
        metrics = {**spec.metrics, **evaluation.metrics()}
        save_generator(generator, spec.model_copy(update={"metrics": metrics}), file)
    return evaluation
