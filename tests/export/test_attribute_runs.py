"""Runs of ``engine train acl-gan`` and ``stargan``: the graph takes attributes, composes, and keeps the border."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from typer.testing import CliRunner

from ganlens.engine.cli import app
from ganlens.engine.spec import GeneratorSpec
from ganlens.train.checkpoint import GENERATOR_NAME, save_generator
from ganlens.train.config import ACLGANConfig, EditorConfig, StarGANConfig
from ganlens.train.methods import acl_gan
from ganlens.train.networks import (
    GrowingGenerator,
    MobileGenerator,
    RealTimeGenerator,
    WindowedGenerator,
    make_generator,
)
from ganlens.train.specs import attribute_spec


@pytest.mark.parametrize(
    ("kind", "tier"),
    [(ACLGANConfig, "nano"), (ACLGANConfig, "stargan"), (ACLGANConfig, "growing"), (StarGANConfig, "stargan")],
)
def test_attribute_runs(kind: type[EditorConfig], tier: str, photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    acl = kind is ACLGANConfig
    width = {"generator_width": 4} if tier == "stargan" else {}
    config = kind(data=str(photos), out=str(tmp_path), name="edit", tier=tier, size=32, **width)  # type: ignore[arg-type]
    spec = attribute_spec(config, mask=acl, complement=acl, border_px=4 if acl else 0)
    generator = make_generator(spec)
    if isinstance(generator, MobileGenerator | RealTimeGenerator | GrowingGenerator):
        for block in generator.body:
            torch.nn.init.normal_(block.condition.weight)  # type: ignore[union-attr, arg-type]
    save_generator(generator, spec, tmp_path / GENERATOR_NAME)
    (tmp_path / "config.json").write_text(config.model_dump_json())

    result = CliRunner().invoke(
        app, ["export", str(tmp_path), "-o", str(tmp_path / "edit.onnx"), "--parity", "3", "--json"]
    )
    assert result.exit_code == 0, (result.output, result.exception)
    assert json.loads(result.stdout)["parity"]["max_abs"] < 1e-3
    session = onnxruntime.InferenceSession(tmp_path / "edit.onnx")
    record = GeneratorSpec.from_metadata(session.get_modelmeta().custom_metadata_map)
    assert record is not None
    assert record.attributes is not None
    assert record.attributes.names == config.attribute_names
    assert record.attributes.groups == (("Black_Hair", "Blond_Hair", "Brown_Hair"),)
    assert record.architecture == config.method
    assert record.output.kind == "image"
    count = len(config.attribute_names)
    shapes = {entry.name: entry.shape for entry in (*session.get_inputs(), *session.get_outputs())}
    expected = {"x": [1, 3, 32, 32], "att": [1, 2 * count if acl else count], "y": [1, 3, 32, 32]}
    assert shapes == (expected | {"mask": [1, 1, 32, 32]} if acl else expected)

    random = np.random.default_rng(0)
    x = random.uniform(-1, 1, (1, 3, 32, 32)).astype(np.float32)
    wishes = np.eye(count, dtype=np.float32)[:2, None]
    first, second = (
        session.run(None, {"x": x, "att": np.concatenate([wish, 1 - wish], axis=1) if acl else wish})[0]
        for wish in wishes
    )
    assert not np.allclose(first, second, atol=1e-4)
    if acl:
        assert record.frame_border_px == 4
        inside = np.zeros((32, 32), dtype=bool)
        inside[4:-4, 4:-4] = True
        assert np.array_equal(first[:, :, ~inside], x[:, :, ~inside])
        assert not np.array_equal(first[:, :, inside], x[:, :, inside])


def test_a_window_and_a_flow_are_part_of_the_graph(photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = ACLGANConfig(
        data=str(photos),
        out=str(tmp_path),
        attributes="Smiling",
        tier="nano",
        shape="joined",
        size=64,
        flow=0.05,
        window="16,24,32",
    )
    spec = acl_gan.ACLGAN(config).specs()["generator"][1]
    generator = make_generator(spec)
    assert isinstance(generator, WindowedGenerator) and isinstance(generator.inner, RealTimeGenerator)
    assert generator.inner.move is not None
    torch.nn.init.normal_(generator.inner.move.weight)
    save_generator(generator, spec, tmp_path / GENERATOR_NAME)
    (tmp_path / "config.json").write_text(config.model_dump_json())

    result = CliRunner().invoke(
        app, ["export", str(tmp_path), "-o", str(tmp_path / "edit.onnx"), "--parity", "3", "--json"]
    )
    assert result.exit_code == 0, (result.output, result.exception)
    assert json.loads(result.stdout)["parity"]["max_abs"] < 1e-3
    session = onnxruntime.InferenceSession(tmp_path / "edit.onnx")
    x = np.random.default_rng(0).uniform(-1, 1, (1, 3, 64, 64)).astype(np.float32)
    edited, mask = session.run(None, {"x": x, "att": np.array([[1.0, 0.0]], np.float32)})
    outside = np.ones((64, 64), dtype=bool)
    outside[24:56, 16:48] = False
    assert np.array_equal(edited[:, :, outside], x[:, :, outside])
    assert np.abs(edited - x)[:, :, ~outside].mean() > 0.01
    assert mask[0, 0, 24:56, 16:48].max() > 0.3
    openvino = pytest.importorskip("openvino")
    compiled = openvino.Core().compile_model(str(tmp_path / "edit.onnx"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert np.abs(compiled([x, np.array([[1.0, 0.0]], np.float32)])[0] - edited).max() < 1e-3
