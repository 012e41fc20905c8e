"""Label layouts: the rules, the shipped files, and every way in which a table or a layout can be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganlens.engine.errors import TrainingError
from ganlens.train.data.attribute_table import Faces
from ganlens.train.data.label_groups import LabelLayout, load_layout

TWO_GROUPS = {
    "groups": [
        {
            "name": "shape",
            "rule": "exactly_one",
            "values": [{"name": "round", "any_of": ["round"]}, {"name": "long", "any_of": ["long"]}],
        },
        {
            "name": "light",
            "rule": "first_match",
            "values": [{"name": "bright", "any_of": ["sun", "lamp"]}, {"name": "dark"}],
        },
    ]
}


def faces(rows: list[list[int]]) -> Faces:
    return Faces([Path(f"{number}.png") for number in range(len(rows))], np.array(rows, dtype=np.float32), None)


def test_shipped_layouts_are_2_5_5_with_four_conditions() -> None:
    slots = {
        "montage": {"c1": {1, 6, 7}, "c2": {1, 3, 10}, "c3": {0, 2, 7}, "c4": {0, 3, 10}},
        "faces": {"c1": {1, 4, 10}, "c2": {1, 5, 11}, "c3": {0, 6, 9}, "c4": {0, 5, 11}},
    }
    for name, expected in slots.items():
        layout = load_layout(name)
        assert [len(group) for group in layout.groups_of_names] == [2, 5, 5]
        assert layout.slices == (slice(0, 2), slice(2, 7), slice(7, 12))
        found = {c: set(np.flatnonzero(layout.vector(values)).tolist()) for c, values in layout.conditions.items()}
        assert found == expected


def test_the_first_matching_rule_wins_and_the_last_value_is_the_rest() -> None:
    layout = load_layout("faces")
    columns = {name: place for place, name in enumerate(layout.columns)}

    def labels(*has: str) -> list[str]:
        row = [int(name in has) for name in columns]
        encoded = layout.encode(faces([row])).labels[0]
        return [name for name, value in zip(layout.names, encoded, strict=True) if value]

    assert labels() == ["female", "other", "plain"]
    assert labels("Male", "Receding_Hairline", "Bangs") == ["male", "balding", "plain"]
    assert labels("Wavy_Hair", "Straight_Hair", "Arched_Eyebrows") == ["female", "wavy", "arched"]
    assert labels("Bangs", "Wavy_Hair", "Narrow_Eyes", "Bags_Under_Eyes") == ["female", "bangs", "narrow"]


def test_both_rules_in_one_layout() -> None:
    layout = LabelLayout.model_validate(TWO_GROUPS)
    assert layout.columns == ("round", "long", "sun", "lamp")
    encoded = layout.encode(faces([[1, 0, 0, 1], [0, 1, 0, 0]])).labels
    assert encoded.dtype == np.float32
    assert encoded.tolist() == [[1, 0, 1, 0], [0, 1, 0, 1]]


def test_a_table_with_two_groups_wrong_names_pictures_groups_and_values() -> None:
    layout = load_layout("montage")
    good, bad = [0] * 12, [0] * 12
    for slot in (0, 2, 7):
        good[slot] = 1
    bad[0] = bad[1] = bad[7] = 1  # male and female, no hair at all
    with pytest.raises(TrainingError, match="1 of 2 pictures .*1.png has gender: male and female, hair: none. Correct"):
        layout.encode(faces([good, bad]))


def test_a_value_without_a_picture_is_named() -> None:
    layout = LabelLayout.model_validate(TWO_GROUPS)
    labels = layout.encode(faces([[1, 0, 0, 0], [0, 1, 0, 0]])).labels
    with pytest.raises(TrainingError, match="Group light: none of 2 training pictures is bright"):
        layout.require_all(labels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": []}, "groups: .*at least 1"),
        ({"groups": [{"name": "a", "rule": "first", "values": []}]}, "groups.0.rule: .*first_match"),
        ({"groups": [{**TWO_GROUPS["groups"][0], "rule": "first_match"}]}, "its last value, and no other"),
        ({"groups": [{**TWO_GROUPS["groups"][1], "rule": "exactly_one"}]}, "dark needs any_of"),
        ({"groups": [TWO_GROUPS["groups"][0]] * 2}, "long, round names more than one value"),
        ({**TWO_GROUPS, "conditions": {"a": ["round", "long"]}}, "condition a needs exactly one value of each group"),
        ({**TWO_GROUPS, "colour": "red"}, "colour: is unknown"),
    ],
)
def test_a_wrong_layout_says_where(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    file = tmp_path / "layout.json"
    file.write_text(json.dumps(change))
    with pytest.raises(TrainingError, match=f"layout.json is not valid: .*{message}"):
        load_layout(str(file))


def test_an_unknown_layout_names_the_known() -> None:
    with pytest.raises(TrainingError, match="no label layout 'face'. .* one of faces, montage"):
        load_layout("face")


def test_a_mirror_exchanges_left_and_right() -> None:
    layout = load_layout("montage")
    names = np.array(layout.names)
    left, right = (
        layout.vector(["male", "curly", "asymmetric_left"]),
        layout.vector(["male", "curly", "asymmetric_right"]),
    )
    assert np.array_equal(left[layout.mirrored], right) and np.array_equal(right[layout.mirrored], left)
    for values in layout.conditions.values():
        assert np.array_equal(layout.vector(values)[layout.mirrored], layout.vector(values)), names
    assert load_layout("faces").mirrored == list(range(12))


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([["round", "bright"]], "round and bright must name two values of one group"),
        ([["round", "oblong"]], "must name two values"),
        ([["round", "long"], ["long", "round"]], "more than once"),
        ([["round", "round"]], "more than once"),
    ],
)
def test_mirror_pairs_that_make_no_sense(pairs: list[list[str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabelLayout.model_validate({**TWO_GROUPS, "mirror_pairs": pairs})
