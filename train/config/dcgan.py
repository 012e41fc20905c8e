"""Configuration of DCGAN and the survey's seven losses."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .base import BatchSize, Positive, Side, Weight
from .critic import CriticConfig
from .faces import AttributeConfig
from .marks import MayChange, NotWith, With

OTHER_LOSSES = ("gan", "cgan", "wgan", "wgan-gp", "lsgan", "hinge", "attribute")
"""The losses whose critic is not an autoencoder."""


class DCGANConfig(AttributeConfig, CriticConfig):
    """DCGAN from noise, with a choice of adversarial losses.

    The common test bed for them: the networks are the same for all.
    """

    method: Literal["dcgan"] = "dcgan"
    tier: Annotated[Literal["dcgan", "began"], NotWith("loss", OTHER_LOSSES)] = Field(  # type: ignore[assignment]
        "dcgan",
        description="Networks: dcgan, on which all losses are compared, or began, BEGAN's own, for --loss began and "
        "ebgan; --config began has its published sizes.",
    )
    without_effect = frozenset({"shape", "padding", "norm", "activation"})
    loss: Literal["gan", "cgan", "wgan", "wgan-gp", "ebgan", "began", "lsgan", "hinge", "attribute"] = Field(
        "gan",
        description="Adversarial loss: gan, cgan, wgan, wgan-gp, ebgan, began, lsgan, hinge, or attribute, ACL-GAN's.",
    )
    attributes: Annotated[str, With("loss", ("cgan", "attribute"))] = Field(
        "Male,Smiling",
        description="Columns whose combinations are the classes of cgan; with attribute, the attributes.",
    )
    classes: Annotated[str, With("loss", ("cgan", "attribute"))] = Field(
        "",
        description="Subfolders of --data that are the classes of cgan, for example cats,dogs, in place of a table and "
        "--attributes; with attribute, each is an attribute.",
    )
    size: Annotated[Side, Field(ge=16)] = Field(64, description="Side of the pictures: 16, 32, 64, 128 or 256.")
    width: Positive = Field(
        64, description="Channels of the layers next to the picture, in both networks; 16 suits a CPU."
    )
    latent: Positive = Field(100, description="Length of the noise.")
    noise: Literal["uniform", "normal"] = Field("uniform", description="Noise: uniform in [-1, 1], or normal.")
    code: Annotated[Positive, With("loss", ("ebgan", "began"))] = Field(
        64, description="With ebgan and began: length of the autoencoder's code."
    )
    critic_norm: Annotated[Literal["", "in", "bn", "none"], NotWith("tier", ("began",))] = Field(
        "", description="Norm of the critic: in, bn or none; default: in with wgan-gp, none with began, else bn."
    )

    batch: BatchSize = Field(64, description="Batch size: pictures per step, in each process.")
    epochs: Positive = Field(25, description="Epochs at the full learning rate.")
    decay_epochs: Annotated[int, Field(ge=0)] = Field(0, description="Epochs of linear decay to 0 after that.")
    decay_steps: Annotated[int, Field(ge=-1)] = Field(
        -1,
        description="Number of steps at the end in which the learning rate decays; -1: none, 0: the second half.",
    )
    optimizer: Literal["", "adam", "rmsprop"] = Field(
        "", description="Optimiser: adam or rmsprop; default: rmsprop with wgan, else adam."
    )
    learning_rate: Weight = Field(
        0.0, description="Learning rate; 0: 5e-5 with wgan, 1e-4 with wgan-gp and began, else 2e-4."
    )
    beta1: Annotated[float, Field(ge=-1, lt=1)] = Field(
        -1.0, description="Adam's first beta; -1: 0 with wgan-gp and wgan, else 0.5."
    )
    n_critic: Annotated[int, Field(ge=0)] = Field(
        0, description="Critic steps for each of the generator; 0: 5 with wgan and wgan-gp, else 1."
    )

    minimax: Annotated[bool, With("loss", ("gan", "cgan"))] = Field(
        False, description="gan, cgan: the saturating generator loss of the min-max game."
    )
    clip: Annotated[float, Field(gt=0), With("loss", ("wgan",))] = Field(
        0.01, description="wgan: bound of the critic's parameters."
    )
    lambda_gp: Annotated[Weight, With("loss", ("wgan-gp",)), MayChange] = Field(
        10.0, description="wgan-gp: weight of the gradient penalty."
    )
    margin: Annotated[float, Field(gt=0), With("loss", ("ebgan",))] = Field(
        1.0, description="ebgan: margin on the energy of fakes."
    )
    pulling_away: Annotated[Weight, With("loss", ("ebgan",))] = Field(
        0.0, description="ebgan: weight of the pulling-away term; 0.1 is the published one."
    )
    gamma: Annotated[float, Field(gt=0, le=1), With("loss", ("began",))] = Field(
        0.5, description="began: target ratio of fake to real error (gamma); lower gives less variety."
    )
    exponent: Annotated[Literal[1, 2], With("loss", ("began",))] = Field(
        1, description="began: exponent of the reconstruction error, 1 as published or 2."
    )
    lambda_k: Annotated[Weight, With("loss", ("began",))] = Field(0.001, description="began: speed of the balance k.")
    patience: Annotated[int, Field(ge=0), With("loss", ("began",))] = Field(
        0,
        description="began: halve the learning rate after this many generator steps without progress; 0: never.",
    )
    lsgan_targets: Annotated[str, With("loss", ("lsgan",))] = Field(
        "0,1,1", description="lsgan: labels a (fakes), b (real pictures) and c (target of the generator)."
    )

    @property
    def needs_labels(self) -> bool:
        """Whether the data must have an attribute table."""
        return self.loss in ("cgan", "attribute")

    @property
    def label_names(self) -> tuple[str, ...]:
        """The attributes where the loss takes them; else none, and the table need not have such columns."""
        return self.attribute_names if self.needs_labels else ()

    @property
    def target_values(self) -> tuple[float, float, float]:
        """LSGAN's a, b, c."""
        a, b, c = (float(part) for part in self.lsgan_targets.split(","))
        return a, b, c

    @model_validator(mode="after")
    def _options_fit_the_loss(self) -> DCGANConfig:
        if self.size not in (16, 32, 64, 128, 256):
            raise ValueError(f"size must be 16, 32, 64, 128 or 256, got {self.size}")
        if self.loss == "wgan" and self.optimizer == "adam" and self.beta1 > 0:
            raise ValueError(
                f"wgan clips weights, and with momentum (Adam, beta1 {self.beta1:g}) training becomes unstable; use "
                "rmsprop, adam with beta1 0, or wgan-gp"
            )
        if self.beta1 > 0 and (self.optimizer or ("rmsprop" if self.loss == "wgan" else "adam")) == "rmsprop":
            raise ValueError("beta1 belongs to adam; rmsprop has none")
        try:
            a, b, _ = self.target_values
        except ValueError as error:
            raise ValueError(f"lsgan_targets takes three numbers a,b,c, got '{self.lsgan_targets}'") from error
        if a == b:
            raise ValueError(f"lsgan_targets gives fakes and real pictures the same label, {a:g}")
        if self.r1 and self.loss == "attribute":
            raise ValueError("r1 has no effect with attribute; leave it out")
        if self.loss == "began" and self.accumulate > 1:
            raise ValueError("began weighs the errors of whole batches; leave accumulate out")
        if self.pulling_away and self.batch < 2:
            raise ValueError("pulling_away compares pictures of a batch; it needs a batch of 2 or more")
        return self
