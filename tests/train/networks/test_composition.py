"""Frame, mask and composition: the border is untouched to the last bit."""

from __future__ import annotations

import pytest
import torch

from ganlens.engine.spec import AttributeInput, GeneratorSpec, ImageOutput
from ganlens.train.networks import make_generator
from ganlens.train.networks.composition import compose, edit, frame_mask, total_variation


@pytest.mark.parametrize("tier", ["nano", "stargan"])
@pytest.mark.parametrize("border", [0, 2, 5])
@torch.no_grad()
def test_the_border_equals_the_input_bit_for_bit(tier: str, border: int) -> None:
    torch.manual_seed(0)
    spec = GeneratorSpec(
        name="g",
        architecture="acl-gan",
        tier=tier,
        options={"width": 4} if tier == "stargan" else {},
        attributes=AttributeInput(names=("Smiling",), complement=True),
        output=ImageOutput(kind="segment", mask="mask"),
    )
    x = torch.rand(2, 3, 32, 40) * 2 - 1
    image, mask, raw, _ = edit(make_generator(spec), x, torch.tensor([[1.0, 0.0], [0.0, 1.0]]), border)
    assert mask is not None and raw is not None
    inside = torch.zeros(32, 40, dtype=torch.bool)
    inside[border : 32 - border, border : 40 - border] = True
    assert float((image - x).abs()[:, :, ~inside].max() if border else 0) == 0.0
    assert bool((mask[:, :, ~inside] == 0).all())
    assert torch.equal(mask[:, :, inside], raw[:, :, inside]) and bool((raw > 0).all())
    assert bool((image != x)[:, :, inside].any())


def test_composition() -> None:
    x, segment = torch.full((1, 3, 2, 2), -0.5), torch.full((1, 3, 2, 2), 1.0)
    mask = torch.tensor([[[[0.0, 0.25], [0.5, 1.0]]]])
    assert torch.equal(compose(x, segment, mask)[0, 0], torch.tensor([[-0.5, -0.125], [0.25, 1.0]]))


def test_the_frame_keeps_the_mask_inside() -> None:
    mask = torch.rand(1, 1, 8, 8)
    framed = frame_mask(mask, 2)
    assert torch.equal(framed[:, :, 2:-2, 2:-2], mask[:, :, 2:-2, 2:-2])
    assert framed.sum() == mask[:, :, 2:-2, 2:-2].sum()
    assert frame_mask(mask, 0) is mask


def test_a_generator_without_mask_passes_through() -> None:
    spec = GeneratorSpec(name="g", architecture="stargan", tier="nano", attributes=AttributeInput(names=("Male",)))
    generator = make_generator(spec)
    x, att = torch.rand(1, 3, 16, 16), torch.ones(1, 1)
    image, mask, _, _ = edit(generator, x, att)
    assert mask is None
    assert torch.equal(image, generator(x, att))


def test_total_variation() -> None:
    ramp = torch.arange(4.0).repeat(3, 1)[None, None]  # 1 per step across, 0 down
    assert total_variation(ramp) == 1
