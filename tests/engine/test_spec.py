"""The generator record: round trips, rules, and refusals that name the cure."""

import json

import pytest
from pydantic import ValidationError

from ganlens.engine.errors import ModelFileError
from ganlens.engine.spec import (
    FORMAT_VERSION,
    METADATA_KEY,
    AttributeInput,
    Combination,
    GeneratorSpec,
    ImageOutput,
    LatentInput,
    Parity,
    SizeRule,
    Training,
)

HAIR = ("Black_Hair", "Blond_Hair", "Brown_Hair")


def cyclegan_spec() -> GeneratorSpec:
    return GeneratorSpec(
        name="monet",
        architecture="cyclegan",
        tier="mobile",
        options={"norm": "in", "activation": "relu"},
        size=SizeRule(multiple_of=8, minimum=16),
        training=Training(data="photos", data_licence="CC BY", images_seen=10, steps=10, size=(128, 128)),
        parity=Parity(images=4, max_abs=1e-5, psnr_db=100.0, cosine=1.0, snr_db=90.0),
        metrics={"FD-VGG": 12.5},
        weights_sha256="ab" * 32,
    )


def acl_gan_spec() -> GeneratorSpec:
    return GeneratorSpec(
        name="face",
        architecture="acl-gan",
        attributes=AttributeInput(names=(*HAIR, "Male", "Smiling"), groups=(HAIR,), complement=True),
        output=ImageOutput(kind="segment", mask="mask"),
        frame_border_px=8,
        size=SizeRule(fixed=(128, 128), preferred=(128, 128)),
    )


def psc_gan_spec() -> GeneratorSpec:
    labels = ("male", "female", "curly", "wavy")
    return GeneratorSpec(
        name="psc",
        architecture="psc-gan",
        image=None,
        latent=LatentInput(dim=100, distribution="uniform"),
        attributes=AttributeInput(
            name="c",
            names=labels,
            groups=(labels[:2], labels[2:]),
            exactly_one=True,
            combinations=(Combination(names=("male", "curly"), count=3),),
        ),
    )


@pytest.mark.parametrize("make", [cyclegan_spec, acl_gan_spec, psc_gan_spec])
def test_each_family_survives_the_metadata_round_trip(make):
    spec = make()
    metadata = spec.to_metadata()
    assert all(isinstance(key, str) and isinstance(value, str) for key, value in metadata.items())
    assert GeneratorSpec.from_metadata(metadata) == spec


def test_a_file_without_record_gives_none():
    assert GeneratorSpec.from_metadata({"other": "value"}) is None


def test_a_newer_format_is_refused_before_its_fields_are_read():
    record = {"format_version": FORMAT_VERSION + 1, "field_of_the_future": 1}
    with pytest.raises(ModelFileError, match=f"format version {FORMAT_VERSION + 1}.*Upgrade ganlens"):
        GeneratorSpec.from_metadata({METADATA_KEY: json.dumps(record)})


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "x"}', '{"name": 3, "architecture": "a"}'])
def test_a_broken_record_is_a_model_file_error(text):
    with pytest.raises(ModelFileError, match="record is not valid.*engine export"):
        GeneratorSpec.from_metadata({METADATA_KEY: text})


def test_unknown_fields_are_an_error():
    with pytest.raises(ValidationError, match="tear"):
        GeneratorSpec(name="x", architecture="cyclegan", tear="mobile")


def test_segment_needs_a_mask():
    with pytest.raises(ValidationError, match="mask output"):
        ImageOutput(kind="segment")


def test_groups_must_name_known_attributes():
    with pytest.raises(ValidationError, match="Green_Hair"):
        AttributeInput(names=HAIR, groups=(("Black_Hair", "Green_Hair"),))


@pytest.mark.parametrize(
    ("row", "says"),
    [(("bald",), "not among the attributes"), (("a", "b"), "have exactly one"), ((), "have exactly one")],
)
def test_combinations_fit_the_groups(row, says):
    with pytest.raises(ValidationError, match=says):
        AttributeInput(
            names=("a", "b"), groups=(("a", "b"),), exactly_one=True, combinations=[{"names": row, "count": 1}]
        )


def test_a_generator_needs_an_input():
    with pytest.raises(ValidationError, match="image or a latent"):
        GeneratorSpec(name="x", architecture="psc-gan", image=None)


def test_value_range_must_rise():
    with pytest.raises(ValidationError, match="value_range must increase"):
        GeneratorSpec(name="x", architecture="onnx", value_range=(1.0, 0.0))


def test_complement_doubles_the_vector():
    assert AttributeInput(names=HAIR).length == 3
    assert AttributeInput(names=HAIR, complement=True).length == 6


@pytest.mark.parametrize(
    ("rule", "size", "accepted", "rounded"),
    [
        (SizeRule(fixed=(256, 256)), (256, 256), True, (256, 256)),
        (SizeRule(fixed=(256, 256)), (720, 1280), False, (256, 256)),
        (SizeRule(multiple_of=8), (720, 1280), True, (720, 1280)),
        (SizeRule(multiple_of=8), (387, 511), False, (392, 512)),
        (SizeRule(multiple_of=8, minimum=36), (1, 40), False, (40, 40)),
    ],
)
def test_size_rule(rule, size, accepted, rounded):
    assert rule.accepts(size) is accepted
    assert rule.round_up(size) == rounded
    assert rule.accepts(rule.round_up(size))
