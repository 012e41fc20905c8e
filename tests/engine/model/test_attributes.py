"""Attributes and labels by name: groups of exactly one, and labels drawn where a user leaves them open."""

import numpy as np
import pytest

from ganlens.engine.errors import OptionError
from ganlens.engine.model.attributes import attribute_vector, groups_text, label_names, label_vectors
from ganlens.engine.model.latents import seeded
from ganlens.engine.spec import AttributeInput

PORT = AttributeInput(
    names=("male", "female", "Arched_Brows", "plain", "bags"),
    groups=(("male", "female"), ("Arched_Brows", "plain", "bags")),
    exactly_one=True,
)
RARE = PORT.model_copy(
    update={
        "combinations": AttributeInput.model_validate(
            {
                **PORT.model_dump(),
                "combinations": [
                    {"names": ["male", "plain"], "count": 6},
                    {"names": ["male", "bags"], "count": 2},
                    {"names": ["female", "Arched_Brows"], "count": 8},
                ],
            }
        ).combinations
    }
)


def randoms(count):
    return [seeded(number) for number in range(count)]


# --- translation: what a user sets


def test_a_group_of_exactly_one_is_cleared_by_the_name_that_is_set():
    vector = attribute_vector(PORT, {"Female": 1, "arched brows": 1})
    np.testing.assert_array_equal(vector, [[0, 1, 1, 0, 0]])


def test_a_group_of_exactly_one_can_be_blended():
    np.testing.assert_allclose(
        attribute_vector(PORT, {"female": 0.25, "male": 0.75, "bags": 1}), [[0.75, 0.25, 0, 0, 1]]
    )


def test_every_group_of_exactly_one_must_be_named():
    with pytest.raises(OptionError, match="got none of: Arched_Brows, plain, bags. For example --set Arched_Brows=1"):
        attribute_vector(PORT, {"female": 1})
    with pytest.raises(OptionError, match="got none of: male, female; Arched_Brows, plain, bags"):
        attribute_vector(PORT, {})


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"female": 0.5, "bags": 1}, "female: got 0.5 in sum, expected 1, exactly one of: male, female"),
        ({"female": 1, "male": 1}, "male and female exclude each other; got 2 in sum"),
    ],
)
def test_a_group_of_exactly_one_adds_up_to_one(values, says):
    with pytest.raises(OptionError, match=says):
        attribute_vector(PORT, values)


# --- generation: what a user names, and what is drawn


def test_named_labels_hold_in_every_picture_and_exactly_one_of_each_group_does():
    vectors = label_vectors(PORT, ["FEMALE", "arched-brows"], randoms(20))
    np.testing.assert_array_equal(vectors, np.tile(np.float32([0, 1, 1, 0, 0]), (20, 1)))
    drawn = label_vectors(PORT, ["bags"], randoms(200))
    assert set(drawn[:, :2].sum(axis=1)) == {1.0} and set(drawn[:, 4]) == {1.0}
    assert 60 < drawn[:, 0].sum() < 140, "each name of an open group is as likely as the others"
    assert label_names(PORT, vectors[0]) == ("female", "Arched_Brows")


def test_open_groups_are_drawn_as_the_training_data_has_them():
    drawn = label_vectors(RARE, [], randoms(400))
    names = [label_names(RARE, vector) for vector in drawn]
    assert set(names) == {("male", "plain"), ("male", "bags"), ("female", "Arched_Brows")}
    assert 60 < names.count(("male", "bags")) / 400 * 800 < 140, "2 of 16"
    women = label_vectors(RARE, ["female"], randoms(50))
    assert {label_names(RARE, vector) for vector in women} == {("female", "Arched_Brows")}


def test_labels_that_never_occurred_together_can_be_asked_for():
    vectors = label_vectors(RARE, ["female", "bags"], randoms(3))
    np.testing.assert_array_equal(vectors, [[0, 1, 0, 0, 1]] * 3)
    lone = RARE.model_copy(update={"combinations": RARE.combinations[:2]})
    assert len({label_names(lone, vector) for vector in label_vectors(lone, ["female"], randoms(60))}) == 3


def test_one_group_named_leaves_the_draws_of_the_others_as_they_were():
    free = label_vectors(PORT, [], randoms(50))
    female = label_vectors(PORT, ["female"], randoms(50))
    np.testing.assert_array_equal(female[:, 2:], free[:, 2:])


def test_names_outside_groups_are_off_unless_named():
    port = AttributeInput(names=("smiling", "black", "blond"), groups=(("black", "blond"),), complement=True)
    np.testing.assert_array_equal(label_vectors(port, ["Smiling"], randoms(1)), [[1, 0, 0, 0, 1, 1]])
    assert groups_text(port) == "at most one of black, blond; any of smiling"


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (["femal"], "Unknown label 'femal'. The model takes one of male, female; one of Arched_Brows, plain, bags"),
        (["female", "male"], "male and female exclude each other. The model takes one of male, female; one of Arched"),
    ],
)
def test_wrong_labels_are_answered_with_the_groups(labels, says):
    with pytest.raises(OptionError, match=says):
        label_vectors(PORT, labels, randoms(1))
