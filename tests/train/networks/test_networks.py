"""Parameter counts of the published and specified networks; output shapes; labels and masks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ganlens.engine.errors import ModelFileError, TrainingError
from ganlens.engine.spec import AttributeInput, GeneratorSpec, ImageOutput
from ganlens.train.networks import (
    GENERATORS,
    TIERS,
    AttributeDiscriminator,
    MobileGenerator,
    PatchGAN,
    ResNetGenerator,
    StarGANDiscriminator,
    StarGANGenerator,
    make_generator,
)
from ganlens.train.networks.layers import LEAKY_SLOPE


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (ResNetGenerator(9), 11_378_179),
        (ResNetGenerator(6), 7_837_699),
        (PatchGAN(64), 2_764_737),
        (MobileGenerator(TIERS["nano"]), 362_764),
        (MobileGenerator(TIERS["mobile"]), 813_324),
        (MobileGenerator(TIERS["light"]), 1_738_764),
        (MobileGenerator(TIERS["nano"], attributes=14, mask=True), 371_024),
        (MobileGenerator(TIERS["mobile"], attributes=14, mask=True), 825_712),
        (MobileGenerator(TIERS["light"], attributes=14, mask=True), 1_759_120),
        (StarGANGenerator(5), 8_430_528),
        (StarGANDiscriminator(128, 5), 44_762_048),
        # ACL-GAN: 9 more label planes into 7x7x64, a fourth plane out; the patch head goes, 9 more attribute heads come
        (StarGANGenerator(14, mask=True), 8_430_528 + 49 * 64 * 9 + 49 * 64),
        (AttributeDiscriminator(128, 14), 44_762_048 - 9 * 2048 + 4 * 2048 * 9),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else str(value),
)
def test_parameter_counts(network: nn.Module, parameters: int) -> None:
    assert count(network) == parameters


FROM_PICTURES = sorted(set(GENERATORS) - {"growing", "dcgan", "began", "psc-gan"})  # those need labels or noise


@pytest.mark.parametrize("tier", FROM_PICTURES)
def test_generators_keep_the_size_and_the_range(tier: str) -> None:
    generator = make_generator(GeneratorSpec(name="g", architecture="cyclegan", tier=tier)).eval()
    step = int(getattr(generator, "multiple_of", 4))
    height, width = max(32, step), max(48, step)
    y = generator(torch.rand(1, 3, height, width) * 2 - 1)
    assert y.shape == (1, 3, height, width)
    assert y.abs().max() <= 1


@pytest.mark.parametrize("norm", ["in", "bn", "none"])
def test_norms(norm: str) -> None:
    spec = GeneratorSpec(name="g", architecture="cyclegan", tier="nano", options={"norm": norm})
    generator = make_generator(spec)
    kinds = {"in": nn.InstanceNorm2d, "bn": nn.BatchNorm2d}
    found = {
        kind for kind in (nn.InstanceNorm2d, nn.BatchNorm2d) if any(isinstance(m, kind) for m in generator.modules())
    }
    assert found == ({kinds[norm]} if norm in kinds else set())
    y = generator(torch.rand(2, 3, 32, 32) * 2 - 1)
    assert 0.01 < y.std() < 1  # the initialisation neither kills nor saturates the signal


def test_leaky_replaces_every_relu_and_adds_no_parameter() -> None:
    for tier in ("mobile", "resnet6"):
        plain = make_generator(GeneratorSpec(name="g", architecture="cyclegan", tier=tier))
        spec = GeneratorSpec(name="g", architecture="cyclegan", tier=tier, options={"activation": "leaky"})
        leaky = make_generator(spec)
        slopes = {module.negative_slope for module in leaky.modules() if isinstance(module, nn.LeakyReLU)}
        assert slopes == {LEAKY_SLOPE}
        assert not any(isinstance(module, nn.ReLU) for module in leaky.modules())
        assert count(leaky) == count(plain)


@pytest.mark.parametrize(("size", "remaining"), [(32, 1), (64, 1), (96, 1), (128, 2), (256, 4)])
def test_discriminators_take_square_pictures_of_many_sizes(size: int, remaining: int) -> None:
    x = torch.rand(2, 3, size, size)
    source, logits = StarGANDiscriminator(size, 3, width=2)(x)
    assert source.shape == (2, 1, remaining, remaining)
    assert logits.shape == (2, 3)
    assert AttributeDiscriminator(size, 6, width=2)(x).shape == (2, 6)


def test_too_small_pictures_are_refused() -> None:
    with pytest.raises(TrainingError, match="at least 32 px, got 16"):
        AttributeDiscriminator(16, 3)


def test_stargan_generator_reads_its_labels() -> None:
    torch.manual_seed(0)
    generator = StarGANGenerator(2, width=4)
    x = torch.rand(1, 3, 32, 32)
    y = generator(x, torch.zeros(1, 2))
    assert y.shape == x.shape
    assert not torch.allclose(y, generator(x, torch.ones(1, 2)), atol=1e-4)


def test_labels_do_nothing_until_trained_then_they_do() -> None:
    generator = MobileGenerator(TIERS["nano"], attributes=3, mask=True)
    x = torch.rand(1, 3, 32, 32)
    off, on = torch.zeros(1, 3), torch.ones(1, 3)
    segment, mask = generator(x, off)
    assert segment.shape == (1, 3, 32, 32)
    assert mask.shape == (1, 1, 32, 32)
    assert 0 <= mask.min() <= mask.max() <= 1
    assert torch.equal(segment, generator(x, on)[0])
    for block in generator.body:
        nn.init.normal_(block.condition.weight)
    assert not torch.allclose(generator(x, off)[0], generator(x, on)[0])


def test_the_record_decides_labels_and_mask() -> None:
    attributes = AttributeInput(names=("Smiling", "Male"), complement=True)
    spec = GeneratorSpec(
        name="g",
        architecture="acl-gan",
        tier="nano",
        attributes=attributes,
        output=ImageOutput(kind="segment", mask="mask"),
    )
    generator = make_generator(spec)
    assert generator.attributes == 4
    assert generator.mask


def test_unknown_tier_names_the_nearest() -> None:
    with pytest.raises(ModelFileError, match="Did you mean mobile"):
        make_generator(GeneratorSpec(name="g", architecture="cyclegan", tier="mobil"))


def test_unknown_option_value_is_refused() -> None:
    spec = GeneratorSpec(name="g", architecture="cyclegan", tier="nano", options={"norm": "layer"})
    with pytest.raises(ModelFileError, match="norm of 'g' is 'layer'; expected one of in, bn, none"):
        make_generator(spec)


def test_patchgan_sees_70_pixels() -> None:
    discriminator = PatchGAN(8)
    assert discriminator(torch.zeros(1, 3, 256, 256)).shape == (1, 1, 30, 30)
    x = torch.rand(1, 3, 128, 128, requires_grad=True)
    convolutions = nn.Sequential(*[m for m in discriminator.layers if not isinstance(m, nn.InstanceNorm2d)])
    convolutions(x)[0, 0, 7, 7].backward()  # norms see the whole picture; the receptive field is the convolutions'
    rows = x.grad.abs().sum((0, 1, 3)).nonzero()
    assert rows.max() - rows.min() + 1 == 70


@pytest.mark.parametrize("norm", ["in", "bn", "none"])
def test_a_resnet_has_the_norm_of_its_record(norm: str) -> None:
    spec = GeneratorSpec(name="g", architecture="cyclegan", tier="resnet6", options={"norm": norm, "width": 4})
    layers = list(make_generator(spec).modules())
    kinds = {"in": nn.InstanceNorm2d, "bn": nn.BatchNorm2d}
    assert sum(isinstance(layer, nn.InstanceNorm2d | nn.BatchNorm2d) for layer in layers) == (
        0 if norm == "none" else 17
    )
    assert norm == "none" or sum(isinstance(layer, kinds[norm]) for layer in layers) == 17
    *inner, head = (layer for layer in layers if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d))
    assert {layer.bias is None for layer in inner} == {norm == "bn"} and head.bias is not None
