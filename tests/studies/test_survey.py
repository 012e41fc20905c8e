"""The survey's table 1: every strength and weakness has a row, each verdict follows from its measurement."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from studies import survey
from studies.cells import Cell
from studies.gaussians import CENTRES, Game
from studies.losses_report import Summary
from studies.survey import KNOWN, NOT_TESTABLE, Found, claims, table, told_apart

CELL: Cell = {"modes": 5, "good": 0.5, "thirds": [0.1, 0.3, 0.5], "finite": True, "followed": 0.9, "told_apart": 0.5}
CELL |= {"balance": 0.5, "beyond": 0.2, "at_bound": 0.4, "ratio": 1.0}


def found(**changes: Any) -> Found:
    """Two equal seeds of everything; ``changes``: name (spaces as underscores, no commas) → figures that differ."""
    names = ["gan", "cgan", "wgan", "wgan-gp", "ebgan", "began", "lsgan", "wgan, rate x10"]
    names += [f"{name}, {KNOWN} points" for name in ("gan", "cgan", "wgan-gp", "lsgan")]
    names += [f"{name}, {words}" for name in ("gan", "wgan") for words in (survey.FEW, survey.MANY)]
    names += ["gradient of gan, formula 3", "gradient of wgan"]
    points = {}
    for name in names:
        own = changes.get(name.replace(",", "").replace(" ", "_").replace("-", "_"), {})
        points[name] = [{**CELL, **own}] * 2
    return Found(points, {})


def verdict(loss: str, said: str, where: Found) -> str:
    (row,) = (row for row in table(where) if row[0] == loss and row[2] == said)
    return row[-1]


def test_every_cell_of_table_1_has_a_row() -> None:
    count = Counter((claim.loss, claim.kind) for claim in claims())
    assert count == {
        **{("gan", "strength"): 2, ("gan", "weakness"): 3, ("cgan", "strength"): 1, ("cgan", "weakness"): 3},
        **{("wgan", "strength"): 3, ("wgan", "weakness"): 2, ("wgan-gp", "strength"): 3, ("wgan-gp", "weakness"): 1},
        **{("ebgan", "strength"): 2, ("ebgan", "weakness"): 2, ("began", "strength"): 2, ("began", "weakness"): 1},
        **{("lsgan", "strength"): 2, ("lsgan", "weakness"): 2},
    }
    for row in table(found()):
        assert len(row) == len(survey.COLUMNS)
        assert (row[3] == "-") == (row[-1] == NOT_TESTABLE) and row[4]


@pytest.mark.parametrize(
    ("loss", "said", "changes", "otherwise"),
    [
        ("gan", "does not overfit", {"gan_100_points": {"told_apart": 0.9}}, ("agrees", "does not agree")),
        ("wgan-gp", "the critic overfits", {"wgan_gp_100_points": {"told_apart": 0.9}}, ("does not agree", "agrees")),
        ("gan", "gradients vanish", {"gradient_of_gan_formula_3": {"ratio": 0.01}}, ("does not agree", "agrees")),
        ("wgan", "gradients vanish less", {"gradient_of_wgan": {"ratio": 0.01}}, ("agrees", "does not agree")),
        ("gan", "local minima", {"gan": {"modes": 25}}, ("agrees", "does not agree")),
        ("cgan", "data can be controlled", {"cgan": {"followed": 0.2}}, ("agrees", "does not agree")),
        ("wgan", "unstable at high rates", {"wgan_rate_x10": {"good": 0.1}}, ("does not agree", "agrees")),
        ("wgan", "G and D need no balance", {"gan_5_critic_steps": {"good": 0.1}}, ("does not agree", "agrees")),
        ("wgan", "clipping spoils samples", {"wgan_gp": {"good": 0.8}}, ("cannot be told", "agrees")),
        ("wgan-gp", "faster than WGAN", {"wgan": {"thirds": [0.5, 0.5, 0.5]}}, ("cannot be told", "does not agree")),
        ("ebgan", "modes collapse", {"ebgan": {"modes": 1}}, ("cannot be told", "agrees")),
        ("began", "keeps G and D in balance", {"began": {"balance": 2.0}}, ("agrees", "does not agree")),
    ],
)
def test_a_verdict_follows_from_the_figure(
    loss: str, said: str, changes: dict[str, Any], otherwise: tuple[str, str]
) -> None:
    assert (verdict(loss, said, found()), verdict(loss, said, found(**changes))) == otherwise


def test_nothing_follows_from_a_training_that_was_too_short() -> None:
    chance = {"good": survey.CHANCE, "thirds": [survey.CHANCE] * 3, "modes": 2}
    where = found(**{name.replace(" ", "_"): chance for name in ("gan", "wgan", "wgan_gp", "ebgan")})
    for loss, said in (
        ("gan", "local minima"),
        ("wgan", "unstable at high rates"),
        ("wgan", "clipping spoils samples"),
        ("wgan-gp", "faster than WGAN"),
        ("ebgan", "modes collapse"),
    ):
        assert verdict(loss, said, where) == "cannot be told"
    assert pytest.approx(25 * 3.14159 * 0.075**2 / 2.5**2, rel=1e-4) == survey.CHANCE


def test_stability_is_of_the_study_of_pictures() -> None:
    assert verdict("wgan", "more stable than GAN", found()) == "cannot be told"

    def summary(*frechet: float) -> Summary:
        return Summary(list(frechet), [], [], [], [], 1, [], [], 0, len(frechet))

    pictures = {"gan": summary(1, 9), "wgan": summary(4, 5), "ebgan": summary(0, 99), "wgan-gp": summary(1, 2)}
    pictures |= {"began": summary(1, 2), "lsgan": summary(1, 2)}
    where = found()._replace(pictures=pictures)
    assert verdict("wgan", "more stable than GAN", where) == "agrees"
    assert verdict("ebgan", "more stable than GAN", where) == "does not agree"
    assert verdict("wgan-gp", "better samples", where) == "agrees"


def test_a_critic_that_knows_its_points_is_found_out() -> None:
    game = Game("gan", batch=4, seed=0, known=50)
    assert game.known is not None
    known = {tuple(point.tolist()) for point in game.known[0]}
    game.critic = lambda x: torch.tensor([float(tuple(p[:2].tolist()) in known) for p in x])  # type: ignore[assignment]
    assert told_apart(game) == 1.0
    game.critic = lambda x: torch.zeros(len(x))  # type: ignore[assignment]
    assert told_apart(game) == 0.5
    assert survey.row_of(CENTRES).tolist() == [row for row in range(5) for _ in range(5)]


def test_a_small_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(survey, "pictures_result", lambda: ({}, ""))
    survey.main(["--work", str(tmp_path), "--steps", "6", "--batch", "8", "--seeds", "1"])
    (file,) = tmp_path.glob("survey-*.json")
    record = json.loads(file.read_text())
    assert len(record["table"]["rows"]) == len(claims())
    page = (tmp_path / "survey.md").read_text()
    assert "| not measured | cannot be told |" in page  # what an autoencoder loses needs --data
    cells = json.loads((tmp_path / "cells.json").read_text())
    del cells["cells"]["gradient of wgan 0"]  # a study that was stopped
    (tmp_path / "cells.json").write_text(json.dumps(cells))
    survey.main(["--work", str(tmp_path), "--steps", "6", "--batch", "8", "--seeds", "1", "--report"])
    page = (tmp_path / "survey.md").read_text()
    assert page.count("| not measured | cannot be told |") == 2
    assert f"Of\n{len(claims())} claims:" in page and f"6 {NOT_TESTABLE}" in page
