"""What several translators make of the same pictures, beside each other: the improved CycleGAN's figure 2."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ganlens.engine.errors import OptionError

from ..checkpoint import GENERATOR_NAME
from ..data.pictures import list_pictures
from ..sample_sheet import Pixels, check_png, make_sheet, save_png
from .subject import Subject, open_subject
from .translation import load, translate_with


def write_samples(
    models: Sequence[Path], photos: str, output: Path, *, count: int = 6, size: int = 256, overwrite: bool = False
) -> None:
    """The command ``engine train samples``.

    Args:
        models: run folders, checkpoints or ONNX files of translators.
        photos: folder or glob.
        output: PNG to write.
        count: pictures, spread evenly over those found.
        size: side of their central squares, px.
        overwrite: replace an existing file.

    Raises:
        OptionError: a model that does not translate pictures, or not of this size.
        TrainingError: no pictures, or the file cannot be written.
        ModelFileError: a model that cannot be opened.
    """
    check_png(output, overwrite=overwrite)
    found = list_pictures(photos)
    chosen = [found[row] for row in np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int)]
    originals = [load(path, size) for path in chosen]
    columns = [originals, *(translate(open_subject(model), originals) for model in models)]
    sheet = make_sheet(list(zip(*columns, strict=True)), ["original", *names_of(models)], f"{size}x{size}")
    save_png(output, sheet)


def names_of(models: Sequence[Path]) -> list[str]:
    """For captions: as few of the last parts of their paths as tell them apart."""
    places = [model.resolve().parent if model.name == GENERATOR_NAME else model.resolve() for model in models]
    for count in range(1, max(len(place.parts) for place in places)):
        names = ["/".join(place.parts[-count:]) for place in places]
        if len(set(names)) == len(names):
            return names
    return [str(model) for model in models]


def translate(subject: Subject, pictures: Sequence[Pixels]) -> list[Pixels]:
    """Pictures (H, W, 3) uint8 RGB of one size, translated.

    Raises:
        OptionError: it does not translate pictures, or not of this size.
    """
    spec = subject.spec
    if spec.image is None or spec.attributes is not None:
        use = "engine generate" if spec.image is None else "engine train evaluate --grid"
        raise OptionError(f"'{spec.name}' does not translate between domains. Use {use}.")
    height, width = pictures[0].shape[:2]
    if not spec.size.accepts((height, width)):
        raise OptionError(f"'{spec.name}' takes {spec.size}, got {width}x{height}. Give another --size.")
    return [translate_with(subject.generator, [pixels])[0] for pixels in pictures]  # one: large pictures, small memory
