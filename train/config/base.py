"""What all training methods share. The descriptions are the commands' help."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .marks import MayChange, NotWith, With, flag

Norm = Literal["in", "bn", "none"]

Activation = Literal["relu", "leaky"]

NetworkShape = Literal["transposed", "balanced", "joined"]
"""Default shape of the real-time tiers if a record or run does not state one; these are older than the option."""

Padding = Literal["zeros", "replicate"]

VGGScaling = Literal["caffe", "torchvision"]

Positive = Annotated[int, Field(gt=0, le=10**9)]

BatchSize = Annotated[int, Field(gt=0, le=65536)]

Side = Annotated[int, Field(ge=0, le=16384)]
"""Side of a picture, in pixels."""

Weight = Annotated[float, Field(ge=0)]

MOST_WORKERS, MOST_THREADS = 256, 1024
"""More are a mistake, and would take the processes or the memory of the whole machine."""

JPEG = "Share of the pictures that go through a JPEG encoder first, quality 30 to 95, as webcams have one; 0: none."
"""What the option of that name says, for all methods that have it."""

RealTimeOnly = With("tier", ("nano", "mobile", "light", "edge"))

STAGES = "stages"
"""Folder of a run's earlier stages, and their name in its configuration."""

NoMobileTier = NotWith("tier", ("stargan", "growing"))


class TrainConfig(BaseModel):
    """What every method shares: length, optimiser, data handling, records. The descriptions are the command's help."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    metrics_hint: ClassVar[str] = ""
    """How else there would be something to measure."""
    without_effect: ClassVar[frozenset[str]] = frozenset()
    """Options that the method does not know, though its base has them: not shown, and refused."""

    method: str
    out: Annotated[str, MayChange] = Field(description="Run folder; created if missing.")
    name: Annotated[str, MayChange] = Field(
        "", description="Name of the generator in its record; default: the run folder's name."
    )
    start_from: str = Field(
        "",
        description="Run folder whose generators this run starts from, for another style, other data or another "
        "discriminator, which starts new; or an exported ONNX file, or a shipped model's name. Not for psc-gan (see "
        "--stage1) and classifier.",
    )
    tier: Literal["nano", "mobile", "light", "edge", "resnet6", "resnet9", "stargan", "growing"] = Field(
        "mobile",
        description="Generator network. Real-time: nano, mobile, light; edge is mobile without instance norm, for NPUs "
        "and INT8.",
    )
    shape: Annotated[NetworkShape, RealTimeOnly] = Field(
        "balanced",
        description="Architecture of the real-time tiers: balanced (dense blocks, no grid, the picture joined to the "
        "head), joined (lighter: inverted blocks), or transposed, the first shape, for older runs.",
    )
    padding: Annotated[Padding, RealTimeOnly] = Field(
        "zeros",
        description="What the real-time tiers' convolutions see beyond a border: zeros, or (replicate) its values: "
        "plain walls then get no pattern that begins there.",
    )
    norm: Annotated[Norm, NoMobileTier] = Field(
        "in",
        description="Norm of the generators: in (instance norm, affine in the real-time tiers; not for edge), bn, or "
        "none.",
    )
    activation: Annotated[Activation, NoMobileTier] = Field(
        "relu", description="Activation of the generators: relu or leaky (slope 0.01)."
    )

    size: Annotated[Side, Field(ge=32), MayChange] = Field(
        256, description="Side of the square training crop, in pixels."
    )
    load_size: Annotated[Side, MayChange] = Field(
        0, description="Shorter side after resizing, before the crop; 0: size * 286 / 256. Larger: coarser strokes."
    )
    flip: bool = Field(True, description="Mirror pictures with a probability of one half.")
    batch: BatchSize = Field(1, description="Batch size: pictures per domain and step, in each process.")
    workers: Annotated[int, Field(ge=0, le=MOST_WORKERS), MayChange] = Field(
        0, description="Processes that load pictures; 0: load in the training process."
    )
    cache_mb: Annotated[int, Field(ge=0), MayChange] = Field(
        1024, description="Cache resized pictures in memory if a domain needs less than this."
    )

    epochs: Annotated[Positive, MayChange] = Field(
        100, description="Epochs at the full learning rate; an epoch is the larger domain once."
    )
    decay_epochs: Annotated[int, Field(ge=0), MayChange] = Field(
        100, description="Epochs of linear decay to 0 after that."
    )
    steps: Annotated[int, Field(ge=0), MayChange] = Field(
        0, description="Total steps; replaces both epoch counts when above 0."
    )
    decay_steps: Annotated[int, Field(ge=0), MayChange] = Field(
        0, description="Number of steps at the end of training in which the learning rate decays; 0: the second half."
    )
    learning_rate: Annotated[float, Field(gt=0), MayChange] = Field(2e-4, description="Adam's learning rate.")
    beta1: Annotated[float, Field(ge=0, lt=1)] = Field(0.5, description="Adam's first beta; the second is 0.999.")
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.999,
        description="Decay of the moving average of the weights, which is exported; lower in the first steps.",
    )
    seed: Annotated[int, Field(ge=-(2**63), le=2**63 - 2)] = Field(0, description="Seed of all random numbers.")

    precision: Literal["no", "fp16", "bf16"] = Field("no", description="Mixed precision: no, fp16 or bf16.")
    threads: Annotated[int, Field(ge=0, le=MOST_THREADS), MayChange] = Field(
        0, description="CPU threads; 0: PyTorch's choice."
    )
    memory_format: Annotated[Literal["auto", "contiguous", "channels_last"], MayChange] = Field(
        "auto",
        description="Layout of tensors: contiguous (NCHW) or channels_last; auto: the faster one, channels_last but "
        "for networks with instance norm on a CPU.",
    )

    log_every: Annotated[Positive, MayChange] = Field(50, description="Steps between log lines and TensorBoard points.")
    sample_every: Annotated[int, Field(ge=0), MayChange] = Field(
        500, description="Steps between sample grids; 0: none but those of --sample-epochs."
    )
    samples: Positive = Field(4, description="Pictures of each domain in a sample grid.")
    metric_every: Annotated[int, Field(ge=0), MayChange] = Field(
        0,
        description="Steps between measurements of the averaged generator on pictures of the training; the best is "
        "kept in best/. 0: none. With --metric-features Fréchet and kernel distance; translators: the gates of "
        "styles (engine evaluate); editors with --classifier: the success of the edits; psc-gan: that of the labels.",
    )
    metric_features: Annotated[str, MayChange] = Field(
        "",
        description="Features for the distances of --metric-every: VGG16 (.safetensors) or an Inception (.pth, .onnx).",
    )
    metric_pictures: Annotated[int, Field(ge=2), MayChange] = Field(200, description="Pictures per measurement.")
    keep_every: Annotated[int, Field(ge=0), MayChange] = Field(
        0, description="Steps between snapshots, generators and state, to which engine train rollback returns; 0: none."
    )
    clip_gradients: Annotated[float, Field(ge=0), MayChange] = Field(
        0.0, description="Gradient clipping: largest global norm of the gradients of a phase. 0: no limit."
    )
    accumulate: Annotated[Positive, MayChange] = Field(
        1,
        description="Parts in which a step goes through its --batch, gradients added up: a part's memory for the whole "
        "batch. Batch norm sees parts.",
    )
    compile: Annotated[bool, MayChange] = Field(
        False,
        description="torch.compile for the generators: minutes at the start, then faster steps on a GPU. Needs a C++ "
        "compiler.",
    )
    sync_batch_norm: Annotated[bool, MayChange] = Field(
        False, description="With several processes: batch norm by the statistics of all their pictures together."
    )
    sample_epochs: Annotated[str, MayChange] = Field(
        "", description="Epochs after which a sample grid is written too, for example 0,5,10,30."
    )
    track: Annotated[Literal["", "wandb", "trackio"], MayChange] = Field(
        "", description="Also report to wandb or trackio; pip install 'ganlens[wandb]' or 'ganlens[trackio]'."
    )
    checkpoint_minutes: Annotated[float, Field(gt=0), MayChange] = Field(
        3.0, description="Minutes between checkpoints."
    )

    data_note: Annotated[str, MayChange] = Field(
        "", description="Training data in one line, for the record; default: the folders' names."
    )
    data_licence: Annotated[str, MayChange] = Field(
        "not stated", description="Licence of the training data, for the record."
    )
    licence: Annotated[str, MayChange] = Field(
        "", description="Licence of the weights, or what they may be used for, for the record."
    )
    note: Annotated[str, MayChange] = Field("", description="Notes for users of the model, for the record.")
    stages: tuple[dict[str, Any], ...] = Field(
        (), description="Options of the runs before this one, each of which starts from the one before; of a recipe."
    )

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
        if self.batch % self.accumulate:
            raise ValueError(f"accumulate {self.accumulate} does not divide batch {self.batch}")
        if not all(part.strip().isdigit() for part in self.sample_epochs.split(",") if self.sample_epochs):
            raise ValueError(f"sample_epochs takes numbers with commas, for example 0,5,10; got '{self.sample_epochs}'")
        if self.decay_steps and self.decay_steps > self.steps:
            raise ValueError(f"decay_steps {self.decay_steps} is more than steps {self.steps}")
        return self

    @model_validator(mode="after")
    def _metrics_have_features(self) -> TrainConfig:
        if self.metric_features and not self.metric_every:
            raise ValueError("--metric-features has no effect without --metric-every, the steps between measurements")
        if self.metric_every and not self.metric_features and not self.has_own_metrics:
            raise ValueError(f"--metric-every needs --metric-features with {self.method}{self.metrics_hint}")
        return self

    @property
    def has_own_metrics(self) -> bool:
        """Whether there is something to measure without --metric-features."""
        return False

    @model_validator(mode="after")
    def _every_option_has_an_effect(self) -> TrainConfig:
        for name, field in type(self).model_fields.items():
            if field.is_required() or getattr(self, name) == field.default:
                continue
            if problem := self._no_effect(name):
                raise ValueError(f"{flag(name)} {problem}")
        return self

    def _no_effect(self, name: str) -> str:
        """Why an option has no effect in this run, or nothing."""
        if name in self.without_effect:
            return f"has no effect with {self.method}; leave it out"
        marks = (m for m in type(self).model_fields[name].metadata if isinstance(m, With | NotWith))
        return next(filter(None, (mark.problem(self) for mark in marks)), "")

    def effective_values(self) -> dict[str, Any]:
        """The values as JSON, without the options that have no effect here: their defaults may change one day."""
        names = {name for name in type(self).model_fields if self._no_effect(name)}
        return self.model_dump(mode="json", exclude=names)

    @property
    def sampled_epochs(self) -> tuple[int, ...]:
        """The epochs after which a grid is written."""
        return tuple(int(part) for part in self.sample_epochs.split(",") if self.sample_epochs)

    @property
    def resize_px(self) -> int:
        """The shorter side after resizing."""
        return self.load_size or round(self.size * 286 / 256)

    @property
    def run(self) -> Path:
        """The run folder."""
        return Path(self.out)

    @property
    def data_words(self) -> str:
        """The training data in one line, for the record of the generator, where ``data_note`` is empty."""
        return ""

    @property
    def teacher_words(self) -> str:
        """The teacher of the generator, for its record; empty if none."""
        return ""

    @property
    def advice(self) -> str:
        """What is worth knowing when a run starts; empty: nothing."""
        return ""

    @property
    def next_command(self) -> str:
        """What to type when the run is finished."""
        return f"engine export {shlex.quote(self.out)} -o {shlex.quote(self.model_name)}.onnx"

    @classmethod
    def changeable(cls) -> set[str]:
        """The options that may differ when a run is resumed."""
        return {
            name
            for kind in cls.__mro__
            if issubclass(kind, TrainConfig)
            for name, field in kind.model_fields.items()
            if MayChange in field.metadata
        }

    @property
    def model_name(self) -> str:
        """Name of the generator in its record."""
        return self.name or self.run.resolve().name


def last_part(source: str) -> str:
    """The last part of a folder or glob: a record tells what, not where on whose disk."""
    return Path(source).name
