import math

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from ganlens.engine.spec import AttributeInput, GeneratorSpec, ImageOutput, Parity
from ganlens.export.parity import MAX_DB, THRESHOLDS, Threshold, decibels, measure, sample_attributes, worst

SPEC = GeneratorSpec(name="scale", architecture="test")


class Identity(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class WithMask(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, torch.full_like(x[:, :1], 0.5)


def graph(nodes: list[onnx.NodeProto], *, mask: bool = False, **constants: float) -> bytes:
    image = [1, 3, 4, 4]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, image)]
    if mask:
        outputs.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, [1, 1, 4, 4]))
    made = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, image)],
        outputs,
        [helper.make_tensor(name, TensorProto.FLOAT, [], [value]) for name, value in constants.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def feeds(*values: float) -> list[dict[str, np.ndarray]]:
    ramp = np.linspace(-1, 1, 48, dtype=np.float32).reshape(1, 3, 4, 4)
    return [{"x": ramp * np.float32(value)} for value in values]


def test_equal_graphs_are_identical_and_their_figures_survive_json() -> None:
    parity = measure(Identity(), graph([helper.make_node("Identity", ["x"], ["y"])]), SPEC, feeds(1, 0.5))
    assert parity == Parity(inputs="pictures", images=2, max_abs=0, psnr_db=MAX_DB, cosine=parity.cosine, snr_db=MAX_DB)
    assert parity.cosine == pytest.approx(1)
    assert Parity.model_validate_json(parity.model_dump_json()) == parity


def test_the_figures_are_those_of_the_formulas() -> None:
    shifted = graph([helper.make_node("Add", ["x", "c"], ["y"])], c=0.01)
    parity = measure(Identity(), shifted, SPEC, feeds(1))
    x = feeds(1)[0]["x"].astype(np.float64)
    assert parity.max_abs == pytest.approx(0.01, rel=1e-4)
    assert parity.psnr_db == pytest.approx(20 * math.log10(2 / 0.01), abs=1e-3)
    assert parity.snr_db == pytest.approx(10 * math.log10(x.var() / 0.01**2), abs=1e-3)


def test_the_worst_picture_decides() -> None:
    scaled = graph([helper.make_node("Mul", ["x", "c"], ["y"])], c=1.1)
    small, large, both = (measure(Identity(), scaled, SPEC, feeds(*v)) for v in ((0.1,), (1.0,), (0.1, 1.0)))
    assert both.max_abs == large.max_abs > small.max_abs
    assert both.psnr_db == large.psnr_db < small.psnr_db
    assert worst([small, large]).psnr_db == large.psnr_db


def test_other_value_ranges_are_measured_in_units_of_minus_one_to_one() -> None:
    shifted = graph([helper.make_node("Add", ["x", "c"], ["y"])], c=1.0)
    spec = SPEC.model_copy(update={"value_range": (0.0, 255.0)})
    assert measure(Identity(), shifted, spec, feeds(100)).max_abs == pytest.approx(2 / 255, rel=1e-4)


def test_a_wrong_mask_is_seen() -> None:
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Expand", ["c", "shape"], ["mask"])]
    nodes.insert(0, helper.make_node("Constant", [], ["shape"], value_ints=[1, 1, 4, 4]))
    spec = SPEC.model_copy(update={"output": ImageOutput(mask="mask")})
    assert measure(WithMask(), graph(nodes, mask=True, c=0.5), spec, feeds(1)).max_abs == 0
    parity = measure(WithMask(), graph(nodes, mask=True, c=0.6), spec, feeds(1))
    assert parity.max_abs == pytest.approx(0.2, rel=1e-4)
    assert parity.snr_db == MAX_DB


@pytest.mark.parametrize("precision", list(THRESHOLDS))
def test_a_graph_that_answers_with_nan_fails_every_gate(precision: str) -> None:
    broken = graph([helper.make_node("Div", ["x", "c"], ["h"]), helper.make_node("Mul", ["h", "c"], ["y"])], c=0.0)
    parity = measure(Identity(), broken, SPEC, feeds(1))
    assert THRESHOLDS[precision].failures(parity)  # type: ignore[index]


def test_thresholds_say_what_failed() -> None:
    parity = Parity(images=1, max_abs=0.02, psnr_db=35, cosine=1, snr_db=20)
    assert THRESHOLDS["fp32"].failures(parity) == ["max abs 2.00e-02 > 1e-03"]
    assert THRESHOLDS["fp16"].failures(parity) == ["PSNR 35.0 dB < 40 dB"]
    assert THRESHOLDS["int8"].failures(parity) == []
    assert Threshold(max_abs=0.02).failures(parity) == []


def test_decibels_stay_finite() -> None:
    assert decibels(1, 0) == MAX_DB
    assert decibels(0, 1) == -MAX_DB
    assert decibels(100, 1) == pytest.approx(20)


@pytest.mark.parametrize("exactly_one", [True, False])
def test_sampled_attributes_keep_to_their_groups(exactly_one: bool) -> None:
    attributes = AttributeInput(
        names=("a", "b", "c", "free"), groups=(("a", "b", "c"),), exactly_one=exactly_one, complement=True
    )
    random = np.random.default_rng(0)
    drawn = np.concatenate([sample_attributes(attributes, random) for _ in range(200)])
    assert drawn.shape == (200, attributes.length)
    np.testing.assert_array_equal(drawn[:, 4:], 1 - drawn[:, :4])
    assert set(drawn[:, :3].sum(1)) == ({1.0} if exactly_one else {0.0, 1.0})
    assert set(drawn[:, 3]) == {0.0, 1.0}
    assert (drawn[:, :3].sum(0) > 20).all()
