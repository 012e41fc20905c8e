"""Configuration of PSC-GAN."""

from __future__ import annotations

import shlex
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..data.label_groups import LabelLayout, load_layout
from .base import BatchSize, Positive, Weight
from .critic import CriticConfig
from .faces import FacesConfig
from .marks import MayChange, With, flag

STAGE1_OPTIONS = ("rec", "lambda_1", "stage1_epochs", "stage1_steps", "stage1_learning_rate", "stage1_beta1")


STAGE2_OPTIONS = (
    *("loss", "n_critic", "lambda_2", "map_init", "epochs", "decay_epochs", "steps", "decay_steps", "beta1"),
    *(
        "discriminator_learning_rate",
        "instance_noise",
        "discriminator_shift",
        "augment",
        "r1",
        "spectral_norm",
        "minimax",
    ),
)


class PSCGANConfig(FacesConfig, CriticConfig):
    """PSC-GAN: faces from noise and labels. An autoencoder first; then its halves start and steer a GAN."""

    method: Literal["psc-gan"] = "psc-gan"
    without_effect = frozenset({"tier", "shape", "padding", "norm", "activation", "start_from"})

    stage: Literal["1", "2", "both"] = Field(
        "both", description="1: autoencoder and label classifier; 2: the GAN, from --stage1; both: one after the other."
    )
    stage1: Annotated[str, MayChange] = Field("", description="For --stage 2: run folder whose autoencoder is taken.")
    baseline: Literal["psc", "vanilla", "pretrained", "concat", "cgan_d"] = Field(
        "psc",
        description="psc: the method; vanilla: a GAN without labels, from random weights; pretrained: the same from "
        "the decoder; concat: labels without a classifier; cgan_d: as concat, and the discriminator sees the labels.",
    )
    labels: str = Field(
        "faces", description="Label groups: faces, montage, or a JSON file; see train/data/label_layouts."
    )
    width: Positive = Field(64, description="Channels of the first layers; 32 is a quarter of the work.")
    latent: Positive = Field(100, description="Length of the noise.")
    rec: Literal["mse", "l1"] = Field("mse", description="Reconstruction loss of stage 1.")
    loss: str = Field("gan", description="Adversarial loss of stage 2: gan, lsgan, wgan-gp or hinge.")
    minimax: Annotated[bool, With("loss", ("gan",))] = Field(
        False, description="The generator minimises formula 4 as it is printed (min-max), which stalls early."
    )
    n_critic: Annotated[int, Field(ge=0)] = Field(
        0, description="Discriminator steps for each of the generator; 0: 5 with wgan-gp, else 1."
    )
    lambda_1: Weight = Field(1.0, description="Weight of the classification loss in stage 1.")
    lambda_2: Annotated[Weight, With("baseline", ("psc",)), MayChange] = Field(
        1.0, description="Weight of the condition loss in stage 2."
    )
    map_init: Literal["random", "codes"] = Field(
        "codes",
        description="How the linear map from noise and labels starts: fitted to the autoencoder's codes of the "
        "training faces (codes), so that the first pictures are faces already, or random, as in the paper.",
    )
    batch: BatchSize = Field(64, description="Batch size: pictures per step, in each process.")
    stage1_epochs: Positive = Field(50, description="Epochs of stage 1.")
    stage1_steps: Annotated[int, Field(ge=0)] = Field(0, description="Steps of stage 1; replaces --stage1-epochs.")
    epochs: Positive = Field(30, description="Epochs of stage 2 at the full learning rate.")
    decay_epochs: Annotated[int, Field(ge=0)] = Field(0, description="Epochs of linear decay to 0 after that.")
    steps: Annotated[int, Field(ge=0)] = Field(0, description="Steps of stage 2; replaces both epoch counts.")
    decay_steps: Annotated[int, Field(ge=0)] = Field(
        0, description="Number of steps at the end of training in which the learning rate decays."
    )
    stage1_learning_rate: Weight = Field(0.0, description="Adam's learning rate in stage 1; 0: the same.")
    stage1_beta1: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="Adam's first beta in stage 1.")
    discriminator_learning_rate: Annotated[Weight, MayChange] = Field(
        0.0, description="Adam's learning rate of the discriminator; 0: the same."
    )
    instance_noise: Annotated[Weight, MayChange] = Field(
        0.0,
        description="Standard deviation of noise added to all inputs of the discriminator, in units of [-1, 1]: "
        "against dots and grain in short runs; 0.1 is strong. Not in the paper.",
    )
    discriminator_shift: Annotated[int, Field(ge=0), MayChange] = Field(
        0, description="Pixels by which all that the discriminator sees is shifted at random. Not in the paper."
    )

    sample_epochs: Annotated[str, MayChange] = Field(
        "0,5,10,30", description="Epochs of stage 2 after which a sample grid is written too; the paper's figures."
    )

    @property
    def has_own_metrics(self) -> bool:
        """The success of the labels, where there are any."""
        return self.baseline not in ("vanilla", "pretrained")

    @property
    def layout(self) -> LabelLayout:
        """The label groups."""
        return load_layout(self.labels)

    @property
    def label_names(self) -> tuple[str, ...]:
        """The values of all groups."""
        return self.layout.names

    @property
    def has_stage1(self) -> bool:
        """Whether this run trains the autoencoder."""
        return self.stage != "2" and self.baseline != "vanilla"

    @property
    def next_command(self) -> str:
        """After stage 1 alone: stage 2."""
        if self.has_stage2:
            return super().next_command
        stage1, data, out = (shlex.quote(part) for part in (self.out, self.data, f"{self.out.rstrip('/')}-stage2"))
        same = "".join(
            f" {flag(name)} {shlex.quote(str(getattr(self, name)))}"
            for name in ("size", "width", "labels", "table", "identities", "holdout")
            if getattr(self, name) != type(self).model_fields[name].default
        )
        return f"engine train psc-gan --stage 2 --stage1 {stage1} --data {data} --out {out}{same}"

    @property
    def has_stage2(self) -> bool:
        """Whether this run trains the GAN."""
        return self.stage != "1"

    @model_validator(mode="after")
    def _stages_fit(self) -> PSCGANConfig:
        if self.size not in (64, 128, 256):
            raise ValueError(f"size must be 64, 128 or 256, got {self.size}")
        needs_stage1 = self.baseline != "vanilla"
        if self.stage == "2" and needs_stage1 and not self.stage1:
            raise ValueError(
                "stage 2 starts from the autoencoder of stage 1: give its run folder with --stage1, or use --stage both"
            )
        if self.stage1 and (self.stage != "2" or not needs_stage1):
            raise ValueError(
                "stage1 names an autoencoder that this run does not take; it belongs to --stage 2, and not to "
                "--baseline vanilla"
            )
        if self.stage == "1" and not needs_stage1:
            raise ValueError("baseline vanilla has no stage 1; use --stage 2 or both")
        for present, stage, names in ((self.has_stage1, 1, STAGE1_OPTIONS), (self.has_stage2, 2, STAGE2_OPTIONS)):
            for name in names:
                if not present and getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{flag(name)} belongs to stage {stage}, which this run does not train")
        return self
