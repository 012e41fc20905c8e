"""The study of the losses on drawn faces, with VGG16's layers but random weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from ganlens.train.losses import FAMILIES
from ganlens.train.networks.vgg16 import VGG16
from studies import gaussians, losses, losses_report
from studies.losses_report import Summary


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vgg") / "vgg16.safetensors"
    torch.manual_seed(0)
    save_file({name: value.half() for name, value in VGG16().state_dict().items()}, path)
    return path


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Sixteen noisy squares with two attributes."""
    random = np.random.default_rng(0)
    folder = tmp_path / "people"
    (folder / "images").mkdir(parents=True)
    rows, whose = ["filename,Male,Smiling"], ["filename,identity"]
    for number in range(16):
        Image.fromarray(random.integers(0, 255, (64, 64, 3), np.uint8)).save(folder / "images" / f"{number:02}.png")
        rows.append(f"{number:02}.png,{number % 2},{number // 2 % 2}")
        whose.append(f"{number:02}.png,{number}")
    (folder / "attributes.csv").write_text("\n".join(rows) + "\n")
    (folder / "identities.csv").write_text("\n".join(whose) + "\n")
    return folder


def in_this_process(commands: Sequence[Sequence[str]]) -> Any:
    """What :func:`ganlens.engine.benchmark.processes.run_pipeline` does in another one."""
    ((_, _, module, *arguments),) = commands
    assert module == "studies.losses"
    losses.main(arguments)

    class Usage:
        foreign = 0.0

    return Usage()


def test_a_study_goes_on_where_it_stopped(
    people: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "run_pipeline", in_this_process)
    out = tmp_path / "out"
    options = ["--data", str(people), "--weights", str(weights), "--out", str(out), "--holdout", "4", "--threads", "1"]
    options += ["--width", "1", "--batch", "2", "--steps", "8", "--pictures", "8", "--real", "4"]
    options += ["--points-steps", "6", "--points-batch", "8", "--seeds", "1"]
    losses.main([*options, "--losses", "cgan"])
    first = json.loads((out / "cells.json").read_text())["cells"]
    assert set(first) == {"points cgan 0", "pictures cgan 0"}
    cell = first["pictures cgan 0"]
    assert (cell["diverged"], cell["generator_steps"], len(cell["judge"]), len(cell["gradient_norm"])) == ("", 8, 8, 8)
    assert cell["step_ms"] > 0 and cell["peak_mib"] > 0
    assert (cell["frechet"]["name"], cell["frechet"]["generated"], cell["frechet"]["real"]) == ("FD-VGG", 4, 4)

    (out / "runs" / "wgan-gp-0").mkdir()
    (out / "runs" / "wgan-gp-0" / "state.pt").write_text("left by a process that was stopped")
    losses.main([*options, "--losses", "cgan,wgan-gp"])
    both = json.loads((out / "cells.json").read_text())["cells"]
    assert both["pictures cgan 0"] == cell
    assert both["pictures wgan-gp 0"]["generator_steps"] == 1
    (result,) = out.glob("losses-*.json")
    record = json.loads(result.read_text())
    assert [row[0] for row in record["table"]["rows"]] == ["cgan", "wgan-gp", "real pictures of other people"]
    assert "16 real pictures seen by each" in record["table"]["title"]
    assert "CPU scale, changed: width 1" in record["table"]["title"]
    assert "points" not in record["details"]["cells"]["points cgan 0"]
    assert str(tmp_path) not in result.read_text()
    page = (out / "losses.md").read_text()
    for plot in ("curves", "gradients", "points"):
        with Image.open(next(out.glob(f"losses-*-{plot}.png"))) as image:
            assert image.width > image.height
        assert f"-{plot}.png)" in page
    with pytest.raises(SystemExit, match="other settings \\(.*width"):
        losses.main([*options, "--width", "2", "--losses", "cgan"])


def test_an_unknown_loss_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        losses.main(["--data", "d", "--weights", "w", "--out", "o", "--losses", "gan,hinge"])
    assert "no loss is called hinge; known: gan, cgan" in capsys.readouterr().err


# --- 25 Gaussians ----------------------------------------------------------------------------------------------------


def test_the_mixture_covers_itself() -> None:
    torch.manual_seed(0)
    points, rows = gaussians.draw(gaussians.SAMPLES)
    found = gaussians.coverage(points)
    assert found.modes == 25
    assert found.good > 0.97
    assert found.divergence == pytest.approx(0, abs=0.03)
    assert torch.equal(rows.argmax(dim=1), ((points[:, 0] + 1.25) / 0.5).long())


def test_one_mode_is_one_and_a_cloud_is_none() -> None:
    one = gaussians.coverage(gaussians.CENTRES[:1].expand(gaussians.SAMPLES, 2))
    assert (one.modes, one.good) == (1, 1)
    assert one.divergence == pytest.approx(np.log(25))
    assert gaussians.coverage(torch.full((gaussians.SAMPLES, 2), 0.25)) == (0, 0.0, None)
    torch.manual_seed(0)
    cloud = gaussians.coverage(4 * torch.rand(gaussians.SAMPLES, 2) - 2)
    assert cloud.modes == 0
    assert cloud.good > 0


@pytest.mark.parametrize("name", FAMILIES)
def test_every_loss_plays_on_points(name: str) -> None:
    found, points = gaussians.play(name, steps=10, batch=8, seed=0)
    again, same = gaussians.play(name, steps=10, batch=8, seed=0)
    assert points.shape == (gaussians.SAMPLES, 2)
    assert points.isfinite().all()
    assert torch.equal(points, same)
    assert found == again


# --- the report ------------------------------------------------------------------------------------------------------


def summary(frechet: list[float], modes: list[float], norms: tuple[float, float] = (1.0, 1.0)) -> Summary:
    return Summary(frechet, modes, [100.0], [norms[0]], [norms[1]], 10, [5.0, 5.0], [100.0], 0, len(frechet))


def test_verdicts_follow_the_figures() -> None:
    found = {
        "gan": summary([100.0, 140.0, 180.0], [10.0, 12.0], (1.0, 0.05)),
        "cgan": summary([60.0, 62.0, 64.0], [24.0, 25.0]),
        "lsgan": summary([100.0, 141.0, 180.0], [10.0, 12.0], (1.0, 0.5)),
        "wgan": summary([90.0], [11.0]),
    }
    verdicts = {(loss, said): verdict for loss, _, said, _, verdict in losses_report.claim_rows(found)}
    assert verdicts[("gan", "the generator's gradient vanishes")] == "agrees"
    assert verdicts[("gan", "unstable: runs differ")] == "agrees"
    assert verdicts[("gan", "modes are lost")] == "agrees"
    assert verdicts[("cgan", "labels make it better")] == "agrees"
    assert verdicts[("cgan", "labels keep modes")] == "agrees"
    assert verdicts[("lsgan", "no vanishing gradient")] == "agrees"
    assert verdicts[("lsgan", "better pictures than GAN")] == "undecided"  # within the spread
    assert verdicts[("lsgan", "stable")] == "does not agree"
    assert verdicts[("wgan", "stable")] == "undecided"  # one seed
    assert not any(loss in ("wgan-gp", "ebgan", "began") for loss, _ in verdicts)


def test_a_run_that_diverged_is_counted_and_not_averaged() -> None:
    good = {"diverged": "", "frechet": {"value": 5.0}, "gradient_norm": [[0.5, 2.0]], "generator_steps": 3}
    good |= {"step_cpu_ms": 1.0, "peak_mib": 10, "peak_gpu_mib": None}
    bad = {**good, "diverged": "judge not finite", "frechet": None, "gradient_norm": [[0.5, float("nan")]]}
    points = {"modes": 3, "good": 0.5, "divergence": 1.0}
    cells = {"pictures gan 0": good, "pictures gan 1": bad, "points gan 0": points, "points gan 1": points}
    found = losses_report.summarise(cells)["gan"]
    assert (found.frechet, found.first_norm, found.diverged, found.runs) == ([5.0], [2.0], 1, 2)
    floor = {"floor": {"value": 1.0}}
    assert losses_report.rows({"gan": found}, floor)[0][-1] == "1 of 2"
