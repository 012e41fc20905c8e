"""Runs beside each other: what differs, how they went, what they made; one page that needs nothing else."""

from __future__ import annotations

import re
import xml.dom.minidom
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from ganlens.train.cli import app
from ganlens.train.loop import train
from tests.train.conftest import save_folders, small_config


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    parent = tmp_path_factory.mktemp("runs")
    data, folders = save_folders(parent), [parent / "one", parent / "<other>"]
    for number, folder in enumerate(folders):
        train(small_config(data, folder, steps=6, sample_every=6, lambda_cyc=10.0 - number))
    return folders


def compare(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["compare", *(str(word) for word in words)])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result.exit_code, result.output


def test_the_page(runs: list[Path], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    code, output = compare(*runs, "-o", page)
    assert code == 0 and str(page) in output
    text = page.read_text()
    assert "<td>lambda_cyc</td><td>10.0</td><td>9.0</td>" in text
    assert "<td>size</td>" not in text  # the same in both
    assert text.count("data:image/png;base64,") == 2
    assert "&lt;other&gt;" in text and "<other>" not in text
    assert "http" not in text and "<script" not in text
    curves = dict(re.findall(r"<figcaption>([\w/]+)</figcaption>(<svg.*?</svg>)", text))
    assert {"cycle", "generator/total", "learning_rate"} <= curves.keys()
    lines = xml.dom.minidom.parseString(curves["cycle"]).getElementsByTagName("polyline")
    assert [len(line.getAttribute("points").split()) for line in lines] == [3, 3]  # logged at 2, 4 and 6
    assert "commit" in text and "torch" in text


def test_the_picture(runs: list[Path], tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    assert compare(*runs, "-o", picture)[0] == 0
    with Image.open(picture) as whole, Image.open(runs[1] / "samples" / "step-0000006.png") as grid:
        pixels, sample = np.asarray(whole), np.asarray(grid.convert("RGB"))
    height, width = sample.shape[:2]
    np.testing.assert_array_equal(pixels[-height:, :width], sample)

    # Figure 3 of the improved CycleGAN: both losses of one run from its history.
    curves = tmp_path / "losses.png"
    words = "--curves", "generator/total,discriminator/total", "--no-samples"
    assert compare(runs[0], "-o", curves, *words)[0] == 0
    with Image.open(curves) as drawn:
        assert drawn.size == (880, 270)
        colours = {colour for _, colour in drawn.getcolors(1 << 16) or []}
    assert (31, 119, 180) in colours and (214, 39, 40) not in colours  # the first run's line, and no other's


def test_only_some_curves(runs: list[Path], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert compare(runs[0], "-o", page, "--curves", "cycle", "--no-samples")[0] == 0
    text = page.read_text()
    assert re.findall(r"<figcaption>([\w/]+)</figcaption>", text) == ["cycle"] and "data:image" not in text


def test_what_is_refused(runs: list[Path], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert "written as .html or .png" in compare(*runs, "-o", tmp_path / "page.jpg")[1]
    assert "no run has logged 'cylce'. Did you mean cycle?" in compare(*runs, "-o", page, "--curves", "cylce")[1]
    assert "not a run folder" in compare(runs[0], tmp_path, "-o", page)[1]
    page.write_text("precious")
    code, output = compare(*runs, "-o", page)
    assert code == 1 and "exists; pass -y" in output and page.read_text() == "precious"
    assert compare(*runs, "-o", page, "-y")[0] == 0
