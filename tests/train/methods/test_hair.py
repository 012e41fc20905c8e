"""Hair colours: the colour moved in Lab, masks that can be used, and a step of training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ganlens.engine.errors import ModelFileError
from ganlens.engine.model.attributes import attribute_vector, edit_share
from ganlens.train.config import HairConfig
from ganlens.train.data.hair_masks import HairSegmenter, usable_masks
from ganlens.train.data.pairs import PairDataset, Pairs
from ganlens.train.data.recolour import FACE_LIGHTNESS, HAIR_COLOURS, from_lab, recolour, to_lab
from ganlens.train.data.variation import misplace, relight
from ganlens.train.methods.hair import Hair
from ganlens.train.networks.composition import edit


def test_lab_has_the_published_values_and_comes_back():
    """White, black and pure red of sRGB under D65."""
    colours = torch.tensor([[1.0, 1, 1], [-1, -1, -1], [1, -1, -1]])[:, :, None, None]
    expected = torch.tensor([[100.0, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]])
    torch.testing.assert_close(to_lab(colours)[:, :, 0, 0], expected, atol=0.05, rtol=0)
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.testing.assert_close(from_lab(to_lab(images)), images, atol=2e-3, rtol=0)
    with torch.autocast("cpu", torch.bfloat16):  # training with --precision bf16 sees the same colours
        torch.testing.assert_close(from_lab(to_lab(images)), images, atol=2e-3, rtol=0)


def scene(lightness=FACE_LIGHTNESS):
    """A grey face of a lightness, the upper quarter hair of two shades, and the mask of that."""
    lab = torch.zeros(1, 3, 64, 64)
    lab[:, 0] = lightness
    lab[:, 0, :16, ::2], lab[:, 0, :16, 1::2] = 30.0, 50.0
    mask = torch.zeros(1, 1, 64, 64)
    mask[:, :, :16] = 1
    return from_lab(lab), mask


@pytest.mark.parametrize("name", HAIR_COLOURS)
def test_recoloured_hair_has_the_mean_of_the_colour_and_keeps_its_strands(name):
    picture, mask = scene()
    colour = HAIR_COLOURS[name]
    made = to_lab(recolour(picture, mask, torch.tensor([colour])))[0, :, :16]
    strands = made[0, :, 1::2] - made[0, :, ::2]
    assert (strands > 5).all()
    if name != "Blue_Hair":  # sRGB has no blue as saturated and dark as that
        torch.testing.assert_close(
            made.mean((1, 2)), torch.tensor([colour.lightness, colour.a, colour.b]), atol=2.5, rtol=0
        )


def test_in_dim_light_the_new_hair_is_darker():
    colour = torch.tensor([HAIR_COLOURS["Blond_Hair"]])
    bright, dim = (to_lab(recolour(*scene(lightness), colour))[0, 0, :16].mean() for lightness in (63.0, 35.0))
    assert dim < 0.7 * bright


def test_masks_that_are_small_large_or_unsure_are_left_out():
    masks = np.zeros((4, 100, 100, 3), np.uint8)
    masks[0, :2] = masks[1, :60] = masks[2, :20] = masks[3, :20] = 255
    masks[3, 40:60] = 128
    assert usable_masks(masks).tolist() == [2]


def test_variation_moves_picture_and_mask_alike():
    torch.manual_seed(0)
    mask = torch.zeros(8, 1, 64, 64)
    mask[:, :, 20:40, 24:48] = 1
    picture = mask.expand(-1, 3, -1, -1) * 1.2 - 0.6
    both = misplace(torch.cat([picture, mask], 1))
    moved, moved_mask = relight(both[:, :3]), both[:, 3:].clamp(0, 1)
    inside = moved.mean(1, keepdim=True)
    for one, its_mask in zip(inside, moved_mask, strict=True):
        sure = (its_mask > 0.99) | (its_mask < 0.01)
        middle = (one[its_mask > 0.99].mean() + one[its_mask < 0.01].mean()) / 2
        assert ((one > middle) == (its_mask > 0.5))[sure].float().mean() > 0.97
    assert moved.shape == picture.shape and moved.abs().max() <= 1
    assert 0.5 < moved_mask.mean() / mask.mean() < 2


def config(tmp_path, **options):
    return HairConfig(photos="faces", segmenter="hair.onnx", out=str(tmp_path), tier="nano", size=32, **options)


def test_a_few_steps_find_the_hair_and_its_colour(tmp_path):
    """Dark hair above a light face: after some steps the mask is there, and blue hair is bluer than black hair."""
    torch.manual_seed(0)
    method = Hair(config(tmp_path, attributes="Black_Hair,Blue_Hair", steps=100, noise=0))
    picture = torch.full((4, 3, 32, 32), 0.3)
    picture[:, :, :10] = -0.6
    mask = torch.full((4, 3, 32, 32), -1.0)
    mask[:, :, :10] = 1
    phase = method.phases[0]
    optimizer = phase.make_optimizer(method.networks["generator"].parameters())
    losses = []
    for step in range(60):
        optimizer.zero_grad()
        total, parts = method.generator_step((picture, mask), step)
        total.backward()
        optimizer.step()
        losses.append(float(total.detach()))
    assert set(parts) == {"image", "hair", "mask"}
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:5])
    generator = method.networks["generator"].eval()
    with torch.no_grad():
        black, blue = (edit(generator, picture, torch.tensor([row] * 4)) for row in ([1.0, 0.0], [0.0, 1.0]))
    assert blue.mask[:, :, :8].mean() > 3 * blue.mask[:, :, 12:].mean()
    assert to_lab(blue.image)[:, 2, :8].mean() < to_lab(black.image)[:, 2, :8].mean() - 5


def test_half_of_the_faces_are_compressed(tmp_path, monkeypatch):
    pairs = Pairs(*(np.zeros((2, 32, 32, 3), np.uint8) for _ in range(2)))
    monkeypatch.setattr("ganlens.train.methods.hair.HairSegmenter", lambda *_: None)
    monkeypatch.setattr("ganlens.train.methods.hair.make_pairs_of", lambda *_: pairs)
    monkeypatch.setattr("ganlens.train.methods.hair.usable_masks", lambda masks: np.arange(len(masks)))
    assert Hair.make_dataset(config(tmp_path)).jpeg == 0.5
    assert Hair.make_dataset(config(tmp_path, jpeg=0.25)).jpeg == 0.25


def test_a_sharper_mask_keeps_the_picture_and_what_is_strong(tmp_path):
    torch.manual_seed(0)
    method = Hair(config(tmp_path, mask_contrast=1.7))
    plain = method.networks["generator"].eval()
    picture, colour = torch.rand(2, 3, 32, 32) * 2 - 1, torch.eye(6)[:2]
    with torch.no_grad():
        (segment, mask), (same, sharp) = (
            net(picture, colour) for net in (plain, method.assemble("generator", {"generator": plain}))
        )
    torch.testing.assert_close(same, segment)
    torch.testing.assert_close(sharp, torch.sigmoid(1 + 1.7 * (torch.logit(mask) - 1)))


def test_the_record_names_the_colours_as_exclusive_and_the_face(tmp_path):
    spec = Hair(config(tmp_path)).specs()["generator"][1]
    assert spec.attributes.names == tuple(HAIR_COLOURS) and spec.attributes.groups == (tuple(HAIR_COLOURS),)
    assert spec.attributes.rest("Red_Hair") == 0 and not attribute_vector(spec.attributes, {}).any()
    assert edit_share(spec.attributes, attribute_vector(spec.attributes, {})[0]) == 0
    assert (spec.output.kind, spec.output.mask, spec.face_alignment) == ("segment", "mask", "celeba")


def test_the_data_are_the_faces_whose_hair_is_sure(tmp_path, monkeypatch):
    pictures = np.zeros((4, 32, 32, 3), np.uint8)
    masks = pictures.copy()
    masks[1:3, :8] = 255
    monkeypatch.setattr("ganlens.train.methods.hair.HairSegmenter", lambda path, threads: None)
    monkeypatch.setattr("ganlens.train.methods.hair.make_pairs_of", lambda *_: Pairs(pictures, masks))
    dataset = Hair.make_dataset(config(tmp_path))
    assert isinstance(dataset, PairDataset) and dataset.epoch_length == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attributes": "Green_Hair"}, "attributes takes some of"),
        ({"shape": "joined"}, "no labels at its head"),
    ],
)
def test_what_cannot_be_trained_is_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        config(tmp_path, **options)


def test_a_segmenter_that_is_missing_is_named(tmp_path):
    pytest.importorskip("onnxruntime")
    with pytest.raises(ModelFileError, match=r"no file .*hair\.onnx. --segmenter takes"):
        HairSegmenter(tmp_path / "hair.onnx")
