"""Accuracy of labels by hand, the rows of an evaluation, what the command writes and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from typer.testing import CliRunner

from ganlens.engine.errors import OptionError, TrainingError
from ganlens.train.checkpoint import load_generator
from ganlens.train.cli import app
from ganlens.train.config import ClassifierConfig, PSCGANConfig
from ganlens.train.data.attribute_table import Faces
from ganlens.train.data.label_groups import LabelLayout
from ganlens.train.evaluate.classifier import finish
from ganlens.train.evaluate.labels import (
    ALL,
    Generated,
    LabelAccuracy,
    Measures,
    evaluate_label_files,
    evaluate_labels,
    label_accuracy,
)
from ganlens.train.loop import train

LAYOUT = LabelLayout.model_validate(
    {
        "groups": [
            {
                "name": "light",
                "rule": "exactly_one",
                "values": [{"name": n, "any_of": [n]} for n in ("dark", "bright")],
            },
            {"name": "hue", "rule": "exactly_one", "values": [{"name": n, "any_of": [n]} for n in ("red", "blue")]},
        ],
        "conditions": {"c1": ["bright", "blue"]},
    }
)


class Painter(nn.Module):
    """A "generator" that obeys: brightness and hue are as the labels say, but for a share that it gets wrong."""

    labels = 4

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        picture = torch.full((len(z), 3, 64, 64), -0.4) + 0.8 * labels[:, 1, None, None, None]
        picture[:, 0] += 0.3 * labels[:, 2, None, None]
        picture[:, 2] += 0.3 * labels[:, 3, None, None]
        return picture


def read(pictures: Tensor) -> Tensor:
    """The logits that belong to such pictures."""
    bright = pictures[:, 1].mean(dim=(1, 2))
    blue = (pictures[:, 2] - pictures[:, 0]).mean(dim=(1, 2))
    return torch.stack([-bright, bright, -blue, blue], dim=1)


@pytest.fixture
def painted(tmp_path: Path) -> Faces:
    """Twelve pictures, three of each combination."""
    paths, rows = [], []
    for number in range(12):
        labels = torch.tensor([[1.0 - number % 2, number % 2, 1.0 - number // 2 % 2, number // 2 % 2]])
        picture = Painter()(torch.zeros(1, 1), labels)[0]
        pixels = ((picture.permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8)
        paths.append(tmp_path / f"{number}.png")
        Image.fromarray(pixels).save(paths[-1])
        rows.append(labels[0].numpy())
    return Faces(paths, np.stack(rows), None)


def test_label_accuracy_by_hand() -> None:
    labels = torch.tensor([[1.0, 0, 0, 1, 0], [0, 1, 1, 0, 0]])
    logits = torch.tensor([[2.0, 1, -3, -1, -2], [1, 0.5, 4, -1, -1]])
    # first: both groups right by arg-max, but slot 1 is on and slot 3 off; second: first group wrong, slots 0 wrong
    found = label_accuracy(logits, labels, (slice(0, 2), slice(2, 5)))
    assert found == LabelAccuracy(slot=3 / 4, exact=1 / 2, element=7 / 10)


def test_an_obedient_generator_is_always_right(painted: Faces) -> None:
    found = evaluate_labels(Generated(Painter(), 1), LAYOUT, painted, Measures(judge=read, own=read), size=64, count=40)
    assert set(found.rows) == {ALL, "c1"}
    for row in found.rows.values():
        assert row.own == row.judge == row.real == LabelAccuracy(1, 1, 1)
    score = found.rows[ALL].class_score
    assert score is not None
    assert score.generated == 40
    assert "4 combinations" in score.features
    assert found.rows["c1"].class_score is None


def test_a_disobedient_generator_is_at_the_base_rate(painted: Faces) -> None:
    class Deaf(Painter):
        def forward(self, z: Tensor, labels: Tensor) -> Tensor:
            return super().forward(z, torch.tensor([[0.0, 1, 0, 1]]).expand(len(z), -1))

    found = evaluate_labels(Generated(Deaf(), 1), LAYOUT, painted, Measures(judge=read), size=64, count=40)
    assert found.rows[ALL].judge == LabelAccuracy(slot=1 / 2, exact=1 / 4, element=1 / 2)
    assert found.rows["c1"].judge == LabelAccuracy(1, 1, 1)
    assert found.rows[ALL].own is None


def test_faces_depend_on_the_seed_only() -> None:
    class Noisy(nn.Module):
        labels = 0

        def forward(self, z: Tensor) -> Tensor:
            return z[:, :, None, None].expand(-1, 3, 2, 2)

    labels = torch.zeros(70, 4)  # more than a batch
    one, again, other = (Generated(Noisy(), 3, seed=seed)(labels) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_a_condition_without_faces_is_named_and_the_others_keep_their_rows(painted: Faces) -> None:
    found = evaluate_labels(Generated(Painter(), 1), LAYOUT, painted.take([0, 4, 8]), Measures(), size=64, count=4)
    assert set(found.rows) == {ALL}
    assert found.missing["c1"].startswith("Only 0 real faces are c1")
    assert found.to_dict()["missing"] == dict(found.missing)
    with pytest.raises(TrainingError, match="Only 1 real faces are all"):
        evaluate_labels(Generated(Painter(), 1), LAYOUT, painted.take([0]), Measures(), size=64, count=4)


@pytest.fixture
def runs(faces: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A run of psc-gan and one of a judge, both tiny, with two groups of two."""
    layout = tmp_path / "layout.json"
    groups: list[dict[str, Any]] = [
        {
            "name": "mouth",
            "rule": "first_match",
            "values": [{"name": "smiling", "any_of": ["Smiling"]}, {"name": "calm"}],
        },
        {"name": "age", "rule": "first_match", "values": [{"name": "young", "any_of": ["Young"]}, {"name": "old"}]},
    ]
    layout.write_text(json.dumps({"groups": groups}))
    shared: dict[str, Any] = {"data": str(faces), "labels": str(layout), "holdout": 3, "batch": 4, "log_every": 1}
    psc = PSCGANConfig(
        **shared, out=str(tmp_path / "psc"), size=64, width=2, latent=3, stage1_steps=1, steps=1, sample_every=0
    )
    judge = ClassifierConfig(**shared, out=str(tmp_path / "judge"), size=32, load_size=32, width=2, steps=1)
    assert train(psc)
    assert train(judge)
    assert finish(judge).attributes == ("smiling", "calm", "young", "old")
    return psc.run, judge.run


def test_the_command(runs: tuple[Path, Path], tmp_path: Path) -> None:
    psc, judge = runs
    report = tmp_path / "report.json"
    words = ["evaluate", str(psc), "--classifier", str(judge), "--count", "20", "--json", str(report), "--record"]
    result = CliRunner().invoke(app, words, terminal_width=160)
    assert result.exit_code == 0, result.output
    row = json.loads(report.read_text())["rows"]["all"]
    assert {"own", "judge", "real"} <= {name for name, value in row.items() if value}
    assert row["frechet"] is None
    recorded = load_generator(psc)[1].metrics
    assert recorded["slot accuracy by independent classifier, 20 generated faces, 64 px"] == row["judge"]["slot"]
    assert any(name.startswith("slot accuracy by classifier of training") for name in recorded)


def test_the_command_refuses(runs: tuple[Path, Path], edit_config: Callable[..., Any]) -> None:
    psc, judge = runs
    with pytest.raises(OptionError, match="is a run of classifier; labels are measured of psc-gan"):
        evaluate_label_files(judge)
    with pytest.raises(OptionError, match="No faces were held out"):
        evaluate_label_files(psc, holdout=0)
