"""Tiny folders of pictures, tiny runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganlens.train import config
from ganlens.train.config import AttributeConfig, CycleGANConfig, PairedConfig
from ganlens.train.methods import METHODS
from tests.kit.fresh_process import fresh_process
from tests.kit.training_faces import save_faces


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """See :func:`tests.kit.fresh_process.fresh_process`."""
    with fresh_process():
        yield


def save_folders(parent: Path) -> tuple[Path, Path]:
    """Five smooth "photos" and three noisy "paintings", 40 px."""
    random = np.random.default_rng(0)
    photos, paintings = parent / "photos", parent / "paintings"
    for folder, count, noise in ((photos, 5, 0), (paintings, 3, 60)):
        folder.mkdir()
        for number in range(count):
            ramp = np.linspace(0, 180, 40)[:, None, None] + random.uniform(0, 60, (1, 40, 3))
            pixels = np.clip(ramp + random.normal(0, 1, (40, 40, 3)) * noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return photos, paintings


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """See :func:`save_folders`."""
    return save_folders(tmp_path)


def small_config(folders: tuple[Path, Path], run: Path, **changes: Any) -> CycleGANConfig:
    """A 32 px nano CycleGAN that trains in a second; options can be changed."""
    values: dict[str, Any] = {
        "photos": str(folders[0]),
        "paintings": str(folders[1]),
        "out": str(run),
        "tier": "nano",
        "size": 32,
        "load_size": 36,
        "steps": 4,
        "discriminator_width": 8,
        "pool": 2,
        "samples": 1,
        "sample_every": 0,
        "log_every": 2,
    }
    return CycleGANConfig(**{**values, **changes})


@pytest.fixture
def make_config(folders: tuple[Path, Path], tmp_path: Path) -> Callable[..., CycleGANConfig]:
    """See :func:`small_config`."""
    return lambda **changes: small_config(folders, tmp_path / "run", **changes)


@pytest.fixture
def paired_config(folders: tuple[Path, Path], tmp_path: Path) -> Callable[..., PairedConfig]:
    """A 32 px run that learns what a teacher makes of five pictures, in a second; options can be changed."""

    def make(**changes: Any) -> PairedConfig:
        values: dict[str, Any] = {
            "photos": str(folders[0]),
            "teacher": "filter:comic",
            "out": str(tmp_path / "run"),
            "size": 32,
            "steps": 2,
            "holdout": 0,
            "samples": 2,
            "sample_every": 0,
        }
        return config.make_config(PairedConfig, {**values, **changes})

    return make


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """See :func:`tests.kit.training_faces.save_faces`."""
    return save_faces(tmp_path / "faces")


@pytest.fixture
def edit_config(faces: Path, tmp_path: Path) -> Callable[..., AttributeConfig]:
    """A 32 px run of an attribute method that trains in a second; options can be changed."""

    def make(method: str = "acl-gan", **changes: Any) -> AttributeConfig:
        values: dict[str, Any] = {
            "data": str(faces),
            "attributes": "Smiling,Young",
            "holdout": 3,
            "out": str(tmp_path / "run"),
            "size": 32,
            "load_size": 36,
            "batch": 4,
            "steps": 4,
            "sample_every": 0,
            "log_every": 2,
        }
        if method == "classifier":
            values |= {"width": 4}
        else:
            values |= {"tier": "nano", "discriminator_width": 2, "samples": 2}
            if changes.get("tier") in ("stargan", "growing"):
                values["generator_width"] = 4
        kind = METHODS[method].config
        assert issubclass(kind, AttributeConfig)
        return kind(**{**values, **changes})

    return make
