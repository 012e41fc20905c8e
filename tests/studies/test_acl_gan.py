"""The study of ACL-GAN beside StarGAN: all of it on tiny faces, twice, and what its tables must say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ganlens.train.config import ClassifierConfig, make_config
from ganlens.train.evaluate.classifier import finish
from ganlens.train.loop import train
from studies import acl_gan
from tests.kit.fresh_process import fresh_process
from tests.kit.training_faces import save_faces
from tests.kit.vgg import save_vgg


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    with fresh_process():
        yield


def test_whole_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = save_faces(tmp_path / "faces")
    tiny = {"data": str(data), "attributes": "Smiling,Young", "holdout": 3, "batch": 4}
    judge = make_config(
        ClassifierConfig, {**tiny, "out": str(tmp_path / "judge"), "size": 32, "load_size": 36, "steps": 2, "width": 4}
    )
    train(judge)
    finish(judge)  # type: ignore[arg-type]
    scale = acl_gan.Scale(64, 4, 16, 4, 2, 3, (0.1, 3), ((1, 10),), 1, 4, 2)
    monkeypatch.setitem(acl_gan.SCALES, "cpu", scale)
    words = ["--data", data, "--attributes", "Smiling,Young", "--holdout", "3", "--classifier", tmp_path / "judge"]
    words += ["--weights", save_vgg(tmp_path / "vgg.safetensors"), "--work", tmp_path / "work", "--threads", "1"]
    words += ["--json", tmp_path / "results"]
    arguments = [str(word) for word in words]
    acl_gan.main(arguments)

    tables = {}
    for file in (tmp_path / "results").iterdir():
        record = json.loads(file.read_text())
        tables[record["benchmark"]] = {row[0]: row[1:] for row in record["table"]["rows"]}
    passes = {name: row[0] for name, row in tables["acl-gan-cost"].items()}
    assert passes == {"StarGAN": 2, "ACL-GAN": 1, "ACL-GAN / StarGAN": 0.5}
    kept = {name: row[2] for name, row in tables["acl-gan-cost"].items()}
    assert kept["ACL-GAN"] < kept["StarGAN"]

    weights = tables["acl-gan-weights"]
    assert list(weights) == [
        "ACL-GAN, attribute 0.1",
        "ACL-GAN, attribute 3",
        "StarGAN, class 1, reconstruction 10",
        "unedited faces",
    ]
    borders = {name: row[3] for name, row in weights.items()}
    assert borders["ACL-GAN, attribute 3"] == "0.000"
    assert float(borders["StarGAN, class 1, reconstruction 10"]) > 0
    assert len(tables["acl-gan-growing"]) == 1

    def never(*_: object, **__: object) -> bool:
        raise AssertionError("trained again")

    monkeypatch.setattr(acl_gan, "train", never)
    acl_gan.main([*arguments, "--only", "weights", "growing"])


def test_what_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        acl_gan.main(["--data", "faces"])
    assert "--classifier and --weights are needed" in capsys.readouterr().err
