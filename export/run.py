"""What is exported: a run folder or checkpoint of ``engine train``, and the real pictures it can be judged on."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import nn

from ganlens.engine.errors import MediaError, OptionError, TrainingError
from ganlens.engine.spec import GeneratorSpec
from ganlens.train.checkpoint import load_generator
from ganlens.train.config import CONFIG_NAME, read_values
from ganlens.train.data.attribute_table import picture_folder
from ganlens.train.data.pairs import picture_sources
from ganlens.train.data.pictures import list_pictures


class Run(NamedTuple):
    """A trained generator and where it comes from."""

    generator: nn.Module
    """Averaged weights, eval mode, on the CPU."""
    spec: GeneratorSpec
    folder: Path
    """The run folder; for a single file the folder that holds it."""


def load_run(path: Path) -> Run:
    """Open a run folder or a ``.safetensors`` file.

    Raises:
        ModelFileError: there is no checkpoint, it is corrupt, or its network is unknown.
    """
    generator, spec = load_generator(path)
    return Run(generator, spec, path if path.is_dir() else path.parent)


def pictures_of(run: Run, images: Path | None) -> list[Path]:
    """Picture files to judge a run's generator on: those in ``images``, else the photos that the run was trained on.

    Returns:
        Paths, sorted; none for a generator without image input.

    Raises:
        MediaError: there are none.
        OptionError: there are some, for a generator that takes none.
    """
    if run.spec.image is None:
        if images is not None:
            raise OptionError(f"'{run.spec.name}' makes pictures from noise and is judged on that: leave --images out.")
        return []
    source = str(images) if images is not None else _training_photos(run.folder)
    try:
        return [picture for part in picture_sources(source) for picture in list_pictures(part)]
    except TrainingError as error:
        whose = "" if images is not None else f" (The run {run.folder} names it as its training photos.)"
        raise MediaError(f"{error}{whose} Give a folder of real pictures with --images DIR.") from error


def _training_photos(folder: Path) -> str:
    config = folder / CONFIG_NAME
    values = read_values(config) if config.is_file() else {}
    photos = values.get("photos")
    if isinstance(values.get("data"), str):  # of an attribute method: faces, in the folder or in one of it
        photos = str(picture_folder(Path(values["data"])))
    if not isinstance(photos, str):
        raise MediaError(
            f"The parity gate needs real pictures, and {folder} does not say which photos it was trained on. "
            "Give a folder of them with --images DIR."
        )
    return photos
