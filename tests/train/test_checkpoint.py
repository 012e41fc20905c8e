"""Generator files describe themselves; damaged or foreign ones are refused with the cure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from ganlens.engine.cli import app
from ganlens.engine.errors import ModelFileError, TrainingError
from ganlens.engine.model import is_checkpoint, read_checkpoint_spec
from ganlens.engine.spec import METADATA_KEY, GeneratorSpec, SizeRule
from ganlens.train.checkpoint import (
    STATE_ENTRIES,
    load_generator,
    load_state,
    save_generator,
    save_state,
    weights_sha256,
)
from ganlens.train.networks import make_generator

SPEC = GeneratorSpec(
    name="tiny", architecture="cyclegan", tier="nano", options={"norm": "bn"}, size=SizeRule(multiple_of=8)
)


def test_round_trip(tmp_path: Path) -> None:
    generator = make_generator(SPEC).eval()
    written = save_generator(generator, SPEC, tmp_path / "generator.safetensors")
    for source in (tmp_path, tmp_path / "generator.safetensors", str(tmp_path)):
        loaded, spec = load_generator(source)
        assert spec == written
        assert not loaded.training
        x = torch.rand(1, 3, 32, 32)
        assert torch.equal(generator(x), loaded(x))
    assert list(tmp_path.iterdir()) == [tmp_path / "generator.safetensors"]


def test_header_holds_the_record_and_the_digest(tmp_path: Path) -> None:
    path = tmp_path / "generator.safetensors"
    save_generator(make_generator(SPEC), SPEC, path)
    with safe_open(str(path), framework="pt") as file:
        spec = GeneratorSpec.from_metadata(file.metadata())
    assert spec is not None
    assert spec.name == "tiny"
    assert spec.weights_sha256 == weights_sha256(load_file(path))


def test_digest_sees_values_names_and_shapes() -> None:
    value = torch.arange(4.0)
    digests = {
        weights_sha256(weights)
        for weights in ({"a": value}, {"b": value}, {"a": value + 1}, {"a": value.view(2, 2)}, {"a": value.double()})
    }
    assert len(digests) == 5
    assert weights_sha256({"a": value, "b": value}) == weights_sha256({"b": value, "a": value})


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no checkpoint"):
        load_generator(tmp_path)


def test_not_safetensors(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_text("hello")
    with pytest.raises(ModelFileError, match="not a readable safetensors file"):
        load_generator(tmp_path / "a.safetensors")


def test_without_record(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(ModelFileError, match="no ganlens record"):
        load_generator(tmp_path / "a.safetensors")


def test_weights_of_another_network(tmp_path: Path) -> None:
    other = make_generator(SPEC.model_copy(update={"tier": "mobile"}))
    metadata = {METADATA_KEY: SPEC.model_dump_json()}
    save_file({k: v.contiguous() for k, v in other.state_dict().items()}, tmp_path / "a.safetensors", metadata=metadata)
    with pytest.raises(ModelFileError, match="do not fit the nano network"):
        load_generator(tmp_path / "a.safetensors")


WHOLE = {name: name for name in STATE_ENTRIES}


def test_state_is_replaced_only_when_whole(tmp_path: Path) -> None:
    save_state({**WHOLE, "step": 1}, tmp_path)
    with pytest.raises(Exception, match="pickle"):
        save_state({**WHOLE, "step": 2, "bad": lambda: None}, tmp_path)
    assert load_state(tmp_path)["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]


@pytest.mark.parametrize("name", sorted(STATE_ENTRIES))
def test_a_state_without_an_entry_is_named(tmp_path: Path, name: str) -> None:
    save_state({entry: value for entry, value in WHOLE.items() if entry != name}, tmp_path)
    with pytest.raises(TrainingError, match=f"not a complete checkpoint of engine train: {name} missing"):
        load_state(tmp_path)


def test_weights_and_states_can_be_read_by_whom_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        save_generator(make_generator(SPEC), SPEC, tmp_path / "a.safetensors")
        save_state(WHOLE, tmp_path)
    finally:
        os.umask(before)
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o777 == 0o640, path


def test_damaged_state(tmp_path: Path) -> None:
    save_state({"step": 1, "x": torch.zeros(1000)}, tmp_path)
    file = tmp_path / "state.pt"
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(TrainingError, match="cannot be read"):
        load_state(tmp_path)


def test_no_state(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no checkpoint to resume"):
        load_state(tmp_path)


def test_the_engine_reads_the_record_of_a_checkpoint_without_torch(tmp_path: Path) -> None:
    written = save_generator(make_generator(SPEC), SPEC, tmp_path / "generator.safetensors")
    for path in (tmp_path, tmp_path / "generator.safetensors"):
        assert is_checkpoint(str(path))
        assert read_checkpoint_spec(path) == written
        result = CliRunner().invoke(app, ["info", str(path)], terminal_width=200)
        assert result.exit_code == 0 and "cyclegan nano" in result.output, result.output
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "generator.safetensors").read_bytes()[:100])
    with pytest.raises(ModelFileError, match="not a readable checkpoint"):
        read_checkpoint_spec(tmp_path / "cut.safetensors")
    assert not is_checkpoint("monet") and not is_checkpoint("x" * 5000)
