"""A folder of natural-looking pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.tiny_generator import draw_picture


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with twenty pictures of several sizes."""
    folder = tmp_path_factory.mktemp("photos")
    for i in range(20):
        draw_picture(i, (48, 64) if i % 2 else (70, 50)).save(folder / f"{i:02}.png")
    return folder


@pytest.fixture(scope="session")
def pictures(photos: Path) -> list[Path]:
    """The files in :func:`photos`."""
    return sorted(photos.iterdir())
