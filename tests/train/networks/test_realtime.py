"""The second shape of the real-time tiers: equal phases, folding that changes nothing, old files that still open."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch
from torch import nn
from torch.nn.functional import pixel_unshuffle

from ganlens.engine.errors import OptionError
from ganlens.engine.spec import AttributeInput, GeneratorSpec, ImageOutput, SizeRule
from ganlens.export import ExportOptions, export_onnx
from ganlens.train.checkpoint import load_generator, save_generator
from ganlens.train.cli import merge
from ganlens.train.config import CycleGANConfig, make_config
from ganlens.train.networks import SHAPES, TIERS, MobileGenerator, RealTimeGenerator, make_generator
from ganlens.train.networks.layers import Foldable, fold
from ganlens.train.networks.realtime import BalancedHead, Shape, moved
from ganlens.train.specs import image_to_image_spec
from tests.kit.tiny_generator import draw_picture

TINY = Shape(4, 6, 8, 2)
TINY_LIGHT = Shape(4, 6, 8, 2, light=True)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with eight pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(8):
        draw_picture(number, (70, 50)).save(folder / f"{number}.png")
    return folder


def joined(tier: str = "nano", **changes: object) -> GeneratorSpec:
    options = {"shape": "joined", "norm": "bn" if tier == "edge" else "in"}
    size = SizeRule(multiple_of=8, minimum=16, preferred=(64, 64))
    return GeneratorSpec(name="g", architecture="paired", tier=tier, options=options, size=size, **changes)


@pytest.mark.parametrize(
    ("tier", "parameters"), [("nano", 168_919), ("mobile", 353_303), ("light", 771_111), ("edge", 398_535)]
)
def test_parameter_counts(tier: str, parameters: int) -> None:
    assert sum(parameter.numel() for parameter in make_generator(joined(tier)).parameters()) == parameters


def test_a_flow_moves_the_picture_by_its_share_of_a_side() -> None:
    x = torch.rand(1, 3, 64, 64)
    flow = torch.zeros(1, 2, 8, 8)
    torch.testing.assert_close(moved(x, flow), x)
    flow[:, 0], flow[:, 1] = 2 / 64, -3 / 64  # two pixels from the right, three from above
    torch.testing.assert_close(moved(x, flow)[:, :, 3:, :-2], x[:, :, :-3, 2:])


def test_the_largest_flow_folds_nothing() -> None:
    torch.manual_seed(0)
    ramp = torch.linspace(0, 1, 128).expand(8, 3, 128, 128)
    wild = 0.09 * torch.randn(8, 2, 16, 16).sign()
    inner = moved(ramp, wild)[..., 16:-16]
    assert inner.diff(dim=3).min() > -1e-6


def test_a_new_network_with_a_flow_gives_the_picture_itself() -> None:
    torch.manual_seed(0)
    generator = RealTimeGenerator(TINY, attributes=2, mask=True, flow=0.05)
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    torch.testing.assert_close(generator(x, torch.rand(2, 2))[0], x)


def test_the_head_answers_flat_features_alike_in_all_phases() -> None:
    torch.manual_seed(0)
    head = BalancedHead(5, 3)
    nn.init.normal_(head.weight)
    y = head(torch.randn(1, 5, 1, 1).expand(1, 5, 8, 8))[:, :, 2:-2, 2:-2]  # zeros are seen in the outermost pixels
    assert y.std() > 0.1  # colours differ, phases do not
    phases = pixel_unshuffle(y, 2).unflatten(1, (3, 4))
    assert (phases - phases[:, :, :1]).abs().max() < 1e-5


@pytest.mark.parametrize("light", [False, True])
def test_a_flat_picture_stays_flat(light: bool) -> None:
    torch.manual_seed(0)
    generator = RealTimeGenerator(Shape(4, 6, 8, 1, light), norm="none")
    nn.init.normal_(generator.head.weight, std=0.1)
    middle = generator(torch.full((1, 3, 128, 128), 0.3))[:, :, 56:72, 56:72]
    assert middle.abs().max() > 0.01
    assert (middle - middle[:, :, :1, :1]).abs().max() < 1e-5


@pytest.mark.parametrize("norm", ["in", "bn", "none"])
@pytest.mark.parametrize("attributes", [0, 3])
@pytest.mark.parametrize("shape", [TINY, TINY_LIGHT])
def test_folding_changes_nothing(norm: str, attributes: int, shape: Shape) -> None:
    torch.manual_seed(0)
    generator = RealTimeGenerator(shape, norm=norm, attributes=attributes, mask=bool(attributes)).eval()
    inputs = [torch.rand(2, 3, 32, 48) * 2 - 1] + ([torch.rand(2, attributes)] if attributes else [])
    plain = fold(generator)
    assert not any(isinstance(module, Foldable) for module in plain.modules())
    assert any(isinstance(module, Foldable) for module in generator.modules())  # the original stays as it is
    expected, found = generator(*inputs), plain(*inputs)
    if not attributes:
        expected, found = (expected,), (found,)
    for one, other in zip(expected, found, strict=True):
        assert (one - other).abs().max() < 1e-5


def test_the_picture_reaches_the_head() -> None:
    generator = RealTimeGenerator(TINY)
    picture = torch.rand(1, 3, 16, 16)
    seen = nn.functional.conv2d(picture, generator.unshuffle, stride=2)
    assert torch.equal(seen, pixel_unshuffle(picture, 2))


def test_labels_do_nothing_until_trained_then_they_do() -> None:
    generator = RealTimeGenerator(TINY, attributes=3, mask=True)
    x, off, on = torch.rand(1, 3, 32, 32), torch.zeros(1, 3), torch.ones(1, 3)
    assert torch.equal(generator(x, off)[0], generator(x, on)[0])
    for block in generator.body:
        nn.init.normal_(block.condition.weight)
    assert not torch.allclose(generator(x, off)[0], generator(x, on)[0])


def test_records_without_a_shape_are_of_the_first_one(tmp_path: Path) -> None:
    for tier in TIERS:
        old = GeneratorSpec(name="g", architecture="cyclegan", tier=tier, options={"norm": "in", "activation": "relu"})
        save_generator(MobileGenerator(TIERS[tier]), old, tmp_path / "generator.safetensors")
        assert isinstance(load_generator(tmp_path)[0], MobileGenerator)


@pytest.mark.parametrize("tier", SHAPES)
def test_files_of_the_second_shape_go_there_and_back(tier: str, tmp_path: Path) -> None:
    generator = make_generator(joined(tier))
    save_generator(generator, joined(tier), tmp_path / "generator.safetensors")
    again, spec = load_generator(tmp_path)
    assert spec.options["shape"] == "joined"
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(again(x), generator.eval()(x))


def test_edge_has_batch_norm() -> None:
    needed = {"photos": "a", "paintings": "b", "out": "c", "tier": "edge"}
    assert make_config(CycleGANConfig, needed).norm == "bn"
    with pytest.raises(OptionError, match="without instance norm; give --norm bn or none"):
        make_config(CycleGANConfig, {**needed, "norm": "in"})
    with pytest.raises(OptionError, match="no transposed convolutions"):
        make_config(CycleGANConfig, {**needed, "shape": "transposed"})


def test_new_runs_are_balanced_and_old_ones_go_on_as_they_began(tmp_path: Path) -> None:
    values = {"photos": "a", "paintings": "b", "out": str(tmp_path)}
    assert make_config(CycleGANConfig, values).shape == "balanced"
    (tmp_path / "config.json").write_text(f'{{"photos": "a", "paintings": "b", "out": "{tmp_path}"}}')
    assert merge(CycleGANConfig, {"out": str(tmp_path)}, resume=True).shape == "transposed"


@pytest.mark.parametrize("shape", ["transposed", "balanced", "joined"])
def test_replicated_borders_give_a_plain_wall_no_pattern(shape: str) -> None:
    options = {"shape": shape, "padding": "replicate", "norm": "in"}
    size = SizeRule(multiple_of=8, minimum=16, preferred=(64, 64))
    torch.manual_seed(0)
    wall = torch.full((1, 3, 128, 128), 0.3)

    def unevenness(**changes: str) -> float:
        spec = GeneratorSpec(name="g", architecture="paired", tier="nano", options=options | changes, size=size)
        inside = make_generator(spec)(wall)[..., 16:-16, 16:-16]
        blocks = inside.unfold(2, 8, 8).unfold(3, 8, 8).mean((4, 5))  # the grid within is another matter
        return blocks.std((2, 3)).max().item()

    assert unevenness() < 1e-5 < 1e-3 < unevenness(padding="zeros")


def test_a_record_says_its_padding_and_an_export_keeps_it(photos: Path, tmp_path: Path) -> None:
    values = {"photos": "a", "paintings": "b", "out": "c", "tier": "nano", "padding": "replicate"}
    spec = image_to_image_spec(make_config(CycleGANConfig, values), "g")
    assert spec.options["padding"] == "replicate"
    assert "padding" not in image_to_image_spec(make_config(CycleGANConfig, values | {"padding": "zeros"}), "g").options
    report = export_onnx(
        make_generator(spec).eval(), spec, tmp_path / "g.onnx", sorted(photos.iterdir()), ExportOptions(dynamic=True)
    )
    assert report.passed
    pads = [node for node in onnx.load(tmp_path / "g.onnx").graph.node if node.op_type == "Pad"]
    assert pads and all(next(a for a in node.attribute if a.name == "mode").s == b"edge" for node in pads)


@pytest.mark.parametrize("tier", ["nano", "edge"])
def test_export_is_clean(tier: str, photos: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    generator = make_generator(joined(tier)).eval()
    report = export_onnx(
        generator, joined(tier), tmp_path / "g.onnx", sorted(photos.iterdir()), ExportOptions(dynamic=True)
    )
    assert report.passed
    kinds = {node.op_type for node in onnx.load(tmp_path / "g.onnx").graph.node}
    assert not kinds & {"Shape", "Reshape", "Transpose", "Slice", "BatchNormalization", "Mul"}
    assert ("InstanceNormalization" in kinds) == (tier == "nano")
    assert ("ConvTranspose" in kinds) == (tier == "nano")


def test_export_with_labels_and_a_mask(photos: Path, tmp_path: Path) -> None:
    spec = joined(attributes=AttributeInput(names=("Smiling",)), output=ImageOutput(kind="segment", mask="mask"))
    torch.manual_seed(0)
    generator = make_generator(spec).eval()
    for block in generator.body:
        nn.init.normal_(block.condition.weight)
    assert export_onnx(generator, spec, tmp_path / "g.onnx", sorted(photos.iterdir())).passed
