"""``engine triton export``: what is written, without a server (tests/scale runs it on the real one)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ganlens.engine import model as models
from ganlens.engine.errors import MediaError, OptionError
from ganlens.engine.triton.repository import ServingOptions, export
from tests.kit.models import attribute_model, invert_model


def test_two_entries_from_the_record(engine, tmp_path):
    model = attribute_model(tmp_path / "shades.onnx", (16, 24))
    status, out, err = engine("triton", "export", model, "-o", "repository", "--threads", "2")
    assert status == 0 and "shades_network" in out, err
    files = sorted(str(path.relative_to("repository")) for path in Path("repository").rglob("*") if path.is_file())
    assert files == [
        "shades/1/model.onnx",
        "shades/1/model.py",
        "shades/config.pbtxt",
        "shades_network/1/model.onnx",
        "shades_network/config.pbtxt",
    ]
    opened = models.open(model)
    assert Path("repository/shades_network/1/model.onnx").read_bytes() == opened.data
    frames = Path("repository/shades/config.pbtxt").read_text()
    for name in opened.spec.attributes.names:
        assert f'name: "{name}", data_type: TYPE_FP32, dims: [ 1 ], optional: true' in frames
    network = Path("repository/shades_network/config.pbtxt").read_text()
    assert 'platform: "onnxruntime_onnx"' in network and opened.file.sha256 in network
    assert re.search(r'name: "x", data_type: TYPE_FP32, dims: \[ (1, )?3, 16, 24 \]', network)


def test_batches_are_formed_where_the_model_leaves_their_number_free(tmp_path):
    export(["starry"], tmp_path / "repository")
    network = (tmp_path / "repository/starry_network/config.pbtxt").read_text()
    free = models.open("starry").batch is None
    assert ("dynamic_batching" in network) == free and ("max_batch_size: 0" in network) != free


def test_what_is_there_stays(engine, tmp_path):
    model = invert_model(tmp_path / "invert.onnx", None)
    export([str(model)], tmp_path / "repository")
    before = (tmp_path / "repository/invert/config.pbtxt").read_bytes()
    with pytest.raises(MediaError, match="--version 2"):
        export([str(model)], tmp_path / "repository", ServingOptions(backend="cpu"))
    assert (tmp_path / "repository/invert/config.pbtxt").read_bytes() == before
    export([str(model)], tmp_path / "repository", ServingOptions(version=2))
    assert (tmp_path / "repository/invert/2/model.py").exists() and (tmp_path / "repository/invert/1/model.py").exists()


def test_what_does_not_go(engine, tmp_path):
    model = invert_model(tmp_path / "invert.onnx", None)
    with pytest.raises(OptionError, match="engine build"):
        export([str(model)], tmp_path / "repository", ServingOptions("tensorrt"))
    with pytest.raises(OptionError, match="one name"):
        export([str(model), str(model)], tmp_path / "repository")
    status, _, err = engine("triton", "export", model, "-o", "repository", "--platform", "caffe")
    assert status == 1 and "expected one of python, onnxruntime, tensorrt" in err
    assert not (tmp_path / "repository").exists()
