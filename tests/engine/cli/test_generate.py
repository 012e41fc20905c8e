"""engine generate: grids, folders and walks, and what bad input answers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import av
import numpy as np
import pytest

from ganlens.engine import Frame, Generator, read_image, write_image
from ganlens.engine.cli.progress import FrameProgress
from ganlens.engine.media.bitmap_font import LINE
from ganlens.engine.media.contact_sheet import GAP, make_grid
from tests.kit.models import invert_model, noise_model

SIZE = (64, 72)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return noise_model(tmp_path_factory.mktemp("generate") / "psc.onnx", SIZE)


@pytest.fixture
def generate(engine, model):
    """Runs engine generate on the model with one backend."""
    return lambda *arguments: engine("generate", "--model", model, "--backend", "cpu", *arguments)


def pictures(model: Path, **options) -> np.ndarray:
    with Generator.open(model, backend="cpu") as generator:
        return generator(**options)


def test_the_gpu_that_is_asked_for_is_never_replaced_by_the_cpu(generate):
    status, _, err = generate("-o", "grid.png", "--device", 1)
    assert status != 0
    assert "got GPU 1; the backend 'cpu' runs on the CPU" in err


def test_why_other_backends_do_not_run_is_said_when_asked(engine, model):
    said = {}
    for words in ((), ("-v",)):
        status, _, err = engine("generate", "--model", model, "-n", 1, "-o", "grid.png", "-y", *words)
        assert status == 0, err
        said[words] = [line for line in err.splitlines() if re.match(r"\w+: ", line)]
    assert len(said[()]) == 1 and len(said[("-v",)]) > 1
    assert all(": runs on" in lines[-1] for lines in said.values())


# --- a grid


def test_a_grid_shows_every_picture_with_its_labels(generate, model, tmp_path):
    status, out, err = generate("--labels", "Female, wavy", "-n", 5, "--seed", 7, "-o", "grid.png")
    assert (status, out) == (0, ""), err
    assert "5 pictures" in err and "grid.png" in err and "cpu" in err
    sheet = read_image(tmp_path / "grid.png").planes[0]
    height, width = SIZE
    cell = height + GAP + 3 * LINE + GAP  # two labels and the seed
    assert sheet.shape == (2 * cell + GAP, 3 * (width + GAP) + GAP, 3)
    for number, picture in enumerate(pictures(model, labels=["female", "wavy"], seed=7, n=5)):
        top, left = GAP + number // 3 * cell, GAP + number % 3 * (width + GAP)
        np.testing.assert_array_equal(sheet[top : top + height, left : left + width], picture)
        caption = sheet[top + height : top + cell, left : left + width]
        assert (caption == 0).any() and (caption == 255).any()
    assert (sheet[cell + GAP :, 2 * (width + GAP) + GAP :] == 255).all(), "nothing stands in the last place"


def test_a_grid_without_captions_has_a_sensible_default_name(generate, model, tmp_path):
    assert generate("-n", 4, "--seed", 3, "--no-captions", "-q")[0] == 0
    sheet = read_image(tmp_path / "psc-3.png").planes[0]
    assert sheet.shape == (2 * (SIZE[0] + GAP) + GAP, 2 * (SIZE[1] + GAP) + GAP, 3)


def test_captions_can_be_read():
    """The letters of "hi" dot by dot; a line that is too long is cut, what has no letter becomes a question mark."""
    white = np.full((8, 64, 3), 255, np.uint8)
    sheet = make_grid([white, white], [["hi"], ["é_é" + "x" * 20]], columns=1)[..., 0] == 0
    dots = ["".join(".#"[int(dot)] for dot in row) for row in sheet[GAP + 8 + GAP :][:9, GAP : GAP + 12]]
    assert dots == [
        "#.......#...",
        "#...........",
        "#.##...##...",
        "##..#...#...",
        "#...#...#...",
        "#...#...#...",
        "#...#..###..",
        "............",
        "............",
    ]
    second = sheet[2 * (8 + GAP) + LINE + GAP + GAP :][:9]
    assert second[:, GAP : GAP + 6].any() and not second[:, GAP + 6 : GAP + 12].any()
    assert not second[:, GAP + 64 :].any()


def test_letters_grow_with_the_picture_as_far_as_the_longest_line_fits():
    for width, text, scale in ((64, "a", 1), (256, "a", 4), (256, "a" * 14, 3), (256, "a" * 100, 1)):
        sheet = make_grid([np.full((4, width, 3), 255, np.uint8)], [[text]])
        assert sheet.shape[0] == 4 + LINE * scale + 3 * GAP


def test_json_says_what_was_made(generate):
    status, out, _ = generate("--labels", "male", "-n", 2, "--seed", 4, "-o", "o.png", "--json", "-")
    record = json.loads(out)
    assert status == 0
    assert (record["model"], record["backend"], record["seed"], record["output"]) == ("psc", "cpu", 4, "o.png")
    assert [entry["seed"] for entry in record["pictures"]] == [4, 5]
    assert all(entry["labels"][0] == "male" and len(entry["labels"]) == 2 for entry in record["pictures"])
    assert set(record["stages"]) == {"run", "encode"}


# --- a folder


def test_a_folder_gets_one_file_a_seed_which_alone_makes_the_same_picture(generate, model, tmp_path):
    status, _, err = generate("-n", 12, "--seed", 95, "-o", "faces/", "-q")
    assert (status, err) == (0, "")
    assert {path.name for path in (tmp_path / "faces").iterdir()} == {f"psc-{seed}.png" for seed in range(95, 107)}
    alone = pictures(model, seed=101)[0]
    np.testing.assert_allclose(read_image(tmp_path / "faces" / "psc-101.png").planes[0], alone, atol=1)


def test_files_are_not_overwritten_unless_told(generate, tmp_path):
    assert generate("-n", 2, "-o", "faces")[0] == 0
    kept = tmp_path / "faces" / "psc-1.png"
    kept.write_bytes(b"mine")
    status, _, err = generate("-n", 4, "--labels", "male", "-o", "faces")
    assert status == 1 and "psc-0.png exists (2 of 4 do); pass -y" in err
    assert kept.read_bytes() == b"mine" and not (tmp_path / "faces" / "psc-2.png").exists()
    assert generate("-n", 4, "-o", "faces", "-y")[0] == 0
    assert kept.read_bytes() != b"mine"
    (tmp_path / "grid.png").write_bytes(b"mine")
    status, _, err = generate("-o", "grid.png")
    assert status == 1 and "grid.png exists; pass -y" in err


def test_a_grid_that_nobody_could_open_is_refused_before_it_is_made(generate, tmp_path):
    status, _, err = generate("-n", 5000, "-o", "grid.png")
    assert status == 1 and "at most 4096. Give a folder" in err
    status, _, err = generate("-o", "nowhere/grid.png")
    assert status == 1 and "the folder nowhere does not exist" in err
    assert list(tmp_path.glob("*.png")) == []


def test_latents_from_a_file_give_files_named_after_it(generate, tmp_path):
    np.save(tmp_path / "z.npy", np.zeros((2, 6)))
    assert generate("--latent", "z.npy", "--labels", "male,wavy", "-o", "out")[0] == 0
    first, second = (read_image(tmp_path / "out" / f"psc-z-{row}.png").planes[0] for row in (0, 1))
    np.testing.assert_array_equal(first, second)


# --- a walk


def test_a_walk_is_a_video_of_the_asked_length(generate, model, tmp_path):
    status, _, err = generate("-n", 3, "--seed", 2, "--fps", 12.5, "--seconds", 2, "-o", "walk.mp4")
    assert status == 0, err
    assert "25 frames" in err
    with av.open(str(tmp_path / "walk.mp4")) as container:
        frames = list(container.decode(video=0))
        assert container.streams.video[0].average_rate == 12.5
        assert float(frames[-1].pts * frames[-1].time_base) == pytest.approx(24 / 12.5)
    assert len(frames) == 25
    first = pictures(model, seed=2)[0].mean(axis=-1)  # the colours of noise do not survive 4:2:0
    means = [np.abs(frame.to_ndarray(format="rgb24").mean(axis=-1) - first).mean() for frame in frames]
    assert 2 * means[0] < means[12], "it begins at the first picture and leaves it"


@pytest.mark.parametrize("output", ["walk.mp4", "faces"])
def test_what_was_made_before_ctrl_c_is_kept(generate, monkeypatch, tmp_path, output):
    def advance(progress: FrameProgress) -> None:
        progress.frames += 1
        if progress.frames == 30:
            raise KeyboardInterrupt

    monkeypatch.setattr(FrameProgress, "advance", advance)
    status, _, err = generate("-n", 40, "--json", "record.json", "-o", output)
    record = json.loads((tmp_path / "record.json").read_text())
    assert status == 130, err
    if output == "faces":
        assert len(record["pictures"]) == len(list((tmp_path / "faces").iterdir())) == 30
        return
    assert "Stopped after 30 frames" in err
    with av.open(str(tmp_path / output)) as container:
        assert sum(1 for _ in container.decode(video=0)) == record["frames"] == 30


# --- what is here


def test_labels_are_listed_group_by_group(generate, engine, tmp_path):
    assert generate("--list-labels")[1].splitlines() == ["one of male, female", "one of bald_top, wavy, straight"]
    plain = noise_model(tmp_path / "dcgan.onnx", labels=None)
    assert "takes no labels" in engine("generate", "-m", plain, "--list-labels")[1]


def test_info_shows_noise_and_labels(engine, model):
    status, out, _ = engine("info", model)
    assert status == 0
    rows = {line[:14].strip(): line[14:].strip() for line in out.splitlines() if line[0] != " "}
    assert rows["made from"] == "noise, labels (engine generate)"
    assert rows["noise"] == "6 normal values" and rows["labels"] == "male, female, bald_top, wavy, straight"
    assert "exactly one of male, female" in out


# --- wrong use


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--labels", "femal"), "Unknown label 'femal'. The model takes one of male, female; one of bald_top, wavy"),
        (("--labels", "female,male"), "male and female exclude each other. The model takes one of"),
        (("-n", 0), "n: got 0, expected at least 1"),
        (("--seed", -1), "seed: got -1 for 16 pictures, expected 0 to"),
        (("--seed", 2**32), "seed: got 4294967296"),
        (("--latent", "missing.npy"), "missing.npy cannot be read as latents (no such file"),
        (("--latent", "short.npy"), "got short.npy of shape (5,), expected (6,) or (N, 6)"),
        (("-o", "out.gif"), "-o out.gif: expected a picture"),
        (("-o", "file"), "file is a file; expected a folder"),
        (("-o", "no/grid.png"), "the folder no does not exist"),
        (("--fps", 10), "--fps needs a video"),
        (("-o", "o.mp4", "--fps", 0), "--fps: got 0, expected 0.1 to 240"),
        (("-o", "o.mp4", "--fps", "nan"), "--fps: got nan"),
        (("-o", "o.mp4", "--seconds", -1), "--seconds: got -1, expected a positive number"),
        (("-o", "o.mp4", "-n", 1), "got 1 picture for a walk, expected at least 2"),
        (("-o", "o.mp4", "-n", 9, "--seconds", 0.1), "got 2 frames for a walk through 9 pictures"),
    ],
)
def test_wrong_options_are_one_line(generate, tmp_path, arguments, says):
    np.save(tmp_path / "short.npy", np.zeros(5))
    (tmp_path / "file").write_text("")
    status, out, err = generate(*arguments, "-q")
    assert (status, out) == (1, "")
    assert err.startswith("error: ") and says in err and err.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"short.npy", "file"}, "nothing is left behind"


def test_models_of_the_other_kind_are_sent_to_the_other_command(engine, model, tmp_path):
    status, _, err = engine("generate", "-m", invert_model(tmp_path / "invert.onnx"), "-o", "o.png")
    assert status == 1 and "takes an image and cannot generate from noise. Use engine translate" in err
    write_image(tmp_path / "photo.png", Frame.from_rgb(np.zeros((32, 32, 3), np.uint8)))
    status, _, err = engine("translate", "-m", model, "--image", "photo.png", "-q")
    assert status == 1 and "generates images from noise and takes no frame. Use engine generate" in err
