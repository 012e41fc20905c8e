"""Each shipped style has a recipe, and the recipe says what its record says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import ganlens.train
from ganlens.engine.model import find_model, read_spec
from ganlens.train.config import TrainConfig, make_config, read_values
from ganlens.train.methods import METHODS

RECIPES = Path(ganlens.train.__file__).parent / "recipes"
STYLES = ("starry", "wave", "pastel", "comic", "cafe", "hair", "smile")


def config(recipe: Path) -> TrainConfig:
    """The recipe with what a user adds on the command line."""
    values: dict[str, Any] = read_values(recipe)
    kind = METHODS[values["method"]].config
    needed = {name: name for name, field in kind.model_fields.items() if field.is_required() and name not in values}
    if "range" in values:
        needed["teacher"] = "multistyle26.onnx"
    if "paintings" in needed:
        needed["paintings"] = "vangogh_00021.jpg"
    if "segmenter" in needed:
        needed["segmenter"] = "hair_pan_mobilenetv3.onnx"
    return make_config(kind, {**values, **needed, "out": f"runs/{recipe.stem}"})


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_is_a_configuration_of_its_name(recipe: Path) -> None:
    assert config(recipe).model_name == recipe.stem


@pytest.mark.parametrize("name", STYLES)
def test_the_recipe_of_a_shipped_style_says_what_its_record_says(name: str) -> None:
    spec, made = read_spec(find_model(name)), config(RECIPES / f"{name}.toml")
    assert spec.training is not None
    assert (spec.tier, spec.options["shape"]) == (made.tier, made.shape)
    assert (spec.training.steps, spec.training.data) == (made.steps, made.data_note)
    assert (spec.training.teacher, spec.licence) == (made.teacher_words, made.licence)
