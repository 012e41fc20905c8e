"""The change outside the head, the colour of hair, and what a face model does on a clip."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from ganlens.engine.errors import ModelFileError, OptionError, TrainingError
from ganlens.engine.media import VideoSink
from ganlens.engine.media.base import FrameFormat
from ganlens.engine.pixels.frame import Frame
from ganlens.engine.spec import AttributeInput, GeneratorSpec, ImageOutput, SizeRule
from ganlens.train.data.attribute_table import find_faces
from ganlens.train.data.recolour import FACE_LIGHTNESS, HAIR_COLOURS, from_lab, recolour
from ganlens.train.evaluate.classifier import Classifier, ClassifierRecord
from ganlens.train.evaluate.clips import FRAMES, evaluate_clips
from ganlens.train.evaluate.edits import Editor, edit_sheet, evaluate_edits, held_out_faces
from ganlens.train.evaluate.heads import HeadFinder, change_outside, nearest_colours
from ganlens.train.evaluate.subject import open_subject
from tests.kit.faces import backdrop, put_face, tint_model

HAIR_ROWS = 12


class UpperHair:
    """In place of a segmentation network: the upper rows are hair; of black pictures it finds none."""

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        mask = np.zeros_like(pixels)
        if pixels.any():
            mask[:HAIR_ROWS] = 255
        return mask


def find_heads() -> HeadFinder:
    return HeadFinder(UpperHair())  # type: ignore[arg-type]


def record(*names: str) -> ClassifierRecord:
    return ClassifierRecord(attributes=names, size=64, width=4, held_out=0, accuracy={}, balanced_accuracy={})


class Reader(nn.Module):
    """Reads the middle of a face: red smiles, green is blond, blue is black-haired; the lower corner wears glasses."""

    def forward(self, x: Tensor) -> Tensor:
        rgb = x[:, :, 36:44, 28:36].mean(dim=(2, 3))
        corner = x[:, 0, -6:, -6:].mean(dim=(1, 2))
        red = rgb[:, 0] - rgb[:, 1:].amax(1)
        green = rgb[:, 1] - rgb[:, ::2].amax(1)
        blue = rgb[:, 2] - rgb[:, :2].amax(1)
        return torch.stack([red - 0.5, green - 0.1, blue - 0.1, corner - 0.99], dim=1)


def face_scene() -> Tensor:
    lab = torch.zeros(1, 3, 64, 64)
    lab[:, 0] = FACE_LIGHTNESS
    return from_lab(lab)


def test_only_what_is_outside_the_head_counts() -> None:
    x = torch.zeros(3, 3, 64, 64)
    x[2] = -1
    heads = find_heads()(x)
    assert heads.sure.tolist() == [True, True, False]
    edited = x.clone()
    edited[0, :, : HAIR_ROWS - 1] = 1  # hair
    edited[0, :, 24:48, 24:40] = -1  # the face
    edited[1] = x[1] + 4 / 127.5
    levels = change_outside(x, edited, heads)
    assert levels[0] == 0 and levels[1] == pytest.approx(4, rel=1e-4)
    assert 0.2 < heads.outside[0].float().mean() < 0.7


@pytest.mark.parametrize("name", HAIR_COLOURS)
@pytest.mark.parametrize("lightness", [FACE_LIGHTNESS, 40.0])
def test_recoloured_hair_is_nearest_to_its_colour(name: str, lightness: float) -> None:
    lab = torch.zeros(1, 3, 64, 64)
    lab[:, 0] = lightness
    lab[:, 0, :HAIR_ROWS, ::2] = 20.0
    x = from_lab(lab)
    heads = find_heads()(x)
    edited = recolour(x, heads.hair, torch.tensor([HAIR_COLOURS[name]]))
    assert nearest_colours(x, edited, heads) == [name]


class Painter(nn.Module):
    """Colours the upper rows blue where blue hair is asked for, and as much of the corner as is careless."""

    def __init__(self, careless: bool) -> None:
        super().__init__()
        self.careless = careless

    def forward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        hair = find_heads()(x).hair
        segment = recolour(x, hair, torch.tensor([HAIR_COLOURS["Blue_Hair"]]).expand(len(x), -1))
        if self.careless:
            hair = hair.clone()
            hair[:, :, -6:, -6:] = 1
            segment = segment.clone()
            segment[:, :, -6:, -6:] = 1
        return segment, hair * condition[:, 1, None, None, None]


@pytest.mark.parametrize("careless", [False, True])
def test_colours_that_no_label_has(tmp_path: Path, careless: bool) -> None:
    """The judge does not know blue: the hair is measured. What the model does not edit is to be kept as well."""
    (tmp_path / "images").mkdir()
    pixels = ((face_scene()[0].permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8)
    for number in range(4):
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    lines = ["filename,Black_Hair,Eyeglasses", *(f"{number}.png,0,0" for number in range(4))]
    (tmp_path / "attributes.csv").write_text("\n".join(lines) + "\n")
    names = ("Black_Hair", "Blue_Hair")
    spec = GeneratorSpec(
        name="g",
        architecture="hair",
        attributes=AttributeInput(names=names, groups=(names,)),
        output=ImageOutput(kind="segment", mask="mask"),
        size=SizeRule(preferred=(64, 64)),
    )
    faces = find_faces(tmp_path, [*names, "Eyeglasses"], unlabelled=True)
    assert faces.labels.tolist() == [[0, 0, 0]] * 4
    judge = Classifier(Reader(), record("Smiling", "Blond_Hair", "Black_Hair", "Eyeglasses"))
    found = evaluate_edits(
        Editor(Painter(careless), spec), faces, judge, others=["Eyeglasses"], find_heads=find_heads()
    )
    blue, black = found.rows["Blue_Hair"], found.rows["Black_Hair"]
    assert (blue.edited, blue.colour, blue.colour_unedited) == (None, 1, 0)
    assert (black.edited, black.colour) == (0, 0)  # nothing was done
    assert blue.outside is not None and (blue.outside > 0) == careless
    assert blue.untouched == (0.5 if careless else 1)  # glasses and black hair
    assert found.heads == 4
    assert "Blue_Hair: hair is nearest to the colour, CIE Lab, 4 held-out faces, 64 px" in found.metrics()
    assert json.loads(json.dumps(found.to_dict()))["rows"]["Blue_Hair"]["edited"] is None
    with pytest.raises(TrainingError, match="was not trained on Black_Hair, Blue_Hair"):
        evaluate_edits(Editor(Painter(False), spec), faces, Classifier(Reader(), record("Smiling")))


def test_people_of_training_pictures_are_left_out(faces: Path, tmp_path: Path) -> None:
    whole = held_out_faces(tmp_path, ("Smiling",), data=str(faces), holdout=6)
    assert whole.identities is not None
    seen = whole.paths[0]
    rest = held_out_faces(tmp_path, ("Smiling",), data=str(faces), holdout=6, exclude=str(seen.parent / seen.name))
    assert rest.identities is not None
    assert set(rest.identities) == set(whole.identities) - {whole.identities[0]}
    with pytest.raises(OptionError, match="trained on all people"):
        held_out_faces(tmp_path, ("Smiling",), data=str(faces), holdout=6, exclude=str(seen.parent))


def save_clip(path: Path, with_face: bool = True) -> str:
    pixels = backdrop(240, 320)
    if with_face:
        put_face(pixels, (150.0, 110.0), 150.0)
    frame_format = FrameFormat((240, 320), "rgb24")
    with VideoSink(path, frame_format) as sink:
        for _ in range(16):
            sink.write(Frame.from_rgb(pixels))
    return str(path)


def test_a_clip(tmp_path: Path) -> None:
    model = tint_model(tmp_path / "tint.onnx")
    judge = Classifier(Reader(), record("Smiling", "Eyeglasses", "Blond_Hair", "Black_Hair"))
    judge = judge._replace(network=Ordered())
    clip, sheet = save_clip(tmp_path / "face.mp4"), tmp_path / "sheet.png"
    (found,) = evaluate_clips(open_subject(model), judge, [clip], find_heads(), sheet)
    assert (found.clip, found.frames, found.faces, found.heads) == ("face.mp4", FRAMES, FRAMES, FRAMES)
    smiling, black = found.rows["Smiling"], found.rows["Black_Hair"]
    assert smiling.edited == 1 and smiling.kept == 1 and smiling.colour is None
    assert black.edited == 1 and black.colour is not None
    assert smiling.outside is not None and 0 < smiling.outside < 40  # the model's round mask leaves the head
    with Image.open(sheet) as picture:
        assert picture.width == 4 * 160
    with pytest.raises(OptionError, match=r"empty.mp4: no face was found in 12 frames"):
        evaluate_clips(open_subject(model), judge, [save_clip(tmp_path / "empty.mp4", with_face=False)])
    checkpoint = open_subject(model)._replace(file=tmp_path / "generator.safetensors")
    with pytest.raises(ModelFileError, match="--clip takes an exported model"):
        evaluate_clips(checkpoint, judge, [clip])


class Ordered(nn.Module):
    """The same answers in the order of a record that is not the model's."""

    def forward(self, x: Tensor) -> Tensor:
        return Reader()(x)[:, [0, 3, 1, 2]]  # type: ignore[no-any-return]


def test_a_sheet_of_colours_shows_each(faces: Path) -> None:
    names = ("Black_Hair", "Blue_Hair", "Smiling")
    spec = GeneratorSpec(
        name="g",
        architecture="hair",
        attributes=AttributeInput(names=names, groups=(names[:2],)),
        output=ImageOutput(kind="segment", mask="mask"),
        size=SizeRule(preferred=(64, 64)),
    )
    editor, some = Editor(Painter(False), spec), find_faces(faces, names, unlabelled=True).take([0, 1])
    assert edit_sheet(editor, some).width == (1 + 3 * 3) * 64
    assert edit_sheet(editor, some, ["Blue_Hair=1"]).width == (1 + 3) * 64
