"""Configuration of paired training."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from .base import Positive, TrainConfig, VGGScaling, Weight, last_part
from .marks import MayChange


class PairedConfig(TrainConfig):
    """A style from pairs: pictures, and a teacher's answers to them.

    The answers are those of a network or a filter, or a folder of pictures with the same names.
    """

    method: Literal["paired"] = "paired"
    photos: Annotated[str, MayChange] = Field(
        description="Pictures to learn on: folders, quoted globs and video clips, separated by commas."
    )
    teacher: Annotated[str, MayChange] = Field(
        "",
        description="Teacher that translates them: an ONNX file, filter:comic, filter:pencil or filter:oil.",
    )
    range: str = Field(
        "", description="Value range of the teacher's pictures, if its file does not state it: 0..1, -1..1 or 0..255."
    )
    teacher_input: str = Field(
        "",
        description="The teacher's further inputs, separated by commas: NAME=VALUE, NAME[PLACE]=VALUE, or "
        "NAME=FILE.onnx(PICTURE), the output of another network for a picture.",
    )
    teacher_scale: Annotated[float, Field(gt=0)] = Field(
        1.0,
        description="Enlargement of a picture before the teacher sees it, and back: above 1 strokes are finer, and a "
        "weave from the teacher's own grid disappears.",
    )
    teacher_shifts: bool = Field(
        False,
        description="Average the teacher's answers to eight shifts of a picture: removes a pattern that is fixed to "
        "the teacher's pixel grid, and its frame; eight times the teacher's time.",
    )
    teacher_licence: Annotated[str, MayChange] = Field("", description="Licence of the teacher, for the record.")
    answers: Annotated[str, MayChange] = Field(
        "", description="Instead of a teacher: folder of target pictures with the names of the photos."
    )
    pairs: Annotated[str, MayChange] = Field(
        "", description="Folder for the pairs, to share them between runs; default: pairs in --out."
    )
    varied: Annotated[int, Field(ge=0)] = Field(
        1, description="Augmented copies of each picture: enlarged, rotated, mirrored, with changed light."
    )
    zoom: Annotated[float, Field(ge=1)] = Field(1.7, description="Largest enlargement of a varied copy.")
    clip_frames: Positive = Field(40, description="Frames taken from each clip.")
    holdout: Annotated[int, Field(ge=0)] = Field(
        10,
        description="Hold out every N-th picture by name and the last N-th part of each clip for evaluation; 0: none.",
    )
    crop: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Side of the piece that a step looks at, in pixels; 0: all. Pieces are quicker, but where a "
        "teacher puts its strokes depends on the whole picture.",
    )
    steps: Positive = Field(8000, description="Total steps.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(2e-3, description="Adam's learning rate.")
    beta1: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="Adam's first beta; the second is 0.99.")
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.998,
        description="Decay of the moving average of the weights, which is exported; lower in the first steps.",
    )
    lambda_l1: Annotated[Weight, MayChange] = Field(1.0, description="Weight of the L1 distance to the answer.")
    lambda_pooled: Annotated[Weight, MayChange] = Field(
        0.5, description="Weight of the L1 distance between the means of 4x4 squares."
    )
    lambda_gradient: Annotated[Weight, MayChange] = Field(
        0.5, description="Weight of the L1 distance between neighbours' differences."
    )
    lambda_texture: Annotated[Weight, MayChange] = Field(
        0.0,
        description="Weight of the distance in how much fine detail there is; against blur. 0.5 is enough; in styles "
        "far from the picture it weaves threads into plain walls.",
    )
    lambda_gram: Annotated[Weight, MayChange] = Field(
        0.0,
        description="Weight of the distance in VGG16 statistics to the answer; needs --vgg, doubles the cost.",
    )
    vgg: Annotated[str, MayChange] = Field("", description="VGG16 convolutions (safetensors), for --lambda-gram.")
    vgg_scaling: VGGScaling = Field("caffe", description="Input that the --vgg weights were trained for.")
    calm_from: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="Fraction of the run after which camera noise is added to the input, but not to the target."
    )
    noise: Annotated[Weight, MayChange] = Field(
        0.06, description="Standard deviation of the strongest camera noise, in units of [-1, 1]."
    )
    lambda_calm: Annotated[Weight, MayChange] = Field(
        1.0,
        description="Weight of the difference between outputs for one picture with different noise; reduces flicker.",
    )
    lambda_adversarial: Weight = Field(
        0.0, description="Weight of a patch critic that sees picture and translation together; above 0 it is pix2pix."
    )
    loss: str = Field("lsgan", description="Adversarial loss of that critic: lsgan, gan or wgan-gp.")
    discriminator_width: Positive = Field(32, description="Channels of the critic's first layer.")
    discriminator_learning_rate: Annotated[Weight, MayChange] = Field(
        2e-4, description="Adam's learning rate of the critic; 0: the same."
    )
    instance_noise: Annotated[Weight, MayChange] = Field(
        0.0, description="Standard deviation of noise added to all inputs of the critic."
    )

    @property
    def data_words(self) -> str:
        """All sources of pictures."""
        return ", ".join(last_part(part.strip()) for part in self.photos.split(","))

    @property
    def teacher_words(self) -> str:
        """The teacher with its inputs, each file only by its name, and its licence; or the folder of answers."""
        if not self.teacher:
            return f"the pictures of {last_part(self.answers)}"
        inputs = re.sub(r"[^=(]*/", "", self.teacher_input)
        return ", ".join(filter(None, (last_part(self.teacher), inputs, self.teacher_licence)))

    @property
    def resize_px(self) -> int:
        """The side of the pairs."""
        return self.size

    @model_validator(mode="after")
    def _one_who_answers(self) -> PairedConfig:
        if self.tier in ("stargan", "growing"):
            raise ValueError(f"tier {self.tier} needs attributes; use nano, mobile, light, edge, resnet6 or resnet9")
        if bool(self.teacher) == bool(self.answers):
            raise ValueError(
                "give either --teacher, which translates the photos, or --answers, a folder of target pictures"
            )
        if self.lambda_gram and not self.vgg:
            raise ValueError("lambda_gram needs --vgg: a safetensors file with VGG16's convolutions")
        if self.crop % 8 or self.crop > self.size:
            raise ValueError(f"crop must be a multiple of 8 and at most size {self.size}, got {self.crop}")
        return self
