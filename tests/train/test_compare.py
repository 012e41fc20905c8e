"""Runs beside each other: what differs, how they went, what they made; one page that needs nothing else."""

from __future__ import annotations

import re
import xml.dom.minidom
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ganlens.train.cli import app
from ganlens.train.config import CycleGANConfig
from ganlens.train.loop import train


@pytest.fixture
def runs(make_config: Callable[..., CycleGANConfig], tmp_path: Path) -> list[Path]:
    folders = [tmp_path / "one", tmp_path / "<other>"]
    for number, folder in enumerate(folders):
        train(make_config(out=str(folder), steps=6, sample_every=6, lambda_cyc=10.0 - number))
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


def test_what_is_refused(runs: list[Path], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert "at least two run folders, got 1" in compare(runs[0], "-o", page)[1]
    assert "not a run folder" in compare(runs[0], tmp_path, "-o", page)[1]
    page.write_text("precious")
    code, output = compare(*runs, "-o", page)
    assert code == 1 and "exists; pass -y" in output and page.read_text() == "precious"
    assert compare(*runs, "-o", page, "-y")[0] == 0
