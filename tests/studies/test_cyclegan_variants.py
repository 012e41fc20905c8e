"""The study of the CycleGAN variants: all of it on tiny pictures, stopped in the middle, and its table by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from studies import cyclegan_variants
from studies.cyclegan_variants import VARIANTS, main, make_table
from tests.kit.vgg import save_vgg


def save_pictures(folder: Path, count: int, noise: float) -> Path:
    random = np.random.default_rng(count)
    folder.mkdir()
    for number in range(count):
        pixels = random.uniform(0, 180, (1, 1, 3)) + random.normal(0, noise, (40, 40, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number:02}.png")
    return folder


def test_study_stops_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vgg = save_vgg(tmp_path / "vgg.safetensors")
    words = ["--photos", save_pictures(tmp_path / "photos", 16, 5), "--vgg", vgg, "--scale", "quick", "--threads", "1"]
    words += ["--paintings", save_pictures(tmp_path / "paintings", 3, 60), "--work", tmp_path / "work"]
    words += ["--json", tmp_path / "result.json"]
    arguments = [str(word) for word in words]

    train, trained = cyclegan_variants.train, []

    def interrupted(config: object, *, resume: bool) -> bool:
        trained.append(config)
        return len(trained) != 3 and train(config, resume=resume)  # type: ignore[arg-type]

    threads = torch.get_num_threads()
    try:
        monkeypatch.setattr(cyclegan_variants, "train", interrupted)
        with pytest.raises(SystemExit, match="goes on from here"):
            main(arguments)
        assert not (tmp_path / "result.json").exists()
        main(arguments)
    finally:
        torch.set_num_threads(threads)
    assert len(trained) == 3 + 2  # two were done, the third began anew, the fourth followed

    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["settings"]["photos"], result["settings"]["held_out"]) == (14, 2)
    assert list(result["details"]) == ["identity", "colour transfer", *(f"{name}, seed 0" for name in VARIANTS)]
    distances = [cell["FD-VGG"] for cell in result["details"].values()]
    assert all(np.isfinite(distances)) and len(set(distances)) == 6
    assert [row[0] for row in result["table"]["rows"]] == ["identity", "colour transfer", *VARIANTS]
    with Image.open(tmp_path / "work" / "samples.png") as grid:
        assert grid.width == 6 * 32 and grid.height > 2 * 32  # the pictures below their names

    with pytest.raises(SystemExit, match="other settings .steps."):
        main([*arguments, "--steps", "3"])


def test_table_by_hand() -> None:
    rows = {"identity": {"FD-VGG": 200.0}, "colour transfer": {"FD-VGG": 150.0}}
    values = {"base": (100.0, 120.0), "leaky": (110.0, 126.0), "semantic": (100.0, 120.0), "hybrid": (90.0, 108.0)}
    rows |= {
        f"{name}, seed {seed}": {"FD-VGG": value} for name, pair in values.items() for seed, value in enumerate(pair)
    }
    columns, table = make_table(rows, 2)
    assert columns == ["variant", "FD-VGG", "to base", "paper's FID to base"]
    assert table[0] == ["identity", "200.0", "–", "–"]
    assert table[2] == ["base", "110.0 ± 14.1", "–", "–"]
    assert table[3] == ["leaky", "118.0 ± 11.3", "7.5 ± 3.5 %", "+1.3 %"]
    assert table[5] == ["hybrid", "99.0 ± 12.7", "-10.0 ± 0.0 %", "-4.8 %"]
