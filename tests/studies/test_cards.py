"""The cards' tables: what each style is judged against, and the row that is measured alone."""

from __future__ import annotations

from typing import Any

import pytest

from ganlens.engine.cli.evaluate import first_frame_note
from ganlens.engine.evaluate.gates import FIRST_FRAME
from ganlens.engine.model import ModelCard
from ganlens.train.config import read_values
from studies.cards import RECIPES, styles, target_options, with_first_frame


@pytest.mark.parametrize("card", styles(), ids=lambda card: card.name)
def test_every_card_has_one_row_for_the_first_frame(card: ModelCard) -> None:
    text = card.path.with_suffix(".md").read_text(encoding="utf-8")
    assert sum(line.startswith(f"| budget | {FIRST_FRAME} |") for line in text.splitlines()) == 1
    slow, quick = with_first_frame(text, 0.7), with_first_frame(text, 0.6)
    assert f"{FIRST_FRAME} | 0.70 s | ≤ 0.65 | FAIL |" in slow and f"{FIRST_FRAME} | 0.60 s | ≤ 0.65 | pass |" in quick
    assert quick.count(f"\n\n{first_frame_note()}\n") == 1, "the machine decides it"
    assert with_first_frame(slow, 0.6) == quick


@pytest.mark.parametrize("card", styles(), ids=lambda card: card.name)
def test_a_style_is_judged_against_what_its_recipe_names(card: ModelCard) -> None:
    recipe = read_values(RECIPES / f"{card.name}.toml")
    options = target_options(recipe, "teacher.onnx", "painting.jpg")
    expected: dict[str, Any] = {"comic": "filter:comic"}
    assert options.get("target", options.get("teacher")) in (expected.get(card.name, "teacher.onnx"), "painting.jpg")
    if options.get("teacher") == "teacher.onnx":
        assert options["teacher_input"] == recipe["teacher_input"] and "style_weights" in options["teacher_input"]


def test_a_teacher_that_is_needed_is_asked_for() -> None:
    with pytest.raises(SystemExit, match="starry needs --teacher"):
        target_options(read_values(RECIPES / "starry.toml"), None, None)
    with pytest.raises(SystemExit, match="needs --painting"):
        target_options({"method": "perceptual", "name": "mine"}, None, None)
