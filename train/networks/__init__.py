"""The networks, and the table from a generator's name to its factory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast, get_args

from torch import nn

from ganlens.engine.errors import ModelFileError, did_you_mean
from ganlens.engine.spec import GeneratorSpec

from ..config import Activation, NetworkShape, Norm, Padding, parse_window
from .began import BEGANGenerator, began_critic
from .classifier import AttributeClassifier
from .dcgan import AutoencoderCritic, DCGANGenerator, ScoreCritic, autoencoder_critic
from .growing import GrowingDiscriminator, GrowingGenerator
from .layers import replicate_borders
from .mobile import TIERS, MobileGenerator, Tier
from .patchgan import PatchGAN
from .psc_gan import FaceAsLabelled, LabelledGenerator
from .realtime import SHAPES, RealTimeGenerator
from .resnet import ResNetGenerator
from .stargan import AttributeDiscriminator, StarGANDiscriminator, StarGANGenerator, WindowedDiscriminator
from .unet import UNetGenerator
from .window import WindowedGenerator

__all__ = [
    "GENERATORS",
    "SHAPES",
    "TIERS",
    "AttributeClassifier",
    "AttributeDiscriminator",
    "AutoencoderCritic",
    "BEGANGenerator",
    "DCGANGenerator",
    "FaceAsLabelled",
    "GeneratorEntry",
    "GrowingDiscriminator",
    "GrowingGenerator",
    "LabelledGenerator",
    "MobileGenerator",
    "PatchGAN",
    "RealTimeGenerator",
    "ResNetGenerator",
    "ScoreCritic",
    "StarGANDiscriminator",
    "StarGANGenerator",
    "Tier",
    "UNetGenerator",
    "WindowedDiscriminator",
    "WindowedGenerator",
    "autoencoder_critic",
    "began_critic",
    "make_generator",
]

Factory = Callable[[GeneratorSpec], nn.Module]


def _real_time(spec: GeneratorSpec) -> nn.Module:
    generator = _tier(spec)
    if _choice(spec, "padding", get_args(Padding)) == "replicate":
        replicate_borders(generator)
    return generator


def _tier(spec: GeneratorSpec) -> nn.Module:
    options: dict[str, Any] = {
        "norm": _choice(spec, "norm", get_args(Norm)),
        "activation": _choice(spec, "activation", get_args(Activation)),
        "attributes": spec.attributes.length if spec.attributes else 0,
        "mask": spec.output.mask is not None,
    }
    if _choice(spec, "shape", get_args(NetworkShape)) == "joined" or spec.tier not in TIERS:
        generator = RealTimeGenerator(SHAPES[spec.tier], flow=float(spec.options.get("flow", 0.0)), **options)
        window = parse_window(str(spec.options.get("window", "")))
        return generator if window is None else WindowedGenerator(generator, window)
    balanced = _choice(spec, "shape", get_args(NetworkShape)) == "balanced"
    labelled_head = bool(spec.options.get("labelled_head", False))
    return MobileGenerator(TIERS[spec.tier], balanced=balanced, labelled_head=labelled_head, **options)


def _resnet(blocks: int) -> Factory:
    def make(spec: GeneratorSpec) -> nn.Module:
        activation = cast(Activation, _choice(spec, "activation", get_args(Activation)))
        norm = cast(Norm, _choice(spec, "norm", get_args(Norm)))
        return ResNetGenerator(blocks, norm=norm, activation=activation, width=int(spec.options.get("width", 64)))

    return make


def _unet(downs: int) -> Factory:
    def make(spec: GeneratorSpec) -> nn.Module:
        norm = cast(Norm, str(spec.options.get("norm", "bn")))
        return UNetGenerator(downs, norm=norm, width=int(spec.options.get("width", 64)))

    return make


def _stargan(spec: GeneratorSpec) -> nn.Module:
    return StarGANGenerator(
        spec.attributes.length if spec.attributes else 0,
        mask=spec.output.mask is not None,
        width=int(spec.options.get("width", 64)),
    )


def _growing(spec: GeneratorSpec) -> nn.Module:
    resolution = spec.size.preferred[0]
    generator = GrowingGenerator(
        spec.attributes.length if spec.attributes else 0,
        int(spec.options.get("size", resolution)),
        int(spec.options.get("width", 256)),
    )
    generator.stand(resolution, float(spec.options.get("alpha", 1.0)))
    return generator


def _dcgan(spec: GeneratorSpec) -> nn.Module:
    return DCGANGenerator(
        spec.latent.dim if spec.latent else 100,
        spec.attributes.length if spec.attributes else 0,
        spec.size.preferred[0],
        int(spec.options.get("width", 64)),
    )


def _began(spec: GeneratorSpec) -> nn.Module:
    latent = spec.latent.dim if spec.latent else 64
    return BEGANGenerator(latent, spec.size.preferred[0], int(spec.options.get("width", 128)))


def _psc_gan(spec: GeneratorSpec) -> nn.Module:
    size, width = spec.size.preferred[0], int(spec.options.get("width", 64))
    latent = int(spec.options.get("latent", 100))
    if spec.image is not None:
        groups = spec.attributes.groups if spec.attributes else ()
        return FaceAsLabelled(size, [len(group) for group in groups], latent, width)
    return LabelledGenerator(size, spec.attributes.length if spec.attributes else 0, latent, width)


class GeneratorEntry(NamedTuple):
    """A generator network: how it is made for a record, and its class."""

    make: Factory
    network: type[nn.Module]

    @property
    def multiple_of(self) -> int:
        """The sides of its pictures must be multiples of this."""
        return int(getattr(self.network, "multiple_of", 1))


GENERATORS: dict[str, GeneratorEntry] = {
    "nano": GeneratorEntry(_real_time, RealTimeGenerator),
    "mobile": GeneratorEntry(_real_time, RealTimeGenerator),
    "light": GeneratorEntry(_real_time, RealTimeGenerator),
    "edge": GeneratorEntry(_real_time, RealTimeGenerator),
    "resnet6": GeneratorEntry(_resnet(6), ResNetGenerator),
    "resnet9": GeneratorEntry(_resnet(9), ResNetGenerator),
    "unet128": GeneratorEntry(_unet(7), UNetGenerator),
    "unet256": GeneratorEntry(_unet(8), UNetGenerator),
    "stargan": GeneratorEntry(_stargan, StarGANGenerator),
    "growing": GeneratorEntry(_growing, GrowingGenerator),
    "psc-gan": GeneratorEntry(_psc_gan, LabelledGenerator),
    "dcgan": GeneratorEntry(_dcgan, DCGANGenerator),
    "began": GeneratorEntry(_began, BEGANGenerator),
}
"""Tier name → network. A new generator is one line here."""


def make_generator(spec: GeneratorSpec) -> nn.Module:
    """A freshly initialised generator for a record.

    Raises:
        ModelFileError: the tier is unknown or one of its options has no such value.
    """
    entry = GENERATORS.get(spec.tier)
    if entry is None:
        raise ModelFileError(f"No generator is called '{spec.tier}'. {did_you_mean(spec.tier, GENERATORS)}")
    return entry.make(spec)


def _choice(spec: GeneratorSpec, option: str, known: tuple[str, ...]) -> str:
    value = str(spec.options.get(option, known[0]))
    if value not in known:
        raise ModelFileError(f"Option {option} of '{spec.name}' is '{value}'; expected one of {', '.join(known)}.")
    return value
