"""The benchmark of psc-gan: its tables from known figures, and one tiny run of all of it, that is not done twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from ganlens.train.config import ClassifierConfig
from ganlens.train.evaluate.classifier import finish
from ganlens.train.loop import train
from ganlens.train.networks.vgg16 import VGG16
from studies import psc_gan


def row(slot: float, frechet: float, perceptual: float, score: float = 1.0) -> dict[str, Any]:
    accuracy = {"slot": slot, "exact": slot, "element": slot}
    figures = {"frechet": ("FD-VGG", frechet), "perceptual": ("LPIPS-x", perceptual), "class_score": ("CS", score)}
    named = {figure: {"name": name, "value": value} for figure, (name, value) in figures.items()}
    return {"judge": accuracy, "own": accuracy, **named}


def test_table_1_gives_changes_over_seeds_beside_the_paper_s() -> None:
    runs = {
        seed: {"vanilla": {"all": row(0, 100, 0.5, 2)}, "pretrained": {"all": row(0, 100 - drop, 0.4, 3)}}
        for seed, drop in enumerate((10, 20))
    }
    columns, rows = psc_gan.table_1(runs)
    assert columns == ["run", "CS ↑", "FD-VGG ↓", "LPIPS-x ↓"]
    assert [line[2] for line in rows] == ["100 ± 0", "85 ± 7.1", "-15 ± 7.1", "-8.2"]


def test_table_3_gives_pairs_means_and_changes() -> None:
    runs = {
        0: {
            "concat": {"c1": row(0.5, 100, 0.4), "c2": row(0.7, 50, 0.4)},
            "psc": {"c1": row(0.8, 90, 0.4), "c2": row(0.7, 45, 0.2)},
        }
    }
    columns, rows = psc_gan.table_3(runs, ["c1", "c2"])
    assert columns[3:] == ["FD-VGG ↓", "LPIPS-x ↓"]
    assert rows[0][1:] == ["0.5 / 0.8", "0.5 / 0.8", "100 / 90", "0.4 / 0.4"]
    assert rows[2] == ["mean", "0.6 / 0.75", "0.6 / 0.75", "75 / 67.5", "0.4 / 0.3"]
    assert rows[3] == ["change, %", "+25", "+25", "-10", "-25"]
    assert rows[4][3] == "-9.56"  # the printed means, 112.4 and 101.7


def test_stability_counts_runs_that_are_nearer_after_a_third() -> None:
    early = {seed: {"all": row(0, value, 0)} for seed, value in enumerate((50, 120))}
    late = {seed: {"all": row(0, 100, 0)} for seed in range(2)}
    assert psc_gan.stability(early, late) == (1, 2)


@pytest.mark.slow
def test_all_of_it_and_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    data = tmp_path / "faces"
    (data / "images").mkdir(parents=True)
    lines, people = ["filename,Smiling,Young"], ["filename,identity"]
    for number in range(16):
        pixels = random.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(data / "images" / f"{number}.png")
        lines.append(f"{number}.png,{number % 2},{number // 2 % 2}")
        people.append(f"{number}.png,{number}")
    (data / "attributes.csv").write_text("\n".join(lines) + "\n")
    (data / "identities.csv").write_text("\n".join(people) + "\n")
    layout = tmp_path / "layout.json"
    groups = [
        {
            "name": "mouth",
            "rule": "first_match",
            "values": [{"name": "smile", "any_of": ["Smiling"]}, {"name": "calm"}],
        },
        {"name": "age", "rule": "first_match", "values": [{"name": "young", "any_of": ["Young"]}, {"name": "old"}]},
    ]
    layout.write_text(json.dumps({"groups": groups, "conditions": {"c1": ["smile", "old"]}}))
    judge = ClassifierConfig(
        data=str(data),
        labels=str(layout),
        holdout=4,
        out=str(tmp_path / "judge"),
        size=32,
        load_size=32,
        width=2,
        steps=1,
    )
    assert train(judge)
    finish(judge)
    weights = tmp_path / "vgg.safetensors"
    save_file({name: value.half() for name, value in VGG16().state_dict().items()}, str(weights))
    words = ["--data", str(data), "--labels", str(layout), "--judge", str(judge.run), "--weights", str(weights)]
    words += ["--out", str(tmp_path / "runs"), "--holdout", "4", "--quick", "--threads", "1"]
    psc_gan.main(words)
    printed = capsys.readouterr().out
    assert "nearer after a third than vanilla at the end" in printed
    assert "| c1 |" in printed
    files = sorted((tmp_path / "runs").glob("psc-gan-table-*.json"))
    assert len(files) == 2
    tables = [json.loads(file.read_text())["table"] for file in files]
    psc_gan.main(words)
    assert "to step" not in capsys.readouterr().out  # nothing is trained twice
    assert [json.loads(file.read_text())["table"] for file in files] == tables
