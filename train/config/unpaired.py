"""Configurations of the methods that learn from two folders of unpaired pictures."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from .base import Positive, VGGScaling, Weight, last_part
from .critic import CriticConfig
from .marks import Alias, MayChange, With


class UnpairedConfig(CriticConfig):
    """What the methods share that learn a translation from two folders of unpaired pictures."""

    photos: Annotated[str, MayChange, Alias("source")] = Field(
        description="Folder or quoted glob of the source pictures, of whatever kind."
    )
    paintings: Annotated[str, MayChange, Alias("target")] = Field(
        description="Folder or quoted glob of the target pictures, of whatever kind."
    )
    names: str = Field(
        "photo,painting",
        description="What the two folders show, two words: for captions and the record, for example horse,zebra.",
    )
    loss: str = Field("lsgan", description="Adversarial loss: lsgan, gan, wgan-gp or hinge.")
    n_critic: Annotated[int, Field(ge=0)] = Field(
        0, description="Discriminator steps for each of the generator; 0: 5 with wgan-gp, else 1."
    )
    discriminator_width: Positive = Field(
        64, description="Channels of the PatchGAN's first layer; 32 is the light one, a quarter of the work."
    )
    discriminator_learning_rate: Annotated[Weight, MayChange] = Field(
        0.0,
        description="Adam's learning rate of the discriminators; 0: the same. Higher: stronger style in short runs.",
    )
    instance_noise: Annotated[Weight, MayChange] = Field(
        0.0,
        description="Standard deviation of noise added to all inputs of the discriminators, in units of [-1, 1]: hides "
        "faint patterns that fool a discriminator without showing to the eye; 0.1 is strong.",
    )
    pool: Annotated[int, Field(ge=0)] = Field(50, description="Generated pictures kept for each discriminator.")
    painting_zoom: Annotated[float, Field(ge=1), MayChange] = Field(
        1.0, description="Enlargement of the paintings over the photos: 2 doubles the width of a stroke."
    )

    @property
    def has_own_metrics(self) -> bool:
        """The gates of styles."""
        return True

    @property
    def domains(self) -> tuple[str, str]:
        """Names of the source and of the target."""
        source, target = (name.strip() for name in self.names.split(","))
        return source, target

    @model_validator(mode="after")
    def _two_domains(self) -> UnpairedConfig:
        names = [name.strip() for name in self.names.split(",")]
        if len(names) != 2 or not all(names) or names[0] == names[1]:
            raise ValueError(f"names takes two different words, for example horse,zebra; got '{self.names}'")
        return self

    @property
    def data_words(self) -> str:
        """Both domains."""
        return f"{last_part(self.photos)} to {last_part(self.paintings)}"

    @model_validator(mode="after")
    def _tier_translates_without_labels(self) -> UnpairedConfig:
        if self.tier in ("stargan", "growing"):
            raise ValueError(f"tier {self.tier} needs attributes; use nano, mobile, light, resnet6 or resnet9")
        return self


SemanticLayer = Literal["relu4_3", "relu3_3", "relu2_2"]

SemanticDistance = Literal["mse", "l1"]

SemanticOnly = With("variant", ("semantic", "hybrid"))

SEMANTIC_WEIGHTS: dict[VGGScaling, float] = {"caffe": 5e-5, "torchvision": 0.15}
"""Weights for the mean squared difference at relu4_3. Inputs divided by their deviation give features about 57
times smaller."""


class CycleGANConfig(UnpairedConfig):
    """CycleGAN between two folders of unpaired pictures."""

    method: Literal["cyclegan"] = "cyclegan"
    lambda_cyc: Annotated[Weight, MayChange] = Field(10.0, description="Weight of the cycle loss.")
    lambda_identity: Annotated[Weight, MayChange] = Field(
        0.5, description="Weight of the identity loss, as a share of lambda_cyc."
    )
    lambda_shift: Annotated[Weight, MayChange] = Field(
        0.0,
        description="Weight of the distance between the painting of a piece and that piece of the painting; not part "
        "of CycleGAN, but against patterns that stick to the generator's grid and shimmer when a camera pans.",
    )
    lambda_style: Annotated[Weight, MayChange] = Field(
        0.0,
        description="Weight of a style loss on VGG16 features from photo to painting; not part of CycleGAN, but "
        "short runs paint visibly with it. Needs --vgg.",
    )
    variant: Literal["base", "leaky", "semantic", "hybrid"] = Field(
        "base",
        description="base; leaky: LeakyReLU in both generators; semantic: a VGG16 loss between each picture and its "
        "reconstruction around the cycle, needs --vgg; hybrid: both.",
    )
    semantic_layer: Annotated[SemanticLayer, SemanticOnly] = Field(
        "relu4_3", description="VGG16 layer of the semantic loss."
    )
    semantic_distance: Annotated[SemanticDistance, SemanticOnly] = Field(
        "mse", description="Distance of the semantic loss: mse or l1."
    )
    semantic_crop: Annotated[int, Field(ge=0), SemanticOnly] = Field(
        0,
        description="Side of the random piece that the semantic loss looks at, in pixels; 0: all. In small runs on a "
        "CPU VGG16 costs more than the rest of a step.",
    )
    lambda_semantic: Annotated[Weight, MayChange] = Field(
        0.0,
        description="Weight of the semantic loss; 0: the variant's own, for relu4_3 and mse (5e-5 with caffe scaling, "
        "0.15 with torchvision).",
    )
    vgg: Annotated[str, MayChange] = Field(
        "", description="VGG16 convolutions (safetensors), for --lambda-style and --variant semantic."
    )
    vgg_scaling: VGGScaling = Field(
        "caffe",
        description="Input that the --vgg weights were trained for: caffe (0..255 minus the mean) or torchvision "
        "(0..1 minus mean, over deviation).",
    )
    warmup_steps: Annotated[int, Field(ge=0)] = Field(
        0, description="First steps in which the generators only learn to return their input (short runs start faster)."
    )

    @property
    def advice(self) -> str:
        """That the paper of the variants has other networks."""
        if self.variant == "base" or self.tier == "resnet9":
            return ""
        return f"tier {self.tier} is a network of this program; those of the paper of --variant: --tier resnet9"

    @property
    def semantic_weight(self) -> float:
        """Weight of the semantic loss; 0: the variant has none."""
        if self.variant not in ("semantic", "hybrid"):
            return 0.0
        return self.lambda_semantic or SEMANTIC_WEIGHTS[self.vgg_scaling]

    @model_validator(mode="before")
    @classmethod
    def _leaky_variants_are_leaky(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("variant") in ("leaky", "hybrid"):
            if values.get("activation", "leaky") != "leaky":
                raise ValueError(f"variant {values['variant']} has leaky generators; give --activation leaky or none")
            return {**values, "activation": "leaky"}
        return values

    @model_validator(mode="after")
    def _vgg_terms_fit(self) -> CycleGANConfig:
        weights = "a safetensors file with VGG16's convolutions"
        if self.vgg and not self.lambda_style and not self.semantic_weight:
            raise ValueError("--vgg has no effect without --lambda-style or --variant semantic or hybrid")
        if self.vgg_scaling != "caffe" and not self.vgg:
            raise ValueError("--vgg-scaling has no effect without --vgg")
        if self.lambda_style and not self.vgg:
            raise ValueError(f"lambda_style needs --vgg: {weights}")
        if self.semantic_weight and not self.vgg:
            raise ValueError(f"variant {self.variant} needs --vgg: {weights}")
        if self.lambda_semantic and not self.semantic_weight:
            raise ValueError(f"variant {self.variant} has no semantic loss; use --variant semantic or hybrid")
        if self.semantic_crop > self.size:
            raise ValueError(f"semantic_crop {self.semantic_crop} is larger than the training crop, size {self.size}")
        if self.semantic_weight and not self.lambda_semantic:
            other = f"{self.semantic_layer}, {self.semantic_distance}"
            if other != "relu4_3, mse":
                raise ValueError(
                    f"lambda_semantic has no default for {other}; give it, as loss and weight depend on the features' "
                    "size (on photos l1 at relu4_3 is as strong with 0.01, mse at relu3_3 and relu2_2 with 2e-6)"
                )
        return self


class DistillConfig(UnpairedConfig):
    """A real-time tier that learns from a trained CycleGAN.

    It is trained on the same two folders as its teacher.
    """

    method: Literal["distill"] = "distill"
    teacher: Annotated[str, MayChange] = Field(
        description="Checkpoint (.safetensors) or run folder of the trained teacher."
    )
    lambda_output: Annotated[Weight, MayChange] = Field(
        10.0, description="Weight of the L1 distance to the teacher's output."
    )
    lambda_feature: Annotated[Weight, MayChange] = Field(
        1.0, description="Weight of the squared distance to the teacher's features."
    )
