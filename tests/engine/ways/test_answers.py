"""A model whose answer is not a picture: said once, with the share of pixels and the likely range."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from ganlens.engine import Session, Translator, open_sink, open_source
from tests.kit.models import constant, image_dims, make_spec, save_graph, tensor

SOURCE = "test:64x48@25,frames=4"


def model_of(path: Path, operator: str, *values: float, foreign: bool = True) -> Path:
    """y = operator(x, ...)."""
    names = [f"c{number}" for number in range(len(values))]
    nodes = [helper.make_node(operator, ["x", *names], ["y"])]
    weights = [constant(name, value) for name, value in zip(names, values, strict=True)]
    spec = None if foreign else make_spec(None)
    return save_graph(path, nodes, [tensor("x", image_dims(None))], [tensor("y", image_dims(None))], weights, spec=spec)


@pytest.mark.parametrize(
    ("operator", "values", "value_range", "says"),
    [
        ("Sqrt", (), (-1.0, 1.0), r"\d+\.\d% of the values .* are not finite"),
        ("Log", (), (0.0, 1.0), r"not finite"),
        ("Mul", (255.0,), (0.0, 1.0), r"far outside 0\.\.1 .*; --range 0\.\.255"),
        ("Mul", (127.0,), (-1.0, 1.0), r"far outside -1\.\.1"),
        ("Div", (255.0,), (0.0, 255.0), r"one colour; --range 0\.\.1"),
        ("Mul", (0.0,), (0.0, 1.0), r"one colour$"),
    ],
)
@pytest.mark.parametrize("in_flight", [1, 2])
def test_it_is_said_once(tmp_path, operator, values, value_range, says, in_flight):
    path = model_of(tmp_path / "m.onnx", operator, *values)
    options = {"backend": "cpu", "framing": "native", "value_range": value_range, "in_flight": in_flight}
    with Translator.open(path, **options) as translator, open_source(SOURCE) as source:
        report = Session(source, translator, open_sink("null:", source.format)).run()
    assert len(report.notes) == 1
    assert re.search(says, report.notes[0]), report.notes


def test_pictures_and_overshoot_are_no_news(tmp_path):
    path = model_of(tmp_path / "m.onnx", "Mul", 1.2)
    with Translator.open(path, backend="cpu", framing="native", value_range=(0.0, 1.0)) as translator:
        translator(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
        translator(np.zeros((48, 64, 3), np.uint8))
        assert translator.notes == ()


def test_no_range_is_proposed_against_a_record(tmp_path):
    path = model_of(tmp_path / "m.onnx", "Mul", 255.0, foreign=False)
    with Translator.open(path, backend="cpu", framing="native") as translator:
        translator(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
        assert len(translator.notes) == 1 and "--range" not in translator.notes[0]
