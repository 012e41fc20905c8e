"""What the evaluation of edits says of editors whose truth is known, and the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from ganlens.engine.errors import OptionError
from ganlens.engine.spec import AttributeInput, GeneratorSpec, ImageOutput, SizeRule
from ganlens.train.checkpoint import load_generator
from ganlens.train.cli import app
from ganlens.train.config import AttributeConfig, ClassifierConfig
from ganlens.train.data.attribute_table import find_faces
from ganlens.train.evaluate.classifier import Classifier, ClassifierRecord, finish
from ganlens.train.evaluate.edits import Editor, evaluate_edits, held_out_faces
from ganlens.train.evaluate.extractors import VGGFeatures
from ganlens.train.loop import train
from ganlens.train.networks.vgg16 import VGG16

EditConfig = Callable[..., AttributeConfig]
SPEC = GeneratorSpec(
    name="g",
    architecture="acl-gan",
    attributes=AttributeInput(names=("Smiling", "Young"), complement=True),
    output=ImageOutput(kind="segment", mask="mask"),
    size=SizeRule(preferred=(32, 32)),
    frame_border_px=4,
)
JUDGE_RECORD = ClassifierRecord(
    attributes=("Smiling", "Young"), size=32, width=4, held_out=0, accuracy={}, balanced_accuracy={}
)


class Judge(nn.Module):
    """Reads the made-up faces as they were painted: red smiles, green is young."""

    def forward(self, x: Tensor) -> Tensor:
        inside = (x[:, :, 6:-6, 6:-6].mean(dim=(2, 3)) + 1) * 127.5
        return torch.stack([inside[:, 0] - 130, inside[:, 1] - 140], dim=1)


class Painter(nn.Module):
    """Paints the wished colours with a mask of 1: a perfect editor. ``strength`` 0: one that does nothing."""

    def __init__(self, strength: float, *, also_young: bool = False) -> None:
        super().__init__()
        self.strength = strength
        self.also_young = also_young

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        smiling, young = condition[:, 0], condition[:, 1]
        if self.also_young:
            young = torch.ones_like(young)
        colour = torch.stack([80 + 100 * smiling, 80 + 120 * young, torch.full_like(young, 120)], dim=1)
        segment = (colour / 127.5 - 1)[:, :, None, None].expand_as(x)
        return segment, torch.full_like(x[:, :1], self.strength)


@pytest.mark.parametrize(
    ("generator", "edited", "untouched"),
    [
        (Painter(1.0), (1, 1), (1, 1)),
        (Painter(0.0), (0, 0), (1, 1)),
        # Everybody becomes young: right where that is wished (8 of 12), and wrong for the 8 who only should smile.
        (Painter(1.0, also_young=True), (1, 8 / 12), (4 / 12, 1)),
    ],
    ids=["perfect", "idle", "careless"],
)
def test_known_editors(
    faces: Path, generator: Painter, edited: tuple[float, float], untouched: tuple[float, float]
) -> None:
    found = evaluate_edits(
        Editor(generator, SPEC), find_faces(faces, ("Smiling", "Young")), Classifier(Judge(), JUDGE_RECORD)
    )
    assert found.faces == 12
    assert found.border_error == 0.0
    for name, hit, kept in zip(("Smiling", "Young"), edited, untouched, strict=True):
        row = found.rows[name]
        assert row.edited == pytest.approx(hit)
        assert row.unedited == 0  # the judge is never wrong about the unedited faces
        assert row.untouched == pytest.approx(kept)
        assert row.untouched_unedited == 1
        assert row.mask == pytest.approx(generator.strength * (24 / 32) ** 2)
        assert (row.change > 0.01) == (generator.strength > 0)


def test_frechet_distance_of_edits_to_the_unedited(faces: Path) -> None:
    extractor = VGGFeatures(VGG16("relu1_1"))
    held = find_faces(faces, ("Smiling", "Young"))
    judge = Classifier(Judge(), JUDGE_RECORD)
    idle, perfect = (
        evaluate_edits(Editor(Painter(strength), SPEC), held, judge, extractor).frechet for strength in (0.0, 1.0)
    )
    assert idle is not None and perfect is not None
    assert (idle.name, idle.generated, idle.real, idle.size) == ("FD-VGG", 12, 12, (32, 32))
    assert idle.value < 1e-3 * perfect.value  # nothing was changed, and all faces are there once


def test_hair_that_is_already_so_is_no_edit(faces: Path) -> None:
    table = (faces / "attributes.csv").read_text().replace("Smiling,Young", "Black_Hair,Blond_Hair")
    lines = [line if number == 0 else f"{line.split(',')[0]},1,0" for number, line in enumerate(table.splitlines())]
    (faces / "attributes.csv").write_text("\n".join([*lines[:-1], lines[-1].replace(",1,0", ",0,1")]))
    names = ("Black_Hair", "Blond_Hair")
    spec = SPEC.model_copy(update={"attributes": AttributeInput(names=names, complement=True)})
    record = JUDGE_RECORD.model_copy(update={"attributes": names})
    found = evaluate_edits(Editor(Painter(0.0), spec), find_faces(faces, names), Classifier(Judge(), record))
    # The one blond face is edited to black, and looks black to this judge; of it, nothing is left untouched.
    assert found.rows["Black_Hair"].edited == 1
    assert found.rows["Black_Hair"].untouched == 0
    assert found.rows["Blond_Hair"].edited < 1  # eleven are edited to blond, and an idle editor fails for most


def test_a_model_without_attributes() -> None:
    with pytest.raises(OptionError, match="takes no attributes"):
        Editor(nn.Identity(), GeneratorSpec(name="monet", architecture="cyclegan"))


def test_where_the_faces_come_from(edit_config: EditConfig, faces: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="Give --data"):
        held_out_faces(tmp_path, ("Smiling",))
    with pytest.raises(OptionError, match="Give --holdout"):
        held_out_faces(tmp_path, ("Smiling",), data=str(faces), holdout=0)
    assert len(held_out_faces(tmp_path, ("Smiling",), data=str(faces), holdout=5, count=2).paths) == 2


def test_command(edit_config: EditConfig, tmp_path: Path) -> None:
    judge = edit_config("classifier", out=str(tmp_path / "judge"), steps=2)
    assert isinstance(judge, ClassifierConfig)
    train(judge)
    finish(judge)
    train(edit_config(out=str(tmp_path / "run"), steps=1))
    report = tmp_path / "report.json"
    words = ["evaluate", tmp_path / "run", "--classifier", tmp_path / "judge", "--json", report, "--record"]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    assert "largest change in the border: 0" in result.output
    found = json.loads(report.read_text())
    assert found["faces"] == 4
    assert found["rows"].keys() == {"Smiling", "Young"}
    metrics = load_generator(tmp_path / "run")[1].metrics
    assert (
        metrics["Smiling: edited as requested, by classifier, 4 held-out faces, 32 px"]
        == (found["rows"]["Smiling"]["edited"])
    )
