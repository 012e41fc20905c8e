"""Attribute tables of both kinds, whole people held out, and what is wrong with a table said plainly."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganlens.engine.errors import TrainingError
from ganlens.train.data.attribute_table import (
    Faces,
    find_faces,
    read_attributes,
    read_identities,
    require_both_classes,
    split_faces,
)

CSV = "filename,Male,Smiling\n1.webp,1,0\n2.webp,0,1\n3.webp,1,1\n"
CELEBA = "3\nMale Smiling\n1.jpg  1 -1\n2.jpg -1  1\n3.jpg  1  1\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def put_pictures(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        Image.new("RGB", (32, 32)).save(folder / name)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("attributes.csv", CSV),
        ("list_attr_celeba.txt", CELEBA),
        ("list_attr_celeba.csv", CSV.replace("filename", "image_id").replace(",0", ",-1")),
        ("attributes.csv", "\ufeff" + CSV.replace("\n", "\r\n")),
    ],
)
def test_every_kind_of_table_says_the_same(tmp_path: Path, name: str, text: str) -> None:
    found = read_attributes(write(tmp_path / name, text), ("Smiling", "male"))
    assert found == {"1": [0, 1], "2": [1, 0], "3": [1, 1]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("filename,Male,Smiling\n", "column names but no rows"),
        (CSV.replace("Smiling", "Smilling"), "no column 'Smiling'. Did you mean Smilling"),
        (CSV.replace("2.webp,0,1", "2.webp,0,yes"), "line 3: Smiling of 2.webp is 'yes'; expected 1 for yes"),
        (CSV.replace("2.webp,0,1", "2.webp,0,2"), "line 3: Smiling of 2.webp is '2'"),
        (CSV.replace("2.webp,0,1", "2.webp,0"), "line 3: got 2 fields, expected a file name and 2 values"),
        (CELEBA.replace(" -1  1", " -1 1 1"), "line 4: got 4 fields"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        read_attributes(write(tmp_path / "table", text), ("Male", "Smiling"))


def test_a_table_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "table").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(TrainingError, match="cannot be read as a table"):
        read_attributes(tmp_path / "table", ("Male",))


@pytest.mark.parametrize("text", ["filename,identity\n1.webp,7\n2.webp,9\n", "1.jpg 7\n2.jpg 9\n"])
def test_identities(tmp_path: Path, text: str) -> None:
    assert read_identities(write(tmp_path / "who", text)) == {"1": "7", "2": "9"}


def test_faces_are_matched_by_name_and_the_rest_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put_pictures(tmp_path / "images", "1.png", "3.png", "5.png")
    write(tmp_path / "attributes.csv", CSV)
    write(tmp_path / "identities.csv", "filename,identity\n1.webp,7\n")
    with caplog.at_level(logging.WARNING):
        faces = find_faces(tmp_path, ("Male", "Smiling"))
    assert [path.name for path in faces.paths] == ["1.png", "3.png"]
    assert faces.labels.tolist() == [[1, 0], [1, 1]]
    assert faces.identities == ["7", "picture 3"]
    assert "1 rows of attributes.csv have no picture (2)" in caplog.text
    assert "1 pictures are not in attributes.csv (5.png)" in caplog.text
    assert "1 pictures have no identity" in caplog.text


def test_without_identities_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put_pictures(tmp_path, "1.png", "2.png")
    table = write(tmp_path / "mine.csv", CSV)
    assert find_faces(tmp_path, ("Male",), table=table).identities is None
    assert "the same person may be in training and hold-out" in caplog.text


def test_nothing_usable(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="does not exist"):
        find_faces(tmp_path / "nowhere", ("Male",))
    put_pictures(tmp_path, "8.png")
    with pytest.raises(TrainingError, match="no attribute table. Expected one of attributes.csv, .* with --table"):
        find_faces(tmp_path, ("Male",))
    with pytest.raises(TrainingError, match="no table .*other.csv"):
        find_faces(tmp_path, ("Male",), table=tmp_path / "other.csv")
    write(tmp_path / "attributes.csv", CSV)
    with pytest.raises(TrainingError, match="the folder has 8.png, the table has 1"):
        find_faces(tmp_path, ("Male",))


@pytest.fixture
def crowd() -> Callable[[], Faces]:
    def make() -> Faces:
        random = np.random.default_rng(0)
        who = [str(person) for person in random.integers(0, 30, 100)]
        labels = random.integers(0, 2, (100, 2)).astype(np.float32)
        return Faces([Path(f"{n}.png") for n in range(100)], labels, who)

    return make


def test_whole_people_are_held_out(crowd: Callable[[], Faces]) -> None:
    faces = crowd()
    training, held_out = split_faces(faces, 20)
    assert 20 <= len(held_out.paths) < 30
    assert len(training.paths) + len(held_out.paths) == 100
    assert training.identities is not None
    assert held_out.identities is not None
    assert not set(training.identities) & set(held_out.identities)
    row = faces.paths.index(held_out.paths[3])
    assert held_out.labels[3].tolist() == faces.labels[row].tolist()
    assert split_faces(crowd(), 20)[1].paths == held_out.paths  # the same in every run
    assert split_faces(faces, 0)[1].paths == []


def test_holding_out_everybody_is_refused(crowd: Callable[[], Faces]) -> None:
    with pytest.raises(TrainingError, match="--holdout 100 leaves 0 to train on"):
        split_faces(crowd(), 100)


def test_an_attribute_of_one_class_is_refused() -> None:
    labels = np.array([[1, 0], [1, 1]], dtype=np.float32)
    with pytest.raises(TrainingError, match="Male is 1 in all 2 training pictures.*Remove it from --attributes"):
        require_both_classes(labels, ("Male", "Smiling"))
