"""The generator record: what a runtime must know to feed a generator and read its answer.

One :class:`GeneratorSpec` travels as one JSON value under the key :data:`METADATA_KEY` from the header of the training
checkpoint (safetensors) through the ``metadata_props`` of the ONNX file into the runtime. All families share it:

- CycleGAN: one image in, one image out.
- ACL-GAN: image and attribute vector in, segment and mask out, composed over the input inside a frame.
- PSC-GAN: latent and label vector in (no image), image out; or image and label vector in.

Conventions said once: images are NCHW; sizes are ``(height, width)`` in code and
``WIDTHxHEIGHT`` in text; masks are 1 where the generator's output shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import ModelFileError, refusal

METADATA_KEY = "ganlens.spec"
FORMAT_VERSION = 3
"""Rises when a record may hold what an older runtime would misread. 2: strengths, detail, teacher, licence.
3: margin."""

Size = tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]
ValueRange = tuple[float, float]


def format_size(size: Sequence[int]) -> str:
    """A size (height, width) as users read and write it: ``WIDTHxHEIGHT``."""
    height, width = size
    return f"{width}x{height}"


class Record(BaseModel):
    """Base of the parts: immutable, and unknown fields are an error (a typo in a hand-made record shows at once)."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")


class ImageInput(Record):
    """The image that enters: tensor (N, 3, H, W)."""

    name: str = "x"


class Combination(Record):
    """Names that hold together, and how often they do in the training data."""

    names: tuple[str, ...]
    count: Annotated[int, Field(gt=0)]


class Strength(Record):
    """What a user's value for an attribute means to the network: 0 leaves the picture unchanged, 1 is the full edit.

    A network learns entries of its vector (0: without the attribute, 1: with it), and values in between rarely
    changes the picture in proportion. The points say which entry gives which share of the edit.
    """

    points: tuple[tuple[float, float], ...] = ((0.0, 0.5), (1.0, 1.0))
    """(strength, entry of the vector) with rising strengths, linear in between. The first and the last are the range
    that a user may set: 0..1, or from -1 where the attribute can also be taken away. Strength 0 is among them."""
    experimental: bool = False
    """True: the edit is unreliable; users are warned."""

    @model_validator(mode="after")
    def _points_rise_through_zero(self) -> Strength:
        strengths = [strength for strength, _ in self.points]
        if len(strengths) < 2 or any(a >= b for a, b in pairwise(strengths)) or 0.0 not in strengths:
            raise ValueError(f"strengths must increase and contain 0, got {strengths}")
        return self

    @property
    def lowest(self) -> float:
        """The smallest strength that may be set."""
        return self.points[0][0]

    @property
    def highest(self) -> float:
        """The largest strength that may be set."""
        return self.points[-1][0]

    @property
    def neutral(self) -> float:
        """The entry that leaves the picture unchanged."""
        return self.entry(0.0)

    def entry(self, strength: float) -> float:
        """The entry of the vector for ``strength`` in ``lowest``..``highest``."""
        for (low, start), (high, end) in pairwise(self.points):
            if strength <= high:
                return start + (end - start) * (strength - low) / (high - low)
        return self.points[-1][1]


class AttributeInput(Record):
    """The attribute or label vector that enters: tensor (N, C), or (N, 2C) with the complement appended."""

    name: str = "att"
    names: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...] = ()
    """Names of which exactly one (PSC-GAN labels) or at most one (hair colours) holds."""
    exactly_one: bool = False
    """True: every group has exactly one 1. False: at most one."""
    combinations: tuple[Combination, ...] = ()
    """What occurs in the training data, for groups of exactly one: labels that a user leaves open are drawn like that.
    Empty: unknown; then every name of a group is as likely as the others."""
    complement: bool = False
    """True: the tensor is ``[att, 1 - att]`` (spec of ACL-GAN: an attribute can also be taken away)."""
    strengths: dict[str, Strength] = {}
    """By name, how a user's value becomes an entry. A name without one takes the entry itself, 0..1."""

    @model_validator(mode="after")
    def _groups_name_known_attributes(self) -> AttributeInput:
        for group in self.groups:
            unknown = [name for name in group if name not in self.names]
            if unknown:
                raise ValueError(f"group names {unknown}, which are not among the attributes {list(self.names)}")
        return self

    @model_validator(mode="after")
    def _combinations_fit_the_groups(self) -> AttributeInput:
        for row in self.combinations:
            unknown = [name for name in row.names if name not in self.names]
            if unknown:
                raise ValueError(f"combination names {unknown}, which are not among the attributes {list(self.names)}")
            if self.exactly_one and any(len(set(group) & set(row.names)) != 1 for group in self.groups):
                raise ValueError(f"combination {list(row.names)} does not have exactly one name of each group")
        return self

    @model_validator(mode="after")
    def _strengths_fit(self) -> AttributeInput:
        unknown = [name for name in self.strengths if name not in self.names]
        if unknown:
            raise ValueError(f"strengths name {unknown}, which are not among the attributes {list(self.names)}")
        if self.strengths and self.exactly_one:
            raise ValueError(
                "groups of exactly one have no entry that leaves a picture unchanged, so they cannot have strengths"
            )
        return self

    @property
    def length(self) -> int:
        """Columns of the tensor."""
        return len(self.names) * (2 if self.complement else 1)

    def bounds(self, name: str) -> tuple[float, float]:
        """The smallest and the largest value that a user may set for an attribute."""
        strength = self.strengths.get(name)
        return (0.0, 1.0) if strength is None else (strength.lowest, strength.highest)

    def rest(self, name: str) -> float:
        """The user's value that means what leaving the attribute out means."""
        return 0.5 if self.complement and name not in self.strengths else 0.0

    def only_adds(self, name: str) -> bool:
        """Whether an attribute's strengths begin at 0: it can be given to a picture, and not be taken away."""
        return name in self.strengths and self.strengths[name].lowest == 0

    def is_experimental(self, name: str) -> bool:
        """Whether an attribute's edit is unreliable, so that users are warned."""
        return name in self.strengths and self.strengths[name].experimental


class LatentInput(Record):
    """The noise that enters: tensor (N, dim)."""

    name: str = "z"
    dim: Annotated[int, Field(gt=0)]
    distribution: Literal["normal", "uniform"] = "normal"
    """What the generator was trained on: standard normal values, or uniform ones in [-1, 1]."""


class ImageOutput(Record):
    """What leaves: ``image`` is a finished picture; ``segment`` must be composed over the input with the mask."""

    name: str = "y"
    kind: Literal["image", "segment"] = "image"
    mask: str | None = None
    """Name of the mask tensor (N, 1, H, W) in [0, 1], if there is one."""

    @model_validator(mode="after")
    def _segment_needs_mask(self) -> ImageOutput:
        if self.kind == "segment" and self.mask is None:
            raise ValueError("a 'segment' output needs a mask output")
        return self


class SizeRule(Record):
    """Which image sizes the graph takes: one fixed size, or any multiple of ``multiple_of`` from ``minimum`` up."""

    fixed: Size | None = None
    multiple_of: Annotated[int, Field(gt=0)] = 1
    minimum: Annotated[int, Field(gt=0)] = 1
    preferred: Size = (256, 256)
    """The size the model was made for; free-size graphs run near its area unless asked otherwise."""
    margin: Annotated[int, Field(ge=0)] = 0
    """Pixels of repeated edge that the runtime adds around a whole frame on every side, and cuts off the answer. A
    network that pads with zeros paints a line along its picture's border; with a margin that line is outside."""

    @model_validator(mode="after")
    def _margin_leaves_a_picture(self) -> SizeRule:
        if self.margin and min(self.fixed or (self.minimum,)) <= 2 * self.margin:
            raise ValueError(f"a margin of {self.margin} needs sides above {2 * self.margin}, got {self}")
        return self

    @property
    def picture(self) -> Size:
        """(height, width) of the picture that the model was made for, without margins."""
        if self.fixed is None:
            return self.preferred
        return self.fixed[0] - 2 * self.margin, self.fixed[1] - 2 * self.margin

    def with_margin(self, margin: int) -> SizeRule:
        """The same with another margin, and a minimum that leaves a picture inside it.

        Raises:
            ValidationError: the fixed size does not.
        """
        least = self.minimum
        if margin and least <= 2 * margin:
            least = (2 * margin // self.multiple_of + 1) * self.multiple_of
        return SizeRule(**{**self.model_dump(), "margin": margin, "minimum": least})

    def accepts(self, size: tuple[int, int]) -> bool:
        """Whether the graph takes an image of ``size`` (height, width)."""
        if self.fixed is not None:
            return size == self.fixed
        return all(n >= self.minimum and n % self.multiple_of == 0 for n in size)

    def round_up(self, size: tuple[int, int]) -> tuple[int, int]:
        """The smallest accepted size that holds ``size``; the fixed size if there is one."""
        if self.fixed is not None:
            return self.fixed
        m = self.multiple_of
        height, width = (max(self.minimum, -(-n // m) * m) for n in size)
        return -(-height // m) * m, -(-width // m) * m

    def __str__(self) -> str:
        if self.fixed is not None:
            return format_size(self.fixed)
        return f"any multiple of {self.multiple_of} from {self.minimum} up"


class Training(Record):
    """Where the weights come from, for the model card."""

    data: str
    data_licence: str
    images_seen: Annotated[int, Field(ge=0)]
    steps: Annotated[int, Field(ge=0)]
    size: Size
    seconds: float = 0.0
    hardware: str = ""
    teacher: str = ""
    """The teacher (another model or a filter) and its licence, if the model was trained on the output of one."""
    note: str = ""
    """What a user must know: "research use", "trained briefly", the discriminator used."""


class Parity(Record):
    """How far the exported graph is from PyTorch, measured at export."""

    reference: str = "PyTorch float32, eval mode"
    inputs: str = "real pictures"
    """What both were given: a generator from noise has no pictures to be judged on."""
    images: Annotated[int, Field(gt=0)]
    """How many of them."""
    max_abs: float
    """Largest absolute difference, in units of [-1, 1]."""
    psnr_db: float
    """Peak 2 (the width of [-1, 1]), worst image."""
    cosine: float
    """Smallest cosine over the images."""
    snr_db: float
    """Against the output's own variance, worst image: PSNR alone misleads on nearly constant outputs."""


class GeneratorSpec(Record):
    """What a runtime must know to feed a generator and read its answer. See the module text."""

    format_version: int = FORMAT_VERSION
    name: str
    architecture: str
    """"cyclegan", "acl-gan", "stargan", "psc-gan", …; "onnx" for a graph without our record."""
    tier: str = ""
    """"nano", "mobile", "light", "resnet6", "resnet9"; empty where it does not apply."""
    options: dict[str, str | int | float | bool] = {}
    """Constructor options of the network (norm, activation, channels), so that a checkpoint can be opened."""
    image: ImageInput | None = ImageInput()
    attributes: AttributeInput | None = None
    latent: LatentInput | None = None
    output: ImageOutput = ImageOutput()
    size: SizeRule = SizeRule()
    value_range: ValueRange = (-1.0, 1.0)
    """Range of the image tensors, input and output; 8-bit 0 maps to the first value, 255 to the second."""
    channel_order: Literal["RGB", "BGR"] = "RGB"
    frame_border_px: Annotated[int, Field(ge=0)] = 0
    """Border in which the output equals the input exactly (image framing), at ``size.preferred``."""
    face_alignment: Literal["", "celeba"] = ""
    """Face alignment of the pictures the model was trained on; empty: pictures of any kind. "celeba": CelebA's aligned
    pictures, their middle 178x178. The runtime then finds, aligns and puts back every face of a frame by itself."""
    detail: Annotated[float, Field(ge=0, le=1)] | None = None
    """How much of the original's fine luminance detail the runtime adds back by default, chosen by eye;
    None: 1 for faces, else 0."""
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    training: Training | None = None
    parity: Parity | None = None
    metrics: dict[str, float] = {}
    """Measured quality, by a name that says the features and the set sizes."""
    licence: str = ""
    """Licence of the weights, or what they may be used for; empty: not stated."""
    weights_sha256: str = ""
    producer: str = ""

    @model_validator(mode="after")
    def _check(self) -> GeneratorSpec:
        if self.image is None and self.latent is None:
            raise ValueError("a generator needs an image or a latent input")
        if self.value_range[0] >= self.value_range[1]:
            raise ValueError(f"value_range must increase, got {self.value_range}")
        if self.size.margin and self.face_alignment:
            raise ValueError("a margin is for whole frames; a face model has frame_border_px")
        return self

    def to_metadata(self) -> dict[str, str]:
        """The record as string-to-string metadata (safetensors header, ONNX ``metadata_props``)."""
        return {METADATA_KEY: self.model_dump_json(exclude_defaults=False)}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> GeneratorSpec | None:
        """The record found in file metadata, or None if the file has none.

        Raises:
            ModelFileError: the record is there but is not valid, or is of a newer format version.
        """
        text = metadata.get(METADATA_KEY)
        if text is None:
            return None
        try:
            probe = _Version.model_validate_json(text)
            if probe.format_version > FORMAT_VERSION:
                raise ModelFileError(
                    f"The model's record has format version {probe.format_version}; this ganlens reads up to "
                    f"{FORMAT_VERSION}. Upgrade ganlens, or export the model again with this version."
                )
            return cls.model_validate_json(text)
        except ValidationError as error:
            where, why = refusal(error)
            raise ModelFileError(
                f"The model's record is not valid: {where or 'record'}: {why}. "
                "Export the model again with engine export."
            ) from error


class _Version(BaseModel):
    format_version: int = 0
