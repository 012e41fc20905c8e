"""engine train samples: what several translators make of the same pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from ganlens.train.checkpoint import save_generator
from ganlens.train.cli import app
from ganlens.train.config import CycleGANConfig
from ganlens.train.data.pictures import to_pixels, to_tensor
from ganlens.train.evaluate.samples import names_of
from ganlens.train.evaluate.translation import load
from ganlens.train.networks import make_generator
from ganlens.train.specs import attribute_spec, image_to_image_spec

MakeConfig = Callable[..., CycleGANConfig]


def samples(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["samples", *(str(word) for word in words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result.exit_code, result.output


def test_a_row_for_each_photo_and_a_column_for_each_model(
    make_config: MakeConfig, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    generators = {}
    for seed, name in enumerate(("base", "hybrid")):
        torch.manual_seed(seed)
        spec = image_to_image_spec(make_config(), name)
        generators[name] = make_generator(spec).eval()
        save_generator(generators[name], spec, tmp_path / f"{name}.safetensors")
    sheet = tmp_path / "sheet.png"
    models = [tmp_path / f"{name}.safetensors" for name in generators]
    code, output = samples(*models, "--photos", folders[0], "-o", sheet, "--count", 3, "--size", 32)
    assert code == 0 and str(sheet) in output
    with Image.open(sheet) as picture:
        pixels = np.asarray(picture)
    assert pixels.shape[1] == 3 * 32
    body = pixels[-3 * 32 :]
    chosen = [0, 2, 4]  # of five, spread evenly
    for row, number in enumerate(chosen):
        photo = load(folders[0] / f"{number}.png", 32)
        tiles = np.split(body[32 * row : 32 * row + 32], 3, axis=1)
        np.testing.assert_array_equal(tiles[0], photo)
        for tile, generator in zip(tiles[1:], generators.values(), strict=True):
            with torch.no_grad():
                np.testing.assert_array_equal(tile, to_pixels(generator(to_tensor(photo)[None])[0]))
    code, output = samples(*models, "--photos", folders[0], "-o", sheet)
    assert code == 1 and "exists; pass -y" in output


def test_captions_are_short_and_tell_the_models_apart() -> None:
    runs = Path("/runs")
    assert names_of([runs / "base", runs / "hybrid"]) == ["base", "hybrid"]
    best = [run / "best" / "generator.safetensors" for run in (runs / "base", runs / "hybrid")]
    assert names_of([runs / "base", *best]) == ["runs/base", "base/best", "hybrid/best"]
    assert names_of([runs / "base", runs / "base"]) == ["/runs/base", "/runs/base"]


def test_what_is_refused(
    make_config: MakeConfig, edit_config: Callable[..., object], folders: tuple[Path, Path], tmp_path: Path
) -> None:
    spec = image_to_image_spec(make_config(), "style")
    style = tmp_path / "style.safetensors"
    save_generator(make_generator(spec), spec, style)
    assert "written as .png" in samples(style, "--photos", folders[0], "-o", tmp_path / "sheet.jpg")[1]
    assert "Give another --size" in samples(style, "--photos", folders[0], "-o", tmp_path / "s.png", "--size", 33)[1]
    editor = attribute_spec(edit_config("stargan"), mask=False, complement=False)  # type: ignore[arg-type]
    save_generator(make_generator(editor), editor, tmp_path / "editor.safetensors")
    output = samples(tmp_path / "editor.safetensors", "--photos", folders[0], "-o", tmp_path / "s.png")[1]
    assert "does not translate between domains. Use engine train evaluate --grid." in output
    assert not (tmp_path / "s.png").exists()


@pytest.mark.parametrize("photos", ["nowhere", "*.none"])
def test_no_photos(make_config: MakeConfig, tmp_path: Path, photos: str) -> None:
    assert samples(tmp_path, "--photos", tmp_path / photos, "-o", tmp_path / "s.png")[0] == 1
