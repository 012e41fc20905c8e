"""Folders to batches: ranges, order, repeatability, and bad data found at the start."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ganlens.engine.errors import TrainingError
from ganlens.train.data.datasets import Positions, UnpairedDataset, make_loader
from ganlens.train.data.pictures import Pictures, read_picture, to_pixels, to_tensor


def make_dataset(folders: tuple[Path, Path], seed: int = 0) -> UnpairedDataset:
    return UnpairedDataset(tuple(Pictures(str(folder), 36) for folder in folders), 32, seed=seed)


def test_range_and_way_back() -> None:
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    image = to_tensor(pixels)
    assert image.shape == (3, 16, 16)
    assert (image.min(), image.max()) == (-1, 1)
    assert image[0, 0, 1] == pytest.approx(1 / 127.5 - 1)
    assert np.array_equal(to_pixels(image), pixels)


def test_shorter_side_is_resized_and_aspect_kept(tmp_path: Path) -> None:
    Image.new("RGB", (200, 100)).save(tmp_path / "wide.png")
    assert read_picture(tmp_path / "wide.png", 50).shape == (50, 100, 3)
    assert read_picture(tmp_path / "wide.png", 150).shape == (150, 300, 3)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    name = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new("RGB", (32, 32), (200, 10, 10)).convert(mode).save(name)
    assert read_picture(name, 32).shape == (32, 32, 3)


def test_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_picture(tmp_path / "turned.jpg", 20).shape == (40, 20, 3)


def test_a_sample_depends_on_seed_and_number_only(folders: tuple[Path, Path]) -> None:
    one, two, other = make_dataset(folders), make_dataset(folders), make_dataset(folders, seed=1)
    one[0], one[17]
    for a, b, c in zip(one[7], two[7], other[7], strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)


def test_an_epoch_is_the_larger_domain_and_shows_each_picture_once(folders: tuple[Path, Path]) -> None:
    dataset = UnpairedDataset(tuple(Pictures(str(folder), 32) for folder in folders), 32, flip=False)
    assert dataset.epoch_length == 5
    photos = [dataset[i][0].numpy().tobytes() for i in range(15)]
    epochs = [photos[i : i + 5] for i in (0, 5, 10)]
    assert all(set(epoch) == set(photos) and len(set(epoch)) == 5 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert len({dataset[i][1].numpy().tobytes() for i in range(3)}) == 3


def test_crops_and_flips_differ(folders: tuple[Path, Path]) -> None:
    dataset = UnpairedDataset(tuple(Pictures(str(folder), 64) for folder in folders), 32)
    assert len({dataset[i][0].numpy().tobytes() for i in range(50)}) > 40


def test_loader_continues_where_it_stopped(folders: tuple[Path, Path]) -> None:
    dataset = make_dataset(folders)
    whole = list(make_loader(dataset, Positions(0, 6, batch=2)))
    rest = list(make_loader(dataset, Positions(4, 6, batch=2)))
    assert len(whole) == 6
    assert whole[0][0].shape == (2, 3, 32, 32)
    for expected, got in zip(whole[4:], rest, strict=True):
        assert torch.equal(expected[0], got[0])
        assert torch.equal(expected[1], got[1])


def test_two_processes_see_together_what_one_sees_with_twice_the_batch() -> None:
    one = list(Positions(3, 5, batch=4))
    halves = [list(Positions(3, 5, batch=2, rank=rank, processes=2)) for rank in range(2)]
    assert one == halves[0][:2] + halves[1][:2] + halves[0][2:] + halves[1][2:]


def test_small_cache_gives_the_same_pictures(folders: tuple[Path, Path]) -> None:
    cached, read = Pictures(str(folders[0]), 36), Pictures(str(folders[0]), 36, cache_mb=0)
    assert all(np.array_equal(cached[i], read[i]) for i in range(len(cached)))


def test_glob(folders: tuple[Path, Path]) -> None:
    assert len(Pictures(str(folders[0] / "[01]*.png"), 36)) == 2


def test_bad_files_are_skipped_and_listed(folders: tuple[Path, Path], caplog: pytest.LogCaptureFixture) -> None:
    photos = folders[0]
    (photos / "text.jpg").write_text("not a picture")
    (photos / "empty.png").touch()
    whole = (photos / "0.png").read_bytes()
    (photos / "cut.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (3, 300)).save(photos / "sliver.png")
    pictures = Pictures(str(photos), 36)
    assert {path.name for path, _ in pictures.skipped} == {"text.jpg", "empty.png", "sliver.png"}
    cut = [path.name for path in pictures.paths].index("cut.png")  # its head is whole
    assert len(pictures) == 6
    used, pixels = pictures.take(cut)
    assert used == (cut + 1) % 6 and np.array_equal(pixels, pictures[used])
    assert pictures.take(cut)[0] == used
    assert {path.name for path, _ in pictures.skipped} == {"text.jpg", "empty.png", "cut.png", "sliver.png"}
    assert all(caplog.text.count(f"skipped {path}") == 1 for path, _ in pictures.skipped)


def test_nothing_is_decoded_before_it_is_needed(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []

    def read(path: Path, load_size: int) -> np.ndarray:
        decoded.append(path.name)
        return read_picture(path, load_size)

    monkeypatch.setattr("ganlens.train.data.pictures.read_picture", read)
    kept, not_kept = Pictures(str(folders[0]), 36), Pictures(str(folders[0]), 36, cache_mb=0)
    assert not decoded
    for _ in range(2):
        kept[3], not_kept[2]
    assert decoded == ["3.png", "2.png", "2.png"]


def test_damaged_pictures_end_the_training_only_when_none_are_left(tmp_path: Path) -> None:
    for number in range(3):
        Image.effect_noise((40, 40), 50).save(tmp_path / f"{number}.png")
        whole = (tmp_path / f"{number}.png").read_bytes()
        (tmp_path / f"{number}.png").write_bytes(whole[: len(whole) // 2 if number else None])
    pictures = Pictures(str(tmp_path), 36)
    with pytest.raises(TrainingError, match="has 1 usable pictures"):
        pictures[1]


def test_subfolders_belong_to_a_folder_and_hidden_ones_do_not(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for name in ("a/b/deep.png", ".thumbnails/small.png", ".hidden.png"):
        (folders[0] / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40)).save(folders[0] / name)
    names = [path.name for path in Pictures(str(folders[0]), 36).paths]
    assert names == ["0.png", "1.png", "2.png", "3.png", "4.png", "deep.png"]


@pytest.mark.parametrize("kind", ["png16", "tiff16", "tiff32f", "png8"])
def test_deep_grey_pictures_keep_their_tones(tmp_path: Path, kind: str) -> None:
    grey = np.tile(np.linspace(0, 255, 64).round(), (64, 1))
    values = {
        "png16": (grey * 257).astype(np.uint16),
        "tiff16": (grey * 257).astype(np.uint16),
        "tiff32f": (grey / 255).astype(np.float32),
        "png8": grey.astype(np.uint8),
    }[kind]
    file = tmp_path / f"a.{'tiff' if kind.startswith('tiff') else 'png'}"
    Image.fromarray(values).save(file)
    assert np.abs(read_picture(file, 64)[:, :, 0].astype(int) - grey).max() <= 1


def test_numbers_whose_white_is_not_known_are_no_picture(tmp_path: Path) -> None:
    Image.fromarray(np.full((32, 32), 300.0, np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(ValueError, match="values outside 0..1"):
        read_picture(tmp_path / "a.tiff", 32)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no folder .*nowhere"):
        Pictures(str(tmp_path / "nowhere"), 36)


def test_folder_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("hello")
    with pytest.raises(TrainingError, match="holds no pictures"):
        Pictures(str(tmp_path), 36)


def test_too_few_pictures(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "only.png")
    (tmp_path / "bad.jpg").write_text("not a picture")
    with pytest.raises(TrainingError, match=r"has 1 usable pictures \(1 unreadable"):
        Pictures(str(tmp_path), 36)
