"""How far translated photos are from paintings: Fréchet and kernel distances beside two floors, and a grid to look at.

What the distances are called depends on the features (:mod:`.extractors`). On others than the FID Inception's they
compare rows of one table, never papers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ganlens.engine.errors import OptionError

from ..data.pictures import centre, list_pictures, read_picture, to_pixels, to_tensor
from ..sample_sheet import make_sheet, save_png
from .colour_transfer import ColourTransfer, Pixels
from .device import device_of, measuring_device
from .extractors import Extractor, open_extractor
from .metrics import Figure, SetDistance
from .progress import tracked
from .subject import open_subject

Translate = Callable[[Sequence[Pixels]], list[Pixels]]
"""Pictures (H, W, 3) uint8 RGB of one size to as many."""

BATCH = 8
RESIZE = "shorter side, bicubic (Pillow), central square"


class Evaluation(NamedTuple):
    """Distances to the paintings, and what they were measured on."""

    frechet: dict[str, Figure]
    """Row → Fréchet distance; rows are "identity", "colour transfer" and "model"."""
    kernel: dict[str, Figure]
    """Row → kernel distance."""
    size: int

    @property
    def distances(self) -> dict[str, float]:
        """Row → Fréchet distance, the number only."""
        return {row: figure.value for row, figure in self.frechet.items()}

    @property
    def sample(self) -> Figure:
        """Any of the figures: the features, the counts and the sizes are the same for all."""
        return next(iter(self.frechet.values()))

    @property
    def photos(self) -> int:
        """How many photos were translated."""
        return self.sample.generated

    @property
    def paintings(self) -> int:
        """How many paintings they were compared with."""
        return self.sample.real

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "distance": self.sample.name,
            "distances": self.distances,
            "features": self.sample.features,
            "photos": self.photos,
            "paintings": self.paintings,
            "size": self.size,
            "resize": self.sample.resize,
            "kernel": {row: figure.to_dict() for row, figure in self.kernel.items()},
        }

    def metrics(self) -> dict[str, float]:
        """For the record of a generator; each name says the features and the set sizes."""
        where = f"{self.photos} photos / {self.paintings} paintings, {self.size} px"
        return {
            f"{figure.name} {figure.features}, {row}, {where}": figure.value
            for figures in (self.frechet, self.kernel)
            for row, figure in figures.items()
        }


def evaluate(
    generator: nn.Module, photos: Sequence[Path], paintings: Sequence[Path], extractor: Extractor, *, size: int = 256
) -> Evaluation:
    """Distances of {photos as they are, colour-transferred, translated} to the paintings.

    Args:
        generator: (N, 3, H, W) in [-1, 1] to the same.
        photos, paintings: picture files, at least 2 of each.
        extractor: the features that are compared.
        size: pictures are resized to this shorter side and cropped to the central square.
    """
    batches = tracked(in_square_batches(paintings, size), -(-len(paintings) // BATCH), "paintings")
    distance = SetDistance(extractor, batches, resize=RESIZE)
    rows: dict[str, Translate | None] = {"identity": None, **translations(generator, paintings, size)}
    figures = {
        name: distance(tracked(in_square_batches(photos, size, translate), -(-len(photos) // BATCH), name))
        for name, translate in rows.items()
    }
    return Evaluation(
        {name: found.frechet for name, found in figures.items()},
        {name: found.kernel for name, found in figures.items()},
        size,
    )


def in_square_batches(paths: Sequence[Path], size: int, translate: Translate | None = None) -> Iterator[Tensor]:
    """The central squares of pictures, translated or as they are: (N, 3, size, size) in [-1, 1]."""
    for start in range(0, len(paths), BATCH):
        pictures = [load(path, size) for path in paths[start : start + BATCH]]
        yield torch.stack([to_tensor(pixels) for pixels in (translate(pictures) if translate else pictures)])


@torch.no_grad()
def translate_with(generator: nn.Module, pictures: Sequence[Pixels]) -> list[Pixels]:
    """What a generator makes of pictures (H, W, 3) uint8 RGB of one size, as one batch on its device."""
    batch = torch.stack([to_tensor(pixels) for pixels in pictures]).to(device_of(generator))
    return [to_pixels(image) for image in generator(batch)]


def translations(generator: nn.Module, paintings: Sequence[Path], size: int) -> dict[str, Translate]:
    """The two ways to make paintings of photos: the plain one, and the model."""
    plain = ColourTransfer.fit(load(path, size) for path in paintings)
    return {
        "colour transfer": lambda pictures: [plain.apply(pixels) for pixels in pictures],
        "model": lambda pictures: translate_with(generator, pictures),
    }


def load(path: Path, size: int) -> Pixels:
    """The central square of a picture, (size, size, 3) uint8 RGB."""
    return centre(read_picture(path, size), size)


def make_grid(
    generator: nn.Module, photos: Sequence[Path], paintings: Sequence[Path], *, size: int = 256
) -> Image.Image:
    """One row for each photo: as it is, colour-transferred, translated."""
    originals = [load(path, size) for path in photos]
    columns = [originals, *(translate(originals) for translate in translations(generator, paintings, size).values())]
    return Image.fromarray(make_sheet(list(zip(*columns, strict=True))))


def evaluate_files(
    model: Path,
    photos: Sequence[str],
    paintings: str,
    weights: Path | None,
    *,
    inception: Path | None = None,
    size: int = 256,
    grid: Path | None = None,
    grid_rows: int = 8,
    result: Path | None = None,
    record: bool = False,
) -> Evaluation:
    """The command: read the files, measure, write what was asked for.

    Args:
        model: checkpoint, run folder or ONNX file.
        photos: folders or globs; taken together.
        weights, inception: files of feature networks, see :func:`.extractors.open_extractor`.
        grid: PNG to write, rows spread evenly over the photos.
        result: JSON to write.
        record: put the distances into the checkpoint's own record.
    """
    subject = open_subject(model, record=record)
    generator, spec = subject.generator, subject.spec
    if spec.image is None or spec.attributes is not None:
        takes = ", ".join(spec.attributes.names) if spec.attributes else "noise only"
        raise OptionError(
            f"'{spec.name}' does not translate between domains: it takes {takes}. Leave out --photos and --paintings."
        )
    photo_paths = [path for source in photos for path in list_pictures(source)]
    painting_paths = list_pictures(paintings)
    extractor = open_extractor(inception, weights).to(measuring_device())
    evaluation = evaluate(generator, photo_paths, painting_paths, extractor, size=size)
    if grid is not None:
        chosen = np.linspace(0, len(photo_paths) - 1, min(grid_rows, len(photo_paths))).round().astype(int)
        save_png(grid, make_grid(generator, [photo_paths[i] for i in chosen], painting_paths, size=size))
    subject.report(evaluation.to_dict(), evaluation.metrics(), result=result, record=record)
    return evaluation
