"""Label groups: a vector of zeros and ones with exactly one 1 in each group, made from the columns of a table.

Which groups, which values and by what rule is a JSON file, so that another data set is another file, not another
program. Two come with ganlens: ``montage`` (the paper's layout, whose pictures cannot be had) and ``faces`` (its
stand-in on tables of CelebA's kind).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ganlens.engine.errors import TrainingError, refusal
from ganlens.engine.files import read_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .attribute_table import Faces

NAMED = 3
"""Examples that a message names."""

LAYOUTS = Path(__file__).parent / "label_layouts"


class _Part(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")


class Value(_Part):
    """One slot of the label vector."""

    name: str = Field(min_length=1)
    any_of: tuple[str, ...] = ()
    """Columns of the table: it holds where any of them is 1. None: where no value before it holds."""


class Group(_Part):
    """Values of which exactly one holds."""

    name: str
    rule: Literal["first_match", "exactly_one"]
    """first_match: the first value whose columns say so, else the last, so that any table fits; exactly_one: the table
    itself must have exactly one 1, anything else is an error of the table."""
    values: tuple[Value, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _the_rule_decides(self) -> Group:
        bare = [value.name for value in self.values if not value.any_of]
        if self.rule == "exactly_one" and bare:
            raise ValueError(f"group {self.name} takes exactly one, so {bare[0]} needs any_of: the column it is in")
        if self.rule == "first_match" and bare != [self.values[-1].name]:
            raise ValueError(
                f"group {self.name} takes the first match, so its last value, and no other, must be without any_of: "
                "the one that holds where nothing matches"
            )
        return self


class LabelLayout(_Part):
    """The groups, in the order of the label vector."""

    description: str = ""
    groups: tuple[Group, ...] = Field(min_length=1)
    conditions: dict[str, tuple[str, ...]] = {}
    """Names for combinations that are looked at more closely: one value of each group."""
    mirror_pairs: tuple[tuple[str, str], ...] = ()
    """Values that a mirror exchanges, of one group each ("left eye larger" and "right eye larger"): a mirrored picture
    of the one is a picture of the other."""

    @model_validator(mode="after")
    def _names_are_clear(self) -> LabelLayout:
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} names more than one value; names must differ, also across groups")
        for name, values in self.conditions.items():
            if [sum(value in group for value in values) for group in self.groups_of_names] != [1] * len(self.groups):
                raise ValueError(f"condition {name} needs exactly one value of each group, got {', '.join(values)}")
        return self

    @model_validator(mode="after")
    def _pairs_are_of_one_group(self) -> LabelLayout:
        paired = [name for pair in self.mirror_pairs for name in pair]
        for pair in self.mirror_pairs:
            if not any(set(pair) <= set(group) for group in self.groups_of_names):
                raise ValueError(f"mirror pair {' and '.join(pair)} must name two values of one group")
        if len(set(paired)) != len(paired):
            raise ValueError(f"mirror_pairs names a value more than once: {', '.join(paired)}")
        return self

    @property
    def mirrored(self) -> list[int]:
        """For each slot, the slot whose value a mirrored picture has there; ``labels[:, mirrored]`` are its labels."""
        other = {a: b for pair in self.mirror_pairs for a, b in (pair, pair[::-1])}
        return [self.names.index(other.get(name, name)) for name in self.names]

    @property
    def names(self) -> tuple[str, ...]:
        """The values of all groups: names of the slots."""
        return tuple(value.name for group in self.groups for value in group.values)

    @property
    def groups_of_names(self) -> tuple[tuple[str, ...], ...]:
        """The names, group by group."""
        return tuple(tuple(value.name for value in group.values) for group in self.groups)

    @property
    def slices(self) -> tuple[slice, ...]:
        """Where each group stands in the label vector."""
        return slices_of(len(group.values) for group in self.groups)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the table that the rules read, each once."""
        return tuple(dict.fromkeys(c for group in self.groups for value in group.values for c in value.any_of))

    def vector(self, values: Sequence[str]) -> NDArray[np.float32]:
        """The label vector (K,) of one value of each group, by name."""
        import numpy as np  # here: the configuration reads layouts for --help, too

        return np.array([name in values for name in self.names], dtype=np.float32)

    def encode(self, faces: Faces) -> Faces:
        """The same pictures with label vectors (N, K) in place of table columns (N, len(columns)).

        Raises:
            TrainingError: pictures without exactly one value in a group, or a value that no picture has.
        """
        import numpy as np

        places = {column: place for place, column in enumerate(self.columns)}
        wrong: dict[int, list[str]] = {}
        parts = []
        for group in self.groups:
            holds = np.stack(
                [
                    faces.labels[:, [places[column] for column in value.any_of]].max(axis=1, initial=0)
                    for value in group.values
                ],
                axis=1,
            )
            if group.rule == "first_match":
                holds[:, -1] = 1
                holds = np.eye(len(group.values), dtype=np.float32)[holds.argmax(axis=1)]
            for row in np.flatnonzero(holds.sum(axis=1) != 1):
                found = [v.name for v, has in zip(group.values, holds[row], strict=True) if has]
                wrong.setdefault(int(row), []).append(f"{group.name}: {' and '.join(found) or 'none'}")
            parts.append(holds)
        if wrong:
            examples = "; ".join(f"{faces.paths[r].name} has {', '.join(w)}" for r, w in list(wrong.items())[:NAMED])
            raise TrainingError(
                f"{len(wrong)} of {len(faces.paths)} pictures do not have exactly one value in every group: {examples}"
                f"{'; …' if len(wrong) > NAMED else ''}. Correct the table, or use a layout with the rule first_match."
            )
        return faces._replace(labels=np.concatenate(parts, axis=1).astype(np.float32))

    def require_all(self, labels: NDArray[np.float32]) -> None:
        """Raise unless every value has a picture among ``labels`` (N, K)."""
        counts = labels.sum(axis=0)
        for group, part in zip(self.groups, self.slices, strict=True):
            missing = [value.name for value, count in zip(group.values, counts[part], strict=True) if not count]
            if missing:
                raise TrainingError(
                    f"Group {group.name}: none of {len(labels)} training pictures is {', '.join(missing)}, so it "
                    "cannot be learned. Remove the value from the label layout, or add pictures that have it."
                )


def slices_of(lengths: Iterable[int]) -> tuple[slice, ...]:
    """Consecutive parts of a vector."""
    ends = list(accumulate(lengths))
    return tuple(slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True))


def load_layout(name: str) -> LabelLayout:
    """A layout that comes with ganlens, by name, or one of the user's, by file.

    Raises:
        TrainingError: there is no such layout, or it is not a valid one.
    """
    known = {file.stem: file for file in sorted(LAYOUTS.glob("*.json"))}
    file = known.get(name, Path(name))
    try:
        return LabelLayout.model_validate_json(read_file(file).decode())
    except ValidationError as error:
        where, why = refusal(error)
        raise TrainingError(f"The label layout {file} is not valid: {where + ': ' if where else ''}{why}.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(
            f"There is no label layout '{name}'. Give --labels a JSON file, or one of {', '.join(known)}."
        ) from error
