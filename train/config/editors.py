"""Configurations of the methods that edit attributes of faces."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .base import JPEG, Positive, Weight
from .critic import CriticConfig
from .faces import AttributeConfig
from .marks import MayChange, NotWith, With


class EditorConfig(AttributeConfig):
    """What the methods share that edit attributes."""

    steps: Annotated[int, Field(ge=0)] = Field(200_000, description="Total steps; 0: count epochs.")
    decay_steps: Annotated[int, Field(ge=0)] = Field(
        0, description="Number of steps at the end of training in which the learning rate decays; 0: the second half."
    )
    generator_width: Annotated[Positive, With("tier", ("stargan", "growing"))] = Field(
        64, description="Channels of the first layer, for the tiers stargan and growing."
    )
    discriminator_width: Positive = Field(
        64, description="Channels of the discriminator's first layer; 32 is a quarter of the work, 16 a sixteenth."
    )
    discriminator_layers: Annotated[int, Field(ge=3, le=6), NotWith("tier", ("growing",))] = Field(
        6, description="Layers of the discriminator; 4 are several times faster on a CPU, at 64 px."
    )
    discriminator_learning_rate: Annotated[Weight, MayChange] = Field(
        0.0, description="Adam's learning rate of the discriminator; 0: the same."
    )
    n_critic: Annotated[int, Field(ge=0)] = Field(
        0, description="Discriminator steps for each of the generator; 0: 5 with wgan-gp, else 1."
    )
    lambda_gp: Annotated[float, Field(ge=-1), MayChange] = Field(
        -1.0, description="Weight of the gradient penalty; 0: none, -1: its published one."
    )
    targets: Literal["permute", "coin", "opposite"] = Field(
        "permute",
        description="Target labels: those of other pictures of the batch, independent coin flips, or the opposite of "
        "the picture's own.",
    )
    classifier: Annotated[str, MayChange] = Field(
        "", description="Classifier (file or run folder) that measures accuracies for the log; never trained against."
    )

    metrics_hint = ", or --classifier for the success of the edits"

    @property
    def has_own_metrics(self) -> bool:
        """The success of the edits, where a classifier judges them."""
        return bool(self.classifier)

    @model_validator(mode="after")
    def _classes_stay_possible(self) -> EditorConfig:
        if len(self.exclusive_names) > 1 and self.targets == "opposite":
            raise ValueError("--targets opposite has no meaning for several classes or hair colours; leave it out")
        if self.classes and self.targets == "coin":
            raise ValueError("--targets coin would ask for several classes at once; leave it out with --classes")
        return self

    @model_validator(mode="after")
    def _tier_takes_labels(self) -> EditorConfig:
        if self.tier.startswith("resnet"):
            raise ValueError(f"tier {self.tier} takes no attributes; use nano, mobile, light, stargan or growing")
        return self


def parse_window(text: str) -> tuple[int, int, int] | None:
    """``left,top,side`` in pixels; None if empty.

    Raises:
        ValueError: it is something else.
    """
    if not text:
        return None
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
        raise ValueError(f"window takes left,top,side in pixels, for example 32,60,64; got '{text}'")
    left, top, side = (int(part) for part in parts)
    return left, top, side


PENALTY_OF_LOSS = {"lsgan": "none", "wgan-gp": "mean", "logistic": "active_r1", "hinge": "none"}
"""ACL-GAN's attribute loss → the gradient penalty that it needs by default."""


class ACLGANConfig(EditorConfig, CriticConfig):
    """ACL-GAN: edits attributes of faces, inside a mask and a frame.

    It has one attribute loss and one content loss.
    """

    method: Literal["acl-gan"] = "acl-gan"
    without_effect = frozenset({"r1"})  # its own is --penalty active_r1
    loss: Literal["lsgan", "wgan-gp", "logistic", "hinge"] = Field(
        "lsgan", description="Adversarial loss of each attribute."
    )
    expectation: Annotated[Literal["batch", "attribute"], NotWith("loss", ("logistic",))] = Field(
        "batch",
        description="Means of the attribute loss: batch, one mean over all pictures, as the paper rewrites it; "
        "attribute, for each attribute the mean over the pictures that have it, as it first writes it: there a rare "
        "attribute weighs as much as a frequent one.",
    )
    penalty: Literal["", "none", "mean", "per_attribute", "active_r1"] = Field(
        "", description="Gradient penalty; default: mean with wgan-gp, active_r1 with logistic, else none."
    )
    penalty_every: Positive = Field(
        1,
        description="Discriminator steps between two gradient penalties; their weight is multiplied by this.",
    )
    complement: bool = Field(True, description="Also give the absence of each attribute a label and a loss.")
    content: Literal["translation", "identity", "cycle"] = Field(
        "translation",
        description="Content loss: distance of the edit to the input, identity without an edit, or cycle consistency.",
    )
    lambda_att: Annotated[Weight, MayChange] = Field(1.0, description="Weight of the attribute loss: the one to tune.")
    lambda_con: Annotated[Weight, MayChange] = Field(10.0, description="Weight of the content loss.")
    open_share: Annotated[float, Field(ge=0, lt=1), MayChange] = Field(
        0.0,
        description="Fraction of the target attributes that are left open, as when a user sets only some; the "
        "discriminator ignores them.",
    )
    lambda_shift: Annotated[Weight, MayChange] = Field(
        0.0,
        description="Weight of the distance between the edit of a piece of a picture and that piece of the edit, on a "
        "quarter of the pictures; against patterns that stick to the generator's grid.",
    )
    lambda_mask: Annotated[Weight, MayChange] = Field(
        0.0, description="Weight of the mask's mean; not needed by default."
    )
    lambda_tv: Annotated[Weight, MayChange] = Field(
        0.0, description="Weight of the mask's total variation; not needed by default."
    )
    lambda_smooth: Annotated[Weight, MayChange] = Field(
        0.0,
        description="Weight of the total variation of the change (edit - picture); against blocks and dots finer than "
        "what a discriminator with --discriminator-size sees.",
    )
    lambda_colour: Annotated[Weight, MayChange] = Field(
        0.0,
        description="Weight of the change of colour that is not one of brightness; against coloured specks of edits "
        "that are movements or shades.",
    )
    instance_noise: Annotated[Weight, MayChange] = Field(
        0.0,
        description="Standard deviation of noise added to all inputs of the discriminator, in units of [-1, 1]: "
        "hides the dots with which a short run fools it; 0.1 is strong.",
    )
    discriminator_shift: Annotated[int, Field(ge=0), MayChange] = Field(
        0,
        description="Pixels by which all that the discriminator sees is shifted at random, at most: against dots with "
        "the period of its grid; 4 is enough.",
    )
    discriminator_size: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Side to which all that the discriminator sees is averaged down; 0: as it is. Half the size is a "
        "quarter of its work, and hides fine dots from it.",
    )
    fade_images: Annotated[Positive, With("tier", ("growing",))] = Field(
        200_000, description="Tier growing: images for which a new level is faded in."
    )
    stable_images: Annotated[int, Field(ge=0), With("tier", ("growing",))] = Field(
        200_000, description="Tier growing: images at each level after that."
    )
    border: Annotated[int, MayChange] = Field(
        -1, description="Border that the generator never changes, in pixels; -1: size / 16."
    )
    warmup_steps: Annotated[int, Field(ge=0)] = Field(
        0,
        description="First steps, in which only the discriminator learns, on unedited pictures with target labels. "
        "Without them the masks of a short run close before it knows any attribute.",
    )
    discriminator_init: Literal["default", "he"] = Field(
        "default", description="Initialisation of the discriminator: PyTorch's, or He's, which learns twice as fast."
    )

    flow: Annotated[float, Field(ge=0, le=0.09), With("shape", ("joined",))] = Field(
        0.0,
        description="Farthest that the generator moves parts of the picture before it paints, as a fraction of its "
        "side: for edits that are movements, as a smile. 0: it only paints.",
    )
    window: Annotated[str, With("shape", ("joined",))] = Field(
        "",
        description="Square of the picture that is edited, and that a second discriminator sees at full resolution: "
        "left,top,side in pixels, for example 32,60,64 for the mouth of a face of 128 px.",
    )
    vary: Annotated[bool, MayChange] = Field(
        False,
        description="Vary position, size, angle, light and colour temperature of the faces anew in each step, and add "
        "camera noise; see --jpeg.",
    )
    jpeg: Annotated[float, Field(ge=0, le=1), With("vary", ("True",)), MayChange] = Field(0.5, description=JPEG)

    @property
    def window_px(self) -> tuple[int, int, int] | None:
        """Left, top and side of the part of the picture that is edited; None: all of it."""
        return parse_window(self.window)

    @property
    def penalty_name(self) -> str:
        """The gradient penalty: the one asked for, or the loss's own."""
        return self.penalty or PENALTY_OF_LOSS[self.loss]

    @property
    def border_px(self) -> int:
        """Width of the frame's border."""
        return self.border_at(self.size)

    def border_at(self, size: int) -> int:
        """Width of the border of a picture of another size, to scale."""
        return round(self.border * size / self.size) if self.border >= 0 else round(size / 16)

    @model_validator(mode="after")
    def _a_penalty_is_weighed(self) -> ACLGANConfig:
        if self.penalty_name == "none" and (self.lambda_gp > 0 or self.penalty_every > 1):
            option = "--lambda-gp" if self.lambda_gp > 0 else "--penalty-every"
            raise ValueError(f"{option} has no effect without a gradient penalty; give --penalty")
        return self

    @model_validator(mode="after")
    def _a_window_remains(self) -> ACLGANConfig:
        if self.discriminator_size and self.size % self.discriminator_size:
            raise ValueError(f"discriminator_size {self.discriminator_size} does not divide size {self.size}")
        if self.discriminator_size and self.tier == "growing":
            raise ValueError("discriminator_size cannot be given with tier growing, whose discriminator grows too")
        if self.window and self.lambda_shift > 0:
            raise ValueError("lambda_shift compares edits of pieces, which have no place for a window; leave one out")
        if self.window_px is not None:
            left, top, side = self.window_px
            if side < 32 or side % 8 or max(left, top) + side > self.size:
                raise ValueError(
                    f"window {self.window}: its side must be a multiple of 8, at least 32, and all of it in the "
                    f"picture of {self.size} px"
                )
        if 2 * self.border_px >= self.size:
            raise ValueError(f"a border of {self.border_px} px leaves nothing of {self.size} px")
        return self


STARGAN_ATTRIBUTES = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Male", "Young")
"""Those of the paper and its public code."""


class StarGANConfig(EditorConfig):
    """StarGAN: edits attributes of faces; the baseline of ACL-GAN.

    WGAN-GP, a class loss and a reconstruction loss; no mask.
    """

    method: Literal["stargan"] = "stargan"
    tier: Literal["nano", "mobile", "light", "edge", "resnet6", "resnet9", "stargan", "growing"] = Field(
        "stargan", description="Generator network."
    )
    attributes: str = Field(
        ",".join(STARGAN_ATTRIBUTES),
        description="Columns of the table, separated by commas; default: the published five.",
    )
    lambda_cls: Annotated[Weight, MayChange] = Field(1.0, description="Weight of the class loss.")
    lambda_rec: Annotated[Weight, MayChange] = Field(10.0, description="Weight of the reconstruction loss.")

    @model_validator(mode="after")
    def _tier_gives_an_image(self) -> StarGANConfig:
        if self.tier == "growing":
            raise ValueError("tier growing belongs to acl-gan")
        return self
