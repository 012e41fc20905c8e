"""Image files: pixels, EXIF orientation, order, and bad files."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ganlens.engine.errors import MediaError, OptionError
from ganlens.engine.media.pictures import IMAGE_SUFFIXES, exif_orientation, list_images, read_image, write_image
from ganlens.engine.pixels.frame import Frame

LOSSLESS = (".png", ".bmp", ".tif", ".tiff")


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint8]:
    rows, columns = np.mgrid[0:37, 0:51]
    return np.stack([columns * 5, rows * 6, 255 - columns * 2 - rows], -1).astype(np.uint8)


def read(path: Path) -> NDArray[np.int64]:
    return read_image(path).planes[0].astype(int)


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_round_trip(pixels: NDArray[np.uint8], tmp_path: Path, suffix: str) -> None:
    write_image(tmp_path / f"a{suffix}", Frame.from_rgb(pixels))
    difference = np.abs(read(tmp_path / f"a{suffix}") - pixels)
    assert difference.max() == 0 if suffix in LOSSLESS else difference.mean() < 2.5


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tif"])
def test_others_read_what_we_write(pixels: NDArray[np.uint8], tmp_path: Path, suffix: str) -> None:
    write_image(tmp_path / f"a{suffix}", Frame.from_rgb(pixels))
    theirs = cv2.imread(str(tmp_path / f"a{suffix}"))[..., ::-1].astype(int)
    assert np.abs(theirs - pixels).mean() < 3
    if suffix != ".webp":  # whose chroma every reader interpolates in its own way
        assert np.abs(theirs - read(tmp_path / f"a{suffix}")).max() <= 4  # two inverse cosine transforms


def test_we_read_what_others_write(pixels: NDArray[np.uint8], tmp_path: Path) -> None:
    for name, options in (("q.jpg", [cv2.IMWRITE_JPEG_QUALITY, 98]), ("q.png", [])):
        cv2.imwrite(str(tmp_path / name), pixels[..., ::-1], options)
        assert np.abs(read(tmp_path / name) - pixels).mean() < 2.5


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (8, 1)])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_tiny(tmp_path: Path, size: tuple[int, int], suffix: str) -> None:
    write_image(tmp_path / f"a{suffix}", Frame.from_rgb(np.full((*size, 3), 90, np.uint8)))
    got = read(tmp_path / f"a{suffix}")
    assert got.shape == (*size, 3) and np.abs(got - 90).max() <= 1


def test_grey_sixteen_bits_and_alpha(pixels: NDArray[np.uint8], tmp_path: Path) -> None:
    ramp = np.arange(256, dtype=np.uint8)[None].repeat(4, 0)
    cv2.imwrite(str(tmp_path / "grey.png"), ramp)
    notes: list[str] = []
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png", notes).planes[0], np.dstack([ramp] * 3))
    assert notes == []

    cv2.imwrite(str(tmp_path / "deep.png"), ramp.astype(np.uint16) * 257)
    got = read_image(tmp_path / "deep.png", notes).planes[0][..., 1]
    assert np.abs(got.astype(int) - ramp).max() <= 1 and notes == ["deep.png: 16 bits are rounded to 8"]

    notes.clear()
    alpha = np.dstack([pixels[..., ::-1], np.full(pixels.shape[:2], 7, np.uint8)])
    cv2.imwrite(str(tmp_path / "alpha.png"), alpha)
    np.testing.assert_array_equal(read_image(tmp_path / "alpha.png", notes).planes[0], pixels)
    assert notes == ["alpha.png: the alpha channel is dropped"]


def exif(orientation: int, order: str) -> bytes:
    head = b"II*\0" if order == "<" else b"MM\0*"
    fields = ((0x010F, 0), (0x0112, orientation))
    entries = b"".join(struct.pack(order + "HHIHH", tag, 3, 1, value, 0) for tag, value in fields)
    return head + struct.pack(order + "IH", 8, 2) + entries + bytes(4)


def with_exif(path: Path, fields: bytes) -> None:
    """Put EXIF fields into a JPEG, PNG or WebP file."""
    data = path.read_bytes()
    if path.suffix == ".jpg":
        segment = b"Exif\0\0" + fields
        data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]
    elif path.suffix == ".png":
        chunk = struct.pack(">I", len(fields)) + b"eXIf" + fields
        data = data[:33] + chunk + struct.pack(">I", zlib.crc32(chunk[4:])) + data[33:]
    else:
        data += b"EXIF" + struct.pack("<I", len(fields)) + fields + b"\0" * (len(fields) % 2)
        data = data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    path.write_bytes(data)


# What a viewer must do to the stored picture, EXIF 2.3.
UPRIGHT = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: lambda image: np.rot90(image),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_exif_orientation_is_obeyed(pixels: NDArray[np.uint8], tmp_path: Path, orientation: int, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_image(path, Frame.from_rgb(pixels))
    stored = read(path)
    with_exif(path, exif(orientation, "<" if orientation % 2 else ">"))
    assert exif_orientation(path.read_bytes()) == orientation
    np.testing.assert_array_equal(read(path), UPRIGHT[orientation](stored))
    if suffix == ".jpg":
        assert np.abs(cv2.imread(str(path))[..., ::-1].astype(int) - read(path)).max() <= 4


@pytest.mark.parametrize("fields", [b"", b"II*\0", exif(1, "<")[:9], exif(99, "<"), b"II*\0\xff\xff\xff\x7f"])
def test_damaged_exif_is_ignored(pixels: NDArray[np.uint8], tmp_path: Path, fields: bytes) -> None:
    write_image(tmp_path / "a.jpg", Frame.from_rgb(pixels))
    stored = read(tmp_path / "a.jpg")
    with_exif(tmp_path / "a.jpg", fields)
    np.testing.assert_array_equal(read(tmp_path / "a.jpg"), stored)


def test_natural_order(pixels: NDArray[np.uint8], tmp_path: Path) -> None:
    for name in ("shot10.png", "shot2.png", "Shot1.JPG", "notes.txt", "b.png"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_images(tmp_path)] == ["b.png", "Shot1.JPG", "shot2.png", "shot10.png"]
    assert [path.name for path in list_images(f"{tmp_path}/shot*.png")] == ["shot2.png", "shot10.png"]
    for nothing in (tmp_path / "none", f"{tmp_path}/*.webp"):
        with pytest.raises(MediaError, match=r"no pictures there; expected files that end in \.bmp"):
            list_images(nothing)


class TestBadInput:
    @pytest.mark.parametrize(
        "name, content, words",
        [
            ("none.png", None, "no such file"),
            ("zero.png", b"", "empty"),
            ("text.png", b"not a picture\n" * 20, "text"),
            ("noise.jpg", bytes(range(256)) * 4, "cannot be read as a picture|damaged"),
        ],
    )
    def test_refused(self, tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(MediaError, match=words):
            read_image(tmp_path / name)

    @pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
    def test_cut_off(self, pixels: NDArray[np.uint8], tmp_path: Path, suffix: str) -> None:
        noisy = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        path = tmp_path / f"a{suffix}"
        write_image(path, Frame.from_rgb(noisy))
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(MediaError, match="damaged|cut off"):
            read_image(path)

    def test_animated_webp_is_called_so(self, tmp_path: Path) -> None:
        first, *others = (Image.new("RGB", (9, 9), colour) for colour in ("red", "blue"))
        first.save(tmp_path / "a.webp", save_all=True, append_images=others)
        with pytest.raises(MediaError, match="a.webp is an animated WebP"):
            read_image(tmp_path / "a.webp")

    def test_folder(self, tmp_path: Path) -> None:
        with pytest.raises(MediaError, match="is a folder; expected a picture file"):
            read_image(tmp_path)


class TestBadOutput:
    def test_existing(self, pixels: NDArray[np.uint8], tmp_path: Path) -> None:
        (tmp_path / "a.png").write_bytes(b"precious")
        with pytest.raises(MediaError, match="exists; pass -y"):
            write_image(tmp_path / "a.png", Frame.from_rgb(pixels))
        assert (tmp_path / "a.png").read_bytes() == b"precious"
        write_image(tmp_path / "a.png", Frame.from_rgb(pixels), overwrite=True)
        np.testing.assert_array_equal(read(tmp_path / "a.png"), pixels)

    def test_unknown_suffix_and_format(self, pixels: NDArray[np.uint8], tmp_path: Path) -> None:
        with pytest.raises(OptionError, match="suffix '.gif'; expected one of .bmp"):
            write_image(tmp_path / "a.gif", Frame.from_rgb(pixels))
        yuv = Frame((np.zeros((4, 4), np.uint8), np.zeros((2, 2, 2), np.uint8)), "nv12")
        with pytest.raises(OptionError, match="nv12"):
            write_image(tmp_path / "a.png", yuv)
        assert list(tmp_path.iterdir()) == []
