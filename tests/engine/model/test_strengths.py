"""Strength: 0 leaves the picture unchanged, 1 is the full edit, 0.5 half of it; measured and recorded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from pydantic import ValidationError

from ganlens.engine import Translator, write_image
from ganlens.engine.backends.base import FunctionBackend, Output
from ganlens.engine.errors import ModelFileError, OptionError
from ganlens.engine.model import find_model
from ganlens.engine.model.attributes import attribute_vector, edit_share, experimental_notes
from ganlens.engine.model.description import read_spec
from ganlens.engine.model.relabel import with_record
from ganlens.engine.model.strengths import calibrate, default_strengths, mark_experimental, network_change
from ganlens.engine.pixels.frame import Frame
from ganlens.engine.spec import AttributeInput, GeneratorSpec, ImageOutput, Strength
from tests.kit.models import attribute_model, make_spec

OLD = AttributeInput(names=("Smiling", "Blond", "Black"), groups=(("Blond", "Black"),), complement=True)
NEW = default_strengths(OLD)
BENT = AttributeInput.model_validate(
    {**NEW.model_dump(), "strengths": {**NEW.strengths, "Smiling": {"points": [(-1, 0), (0, 0.5), (0.5, 0.8), (1, 1)]}}}
)


def entries(port, **values):
    return attribute_vector(port, values)[0, :3].tolist()


# --- what a value means


def test_a_record_without_strengths_keeps_its_meaning():
    assert entries(OLD) == [0.5, 0.5, 0.5]
    assert entries(OLD, smiling=0) == [0, 0.5, 0.5], "0 takes the smile away, as it always did"
    assert entries(OLD, smiling=0.5) == [0.5, 0.5, 0.5]
    assert entries(OLD, blond=0.5) == [0.5, 0.5, 0]
    assert edit_share(OLD, attribute_vector(OLD, {})[0]) == 1
    version_1 = json.loads(make_spec(attributes=OLD).model_dump_json())
    del version_1["attributes"]["strengths"]
    read = GeneratorSpec.from_metadata({"ganlens.spec": json.dumps({**version_1, "format_version": 1})})
    assert read is not None and read.attributes == OLD


@pytest.mark.parametrize(
    ("value", "entry"), [(-1, 0), (-0.5, 0.25), (0, 0.5), (0.25, 0.65), (0.5, 0.8), (0.75, 0.9), (1, 1)]
)
def test_a_strength_is_the_entry_that_the_record_says(value, entry):
    assert entries(BENT, smiling=value)[0] == pytest.approx(entry)
    assert attribute_vector(BENT, {"smiling": value})[0, 3] == pytest.approx(1 - entry)


def test_the_others_of_a_group_go_as_far_as_the_strength():
    assert entries(NEW, blond=1) == [0.5, 1, 0]
    assert entries(NEW, blond=0.5) == [0.5, 0.75, 0.25]
    assert entries(NEW, blond=0) == [0.5, 0.5, 0.5]
    assert entries(NEW, blond=0.5, black=0.5) == [0.5, 0.75, 0.75]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"smiling": 1.5}, "smiling: got 1.5, expected -1 to 1; 0 leaves the picture unchanged"),
        ({"smiling": -1.01}, "smiling: got -1.01, expected -1 to 1"),
        ({"blond": -0.5}, "blond: got -0.5, expected 0 to 1"),
        ({"blond": 0.7, "black": 0.7}, "Blond and Black exclude each other; got 1.4 in sum"),
        ({"smiling": float("nan")}, "smiling: got nan"),
    ],
)
def test_values_outside_are_refused(values, says):
    with pytest.raises(OptionError, match=says):
        attribute_vector(NEW, values)


def test_the_share_shown_falls_to_nothing_at_strength_0():
    shares = [edit_share(NEW, attribute_vector(NEW, {"smiling": s})[0]) for s in (-1, -0.1, 0, 0.1, 0.25, 0.5, 1)]
    assert shares == pytest.approx([1, 0.4, 0, 0.4, 1, 1, 1])
    assert edit_share(NEW, attribute_vector(NEW, {"smiling": 0, "blond": 1})[0]) == 1


def test_users_are_told_of_experimental_edits():
    port = mark_experimental(NEW, ["blond"])
    assert experimental_notes(port, {"BLOND": 1}) == ["experimental in this model, the edit is unreliable: Blond"]
    assert experimental_notes(port, {"smiling": 1, "blond": 0}) == []
    assert experimental_notes(OLD, {"blond": 1}) == experimental_notes(None, {}) == []
    with pytest.raises(OptionError, match="No strength is recorded for 'blonde'. Did you mean Blond"):
        mark_experimental(port, ["blonde"])


@pytest.mark.parametrize(
    ("points", "says"),
    [
        ([(0, 0.5)], "must increase and contain 0"),
        ([(0.5, 0.5), (1, 1)], "must increase and contain 0"),
        ([(0, 0.5), (1, 1), (1, 0.9)], "must increase and contain 0"),
    ],
)
def test_points_that_mean_nothing_are_refused(points, says):
    with pytest.raises(ValidationError, match=says):
        Strength(points=points)


def test_strengths_belong_to_attributes_with_a_neutral_value():
    with pytest.raises(ValidationError, match="not among the attributes"):
        AttributeInput(names=("a",), strengths={"b": Strength()})
    with pytest.raises(ValidationError, match="no entry that leaves a picture unchanged"):
        AttributeInput(names=("a", "b"), groups=(("a", "b"),), exactly_one=True, strengths={"a": Strength()})
    with pytest.raises(OptionError, match="neutral value"):
        default_strengths(AttributeInput(names=("a",)))


# --- measured


def cubic(image, vector):
    """An editor whose edit grows with the cube of the entry, over an error that it makes with every vector."""
    amount = (vector[0, 0] - 0.5) * 2
    moved = image + 0.05 * np.sin(40 * image) + 0.3 * amount**3 + 0.2 * (vector[0, 1] - vector[0, 2])
    return Output(moved.astype(np.float32), np.full((1, 1, *image.shape[2:]), 0.5, np.float32))


def cubic_backend():
    return FunctionBackend(make_spec(attributes=NEW, output=ImageOutput(kind="segment", mask="m")), cubic)


def pictures(count=3):
    return [np.random.default_rng(seed).uniform(-0.5, 0.5, (1, 3, 16, 24)).astype(np.float32) for seed in range(count)]


def test_measured_strengths_show_their_share_of_the_edit():
    port = calibrate(NEW, network_change(cubic_backend(), pictures()))
    for strength in (-1, -0.75, -0.5, -0.25, 0.25, 0.5, 0.75, 1):
        vector = attribute_vector(port, {"smiling": strength})
        shown = edit_share(port, vector[0]) * ((vector[0, 0] - 0.5) * 2) ** 3
        assert shown == pytest.approx(strength, abs=0.02)
    linear = attribute_vector(NEW, {"smiling": 0.5})
    assert ((linear[0, 0] - 0.5) * 2) ** 3 == pytest.approx(0.125), "what half would show without measuring"
    assert port.strengths["Blond"].entry(0.5) == pytest.approx(0.75, abs=0.01), "a linear edit stays linear"


def test_strength_0_leaves_the_picture_alone_bit_for_bit():
    image = np.random.default_rng(0).integers(0, 256, (16, 24, 3)).astype(np.uint8)
    with Translator(cubic_backend()) as translator:
        assert not np.array_equal(translator(image, smiling=1.0), image)
        for values in ({}, {"smiling": 0.0}, {"smiling": 0.0, "blond": 0.0}):
            assert np.array_equal(translator(image, **values), image)
            (frame,) = translator.stream([Frame.from_rgb(image)], **values)
            assert np.array_equal(frame.planes[0], image)
        faint = np.abs(translator(image, smiling=0.01).astype(int) - image)
        assert faint.max() <= 2, "and there is no jump beside it"


# --- the file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return attribute_model(tmp_path / "two.onnx")


def test_another_record_leaves_all_else_bit_for_bit(file):
    data = file.read_bytes()
    spec = read_spec(file)
    same = with_record(data, spec)
    changed = with_record(data, spec.model_copy(update={"name": "another"}))
    assert with_record(changed, spec) == same, "the record is replaced, not added"
    before, after = onnx.load_from_string(data), onnx.load_from_string(changed)
    assert before.graph.SerializeToString() == after.graph.SerializeToString()
    assert len(after.metadata_props) == len(before.metadata_props) == 1
    bare = onnx.load_from_string(data)
    del bare.metadata_props[:]
    bare.metadata_props.add(key="author", value="somebody")
    kept = onnx.load_from_string(with_record(bare.SerializeToString(), spec))
    assert {entry.key for entry in kept.metadata_props} == {"author", "ganlens.spec"}
    with pytest.raises(ModelFileError, match="not an ONNX model"):
        with_record(b"\x0e\xff", spec)


def test_the_command_measures_strengths(engine, tmp_path):
    from tests.kit.faces import tint_model

    model = tint_model(tmp_path / "tint.onnx")
    faces = tmp_path / "faces"
    faces.mkdir()
    for seed in range(3):
        pixels = np.random.default_rng(seed).integers(15, 110, (64, 64, 3)).astype(np.uint8)
        write_image(faces / f"{seed}.png", Frame.from_rgb(pixels))
    arguments = ("relabel", model, "-o", "new.onnx", "--strengths", faces, "--experimental", "black-hair")
    status, _, err = engine(*arguments)
    assert status == 0, err
    assert "Smiling     -1..1" in err and "Black_Hair  0..1  experimental" in err
    port = read_spec("new.onnx").attributes
    assert port is not None and port.strengths["Smiling"].entry(0.5) == pytest.approx(0.75, abs=0.02)
    assert "Smiling     -1..1" in engine("info", "new.onnx")[1]
    status, _, err = engine(*arguments)
    assert (status, "new.onnx exists; pass -y" in err) == (1, True)
    picture = faces / "0.png"
    options = ("--image", picture, "--model", "new.onnx", "--framing", "fit", "-y", "-o", "out.png")
    assert "none was set" in engine("translate", *options)[2]
    assert "the edit is unreliable: Black_Hair" in engine("translate", *options, "--set", "black_hair=1")[2]


def test_the_command_takes_a_whole_record_only_if_it_fits(engine, file, tmp_path):
    record = json.loads(engine("info", file, "--json")[1])
    (tmp_path / "r.json").write_text(json.dumps({**record, "name": "renamed"}))
    assert engine("relabel", file, "-o", "a.onnx", "--record", "r.json")[0] == 0
    assert read_spec("a.onnx").name == "renamed"
    record["attributes"]["names"] = ["one"]
    (tmp_path / "r.json").write_text(json.dumps(record))
    status, _, err = engine("relabel", file, "-o", "b.onnx", "--record", "r.json")
    assert status == 1 and "its record says (?, 1) float" in err and not Path("b.onnx").exists()
    assert not list(Path().glob(".b*")), "no unfinished file is left"
    (tmp_path / "r.json").write_text("{}")
    status, _, err = engine("relabel", file, "-o", "b.onnx", "--record", "r.json")
    assert status == 1 and "--record r.json: name: is missing" in err
    assert "nothing to change" in engine("relabel", file, "-o", "b.onnx")[2]


def test_the_command_records_licence_and_detail(engine, file):
    assert engine("relabel", file, "-o", "a.onnx", "--licence", "CC-BY-4.0", "--detail", "0.5")[0] == 0
    assert (read_spec("a.onnx").licence, read_spec("a.onnx").detail) == ("CC-BY-4.0", 0.5)
    assert "CC-BY-4.0" in engine("info", "a.onnx")[1]


def test_the_command_records_a_margin(engine, tmp_path):
    model = find_model("comic")
    assert engine("relabel", model, "-o", "a.onnx", "--margin", "16")[0] == 0
    size = read_spec("a.onnx").size
    assert (size.margin, size.minimum, size.multiple_of) == (16, 40, 8)
    assert "16 px of repeated edge" in engine("info", "a.onnx")[1]
    status, _, err = engine("relabel", find_model("face"), "-o", "b.onnx", "--margin", "16")
    assert status == 1 and "--margin 16: a margin is for whole frames" in err


def test_the_shipped_face_model_says_what_its_values_mean():
    port = read_spec(find_model("face")).attributes
    assert port is not None
    assert all(port.is_experimental(name) for name in port.names), "none convinces on every clip of people"
    assert [port.bounds(name) for name in ("Black_Hair", "Smiling")] == [(0, 1), (-1, 1)]
    assert attribute_vector(port, {"smiling": 1}).tolist() == [[0.5] * 6 + [1] + [0.5] * 6 + [0]], (
        "still the full smile"
    )
    assert 0.7 < port.strengths["Smiling"].entry(0.5) < 0.75
