"""What the methods share that learn from faces and a table about them; the configuration of the classifier."""

from __future__ import annotations

import shlex
from abc import abstractmethod
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..data.hair import hair_columns
from ..data.label_groups import LabelLayout, load_layout
from .base import BatchSize, Positive, Side, TrainConfig, last_part
from .marks import MayChange

DEFAULT_ATTRIBUTES = "Black_Hair,Blond_Hair,Brown_Hair,Male,Young,Mouth_Slightly_Open,Smiling"
"""StarGAN's five and the two of ACL-GAN's example."""


class FacesConfig(TrainConfig):
    """What the methods share that learn from faces and a table about them."""

    data: Annotated[str, MayChange] = Field(
        description="Folder with pictures (or images/ in it) and an attribute table."
    )
    table: Annotated[str, MayChange] = Field(
        "", description="Attribute table; default: attributes.csv or list_attr_celeba.txt in --data."
    )
    identities: Annotated[str, MayChange] = Field(
        "", description="Table of identities; default: identities.csv or identity_CelebA.txt."
    )
    holdout: Annotated[int, Field(ge=0)] = Field(
        2000, description="Pictures, of whole people, that are kept out of training for evaluation."
    )
    size: Annotated[Side, Field(ge=32)] = Field(128, description="Side of the square training picture, in pixels.")
    load_size: Side = Field(
        0, description="Side to which the central square is resized before a random crop; 0: no crop."
    )

    @property
    def data_words(self) -> str:
        """The data folder."""
        return last_part(self.data)

    @property
    def resize_px(self) -> int:
        """The side after resizing."""
        return self.load_size or self.size

    @property
    def layout(self) -> LabelLayout | None:
        """The label groups; None: labels are attributes, columns of the table as they are."""
        return None

    @property
    def class_names(self) -> tuple[str, ...]:
        """The subfolders of the data that are classes; none: labels are of a table."""
        return ()

    @property
    @abstractmethod
    def label_names(self) -> tuple[str, ...]:
        """The label vector, slot by slot."""


class AttributeConfig(FacesConfig):
    """What the methods share that learn from faces with attributes."""

    attributes: str = Field(DEFAULT_ATTRIBUTES, description="Columns of the table, separated by commas.")
    classes: str = Field(
        "",
        description="Subfolders of --data whose pictures are each of one class, for example cats,dogs: labels without "
        "a table, in place of --attributes.",
    )
    batch: BatchSize = Field(16, description="Batch size: pictures per step, in each process.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(1e-4, description="Adam's learning rate.")

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """The attributes, in the order of the label vector, or the classes."""
        return self.class_names or tuple(name.strip() for name in self.attributes.split(",") if name.strip())

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of the label vector."""
        return tuple(name.strip() for name in self.classes.split(",") if name.strip())

    @property
    def exclusive_names(self) -> tuple[str, ...]:
        """The attributes of which at most one holds: the classes, or the hair colours."""
        return self.class_names or tuple(self.attribute_names[column] for column in hair_columns(self.attribute_names))

    @model_validator(mode="after")
    def _classes_are_several(self) -> AttributeConfig:
        if self.classes and len(self.class_names) < 2:
            raise ValueError(f"classes takes two names or more, for example cats,dogs; got '{self.classes}'")
        if self.classes and self.attributes != type(self).model_fields["attributes"].default:
            raise ValueError("--attributes has no effect with --classes; give one of them")
        if self.classes and (self.table or self.identities):
            raise ValueError("--table and --identities have no effect with --classes; leave them out")
        return self

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


class ClassifierConfig(AttributeConfig):
    """A classifier of attributes, which judges edits.

    It is trained on real faces, and no generator is trained against it.
    """

    method: Literal["classifier"] = "classifier"
    without_effect = frozenset(
        {"tier", "shape", "padding", "norm", "activation", "start_from", "sample_every", "sample_epochs", "samples"}
    )

    size: Annotated[Side, Field(ge=32)] = Field(64, description="Side of the pictures that it sees, in pixels.")
    load_size: Side = Field(72, description="Side to which the central square is resized before a random crop.")
    steps: Annotated[int, Field(ge=0)] = Field(3000, description="Total steps; 0: count epochs.")
    batch: BatchSize = Field(32, description="Batch size: pictures per step, in each process.")
    learning_rate: Annotated[float, Field(gt=0)] = Field(1e-3, description="Adam's learning rate.")
    beta1: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="Adam's first beta; the second is 0.999.")
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(0.99, description="Decay of the averaged weights.")
    sample_every: Annotated[int, Field(ge=0)] = Field(0, description="It makes no pictures.")
    width: Positive = Field(32, description="Channels of the first layer.")
    labels: str = Field(
        "", description="Label groups in place of --attributes, to judge psc-gan: faces, montage, or a JSON file."
    )

    @property
    def next_command(self) -> str:
        """Its use: to judge an editor."""
        return f"engine train evaluate EDITOR_RUN --classifier {shlex.quote(self.out)}"

    @model_validator(mode="after")
    def _attributes_or_labels(self) -> ClassifierConfig:
        if self.labels and (self.attributes != DEFAULT_ATTRIBUTES or self.classes):
            other = "--classes" if self.classes else "--attributes"
            raise ValueError(f"{other} has no effect with --labels; give one of them")
        return self

    @property
    def layout(self) -> LabelLayout | None:
        """The label groups, if it is to know such."""
        return load_layout(self.labels) if self.labels else None

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """The attributes, or the values of the label groups, in the order of the answers."""
        return self.layout.names if self.layout else super().attribute_names
