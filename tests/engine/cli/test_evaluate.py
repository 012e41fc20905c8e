"""``engine evaluate``: a verdict for anybody's filter, with a table, JSON, a sheet and a card."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganlens.engine.cli import evaluate as command
from ganlens.engine.cli.options.evaluate import EvaluateOptions
from ganlens.engine.errors import EngineError
from ganlens.engine.media.pictures import read_image, write_image
from ganlens.engine.pixels.frame import Frame
from ganlens.engine.spec import AttributeInput, SizeRule
from tests.kit.models import constant, helper, image_dims, make_spec, save_graph, tensor

FREE = SizeRule(multiple_of=8, preferred=(96, 128))


def filter_model(path: Path, gain: float = 1.0, **changes: Any) -> Path:
    """Multiplies a picture in -1..1: 1 changes nothing, 0.2 is grey fog."""
    spec = make_spec(None, **{"name": path.stem, **changes}).model_copy(update={"size": FREE})
    dims = image_dims(None)
    node = helper.make_node("Mul", ["x", "gain"], ["y"])
    return save_graph(path, [node], [tensor("x", dims)], [tensor("y", dims)], [constant("gain", gain)], spec)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(3):
        coarse = random.uniform(40, 215, (6, 8, 3)).repeat(16, axis=0).repeat(16, axis=1)
        pixels = np.rint(coarse + random.normal(0, 12, coarse.shape)).clip(0, 255).astype(np.uint8)
        write_image(folder / f"{number}.png", Frame.from_rgb(pixels))
    return folder


def run(model: Path, **options: Any) -> int:
    return command.run(EvaluateOptions(str(model), **{"start": False, "quiet": True, **options}))


def test_a_good_filter_passes_and_a_grey_one_fails(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(filter_model(tmp_path / "good.onnx"), photos=str(photos), target=str(photos)) == 0
    good = capsys.readouterr().out
    assert "FAIL" not in good and "gates passed" in good
    assert run(filter_model(tmp_path / "fog.onnx", 0.2), photos=str(photos), target=str(photos)) == 1
    fog = capsys.readouterr().out
    failed = [line for line in fog.splitlines() if "FAIL" in line]
    assert [line[7:20].strip() for line in failed] == ["chroma", "contrast", "fine detail", "colour spread"]
    assert all(len(line) <= 80 for line in (good + fog).splitlines())


def test_json_sheet_and_card(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = filter_model(tmp_path / "good.onnx")
    card = tmp_path / "good.md"
    card.write_text(f"# good\n{command.BEGIN}\nold\n{command.END}\nrest\n")
    folder = tmp_path / "judged"
    assert run(model, photos=str(photos), target=str(photos), output=folder, card=card, as_json=True) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((folder / "good-evaluation.json").read_text())
    assert printed["schema"] == "ganlens-evaluation/1" and printed["passed"] and printed["pictures"] == 3
    assert printed["sheet"] == ["source", "target", "good", "colour transfer"]
    assert read_image(folder / "good-sheet.png").size == (3 * 100 - 4, 4 * 132 - 4)
    text = card.read_text()
    assert text.startswith("# good\n") and text.endswith("\nrest\n") and "old" not in text
    assert "| a | chroma | 1.00" in text and "pass" in text
    with pytest.raises(EngineError, match="exists; pass -y"):
        run(model, photos=str(photos), output=folder)


def test_a_filter_as_teacher(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("cv2")
    pytest.importorskip("PIL")
    run(filter_model(tmp_path / "plain.onnx"), photos=str(photos), teacher="filter:comic")
    assert "L1 to the target" in capsys.readouterr().out


def test_flicker_is_measured_on_clips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(filter_model(tmp_path / "plain.onnx"), clip=[str(command.SHIPPED_CLIP)], clip_frames=6)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("d ")]
    assert len(lines) == 2 and all("pass" in line for line in lines)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"photos": "nowhere/"}, "nowhere"),
        ({"target": "a", "teacher": "filter:comic"}, "not both"),
        ({"teacher_shifts": True}, "belong to --teacher"),
        ({"size": "100x100"}, r"--size 100x100: plain takes any multiple of 8"),
        ({"card": Path("missing.md")}, "cannot be read"),
        ({"teacher": "nowhere.onnx"}, "There is no file nowhere.onnx"),
    ],
)
def test_bad_input(options: dict[str, Any], expected: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=expected):
        run(filter_model(tmp_path / "plain.onnx"), **options)


def test_models_of_other_kinds_are_told_what_judges_them(tmp_path: Path) -> None:
    port = AttributeInput(names=("smiling",))
    dims = image_dims(None)
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    path = save_graph(
        tmp_path / "faces.onnx",
        nodes,
        [tensor("x", dims), tensor("att", ("n", 1))],
        [tensor("y", dims)],
        spec=make_spec(None, name="faces", attributes=port),
    )
    with pytest.raises(EngineError, match="engine train evaluate"):
        run(path)


def test_a_card_without_marks_is_left_alone(photos: Path, tmp_path: Path) -> None:
    card = tmp_path / "card.md"
    card.write_text("# mine\n")
    with pytest.raises(EngineError, match="expected the line"):
        run(filter_model(tmp_path / "plain.onnx"), photos=str(photos), card=card)
    assert card.read_text() == "# mine\n"
