"""Paired training: losses by hand, teachers, pairs that are made once, runs that resume exactly, errors with a cure."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from ganlens.engine.errors import ModelFileError, OptionError, TrainingError
from ganlens.train.checkpoint import load_generator, load_state
from ganlens.train.cli import app
from ganlens.train.config import PairedConfig, make_config, read_values
from ganlens.train.data.filters import FILTERS, brush, comic
from ganlens.train.data.painter import PaintingTeacher
from ganlens.train.data.pairs import PairDataset, Pairs, make_pair_dataset
from ganlens.train.data.pictures import read_picture, to_tensor
from ganlens.train.data.teachers import OnnxTeacher, open_teacher, parse_inputs
from ganlens.train.data.variation import camera_noise
from ganlens.train.loop import Trainer, train
from ganlens.train.losses.paired import gradient_loss, local_detail, pooled_loss, texture_loss
from ganlens.train.losses.style import statistics_distance
from ganlens.train.methods.paired import Paired, paired_loss
from ganlens.train.methods.perceptual import PAINTING_LAYERS, painting_target
from tests.kit.vgg import save_vgg

Make = Callable[..., PairedConfig]


@pytest.fixture
def config(paired_config: Make, tmp_path: Path) -> Make:
    """A nano run of four steps that learns the negative; options can be changed."""

    def make(**changes: Any) -> PairedConfig:
        teacher = str(negative(tmp_path / "negative.onnx"))
        values = {"teacher": teacher, "range": "0..1", "tier": "nano", "steps": 4, "log_every": 2}
        return paired_config(**{**values, **changes})

    return make


def negative(path: Path, *, channels_last: bool = False, style: int = 0, sides: tuple[Any, Any] = ("h", "w")) -> Path:
    """An ONNX file that answers 1 - x, plus the style's last value where there is one."""
    shape = [1, *sides, 3] if channels_last else [1, 3, *sides]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    nodes = [helper.make_node("Sub", ["one", "x"], ["y" if not style else "n"])]
    weights = [numpy_helper.from_array(np.array(1.0, np.float32), "one")]
    if style:
        inputs.append(helper.make_tensor_value_info("style", TensorProto.FLOAT, [style]))
        weights.append(numpy_helper.from_array(np.array([style - 1], np.int64), "last"))
        nodes += [helper.make_node("Gather", ["style", "last"], ["s"]), helper.make_node("Add", ["n", "s"], ["y"])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)]
    graph = helper.make_graph(nodes, "negative", inputs, outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def combed(path: Path) -> Path:
    """An ONNX file that adds 0.2 to each pixel whose row and column are multiples of 4: a transposed convolution with
    stride 4 and a kernel of one weight, over ones."""
    constants = [
        numpy_helper.from_array(np.full((3, 1, 1, 1), 0.2, np.float32), "weight"),
        numpy_helper.from_array(np.zeros(1, np.float32), "zero"),
        numpy_helper.from_array(np.ones(1, np.float32), "one"),
    ]
    nodes = [
        helper.make_node("MaxPool", ["x"], ["small"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Mul", ["small", "zero"], ["zeros"]),
        helper.make_node("Add", ["zeros", "one"], ["ones"]),
        helper.make_node("ConvTranspose", ["ones", "weight"], ["comb"], strides=[4, 4], group=3, output_padding=[3, 3]),
        helper.make_node("Add", ["x", "comb"], ["y"]),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, "h", "w"]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "comb", ports[:1], ports[1:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def picture(seed: int = 0, size: tuple[int, int] = (32, 32)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


# --- losses ----------------------------------------------------------------------------------------------------------


def test_pooled_loss_by_hand() -> None:
    y = torch.zeros(1, 3, 8, 8)
    x = y.clone()
    x[:, :, 0, 0], x[:, :, 0, 1] = 1.0, -1.0  # in one square they cancel
    x[:, :, 4, 4] = 0.5  # in another one pixel of 16 is off by 1/2; squares are four
    assert pooled_loss(x, y).item() == pytest.approx(0.5 / 16 / 4)


def test_gradient_loss_by_hand() -> None:
    y = torch.zeros(1, 3, 4, 4)
    assert gradient_loss(y + 0.7, y).item() == pytest.approx(0, abs=1e-6)  # a constant has no edges
    ramp = torch.linspace(0, 3, 4).expand(1, 3, 4, 4)  # 1 a pixel across, nothing down
    assert gradient_loss(ramp, y).item() == pytest.approx(1.0)
    assert gradient_loss(ramp.transpose(2, 3), y).item() == pytest.approx(1.0)


def test_texture_loss_asks_how_much_not_where() -> None:
    board = torch.ones(1, 3, 32, 32)
    board[..., ::2, 1::2] = board[..., 1::2, ::2] = -1
    assert texture_loss(board.roll(1, 3), board).item() == pytest.approx(0, abs=2e-3)
    assert texture_loss(torch.zeros_like(board), board).item() > 0.9
    # A 5x5 mean of a board is ±1/25, so what it takes away is 1 - 1/25 of it, whatever the window.
    middle = local_detail(board)[..., 1:-1, 1:-1]
    assert torch.allclose(middle, torch.full_like(middle, 1 - 1 / 25), atol=1e-3)


def test_terms_add_up_and_calm_is_zero_without_noise(config: Make) -> None:
    chosen = config(lambda_l1=2, lambda_pooled=3, lambda_gradient=4, lambda_texture=5, lambda_calm=6)
    x, y = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    total, parts, translated = paired_loss(nn.Identity(), x, y, chosen)
    weighted = 2 * parts["l1"] + 3 * parts["pooled"] + 4 * parts["gradient"] + 5 * parts["texture"]
    assert torch.equal(translated, x)
    assert parts["l1"].item() == pytest.approx((x - y).abs().mean().item())
    assert total.item() == pytest.approx(weighted.item(), rel=1e-5)
    still = config(noise=0)
    assert paired_loss(nn.Identity(), x, y, still, noisy=True, compare=True)[1]["calm"].item() == 0
    assert paired_loss(nn.Identity(), x, y, chosen, noisy=True, compare=True)[1]["calm"].item() > 0


def test_camera_noise_has_the_strength_asked_for() -> None:
    torch.manual_seed(0)
    grey = torch.zeros(400, 3, 18, 18)
    noise = camera_noise(grey, 0.3)
    assert noise.shape == grey.shape
    assert noise.mean().abs() < 0.01
    assert 0 < noise.flatten(1).std(1).max() < 0.3 * 1.2
    assert torch.equal(camera_noise(grey, 0.0), grey)


# --- teachers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_teacher_answers_in_pixels(channels_last: bool, tmp_path: Path) -> None:
    teacher = OnnxTeacher(negative(tmp_path / "n.onnx", channels_last=channels_last), value_range="0..1")
    pixels = picture()
    assert np.abs(teacher(pixels).astype(int) - (255 - pixels)).max() <= 1


def test_a_teacher_that_sees_more_answers_in_the_same_size(tmp_path: Path) -> None:
    teacher = OnnxTeacher(negative(tmp_path / "n.onnx"), value_range="0..1", scale=2.0)
    flat = np.full((40, 32, 3), 90, np.uint8)
    assert np.array_equal(teacher(flat), 255 - flat)
    assert teacher.digest != OnnxTeacher(tmp_path / "n.onnx", value_range="0..1").digest


def test_shifts_average_a_pattern_of_the_grid_away(tmp_path: Path) -> None:
    file = combed(tmp_path / "comb.onnx")
    pixels = np.broadcast_to(np.linspace(60, 190, 48).astype(np.uint8)[:, None, None], (48, 64, 3)).copy()
    plain = OnnxTeacher(file, value_range="0..1")(pixels).astype(int) - pixels
    mean = OnnxTeacher(file, value_range="0..1", shifts=True)(pixels).astype(int) - pixels
    assert np.ptp(plain) >= 50  # levels: 0.2 of 255
    # Left is the checkerboard that the eight shifts cannot tell: 51 / 8 on every second pixel.
    assert np.ptp(mean) <= 7
    assert abs(mean.mean() - plain.mean()) <= 1
    digests = {OnnxTeacher(file, value_range="0..1", shifts=shifts).digest for shifts in (True, False)}
    assert len(digests) == 2


def test_shifts_need_a_free_size_and_a_network(tmp_path: Path) -> None:
    fixed = negative(tmp_path / "n.onnx", sides=(32, 48))
    with pytest.raises(OptionError, match=r"free size; n\.onnx takes 48x32"):
        OnnxTeacher(fixed, value_range="0..1", shifts=True)
    with pytest.raises(OptionError, match="need a teacher that is an ONNX file"):
        open_teacher("filter:comic", shifts=True)


def test_further_inputs(tmp_path: Path) -> None:
    file = negative(tmp_path / "n.onnx", style=3)
    shift = open_teacher(str(file), value_range="0..1", inputs="style[2]=0.2")
    black = np.full((32, 32, 3), 255, np.uint8)
    assert np.all(shift(black) == 51)
    shapes = {"style": (3,)}
    assert parse_inputs("style[0]=0.5,style[2]=1", shapes)["style"].tolist() == [0.5, 0, 1]
    assert parse_inputs("style=2", shapes)["style"].tolist() == [2, 2, 2]


def test_an_input_that_another_network_answers(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)],
        "mean",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "mean.onnx"
    )
    Image.new("RGB", (20, 20), (255, 51, 0)).save(tmp_path / "red.png")
    found = parse_inputs(f"style={tmp_path}/mean.onnx({tmp_path}/red.png)", {"style": (3,)})["style"]
    assert found.tolist() == pytest.approx([1, 0.2, 0])


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("", r"--teacher-input is needed for style \(3,\): .*'style\[0\]=1'"),
        ("stile=1", "no input 'stile'. Did you mean style"),
        ("style[3]=1", "style has 3 values, 0 to 2, got 3"),
        ("style=much", "expected a number or FILE.onnx"),
        ("style", "expected NAME=VALUE"),
    ],
)
def test_wrong_inputs_are_named(inputs: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parse_inputs(inputs, {"style": (3,)})


def test_teachers_that_cannot_teach(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--range is needed: n.onnx does not state"):
        OnnxTeacher(negative(tmp_path / "n.onnx"))
    with pytest.raises(ModelFileError, match="There is no file"):
        open_teacher(str(tmp_path / "nowhere.onnx"))
    with pytest.raises(OptionError, match="Did you mean comic"):
        open_teacher("filter:comics")
    with pytest.raises(OptionError, match="need a teacher that is an ONNX file"):
        open_teacher("filter:comic", value_range="0..1")
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelFileError, match="cannot be run"):
        open_teacher(str(tmp_path / "broken.onnx"), value_range="0..1")


@pytest.fixture
def painter(tmp_path: Path) -> Callable[..., PaintingTeacher]:
    """A teacher that knows a painting of red and black stripes, and answers in eight steps."""
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::4, 0] = 220
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    vgg = save_vgg(tmp_path / "vgg.safetensors", PAINTING_LAYERS[-1])

    def make(inputs: str = "steps=8") -> PaintingTeacher:
        return PaintingTeacher(tmp_path / "stripes.png", vgg, inputs=inputs)

    return make


def test_a_painting_answers_with_its_statistics_the_same_each_time(painter: Callable[..., PaintingTeacher]) -> None:
    teacher = painter("steps=30, style=1000, colours=1")
    photo = np.tile(np.linspace(60, 200, 48).astype(np.uint8)[None, :, None], (40, 1, 3))
    answer = teacher(photo)
    assert answer.shape == photo.shape and answer.dtype == np.uint8
    np.testing.assert_array_equal(teacher(photo), answer)

    stripes = painting_target(teacher.vgg, [to_tensor(read_picture(teacher.painting, 40))[None]]).statistics

    def distance(pixels: Any) -> float:
        return statistics_distance(teacher.vgg.activations(to_tensor(pixels)[None], PAINTING_LAYERS), stripes).item()

    assert distance(answer) < 0.8 * distance(photo)


def test_settings_change_a_painting_and_its_digest(painter: Callable[..., PaintingTeacher]) -> None:
    photo = np.full((24, 24, 3), 140, np.uint8)
    whole, none = painter("steps=1, style=0, colours=1"), painter("steps=1, style=0, colours=0")
    assert none.digest != whole.digest
    assert none.name == "pixels optimised towards stripes.png, style 0, colours 0, steps 1"
    assert abs(none(photo).astype(int) - 140).max() <= 6  # a step of Adam is 0.04 at most, 5 levels
    assert (whole(photo).mean((0, 1)) - none(photo).mean((0, 1)))[0] > 20  # redder
    assert not any(isinstance(layer, nn.MaxPool2d) for layer in whole.vgg.features)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("styles=3", "no setting 'styles'. Did you mean style"),
        ("colours=2", "colours takes 0 to 1, got 2"),
        ("steps=0", "steps takes 1 to"),
        ("style", "expected NAME=NUMBER, got 'style'"),
        ("style=much", "expected a number"),
    ],
)
def test_wrong_settings_of_a_painting_are_named(
    inputs: str, message: str, painter: Callable[..., PaintingTeacher]
) -> None:
    with pytest.raises(OptionError, match=message):
        painter(inputs)


def test_paintings_that_cannot_teach(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="needs --vgg"):
        open_teacher(f"painting:{tmp_path / 'stripes.png'}")
    with pytest.raises(OptionError, match="the picture cannot be read"):
        open_teacher(f"painting:{tmp_path / 'nowhere.png'}", vgg="vgg.safetensors")
    with pytest.raises(OptionError, match="need a teacher that is an ONNX file"):
        open_teacher("painting:stripes.png", vgg="vgg.safetensors", scale=2)


def test_a_run_learns_from_a_painting(
    config: Make, painter: Callable[..., PaintingTeacher], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = painter()
    run = config(
        teacher=f"painting:{teacher.painting}",
        range="",
        teacher_input="steps=8",
        vgg=str(tmp_path / "vgg.safetensors"),
        teacher_licence="public domain",
    )
    pairs = make_pair_dataset(run.model_copy(update={"varied": 1})).pairs
    np.testing.assert_array_equal(pairs.answers[0], teacher(np.asarray(pairs.pictures[0])))
    monkeypatch.setattr(PaintingTeacher, "__call__", lambda self, pixels: pixels)
    moved = make_pair_dataset(run.model_copy(update={"varied": 1, "pairs": str(tmp_path / "moved")})).pairs
    np.testing.assert_array_equal(moved.answers, moved.pictures)  # copies of the answer move as the picture's do
    assert (moved.pictures[1] != moved.pictures[0]).any()
    assert run.teacher_words == "painting:stripes.png, steps=8, public domain"


@pytest.mark.parametrize("name", FILTERS)
def test_filters_keep_size_and_a_grey_wall(name: str) -> None:
    pytest.importorskip("cv2")
    flat = np.full((48, 40, 3), 140, np.uint8)
    answer = FILTERS[name](flat)
    assert answer.shape == flat.shape
    assert np.ptp(answer[4:-4, 4:-4].astype(int), axis=(0, 1)).max() <= 2


def test_comic_keeps_colours_and_draws_lines() -> None:
    pytest.importorskip("cv2")
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, :32], image[:, 32:] = (250, 200, 60), (40, 60, 170)
    answer = comic(image).astype(int)
    assert answer[32, 8, 0] > answer[32, 8, 2] + 80
    assert answer[32, 56, 2] > answer[32, 56, 0] + 80
    assert answer[32, 28:36].sum(1).min() < answer[32, [8, 56]].sum(1).min() - 60  # a dark line between them


def test_brush_paints_along_the_contours_and_draws_no_halo() -> None:
    """Grain beside a slanted edge becomes strokes along it, whose colours the picture has, too."""
    pytest.importorskip("cv2")
    rows, columns = np.indices((96, 96))
    side = np.where(columns - rows > 0, 170, 90)  # the edge runs down to the right
    grain = np.random.default_rng(0).normal(0, 12, (96, 96))
    image = np.clip(side + grain, 0, 255).astype(np.uint8)[..., None].repeat(3, 2)

    def ratio(of: NDArray[np.uint8]) -> float:
        """Differences along the edge over those across it, near the edge but not in it."""
        light = of[..., 0].astype(float)
        beside = np.abs(columns - rows)[1:, 1:]
        near = (beside > 4) & (beside < 12)
        down_right, down_left = light[1:, 1:] - light[:-1, :-1], light[1:, :-1] - light[:-1, 1:]
        return float(np.abs(down_right[near]).mean() / np.abs(down_left[near]).mean())

    assert ratio(image) > 0.9 and ratio(brush(image)) < 0.3
    plain = np.where(columns - rows > 0, 170, 90).astype(np.uint8)[..., None].repeat(3, 2)
    assert np.abs(brush(plain).astype(int) - plain)[np.abs(columns - rows) > 12].max() <= 4, "far from an edge"
    assert brush(plain).min() >= 90 - 45 and brush(plain).max() <= 170 + 45, "at an edge"


# --- pairs -----------------------------------------------------------------------------------------------------------


def test_pairs_are_the_teachers_answers_and_made_once(config: Make, tmp_path: Path) -> None:
    chosen = config(varied=2)
    pairs = make_pair_dataset(chosen).pairs
    assert pairs.pictures.shape == pairs.answers.shape == (15, 32, 32, 3)
    assert np.abs(pairs.answers.astype(int) - (255 - pairs.pictures.astype(int))).max() <= 1
    assert len({array.tobytes() for array in pairs.pictures}) == 15  # no two copies are alike
    before = (tmp_path / "run/pairs/answers.npy").stat().st_mtime_ns
    make_pair_dataset(chosen)
    assert (tmp_path / "run/pairs/answers.npy").stat().st_mtime_ns == before
    with pytest.raises(TrainingError, match=r"made from something else \(now different: varied\)"):
        make_pair_dataset(config(varied=1))


def test_pictures_for_judging_are_left_out(config: Make, folders: tuple[Path, Path]) -> None:
    kept = make_pair_dataset(config(holdout=2, varied=0)).pairs.pictures
    assert len(kept) == 2  # of five, the first, third and fifth are held out
    other = np.asarray(Image.open(folders[0] / "1.png").resize((32, 32), Image.Resampling.BICUBIC))
    assert np.array_equal(kept[0], other)


def test_answers_that_are_files_stay_aligned(config: Make, folders: tuple[Path, Path], tmp_path: Path) -> None:
    answers = tmp_path / "answers"
    answers.mkdir()
    for path in folders[0].iterdir():
        Image.fromarray(255 - np.asarray(Image.open(path))).save(answers / f"{path.stem}.png")
    pairs = make_pair_dataset(config(teacher="", range="", answers=str(answers), varied=2)).pairs
    assert np.abs(pairs.answers.astype(int) - (255 - pairs.pictures.astype(int))).max() <= 1
    (answers / "3.png").unlink()
    with pytest.raises(TrainingError, match="has no target for 3.png"):
        make_pair_dataset(config(teacher="", range="", answers=str(answers), pairs=str(tmp_path / "other")))
    Image.new("RGB", (40, 80)).save(answers / "3.png")
    with pytest.raises(TrainingError, match="3.png and its target have different shapes: 40x40 and 40x80"):
        make_pair_dataset(config(teacher="", range="", answers=str(answers), pairs=str(tmp_path / "other")))


def test_frames_of_a_clip_are_pictures_too(config: Make) -> None:
    clip = Path(__file__).parents[3] / "media" / "meadow.mp4"
    pairs = make_pair_dataset(config(photos=str(clip), clip_frames=5, varied=1, holdout=4)).pairs
    assert len(pairs.pictures) == 10
    with pytest.raises(TrainingError, match="There is no clip"):
        make_pair_dataset(config(photos="nowhere.mp4", out="other"))


def test_samples_depend_on_seed_and_number_only() -> None:
    pictures = np.stack([picture(number) for number in range(4)])
    dataset = PairDataset(Pairs(pictures, 255 - pictures), 16, seed=3)
    again = PairDataset(Pairs(pictures, 255 - pictures), 16, seed=3)
    backwards = {index: again[index] for index in reversed(range(8))}
    for index in range(8):
        x, y = dataset[index]
        assert x.shape == (3, 16, 16)
        assert torch.equal(x, backwards[index][0])
        assert torch.allclose(x, -y, atol=1e-6)  # cut at the same place
    seen = {tuple(PairDataset(Pairs(pictures, pictures), 32, seed=3)[i][0].flatten().tolist()) for i in range(4)}
    assert len(seen) == 4  # an epoch is every pair once


# --- runs ------------------------------------------------------------------------------------------------------------


def test_a_run_learns(config: Make, tmp_path: Path) -> None:
    chosen = config(steps=60, learning_rate=5e-3, calm_from=0.9, ema=0.9, sample_every=60)
    assert train(chosen)
    generator, spec = load_generator(tmp_path / "run")
    pairs = np.load(tmp_path / "run/pairs/pictures.npy")
    x = torch.from_numpy(pairs[:5]).permute(0, 3, 1, 2).float() / 127.5 - 1
    assert (generator(x) + x).abs().mean() < 0.6 * (2 * x).abs().mean()  # nearer to the negative than the picture is
    assert (spec.architecture, spec.tier, spec.options["shape"]) == ("paired", "nano", "balanced")
    assert spec.training.teacher == "negative.onnx"
    assert (tmp_path / "run/samples/step-0000060.png").is_file()


def test_resumed_equals_uninterrupted(config: Make, tmp_path: Path) -> None:
    whole = config(steps=6, decay_steps=1, out=str(tmp_path / "whole"))
    assert train(whole)
    parts = config(steps=6, decay_steps=1, out=str(tmp_path / "parts"))
    trainer = Trainer(parts)
    (tmp_path / "parts").mkdir(exist_ok=True)
    for index in range(4):
        trainer.update(tuple(part[None] for part in trainer.dataset[index]))
    trainer.save()
    assert train(parts, resume=True)
    one, other = (load_state(tmp_path / name)["networks"]["generator"] for name in ("whole", "parts"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_critic_makes_it_pix2pix(config: Make) -> None:
    trainer = Trainer(config(lambda_adversarial=0.1, discriminator_width=4))
    assert set(trainer.method.networks) == {"generator", "critic"}
    before = {name: next(network.parameters()).clone() for name, network in trainer.method.networks.items()}
    trainer.update(tuple(part[None] for part in trainer.dataset[0]))
    for name, network in trainer.method.networks.items():
        assert not torch.equal(next(network.parameters()), before[name])
    assert "critic" not in Paired(config()).networks


def test_a_new_style_begins_with_an_older_one(config: Make, tmp_path: Path) -> None:
    assert train(config(steps=1))
    trainer = Trainer(config(out=str(tmp_path / "second"), start_from=str(tmp_path / "run")))
    first = load_generator(tmp_path / "run")[0].state_dict()
    assert all(
        torch.equal(value, first[key]) for key, value in trainer.method.networks["generator"].state_dict().items()
    )


def test_a_recipe_is_a_configuration(config: Make, tmp_path: Path) -> None:
    values = config().model_dump()
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("# a comment\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    assert make_config(PairedConfig, read_values(recipe)) == config()
    result = CliRunner().invoke(app, ["paired", "--config", str(recipe), "--steps", "1"])
    assert result.exit_code == 0, result.output
    assert load_generator(tmp_path / "run")[1].training.steps == 1
    recipe.write_text("no toml")
    with pytest.raises(TrainingError, match="cannot be read as a configuration"):
        read_values(recipe)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": ""}, "give either --teacher, which translates the photos, or --answers"),
        ({"answers": "a"}, "give either --teacher"),
        ({"lambda_gram": 1.0}, "lambda_gram needs --vgg"),
        ({"crop": 20}, "crop must be a multiple of 8 and at most size 32, got 20"),
        ({"tier": "stargan"}, "tier stargan needs attributes"),
        ({"steps": 0}, "--steps"),
    ],
)
def test_wrong_options_are_named(config: Make, changes: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        config(**changes)
