"""Networks that OpenVINO compiled are kept for the next start, where they are worth it, whole and this user's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from ganlens.engine.backends import open_backend
from ganlens.engine.backends import openvino_backend as module
from ganlens.engine.cli import app
from ganlens.engine.files import cache_folder, keep_code, read_code
from tests.kit.models import identity_model, invert_model

pytest.importorskip("openvino", reason="needs the extra 'openvino'")

IMAGE = np.random.default_rng(0).uniform(-1, 1, (1, 3, 32, 48)).astype(np.float32)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return invert_model(tmp_path / "invert.onnx", None)


def run(model: Path, times: int = module._Cache.WORTH, threads: int = 1) -> tuple[Any, bool]:
    """The answer, and whether the network came from the cache, its file not read."""
    with open_backend(model, "openvino", threads=threads, warm=False) as backend:
        answers = [backend.run(IMAGE).translated.copy() for _ in range(times)]
        assert all(np.array_equal(answer, answers[0]) for answer in answers)
        return answers[0], backend._model is None


def blobs() -> list[Path]:
    return sorted((cache_folder() / "networks").glob("*"))


def test_the_next_start_takes_the_compiled_network(model: Path) -> None:
    answer, cached = run(model)
    (blob,) = blobs()
    assert not cached and blob.stat().st_mode & 0o777 == 0o600
    again, cached = run(model)
    assert cached and np.array_equal(again, answer) and blobs() == [blob]


def test_what_ran_for_a_picture_or_two_is_not_kept(model: Path) -> None:
    run(model, module._Cache.WORTH - 1)
    assert not blobs()


def test_another_model_size_or_setting_is_another_network(model: Path, tmp_path: Path) -> None:
    run(model)
    assert not run(identity_model(tmp_path / "same.onnx", None))[1]
    assert not run(model, threads=2)[1]
    with open_backend(model, "openvino", threads=1, warm=False) as backend:
        backend.run(IMAGE[:, :, :16].copy())
        assert backend._model is not None, "read for a size that is not there"
    assert len(blobs()) == 3


def damage(blob: Path) -> None:
    blob.write_bytes(blob.read_bytes()[:-1])


def let_others_write(blob: Path) -> None:
    blob.chmod(0o666)


def be_of_another_build(blob: Path) -> None:
    keep_code(blob, b"no network of this library")


@pytest.mark.parametrize("spoil", [damage, let_others_write, be_of_another_build])
def test_what_cannot_be_trusted_is_compiled_again(model: Path, spoil: Any) -> None:
    answer, _ = run(model)
    spoil(blobs()[0])
    again, cached = run(model)
    assert not cached and np.array_equal(again, answer)


def test_a_cache_that_cannot_be_written_is_no_error(model: Path, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GANLENS_CACHE", str(tmp_path / "file"))
    assert not run(model)[1] and not run(model)[1]


def test_the_least_recently_used_make_room(tmp_path: Path) -> None:
    folder = tmp_path / "networks"
    for number in range(4):
        keep_code(folder / f"{number}.blob", bytes(1000), most=10_000)
        os.utime(folder / f"{number}.blob", (number, number))
    assert read_code(folder / "0.blob") == bytes(1000)  # used just now
    keep_code(folder / "4.blob", bytes(1000), most=3500)
    assert sorted(path.name for path in folder.iterdir()) == ["0.blob", "3.blob", "4.blob"]
    keep_code(folder / "5.blob", bytes(9000), most=3500)
    assert [path.name for path in folder.iterdir()] == ["5.blob"], "what was stored last stays"


def test_they_are_listed_and_removed() -> None:
    def engine(*arguments: str) -> str:
        return CliRunner().invoke(app, arguments, env={"COLUMNS": "200"}).stdout

    blob = cache_folder() / "networks" / "a-b.blob"
    keep_code(blob, b"network")
    assert "Networks compiled by OpenVINO: 1 (72 bytes)" in engine("cache", "list")
    assert str(blob) in engine("cache", "list", "--json")
    engine("cache", "prune", "--older-than", "1s")
    assert blob.exists(), "they make room by themselves"
    engine("cache", "prune", "--all")
    assert not blob.exists()
