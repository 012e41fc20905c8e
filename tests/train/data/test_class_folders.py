"""Subfolders as classes: labels without a table, in training and in evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganlens.engine.errors import OptionError, TrainingError
from ganlens.train.checkpoint import load_generator
from ganlens.train.config import make_config
from ganlens.train.data.attribute_table import find_classes, find_faces, split_faces
from ganlens.train.evaluate.edits import held_out_faces
from ganlens.train.loop import train
from ganlens.train.methods import METHODS


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    """Six red cats, six green dogs and six blue hens, 40 px; the cats in two subfolders."""
    random = np.random.default_rng(0)
    for channel, name in enumerate(("cats", "dogs", "hens")):
        for number in range(6):
            folder = tmp_path / "animals" / name / ("old" if name == "cats" and number % 2 else "")
            folder.mkdir(parents=True, exist_ok=True)
            pixels = random.integers(0, 60, (40, 40, 3))
            pixels[..., channel] += 180
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "animals"


def test_a_subfolder_is_a_class(animals: Path) -> None:
    found = find_classes(animals, ["hens", "cats"])
    assert len(found.paths) == 12
    for path, label in zip(found.paths, found.labels, strict=True):
        assert label.tolist() == ([1, 0] if "hens" in path.parts else [0, 1])
    training, held_out = split_faces(found, 4)  # files of one name in two folders are two pictures
    assert (len(training.paths), len(held_out.paths)) == (8, 4)


def test_what_is_refused(animals: Path) -> None:
    with pytest.raises(TrainingError, match="has no subfolder 'cat' for --classes. Did you mean cats"):
        find_classes(animals, ["cat", "dogs"])
    with pytest.raises(TrainingError, match="label by subfolder: --classes cats,dogs,hens"):
        find_faces(animals, ["Smiling"])
    common = {"data": str(animals), "out": "run", "classes": "cats,dogs"}
    for method, more, message in (
        ("stargan", {"attributes": "Male"}, "--attributes has no effect with --classes"),
        ("stargan", {"classes": "cats"}, "classes takes two names or more"),
        ("stargan", {"targets": "coin"}, "several classes at once"),
        ("acl-gan", {"table": "a.csv"}, "no effect with --classes"),
        ("classifier", {"labels": "faces"}, "--classes has no effect with --labels"),
        ("dcgan", {}, "--classes belongs to --loss cgan and attribute, not to gan"),
    ):
        with pytest.raises(OptionError, match=message):
            make_config(METHODS[method].config, {**common, **more})


def test_classes_are_edited_generated_and_judged(animals: Path, tmp_path: Path) -> None:
    common = {"data": str(animals), "classes": "cats,dogs,hens", "size": 32, "load_size": 36, "batch": 4, "steps": 2}
    common |= {"holdout": 3, "log_every": 2, "samples": 2}
    editor = {"tier": "nano", "discriminator_width": 2, "sample_every": 2, "out": str(tmp_path / "editor")}
    assert train(make_config(METHODS["stargan"].config, {**common, **editor, "n_critic": 1}))
    attributes = load_generator(tmp_path / "editor")[1].attributes
    assert attributes is not None
    assert (attributes.names, attributes.groups) == (("cats", "dogs", "hens"), (("cats", "dogs", "hens"),))
    held_out = held_out_faces(tmp_path / "editor", attributes.names)
    assert len(held_out.paths) == 3 and held_out.labels.sum(axis=1).tolist() == [1, 1, 1]

    noise = {"loss": "cgan", "width": 2, "out": str(tmp_path / "noise"), "sample_every": 0}
    assert train(make_config(METHODS["dcgan"].config, {**common, **noise}))
    attributes = load_generator(tmp_path / "noise")[1].attributes
    assert attributes is not None and attributes.names == ("cats", "dogs", "hens") and attributes.exactly_one
    assert attributes.length == 3  # not the eight combinations of three attributes
