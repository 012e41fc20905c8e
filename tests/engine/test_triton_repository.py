"""``engine triton export``: what is written, without a server (tests/scale runs it on the real one)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from ganlens.engine import model as models
from ganlens.engine.errors import MediaError, OptionError
from ganlens.engine.triton.repository import Platform, ServingOptions, export, network_config
from tests.kit.models import attribute_model, invert_model

SCHEMA = Path(__file__).parents[1] / "kit" / "triton_model_config.pb"
"""Triton's own model_config.proto, compiled (from the wheel tritonclient 2.73.0, BSD-3-Clause)."""
SHIPPED = sorted(path.stem for path in Path(models.__file__).parent.glob("shipped/*.onnx"))
FILES = {"onnxruntime_onnx": "model.onnx", "tensorrt_plan": "model.plan", "python": "model.py"}
"""What the server looks for in a version's folder."""


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
    assert status == 2 and "'--platform': got caffe, expected one of 'onnxruntime', 'python', 'tensorrt'" in err
    with pytest.raises(OptionError, match="--platform caffe: expected one of python, onnxruntime, tensorrt"):
        export([str(model)], tmp_path / "repository", ServingOptions("caffe"))
    assert not (tmp_path / "repository").exists()


@pytest.fixture(scope="module")
def parse():
    """Reads a model configuration as the server does: unknown fields, wrong types and bad syntax are errors."""
    pytest.importorskip("google.protobuf", reason="needs protobuf, which comes with the extra 'export'")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

    pool = descriptor_pool.DescriptorPool()
    pool.Add(descriptor_pb2.FileDescriptorProto.FromString(SCHEMA.read_bytes()))
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("inference.ModelConfig"))
    return lambda text: text_format.Parse(text, kind())


def test_the_schema_finds_mistakes(parse):
    from google.protobuf import text_format

    good = 'name: "a"\nmax_batch_size: 8\ninput [ { name: "x", data_type: TYPE_FP32, dims: [ 3, -1 ] } ]\n'
    assert list(parse(good).input[0].dims) == [3, -1]
    for old, new in (("max_batch", "most_batch"), ("TYPE_FP32", "FLOAT"), ("dims: [ 3", 'dims: [ "3"'), ("} ]", "}")):
        with pytest.raises(text_format.ParseError):
            parse(good.replace(old, new))


@pytest.mark.parametrize("platform", ["onnxruntime", "python"])
def test_entries_keep_the_servers_schema_and_the_models_shapes(parse, tmp_path, platform):
    """The rules by which Triton's onnxruntime refuses a configuration; that backend has not run here."""
    import onnxruntime

    shades = attribute_model(tmp_path / "shades.onnx", (16, 24))
    options = ServingOptions(platform, threads=2, instances=3)
    float32 = parse("input [ { data_type: TYPE_FP32 } ]").input[0].data_type
    for entry in export([*SHIPPED, str(shades)], tmp_path / "repository", options):
        config = parse((entry.folder / "config.pbtxt").read_text())
        assert config.name == entry.folder.name and config.instance_group[0].count == 3
        assert (entry.folder / "1" / FILES[config.platform or config.backend]).is_file()
        assert config.parameters["threads"].string_value == "2"
        if not entry.name.endswith("_network"):
            assert [part.name for part in config.output] == ["image"]
            continue
        model = onnxruntime.InferenceSession(entry.folder / "1" / "model.onnx", providers=["CPUExecutionProvider"])
        given = {"input": model.get_inputs(), "output": model.get_outputs()}
        for group, ports in given.items():
            described = {part.name: part for part in getattr(config, group)}
            assert set(described) == {port.name for port in ports}
            for port in ports:
                part = described[port.name]
                assert port.type == "tensor(float)" and part.data_type == float32
                dims = ([-1] if config.max_batch_size else []) + list(part.dims)
                in_file = [size if isinstance(size, int) else -1 for size in port.shape]
                assert len(dims) == len(in_file), entry.name
                for number, (told, size) in enumerate(zip(dims, in_file, strict=True)):
                    assert size in (-1, told), f"{entry.name}: {port.name} is {in_file}, the configuration says {dims}"
                    assert number or not config.max_batch_size or size == -1
        assert config.HasField("dynamic_batching") == (config.max_batch_size > 0 and platform == "onnxruntime")


@pytest.mark.parametrize("platform", get_args(Platform))
def test_every_platform_is_one_that_triton_knows(parse, platform):
    config = parse(network_config("starry_network", models.open("starry"), platform, ServingOptions()))
    assert (config.platform or config.backend) in FILES
