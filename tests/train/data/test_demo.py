"""Synthetic data: repeatable, of the promised size, and paintings are rougher than photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ganlens.train.data.demo import make_demo_data
from ganlens.train.data.pictures import list_pictures


def roughness(folder: Path) -> float:
    pictures = [np.asarray(Image.open(path).convert("L")).astype(float) for path in list_pictures(str(folder))]
    return float(np.mean([np.abs(np.diff(picture)).mean() for picture in pictures]))


def test_demo_data(tmp_path: Path) -> None:
    photos, paintings = make_demo_data(tmp_path / "a", count=3, size=64)
    again, _ = make_demo_data(tmp_path / "b", count=3, size=64)
    assert [len(list_pictures(str(folder))) for folder in (photos, paintings)] == [3, 3]
    assert all((again / path.name).read_bytes() == path.read_bytes() for path in photos.iterdir())
    with Image.open(paintings / "000.png") as picture:
        assert (picture.size, picture.mode) == ((64, 64), "RGB")
    assert roughness(paintings) > 2 * roughness(photos)
