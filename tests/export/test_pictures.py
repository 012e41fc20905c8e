import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganlens.engine.errors import MediaError
from ganlens.engine.spec import GeneratorSpec
from ganlens.export.pictures import choose_pictures, load_picture

SPEC = GeneratorSpec(name="any", architecture="any")


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def test_a_picture_fills_the_input_from_its_centre(tmp_path: Path) -> None:
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = (255, 0, 127)
    picture = load_picture(save(tmp_path / "a.png", pixels), SPEC, (10, 10))
    assert picture.shape == (1, 3, 10, 10)
    assert picture.dtype == np.float32
    assert picture.flags.c_contiguous
    np.testing.assert_allclose(picture[0, :, 5, 5], [1, -1, 127 / 127.5 - 1], atol=1e-6)
    assert np.ptp(picture, axis=(2, 3)).max() == 0


def test_the_record_decides_range_and_channel_order(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.full((8, 8, 3), (255, 0, 51), np.uint8))
    spec = SPEC.model_copy(update={"value_range": (0.0, 255.0), "channel_order": "BGR"})
    np.testing.assert_allclose(load_picture(path, spec, (8, 8))[0, :, 0, 0], [51, 0, 255], atol=1e-4)


def test_grey_pictures_and_turned_photos_are_read(tmp_path: Path) -> None:
    grey = load_picture(save(tmp_path / "grey.png", np.full((8, 8), 255, np.uint8)), SPEC, (8, 8))
    np.testing.assert_allclose(grey, 1)
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to view: the upper half comes to the right
    turned = load_picture(save(tmp_path / "turned.png", pixels, exif=exif), SPEC, (8, 8))
    assert turned[0, 0, 4, 6] == 1
    assert turned[0, 0, 4, 1] == -1


def test_the_choice_is_repeatable_and_spread(pictures: list[Path]) -> None:
    chosen = choose_pictures(pictures, 5)
    assert chosen == choose_pictures(pictures, 5)
    places = sorted(pictures.index(path) for path in chosen)
    assert max(np.diff([-1, *places, len(pictures)])) <= 8
    assert sorted(choose_pictures(pictures, 100)) == pictures


def test_unreadable_pictures_are_skipped_and_named(
    tmp_path: Path, pictures: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("no picture")
    with caplog.at_level(logging.WARNING):
        assert choose_pictures([bad, *pictures[:2]], 3) and "bad.jpg" in caplog.text
    with pytest.raises(MediaError, match=r"None of the 1 pictures"):
        choose_pictures([bad], 1)
