"""Configurations of the methods that learn on one set of pictures: from answers to them, or from paintings."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from .base import Positive, TrainConfig, VGGScaling, Weight, last_part
from .marks import Alias, MayChange


class PhotosConfig(TrainConfig):
    """What the methods share whose real-time tier learns on one set of pictures, seen as cameras see."""

    photos: Annotated[str, MayChange] = Field(
        description="Pictures to learn on: folders, quoted globs and video clips, separated by commas."
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

    @property
    def data_words(self) -> str:
        """All sources of pictures."""
        return ", ".join(last_part(part.strip()) for part in self.photos.split(","))

    @property
    def resize_px(self) -> int:
        """The side of the pairs."""
        return self.size

    @model_validator(mode="after")
    def _pictures_fit(self) -> PhotosConfig:
        if self.tier in ("stargan", "growing"):
            raise ValueError(f"tier {self.tier} needs attributes; use nano, mobile, light, edge, resnet6 or resnet9")
        if self.crop % 8 or self.crop > self.size:
            raise ValueError(f"crop must be a multiple of 8 and at most size {self.size}, got {self.crop}")
        return self


class PairedConfig(PhotosConfig):
    """A style from pairs: pictures, and a teacher's answers to them.

    The answers are those of a network or a filter, or a folder of pictures with the same names.
    """

    method: Literal["paired"] = "paired"

    @property
    def has_own_metrics(self) -> bool:
        """The gates of styles."""
        return True

    teacher: Annotated[str, MayChange] = Field(
        "",
        description="Teacher that translates them: an ONNX file; filter:comic, pencil, oil or brush; or "
        "painting:FILE, which optimises the pixels of each answer towards that painting (needs --vgg).",
    )
    range: str = Field(
        "", description="Value range of the teacher's pictures, if its file does not state it: 0..1, -1..1 or 0..255."
    )
    teacher_input: str = Field(
        "",
        description="The teacher's further inputs, separated by commas: NAME=VALUE, NAME[PLACE]=VALUE, or "
        "NAME=FILE.onnx(PICTURE), the output of another network for a picture. A painting's settings: style=40, "
        "colours=0.5, zoom=1, steps=25.",
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
    vgg: Annotated[str, MayChange] = Field(
        "", description="VGG16 convolutions (safetensors), for --teacher painting:FILE and --lambda-gram."
    )
    vgg_scaling: VGGScaling = Field("caffe", description="Input that the --vgg weights were trained for.")
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
    def teacher_words(self) -> str:
        """The teacher with its inputs, each file only by its name, and its licence; or the folder of answers."""
        if not self.teacher:
            return f"the pictures of {last_part(self.answers)}"
        inputs = re.sub(r"[^=(]*/", "", self.teacher_input)
        kind = "painting:" if self.teacher.startswith("painting:") else ""
        return ", ".join(
            filter(None, (kind + last_part(self.teacher.removeprefix(kind)), inputs, self.teacher_licence))
        )

    @model_validator(mode="after")
    def _one_who_answers(self) -> PairedConfig:
        if bool(self.teacher) == bool(self.answers):
            raise ValueError(
                "give either --teacher, which translates the photos, or --answers, a folder of target pictures"
            )
        if self.lambda_gram and not self.vgg:
            raise ValueError("lambda_gram needs --vgg: a safetensors file with VGG16's convolutions")
        return self


class PerceptualConfig(PhotosConfig):
    """A real-time tier that paints like one or a few paintings.

    Without a teacher: its targets are the statistics of their VGG16 features.
    """

    method: Literal["perceptual"] = "perceptual"
    paintings: Annotated[str, MayChange, Alias("painting")] = Field(
        description="The painting to paint like: a picture; or a folder or quoted glob of works of one style."
    )
    vgg: Annotated[str, MayChange] = Field(description="VGG16 convolutions (safetensors).")
    vgg_scaling: VGGScaling = Field("caffe", description="Input that the --vgg weights were trained for.")
    painting_zoom: Annotated[float, Field(gt=0), MayChange] = Field(
        1.0, description="Enlargement of the painting over the photos: 2 doubles the width of a stroke."
    )
    lambda_content: Annotated[Weight, MayChange] = Field(
        1.0, description="Weight of the distance to the photo in VGG16 features: what is in the picture stays."
    )
    lambda_style: Annotated[Weight, MayChange] = Field(
        1.0, description="Weight of the distance to the painting in VGG16 statistics: colours and strokes."
    )
    lambda_smooth: Annotated[Weight, MayChange] = Field(
        0.0, description="Weight of the mean difference between neighbouring pixels; against speckles."
    )
    lambda_texture: Annotated[Weight, MayChange] = Field(
        0.0,
        description="Weight of the fine detail that is missing to as much as the painting has, as a share of it; "
        "against blur.",
    )
    lambda_colour: Annotated[Weight, MayChange] = Field(
        0.0,
        description="Weight of the distance to the photo in the painting's colours (Lab mean and deviation), over 8x8 "
        "squares: colours follow the photo's, without blotches.",
    )
    lambda_grid: Annotated[Weight, MayChange] = Field(
        0.0,
        description="Weight of the pattern that repeats every 8 pixels of the translation; against strokes that stick "
        "to the generator's grid.",
    )

    lambda_calm: Annotated[Weight, MayChange] = Field(
        1.0,
        description="Weight of the difference between outputs for one picture with different noise and at different "
        "places of the generator's grid; reduces flicker, and strokes that stick to the grid.",
    )
    lambda_threads: Annotated[Weight, MayChange] = Field(
        0.0,
        description="Weight of the fine detail that runs along rows and columns, where the picture's does not; against "
        "threads on plain walls.",
    )
    strokes: bool = Field(
        False,
        description="Compare with the painting what is finer than some 13 pixels: its strokes. Colours are then those "
        "of --lambda-colour.",
    )
    turn: bool = Field(
        False,
        description="Turn pictures and painting by any angle: strokes get no direction of their own.",
    )

    @model_validator(mode="after")
    def _room_within_the_border(self) -> PerceptualConfig:
        if 0 < self.crop < 32:
            raise ValueError(f"crop must be 0 or at least 32, got {self.crop}")
        return self

    @property
    def teacher_words(self) -> str:
        """The painting."""
        return f"VGG16 statistics of {last_part(self.paintings)}"
