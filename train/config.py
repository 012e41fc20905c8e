"""Everything that decides a training run, as one record saved in the run folder and read back by ``--config``."""

from __future__ import annotations

import json
import sys
from abc import abstractmethod
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ganlens.engine.errors import OptionError, TrainingError, did_you_mean
from ganlens.engine.files import replace_file

from .label_groups import LabelLayout, load_layout

CONFIG_NAME = "config.json"
CONFIG_FORMAT = 2
"""Of the file; raised when a value means something else than before."""
OLDEST_SHAPE = "transposed"
"""Of the runs whose configuration has no ``shape``."""

Norm = Literal["in", "bn", "none"]
Activation = Literal["relu", "leaky"]
NetworkShape = Literal["transposed", "balanced", "joined"]
"""Of the real-time tiers. A record or run of nano, mobile or light without it is from before there was a choice."""
SemanticLayer = Literal["relu4_3", "relu3_3", "relu2_2"]
SemanticDistance = Literal["mse", "l1"]
VGGScaling = Literal["caffe", "torchvision"]

Positive = Annotated[int, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]

if sys.version_info >= (3, 11):
    import tomllib
else:  # the same under its former name
    import tomli as tomllib

C = TypeVar("C", bound="TrainConfig")


class With(NamedTuple):
    """Mark of an option that has an effect only where another option has one of these values."""

    option: str
    values: tuple[str, ...]

    def problem(self, config: TrainConfig) -> str:
        """Why the marked option has no effect, or nothing."""
        value = str(getattr(config, self.option))
        if value in self.values:
            return ""
        return f"belongs to {_flag(self.option)} {' and '.join(self.values)}, not to {value or 'the default'}"


class NotWith(NamedTuple):
    """Mark of an option that has no effect where another option has one of these values."""

    option: str
    values: tuple[str, ...]

    def problem(self, config: TrainConfig) -> str:
        """Why the marked option has no effect, or nothing."""
        value = str(getattr(config, self.option))
        return f"has no effect with {_flag(self.option)} {value}" if value in self.values else ""


RealTimeOnly = With("tier", ("nano", "mobile", "light", "edge"))
NoMobileTier = NotWith("tier", ("stargan", "growing"))


class TrainConfig(BaseModel):
    """What every method shares: length, optimiser, data handling, records. The descriptions are the command's help."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    without_effect: ClassVar[frozenset[str]] = frozenset()
    """Options that the method does not know, though its base has them: not shown, and refused."""

    method: str
    out: str = Field(description="Run folder; made if missing.")
    name: str = Field("", description="Name of the generator in its record; default: the run folder's name.")
    start_from: str = Field(
        "",
        description="Run folder whose generators this one begins with, for another style, other data or another "
        "discriminator, which starts new. Not for psc-gan (see --stage1) and classifier.",
    )
    tier: Literal["nano", "mobile", "light", "edge", "resnet6", "resnet9", "stargan", "growing"] = Field(
        "mobile",
        description="Generator network. Real-time: nano, mobile, light; edge is mobile without instance norm, for NPUs "
        "and INT8.",
    )
    shape: Annotated[NetworkShape, RealTimeOnly] = Field(
        "balanced",
        description="Shape of the real-time tiers: balanced (dense blocks, no grid, the picture joined to the head), "
        "joined (lighter: inverted blocks, nothing transposed), or transposed, the first shape, for older runs.",
    )
    norm: Annotated[Norm, NoMobileTier] = Field(
        "in",
        description="Norm of the generators: in (instance norm, affine in the real-time tiers; not for edge), bn, or "
        "none.",
    )
    activation: Annotated[Activation, NoMobileTier] = Field(
        "relu", description="Activation of the generators: relu or leaky (slope 0.01)."
    )

    size: Annotated[int, Field(ge=32)] = Field(256, description="Side of the square training crop, in pixels.")
    load_size: int = Field(
        0, description="Shorter side after resizing, before the crop; 0: size * 286 / 256. Larger: coarser strokes."
    )
    flip: bool = Field(True, description="Mirror half of the pictures.")
    batch: Positive = Field(1, description="Pictures per domain and step, of each process.")
    workers: Annotated[int, Field(ge=0)] = Field(0, description="Processes that load pictures; 0: in the training one.")
    cache_mb: Annotated[int, Field(ge=0)] = Field(
        1024, description="Keep resized pictures in memory while a domain's need stays below this."
    )

    epochs: Positive = Field(100, description="Epochs at the full learning rate; an epoch is the larger domain once.")
    decay_epochs: Annotated[int, Field(ge=0)] = Field(100, description="Epochs of linear decay to 0 after that.")
    steps: Annotated[int, Field(ge=0)] = Field(0, description="Total steps; replaces both epoch counts when above 0.")
    decay_steps: Annotated[int, Field(ge=0)] = Field(
        0, description="How many of --steps, at their end, decay; 0: the second half."
    )
    learning_rate: Annotated[float, Field(gt=0)] = Field(2e-4, description="Adam's learning rate.")
    beta1: Annotated[float, Field(ge=0, lt=1)] = Field(0.5, description="Adam's first beta; the second is 0.999.")
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.999, description="Decay of the averaged weights that ship; less in the first steps, so that short runs show."
    )
    seed: int = Field(0, description="Seed of everything random.")

    precision: Literal["no", "fp16", "bf16"] = Field("no", description="Mixed precision: no, fp16 or bf16.")
    threads: Annotated[int, Field(ge=0)] = Field(0, description="CPU threads; 0: PyTorch's choice.")
    memory_format: Literal["auto", "contiguous", "channels_last"] = Field(
        "auto",
        description="Layout of tensors: contiguous (NCHW) or channels_last; auto: the faster one, channels_last but "
        "for networks with instance norm on a CPU.",
    )

    log_every: Positive = Field(50, description="Steps between log lines and TensorBoard points.")
    sample_every: Annotated[int, Field(ge=0)] = Field(500, description="Steps between sample grids; 0: none.")
    samples: Positive = Field(4, description="Pictures of each domain in a sample grid.")
    checkpoint_minutes: Annotated[float, Field(gt=0)] = Field(3.0, description="Minutes between checkpoints.")

    data_note: str = Field("", description="Training data in one line, for the record; default: the folders' names.")
    data_licence: str = Field("not stated", description="Licence of the training data, for the record.")
    note: str = Field("", description="What a user of the model must know, for the record.")

    @model_validator(mode="before")
    @classmethod
    def _edge_has_batch_norm(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("tier") == "edge":
            if values.get("norm", "bn") == "in":
                raise ValueError("tier edge is for chips without instance norm; give --norm bn or none")
            if values.get("shape", "joined") != "joined":
                raise ValueError("tier edge has no transposed convolutions; leave --shape out")
            return {"norm": "bn", **values}
        return values

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        if self.size % 8:
            raise ValueError(f"size must be a multiple of 8, got {self.size}")
        if self.load_size and self.load_size < self.size:
            raise ValueError(f"load_size {self.load_size} is smaller than the crop, size {self.size}")
        if self.decay_steps and self.decay_steps > self.steps:
            raise ValueError(f"decay_steps {self.decay_steps} is more than steps {self.steps}")
        return self

    @model_validator(mode="after")
    def _every_option_has_an_effect(self) -> TrainConfig:
        for name, field in type(self).model_fields.items():
            if field.is_required() or getattr(self, name) == field.default:
                continue
            if name in self.without_effect:
                raise ValueError(f"{_flag(name)} has no effect with {self.method}; leave it out")
            for mark in field.metadata:
                if isinstance(mark, With | NotWith) and (problem := mark.problem(self)):
                    raise ValueError(f"{_flag(name)} {problem}")
        return self

    @property
    def resize_px(self) -> int:
        """The shorter side after resizing."""
        return self.load_size or round(self.size * 286 / 256)

    @property
    def run(self) -> Path:
        """The run folder."""
        return Path(self.out)

    @property
    def model_name(self) -> str:
        """Name of the generator in its record."""
        return self.name or self.run.resolve().name


class UnpairedConfig(TrainConfig):
    """What the methods share that learn a translation from two folders of unpaired pictures."""

    photos: str = Field(description="Folder or quoted glob of the source pictures.")
    paintings: str = Field(description="Folder or quoted glob of the target pictures.")
    loss: str = Field("lsgan", description="Adversarial loss: lsgan, gan or wgan-gp.")
    n_critic: Annotated[int, Field(ge=0)] = Field(
        0, description="Discriminator steps for each of the generator; 0: 5 with wgan-gp, else 1."
    )
    discriminator_width: Positive = Field(
        64, description="Channels of the PatchGAN's first layer; 32 is the light one, a quarter of the work."
    )
    discriminator_learning_rate: Weight = Field(
        0.0,
        description="Adam's learning rate of the discriminators; 0: the same. Higher: stronger style in short runs.",
    )
    instance_noise: Weight = Field(
        0.0,
        description="Deviation of noise added to all that discriminators see, in units of [-1, 1]: hides faint "
        "patterns that fool a discriminator without showing to the eye; 0.1 is strong.",
    )
    pool: Annotated[int, Field(ge=0)] = Field(50, description="Generated pictures kept for each discriminator.")
    painting_zoom: Annotated[float, Field(ge=1)] = Field(
        1.0, description="Enlargement of the paintings over the photos: 2 doubles the width of a stroke."
    )

    @model_validator(mode="after")
    def _tier_translates_without_labels(self) -> UnpairedConfig:
        if self.tier in ("stargan", "growing"):
            raise ValueError(f"tier {self.tier} needs attributes; use nano, mobile, light, resnet6 or resnet9")
        return self


SemanticOnly = With("variant", ("semantic", "hybrid"))

SEMANTIC_WEIGHTS: dict[VGGScaling, float] = {"caffe": 5e-5, "torchvision": 0.15}
"""Of the mean squared difference at relu4_3. Inputs over their deviation make features about 57 times smaller."""


class CycleGANConfig(UnpairedConfig):
    """CycleGAN between two folders of unpaired pictures."""

    method: Literal["cyclegan"] = "cyclegan"
    lambda_cyc: Weight = Field(10.0, description="Weight of the cycle loss.")
    lambda_identity: Weight = Field(0.5, description="Weight of the identity loss, as a share of lambda_cyc.")
    lambda_shift: Weight = Field(
        0.0,
        description="Weight of the distance between the painting of a piece and that piece of the painting; not part "
        "of CycleGAN, but against patterns that stick to the generator's grid and shimmer when a camera pans.",
    )
    lambda_style: Weight = Field(
        0.0,
        description="Weight of a style loss on VGG16 features from photo to painting; not part of CycleGAN, but "
        "short runs paint visibly with it. Needs --vgg.",
    )
    variant: Literal["base", "leaky", "semantic", "hybrid"] = Field(
        "base",
        description="base; leaky: LeakyReLU in both generators; semantic: a VGG16 loss between each picture and what "
        "comes back around the cycle, needs --vgg; hybrid: both.",
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
        "CPU VGG16 costs more than all else.",
    )
    lambda_semantic: Weight = Field(
        0.0,
        description="Weight of the semantic loss; 0: the variant's own, for relu4_3 and mse (5e-5 with caffe scaling, "
        "0.15 with torchvision).",
    )
    vgg: str = Field("", description="VGG16 convolutions (safetensors), for --lambda-style and --variant semantic.")
    vgg_scaling: VGGScaling = Field(
        "caffe",
        description="Input that the --vgg weights were trained for: caffe (0..255 minus the mean) or torchvision "
        "(0..1 minus mean, over deviation).",
    )
    warmup_steps: Annotated[int, Field(ge=0)] = Field(
        0, description="First steps in which the generators only learn to return their input (short runs start faster)."
    )

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
    """A real-time tier that learns from a trained teacher, on the same two folders."""

    method: Literal["distill"] = "distill"
    teacher: str = Field(description="Checkpoint (.safetensors) or run folder of the trained teacher.")
    lambda_output: Weight = Field(10.0, description="Weight of the L1 distance to the teacher's output.")
    lambda_feature: Weight = Field(1.0, description="Weight of the squared distance to the teacher's features.")


class PairedConfig(TrainConfig):
    """A real-time tier that learns from aligned pairs: pictures, and a teacher's answers or a folder of them."""

    method: Literal["paired"] = "paired"
    photos: str = Field(description="Pictures to learn on: folders, quoted globs and video clips, separated by commas.")
    teacher: str = Field(
        "", description="Who answers them: an image-to-image ONNX file, or filter:comic, filter:pencil, filter:oil."
    )
    range: str = Field(
        "", description="Values of the teacher's pictures, if its file does not say: 0..1, -1..1 or 0..255."
    )
    teacher_input: str = Field(
        "",
        description="The teacher's further inputs, separated by commas: NAME=VALUE, NAME[PLACE]=VALUE, or "
        "NAME=FILE.onnx(PICTURE), what another network says of a picture.",
    )
    teacher_scale: Annotated[float, Field(gt=0)] = Field(
        1.0,
        description="Enlargement of a picture before the teacher sees it, and back: above 1 strokes are finer, and a "
        "weave from the teacher's own grid disappears.",
    )
    teacher_licence: str = Field("", description="Licence of the teacher, for the record.")
    answers: str = Field("", description="Without a teacher: folder of answers, named as the photos are.")
    pairs: str = Field(
        "", description="Folder that keeps the pairs, to be used by several runs; default: pairs in --out."
    )
    varied: Annotated[int, Field(ge=0)] = Field(
        1, description="Varied copies of each picture: enlarged, turned, mirrored, in other light."
    )
    zoom: Annotated[float, Field(ge=1)] = Field(1.7, description="Largest enlargement of a varied copy.")
    clip_frames: Positive = Field(40, description="Frames taken from each clip.")
    holdout: Annotated[int, Field(ge=0)] = Field(
        10,
        description="Leave out every so many-th picture by name and the last so many-th part of each clip, to judge "
        "the model on; 0: none.",
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
        0.998, description="Decay of the averaged weights that ship; less in the first steps, so that short runs show."
    )
    lambda_l1: Weight = Field(1.0, description="Weight of the L1 distance to the answer.")
    lambda_pooled: Weight = Field(0.5, description="Weight of the L1 distance between the means of 4x4 squares.")
    lambda_gradient: Weight = Field(0.5, description="Weight of the L1 distance between neighbours' differences.")
    lambda_texture: Weight = Field(
        0.0,
        description="Weight of the distance in how much fine detail there is; against blur. 0.5 is enough; in styles "
        "far from the picture it weaves threads into plain walls.",
    )
    lambda_gram: Weight = Field(
        0.0,
        description="Weight of the distance in VGG16 statistics to the answer; needs --vgg, costs as much as all else.",
    )
    vgg: str = Field("", description="VGG16 convolutions (safetensors), for --lambda-gram.")
    vgg_scaling: VGGScaling = Field("caffe", description="Input that the --vgg weights were trained for.")
    calm_from: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="Share of the run after which the generator sees camera noise and must not answer to it."
    )
    noise: Weight = Field(0.06, description="Deviation of the strongest camera noise, in units of [-1, 1].")
    lambda_calm: Weight = Field(
        1.0,
        description="Weight of the difference between its answers to one picture under different noise: no flicker.",
    )
    lambda_adversarial: Weight = Field(
        0.0, description="Weight of a patch critic that sees picture and translation together; above 0 it is pix2pix."
    )
    loss: str = Field("lsgan", description="Adversarial loss of that critic: lsgan, gan or wgan-gp.")
    discriminator_width: Positive = Field(32, description="Channels of the critic's first layer.")
    discriminator_learning_rate: Weight = Field(2e-4, description="Adam's learning rate of the critic; 0: the same.")
    instance_noise: Weight = Field(0.0, description="Deviation of noise added to all that the critic sees.")

    @property
    def resize_px(self) -> int:
        """The side of the pairs."""
        return self.size

    @model_validator(mode="after")
    def _one_who_answers(self) -> PairedConfig:
        if self.tier in ("stargan", "growing"):
            raise ValueError(f"tier {self.tier} needs attributes; use nano, mobile, light, edge, resnet6 or resnet9")
        if bool(self.teacher) == bool(self.answers):
            raise ValueError("give either --teacher, who answers the photos, or --answers, a folder of answers")
        if self.lambda_gram and not self.vgg:
            raise ValueError("lambda_gram needs --vgg: a safetensors file with VGG16's convolutions")
        if self.crop % 8 or self.crop > self.size:
            raise ValueError(f"crop must be a multiple of 8 and at most size {self.size}, got {self.crop}")
        return self


DEFAULT_ATTRIBUTES = "Black_Hair,Blond_Hair,Brown_Hair,Male,Young,Mouth_Slightly_Open,Smiling"
"""StarGAN's five and the two of ACL-GAN's example."""


class FacesConfig(TrainConfig):
    """What the methods share that learn from faces and a table about them."""

    data: str = Field(description="Folder with pictures (or images/ in it) and an attribute table.")
    table: str = Field("", description="Attribute table; default: attributes.csv or list_attr_celeba.txt in --data.")
    identities: str = Field("", description="Table of identities; default: identities.csv or identity_CelebA.txt.")
    holdout: Annotated[int, Field(ge=0)] = Field(
        2000, description="Pictures, of whole people, that are kept out of training for evaluation."
    )
    size: Annotated[int, Field(ge=32)] = Field(128, description="Side of the square training picture, in pixels.")
    load_size: int = Field(
        0, description="Side to which the central square is resized before a random crop; 0: no crop."
    )

    @property
    def resize_px(self) -> int:
        """The side after resizing."""
        return self.load_size or self.size

    @property
    def layout(self) -> LabelLayout | None:
        """The label groups; None: labels are attributes, columns of the table as they are."""
        return None

    @property
    @abstractmethod
    def label_names(self) -> tuple[str, ...]:
        """The label vector, slot by slot."""


class AttributeConfig(FacesConfig):
    """What the methods share that learn from faces with attributes."""

    attributes: str = Field(DEFAULT_ATTRIBUTES, description="Columns of the table, separated by commas.")
    batch: Positive = Field(16, description="Pictures per step, of each process.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(1e-4, description="Adam's learning rate.")

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """The attributes, in the order of the label vector."""
        return tuple(name.strip() for name in self.attributes.split(",") if name.strip())

    @property
    def label_names(self) -> tuple[str, ...]:
        """The attributes."""
        return self.attribute_names

    @model_validator(mode="after")
    def _attributes_are_named_once(self) -> AttributeConfig:
        names = [name.lower() for name in self.attribute_names]
        if not names:
            raise ValueError("attributes names none; give a comma-separated list, for example Smiling,Young,Male")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"attributes names {', '.join(twice)} more than once")
        return self


class EditorConfig(AttributeConfig):
    """What the methods share that edit attributes."""

    steps: Annotated[int, Field(ge=0)] = Field(200_000, description="Total steps; 0: count epochs.")
    decay_steps: Annotated[int, Field(ge=0)] = Field(
        0, description="How many of --steps, at their end, decay; 0: the second half."
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
    discriminator_learning_rate: Weight = Field(
        0.0, description="Adam's learning rate of the discriminator; 0: the same."
    )
    n_critic: Annotated[int, Field(ge=0)] = Field(
        0, description="Discriminator steps for each of the generator; 0: 5 with wgan-gp, else 1."
    )
    lambda_gp: Annotated[float, Field(ge=-1)] = Field(
        -1.0, description="Weight of the gradient penalty; 0: none, -1: its published one."
    )
    targets: Literal["permute", "coin"] = Field(
        "permute", description="Target labels: those of other pictures of the batch, or independent coin flips."
    )
    classifier: str = Field(
        "", description="Classifier (file or run folder) that measures accuracies for the log; never trained against."
    )

    @model_validator(mode="after")
    def _tier_takes_labels(self) -> EditorConfig:
        if self.tier.startswith("resnet"):
            raise ValueError(f"tier {self.tier} takes no attributes; use nano, mobile, light, stargan or growing")
        return self


PENALTY_OF_LOSS = {"lsgan": "none", "wgan-gp": "mean", "logistic": "active_r1"}
"""ACL-GAN's attribute loss → the gradient penalty that it needs by default."""


class ACLGANConfig(EditorConfig):
    """ACL-GAN: attribute editing with one attribute loss and one content loss, inside a mask and a frame."""

    method: Literal["acl-gan"] = "acl-gan"
    loss: Literal["lsgan", "wgan-gp", "logistic"] = Field("lsgan", description="Adversarial loss of each attribute.")
    penalty: Literal["", "none", "mean", "per_attribute", "active_r1"] = Field(
        "", description="Gradient penalty; default: none with lsgan, mean with wgan-gp, active_r1 with logistic."
    )
    penalty_every: Positive = Field(
        1, description="Discriminator steps between two gradient penalties, which weigh as many times more."
    )
    complement: bool = Field(True, description="Give the absence of each attribute a label and a loss of its own.")
    content: Literal["translation", "identity", "cycle"] = Field(
        "translation",
        description="Content loss: the edit is near the input, no edit changes nothing, or there and back.",
    )
    lambda_att: Weight = Field(1.0, description="Weight of the attribute loss: the one to tune.")
    lambda_con: Weight = Field(10.0, description="Weight of the content loss.")
    open_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0,
        description="Share of the wished attributes that are left open: the generator gets what a user gives it who "
        "names only some, and no head asks.",
    )
    lambda_shift: Weight = Field(
        0.0,
        description="Weight of the distance between the edit of a piece of a picture and that piece of the edit, on a "
        "quarter of the pictures; against patterns that stick to the generator's grid.",
    )
    lambda_mask: Weight = Field(0.0, description="Weight of the mask's mean; not needed by default.")
    lambda_tv: Weight = Field(0.0, description="Weight of the mask's total variation; not needed by default.")
    lambda_smooth: Weight = Field(
        0.0,
        description="Weight of the total variation of the change (edit - picture); against blocks and dots finer than "
        "what a discriminator with --discriminator-size sees.",
    )
    instance_noise: Weight = Field(
        0.0,
        description="Deviation of noise added to all that the discriminator sees, in units of [-1, 1]: hides the dots "
        "with which a short run fools it; 0.1 is strong.",
    )
    discriminator_shift: Annotated[int, Field(ge=0)] = Field(
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
    border: int = Field(-1, description="Border that the generator never changes, in pixels; -1: size / 16.")
    warmup_steps: Annotated[int, Field(ge=0)] = Field(
        0,
        description="First steps, in which only the discriminator learns, on unedited pictures with wished labels. "
        "Without them the masks of a short run close before it knows any attribute.",
    )
    discriminator_init: Literal["default", "he"] = Field(
        "default", description="Initialisation of the discriminator: PyTorch's, or He's, which learns twice as fast."
    )

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
        if 2 * self.border_px >= self.size:
            raise ValueError(f"a border of {self.border_px} px leaves nothing of {self.size} px")
        return self


class StarGANConfig(EditorConfig):
    """StarGAN, the baseline: WGAN-GP, a class loss and a reconstruction; no mask."""

    method: Literal["stargan"] = "stargan"
    tier: Literal["nano", "mobile", "light", "edge", "resnet6", "resnet9", "stargan", "growing"] = Field(
        "stargan", description="Generator network."
    )
    lambda_cls: Weight = Field(1.0, description="Weight of the class loss.")
    lambda_rec: Weight = Field(10.0, description="Weight of the reconstruction loss.")

    @model_validator(mode="after")
    def _tier_gives_an_image(self) -> StarGANConfig:
        if self.tier == "growing":
            raise ValueError("tier growing belongs to acl-gan")
        return self


class ClassifierConfig(AttributeConfig):
    """A classifier of attributes, trained on real faces; it judges editors and is never trained against."""

    method: Literal["classifier"] = "classifier"
    without_effect = frozenset({"tier", "shape", "norm", "activation", "start_from", "sample_every", "samples"})

    size: Annotated[int, Field(ge=32)] = Field(64, description="Side of the pictures that it sees, in pixels.")
    load_size: int = Field(72, description="Side to which the central square is resized before a random crop.")
    steps: Annotated[int, Field(ge=0)] = Field(3000, description="Total steps; 0: count epochs.")
    batch: Positive = Field(32, description="Pictures per step, of each process.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(1e-3, description="Adam's learning rate.")
    beta1: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="Adam's first beta; the second is 0.999.")
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(0.99, description="Decay of the averaged weights.")
    sample_every: Annotated[int, Field(ge=0)] = Field(0, description="It makes no pictures.")
    width: Positive = Field(32, description="Channels of the first layer.")
    labels: str = Field(
        "", description="Label groups in place of --attributes, to judge psc-gan: faces, montage, or a JSON file."
    )

    @model_validator(mode="after")
    def _attributes_or_labels(self) -> ClassifierConfig:
        if self.labels and self.attributes != DEFAULT_ATTRIBUTES:
            raise ValueError("--attributes has no effect with --labels; give one of them")
        return self

    @property
    def layout(self) -> LabelLayout | None:
        """The label groups, if it is to know such."""
        return load_layout(self.labels) if self.labels else None

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """The attributes, or the values of the label groups, in the order of the answers."""
        return self.layout.names if self.layout else super().attribute_names


class DCGANConfig(AttributeConfig):
    """DCGAN from noise, the common test bed of seven adversarial losses."""

    method: Literal["dcgan"] = "dcgan"
    tier: Literal["dcgan"] = Field("dcgan", description="Generator network; there is one.")  # type: ignore[assignment]
    without_effect = frozenset({"tier", "shape", "norm", "activation"})
    loss: Literal["gan", "cgan", "wgan", "wgan-gp", "ebgan", "began", "lsgan"] = Field(
        "gan", description="Adversarial loss: gan, cgan, wgan, wgan-gp, ebgan, began or lsgan."
    )
    attributes: Annotated[str, With("loss", ("cgan",))] = Field(
        "Male,Smiling", description="Columns whose combinations are the classes of cgan."
    )
    size: Annotated[int, Field(ge=16)] = Field(64, description="Side of the pictures: 16, 32, 64, 128 or 256.")
    width: Positive = Field(64, description="Channels beside the picture, in both networks; 16 suits a CPU.")
    latent: Positive = Field(100, description="Length of the noise.")
    noise: Literal["uniform", "normal"] = Field("uniform", description="Noise: uniform in [-1, 1], or normal.")
    code: Annotated[Positive, With("loss", ("ebgan", "began"))] = Field(
        64, description="With ebgan and began: length of the autoencoder's code."
    )
    critic_norm: Literal["", "in", "bn", "none"] = Field(
        "", description="Norm of the critic: in, bn or none; default: in with wgan-gp, none with began, else bn."
    )

    batch: Positive = Field(64, description="Pictures per step, of each process.")
    epochs: Positive = Field(25, description="Epochs at the full learning rate.")
    decay_epochs: Annotated[int, Field(ge=0)] = Field(0, description="Epochs of linear decay to 0 after that.")
    decay_steps: Annotated[int, Field(ge=-1)] = Field(
        -1, description="How many of --steps, at their end, decay; -1: none, 0: the second half."
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
        False, description="gan, cgan: the saturating form, as in the min-max value."
    )
    clip: Annotated[float, Field(gt=0), With("loss", ("wgan",))] = Field(
        0.01, description="wgan: bound of the critic's parameters."
    )
    lambda_gp: Annotated[Weight, With("loss", ("wgan-gp",))] = Field(
        10.0, description="wgan-gp: weight of the gradient penalty."
    )
    margin: Annotated[float, Field(gt=0), With("loss", ("ebgan",))] = Field(
        1.0, description="ebgan: energy above which a fake is bad enough."
    )
    pulling_away: Annotated[Weight, With("loss", ("ebgan",))] = Field(
        0.0, description="ebgan: weight of the pulling-away term; 0.1 is the published one."
    )
    gamma: Annotated[float, Field(gt=0, le=1), With("loss", ("began",))] = Field(
        0.5, description="began: wished ratio of fake to real error; lower gives less variety."
    )
    lambda_k: Annotated[Weight, With("loss", ("began",))] = Field(0.001, description="began: speed of the balance k.")
    patience: Annotated[int, Field(ge=0), With("loss", ("began",))] = Field(
        0, description="began: generator steps without a better convergence measure that halve the rate; 0: never."
    )
    lsgan_targets: Annotated[str, With("loss", ("lsgan",))] = Field(
        "0,1,1", description="lsgan: labels a of fakes, b of real pictures, c that G aims at."
    )

    @property
    def needs_labels(self) -> bool:
        """Whether the data must have an attribute table."""
        return self.loss == "cgan"

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
        if self.pulling_away and self.batch < 2:
            raise ValueError("pulling_away compares pictures of a batch; it needs a batch of 2 or more")
        return self


class PSCGANConfig(FacesConfig):
    """PSC-GAN: faces from noise and labels. An autoencoder first; then its halves start and steer a GAN."""

    method: Literal["psc-gan"] = "psc-gan"
    without_effect = frozenset({"tier", "shape", "norm", "activation", "start_from"})

    stage: Literal["1", "2", "both"] = Field(
        "both", description="1: autoencoder and label classifier; 2: the GAN, from --stage1; both: one after the other."
    )
    stage1: str = Field("", description="For --stage 2: run folder whose autoencoder is taken.")
    baseline: Literal["psc", "vanilla", "pretrained", "concat", "cgan_d"] = Field(
        "psc",
        description="psc: the method; vanilla: a GAN without labels, from random weights; pretrained: the same from "
        "the decoder; concat: labels that no classifier enforces; cgan_d: that, and the discriminator sees them.",
    )
    labels: str = Field("faces", description="Label groups: faces, montage, or a JSON file; see train/label_layouts.")
    width: Positive = Field(64, description="Channels of the first layers; 32 is a quarter of the work.")
    latent: Positive = Field(100, description="Length of the noise.")
    rec: Literal["mse", "l1"] = Field("mse", description="Reconstruction loss of stage 1.")
    loss: str = Field("gan", description="Adversarial loss of stage 2: gan, lsgan or wgan-gp.")
    n_critic: Annotated[int, Field(ge=0)] = Field(
        0, description="Discriminator steps for each of the generator; 0: 5 with wgan-gp, else 1."
    )
    lambda_1: Weight = Field(1.0, description="Weight of the classification loss in stage 1.")
    lambda_2: Annotated[Weight, With("baseline", ("psc",))] = Field(
        1.0, description="Weight of the condition loss in stage 2."
    )
    map_init: Literal["random", "codes"] = Field(
        "codes",
        description="How the linear map from noise and labels starts: fitted to the autoencoder's codes of the "
        "training faces (codes), so that the first pictures are faces already, or random, as one reads the paper.",
    )
    batch: Positive = Field(64, description="Pictures per step, of each process.")
    stage1_epochs: Positive = Field(50, description="Epochs of stage 1.")
    stage1_steps: Annotated[int, Field(ge=0)] = Field(0, description="Steps of stage 1; replaces --stage1-epochs.")
    epochs: Positive = Field(30, description="Epochs of stage 2 at the full learning rate.")
    decay_epochs: Annotated[int, Field(ge=0)] = Field(0, description="Epochs of linear decay to 0 after that.")
    steps: Annotated[int, Field(ge=0)] = Field(0, description="Steps of stage 2; replaces both epoch counts.")
    decay_steps: Annotated[int, Field(ge=0)] = Field(0, description="How many of --steps, at their end, decay.")
    stage1_learning_rate: Weight = Field(0.0, description="Adam's learning rate in stage 1; 0: the same.")
    stage1_beta1: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="Adam's first beta in stage 1.")
    discriminator_learning_rate: Weight = Field(
        0.0, description="Adam's learning rate of the discriminator; 0: the same."
    )
    instance_noise: Weight = Field(
        0.0,
        description="Deviation of noise added to all that the discriminator sees, in units of [-1, 1]: against dots "
        "and grain in short runs; 0.1 is strong. Not in the paper.",
    )
    discriminator_shift: Annotated[int, Field(ge=0)] = Field(
        0, description="Pixels by which all that the discriminator sees is shifted at random. Not in the paper."
    )

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
                    raise ValueError(f"{_flag(name)} belongs to stage {stage}, which this run does not train")
        return self


STAGE1_OPTIONS = ("rec", "lambda_1", "stage1_epochs", "stage1_steps", "stage1_learning_rate", "stage1_beta1")
STAGE2_OPTIONS = (
    *("loss", "n_critic", "lambda_2", "map_init", "epochs", "decay_epochs", "steps", "decay_steps", "beta1"),
    *("discriminator_learning_rate", "instance_noise", "discriminator_shift"),
)


CONFIGS: dict[str, type[TrainConfig]] = {
    "cyclegan": CycleGANConfig,
    "paired": PairedConfig,
    "distill": DistillConfig,
    "acl-gan": ACLGANConfig,
    "stargan": StarGANConfig,
    "dcgan": DCGANConfig,
    "classifier": ClassifierConfig,
    "psc-gan": PSCGANConfig,
}

CHANGEABLE = frozenset(
    {"out", "epochs", "decay_epochs", "steps", "decay_steps", "log_every", "sample_every", "checkpoint_minutes"}
    | {"size", "load_size", "border"}
    | {
        "threads",
        "workers",
        "memory_format",
        "cache_mb",
        "data_note",
        "data_licence",
        "note",
        "name",
        "photos",
        "paintings",
        "teacher",
    }
    | {
        "learning_rate",
        "discriminator_learning_rate",
        "lambda_cyc",
        "lambda_identity",
        "lambda_output",
        "lambda_feature",
        "instance_noise",
        "painting_zoom",
        "lambda_shift",
        "lambda_style",
        "lambda_semantic",
        "vgg",
    }
    | {"data", "table", "identities", "classifier"}
    | {"lambda_att", "lambda_con", "lambda_mask", "lambda_tv", "lambda_smooth", "lambda_gp", "lambda_cls", "lambda_rec"}
    | {"open_share", "discriminator_shift"}
    | {"stage1", "lambda_2"}
    | {"answers", "pairs", "noise", "teacher_licence"}
    | {"lambda_l1", "lambda_pooled", "lambda_gradient", "lambda_texture", "lambda_gram", "lambda_calm"}
)
"""What may differ when a run is resumed: its length, its places, its words, and, when asked for, rates and weights.
``photos``, ``paintings`` and ``data`` may move; their contents must stay the same. ``size`` may where no network is
made for one: coarse to fine, a run begins on small pictures, at a fraction of the cost, and ends on large ones."""


def make_config(kind: type[C], values: dict[str, Any]) -> C:
    """A checked configuration.

    Raises:
        OptionError: a value is out of range or a name is unknown; the message names the option.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        option = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise OptionError(f"Unknown option '{option}'. {did_you_mean(option, kind.model_fields)}") from error
        if first["type"] == "missing":
            raise OptionError(f"{_flag(option)} is needed: {kind.model_fields[option].description}") from error
        given = f", got {first['input']!r}" if option else ""
        label = f"{_flag(option)}: " if option else ""
        raise OptionError(f"{label}{first['msg'].removeprefix('Value error, ')}{given}.") from error


def _flag(option: str) -> str:
    return "--" + option.replace("_", "-")


def save_config(config: TrainConfig, folder: Path) -> Path:
    """Write ``config.json`` into the run folder, atomically, and return its path."""
    path = folder / CONFIG_NAME
    values = {"format": CONFIG_FORMAT, **config.model_dump(mode="json")}
    replace_file(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n", durable=True)
    return path


def read_values(path: Path) -> dict[str, Any]:
    """The values of a configuration file, unchecked; ``path`` may be the run folder that holds it.

    Args:
        path: ``config.json`` of a run, or a recipe in TOML.

    Raises:
        TrainingError: the file is missing or is neither a JSON object nor TOML.
    """
    file = path / CONFIG_NAME if path.is_dir() else path
    try:
        text = file.read_text(encoding="utf-8")
        values = tomllib.loads(text) if file.suffix == ".toml" else json.loads(text)
    except FileNotFoundError as error:
        raise TrainingError(
            f"There is no configuration file {file}. Give the config.json of a run folder, or a recipe (.toml)."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise TrainingError(f"{file} cannot be read as a configuration: {error}.") from error
    if not isinstance(values, dict):
        raise TrainingError(f"{file} holds no options; expected one JSON object as engine train writes it.")
    return _from_format_1(values) if values.pop("format", 1) == 1 else values


def _from_format_1(values: dict[str, Any]) -> dict[str, Any]:
    """The values of a run from before the file had a format; what a person wrote is incomplete and stays."""
    if not {"method", "tier", "batch", "seed"} <= values.keys():
        return values
    if values["method"] in ("acl-gan", "stargan") and values.get("lambda_gp") == 0:
        values["lambda_gp"] = -1.0  # zero stood for the published weight
    if values["tier"] in ("nano", "mobile", "light") and values["method"] not in ("psc-gan", "classifier"):
        values.setdefault("shape", OLDEST_SHAPE)
    return values


def is_config(path: Path) -> bool:
    """Whether there is a readable configuration of a training run."""
    try:
        return str(read_values(path).get("method", "")) in CONFIGS
    except TrainingError:
        return False


def load_config(path: Path) -> TrainConfig:
    """Read back a saved configuration, of whatever method."""
    values = read_values(path)
    method = str(values.get("method", ""))
    if method not in CONFIGS:
        raise TrainingError(f"{path} names the method '{method}'. {did_you_mean(method, CONFIGS)}")
    return make_config(CONFIGS[method], values)
