"""Faces to batches: labels stay with their pictures, samples repeat, only training faces are drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganlens.engine.errors import TrainingError
from ganlens.train.config import AttributeConfig
from ganlens.train.data.attribute_table import Faces, find_faces, split_faces
from ganlens.train.data.faces import FaceDataset
from ganlens.train.data.pairs import PairDataset, Pairs
from ganlens.train.data.variation import compress

EditConfig = Callable[..., AttributeConfig]


def looks(image: torch.Tensor) -> list[float]:
    """What a made-up face shows: (smiling, young), by its red and green."""
    red, green, _ = (image.mean(dim=(1, 2)) + 1) * 127.5
    return [float(red > 130), float(green > 140)]


def test_labels_belong_to_the_picture(edit_config: EditConfig) -> None:
    dataset = FaceDataset.of(edit_config())
    assert dataset.epoch_length == len(dataset) == 8  # six people with two pictures each; two people are held out
    for number in range(40):
        image, att = dataset[number]
        assert image.shape == (3, 32, 32)
        assert att.tolist() == looks(image)


def test_preview_shows_held_out_faces_with_their_labels(edit_config: EditConfig) -> None:
    config = edit_config()
    images, labels = FaceDataset.of(config).preview(2, 32)
    assert images.shape == (2, 3, 32, 32)
    assert labels.tolist() == [looks(image) for image in images]
    held_out = split_faces(find_faces(config.data, config.attribute_names), config.holdout)[1]
    assert len(held_out.paths) == 4
    assert labels.tolist() == held_out.labels[[0, 3]].tolist()


def test_a_sample_depends_on_seed_and_number_only(edit_config: EditConfig) -> None:
    one, two = FaceDataset.of(edit_config()), FaceDataset.of(edit_config(cache_mb=0))
    other = FaceDataset.of(edit_config(seed=1))
    two[17]
    for number in (0, 9, 3):
        assert all(torch.equal(a, b) for a, b in zip(one[number], two[number], strict=True))
    assert any(not torch.equal(one[number][0], other[number][0]) for number in range(3))


def test_an_epoch_meets_every_training_face_once(edit_config: EditConfig) -> None:
    dataset = FaceDataset.of(edit_config(load_size=32, flip=False))
    for start in (0, 8):
        images = torch.stack([dataset[start + place][0] for place in range(8)])
        assert len(images.unique(dim=0)) == 8
    first, second = ([dataset[start + place][1].tolist() for place in range(8)] for start in (0, 8))
    assert sorted(first) == sorted(second)


def test_the_faces_are_square_centres(edit_config: EditConfig) -> None:
    dataset = FaceDataset.of(edit_config(load_size=0, flip=False))
    pixels = dataset.pictures[0]
    assert pixels.shape == (38, 32, 3)  # 48x40 with its shorter side at 32
    whole = {tuple(dataset[number][0].flatten().tolist()) for number in range(8)}
    centre = torch.from_numpy(pixels[3:35].copy()).permute(2, 0, 1).float() / 127.5 - 1
    assert any(torch.allclose(centre.flatten(), torch.tensor(values), atol=1e-6) for values in whole)


def test_unreadable_pictures_are_skipped_with_their_labels(
    edit_config: EditConfig, faces: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = edit_config()
    training = split_faces(find_faces(config.data, config.attribute_names), config.holdout)[0]
    training.paths[1].write_bytes(b"no picture")
    dataset = FaceDataset.of(config)
    assert len(dataset) == 7
    assert f"skipped {training.paths[1]}" in caplog.text
    for number in range(14):
        image, att = dataset[number]
        assert att.tolist() == looks(image)


def test_one_class_only_is_refused(edit_config: EditConfig, faces: Path) -> None:
    table = (faces / "attributes.csv").read_text().replace(",1,", ",0,")
    (faces / "attributes.csv").write_text(table)
    with pytest.raises(TrainingError, match="Smiling is 0 in all 8 training pictures"):
        FaceDataset.of(edit_config())


def test_a_mirrored_picture_has_the_mirrored_labels(tmp_path: Path) -> None:
    folder = tmp_path / "eyes"
    folder.mkdir()
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, :16] = 255
    paths = []
    for number, left in enumerate((True, True, False, False)):
        paths.append(folder / f"{number}.png")
        Image.fromarray(pixels if left else pixels[:, ::-1]).save(paths[-1])
    labels = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    faces = Faces(paths, labels, None)
    dataset = FaceDataset(faces, faces, ("left", "right"), 32, 32, mirrored=[1, 0])
    seen = set()
    for number in range(40):
        image, att = dataset[number]
        assert att.tolist() == ([1, 0] if image[0, 0, 0] > 0 else [0, 1])
        seen.add((number % 4, att[0].item()))
    assert len(seen) > 4  # some were mirrored


def block_edges(pixels: np.ndarray) -> float:
    """How much larger steps between neighbours are at the borders of 8x8 blocks than inside them."""
    steps = np.abs(np.diff(pixels.astype(np.float64).mean(2), axis=1)).mean(0)
    border = np.arange(7, len(steps), 8)
    return float(steps[border].mean() / np.delete(steps, border).mean())


def test_a_share_of_the_pictures_has_the_blocks_and_the_coarse_colours_of_a_webcam() -> None:
    y, x = np.mgrid[:64, :64]
    smooth = 128 + 60 * np.sin(x / 9) * np.cos(y / 7)
    colour = np.where((x + y) % 2, 40, -40)  # of single pixels, which halved colour planes cannot hold
    pixels = np.stack([smooth + colour, smooth, smooth - colour], 2).clip(0, 255).astype(np.uint8)
    random = np.random.default_rng(0)
    made = [compress(pixels, 0.5, random) for _ in range(60)]
    changed = [one for one in made if one is not pixels]
    assert 20 < len(changed) < 40
    assert all(one.shape == pixels.shape and one.dtype == np.uint8 for one in changed)
    distances = [float(np.abs(one.astype(int) - pixels).mean()) for one in changed]
    assert max(distances) > 1.05 * min(distances)  # of different quality
    assert all(np.abs(one.astype(int)[..., 0] - one[..., 2]).mean() < 40 for one in changed)
    assert max(block_edges(one) for one in changed) > 1.3 * block_edges(pixels)
    assert compress(pixels, 0.0, random) is pixels


def test_compressed_faces_keep_place_labels_and_repeat(edit_config: EditConfig) -> None:
    plain, all_of_them = FaceDataset.of(edit_config()), FaceDataset.of(edit_config(), jpeg=1.0)
    for number in range(8):
        (picture, labels), (compressed, same) = plain[number], all_of_them[number]
        assert torch.equal(labels, same)
        assert 0 < (picture - compressed).abs().mean() < 0.1
        assert torch.equal(compressed, all_of_them[number][0])


def test_answers_are_not_compressed() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    plain, all_of_them = (PairDataset(Pairs(noise, noise), 32, jpeg=share) for share in (0.0, 1.0))
    assert torch.equal(plain[0][0], plain[0][1])
    assert not torch.equal(all_of_them[0][0], plain[0][0])
    assert torch.equal(all_of_them[0][1], plain[0][1])
