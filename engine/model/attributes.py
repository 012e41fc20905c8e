"""Attributes and labels by name: what a user says, as the vector that the network takes.

Names are matched without regard to case, underscores, hyphens and spaces.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import OptionError, did_you_mean
from ..spec import AttributeInput

Array = NDArray[np.float32]

NEUTRAL = 0.5
"""Value of an unset attribute with complement: both halves mean neither on nor off."""


FADE = 0.25
"""Below this share of the way from the neutral vector to a full edit, the change itself is faded out: at the neutral
vector a network still changes a little, but strength 0 must leave the picture unchanged."""


def parse_settings(option: str, texts: Iterable[str]) -> dict[str, float]:
    """``NAME=VALUE`` each, as values by name.

    Args:
        option: what the texts were given to, for messages.
    """
    values: dict[str, float] = {}
    given: set[str] = set()
    for text in texts:
        name, _, number = text.partition("=")
        try:
            values[name.strip()] = float(number)
        except ValueError:
            raise OptionError(f"{option} {text}: expected NAME=VALUE with a number, such as smiling=1.") from None
        if plain(name) in given:
            raise OptionError(f"{option} {text}: {name.strip()} was given before; give each attribute once.")
        given.add(plain(name))
    return values


def attribute_vector(port: AttributeInput, values: Mapping[str, float]) -> Array:
    """The attribute tensor (1, ``port.length``) float32 for values by name.

    Where the record holds a :class:`~ganlens.engine.spec.Strength`, a value is a strength: 0 leaves the picture
    unchanged, 1 is the full edit, negative values remove the attribute; the record says
    which entry of the vector that is. Otherwise a value is the entry itself.

    A name of a group given takes the others of the group to 0, unless they are given too: as far as the strengths given
    reach, or wholly. Names not given are left as they are: at their strength 0; else 0 means nothing to a generator
    without the complement; with it, 0 would mean "take away", so that both halves are 0.5, the middle between on and
    off. Groups of exactly one have no such neutral value: each needs a name.

    Raises:
        OptionError: unknown name, a value outside ``port.bounds``, exclusive names with more than 1 in sum, or a group
            of exactly one that does not add up to 1.
    """
    known = {plain(name): index for index, name in enumerate(port.names)}
    vector = _neutral(port)
    given: dict[int, float] = {}
    for name, value in values.items():
        index = known.get(plain(name))
        if index is None:
            raise OptionError(f"Unknown attribute '{name}'. {did_you_mean(name, port.names)}")
        low, high = port.bounds(port.names[index])
        if not low <= value <= high:
            meaning = "; 0 leaves the picture unchanged" if port.names[index] in port.strengths else ""
            raise OptionError(f"Attribute {name}: got {value:g}, expected {low:g} to {high:g}{meaning}.")
        given[index] = value
    open_groups = []
    for group in port.groups:
        members = [port.names.index(name) for name in group]
        chosen = [index for index in members if index in given]
        total = sum(max(given[index], 0.0) for index in chosen)
        names, members_text = " and ".join(port.names[index] for index in chosen), ", ".join(group)
        if total > 1 + 1e-6:
            raise OptionError(
                f"{names} exclude each other; got {total:g} in sum, expected at most 1. One of: {members_text}."
            )
        if port.exactly_one and not chosen:
            open_groups.append(group)
        elif port.exactly_one and total < 1 - 1e-6:
            raise OptionError(f"{names}: got {total:g} in sum, expected 1, exactly one of: {members_text}.")
        if chosen:
            for index in members:
                vector[index] *= 1 - min(total, 1.0) if port.names[index] in port.strengths else 0.0
    if open_groups:
        raise OptionError(
            f"The model takes exactly one of each group, and got none of: {'; '.join(map(', '.join, open_groups))}. "
            f"For example --set {open_groups[0][0]}=1."
        )
    for index, value in given.items():
        strength = port.strengths.get(port.names[index])
        vector[index] = value if strength is None else strength.entry(value)
    return _with_complement(port, vector[None])


def edit_share(port: AttributeInput, vector: NDArray[np.float32]) -> float:
    """How much of what the network changes is to be shown, 0 to 1, for one row of :func:`attribute_vector`.

    0 where every attribute is at strength 0, so that the picture is left alone exactly; 1 from :data:`FADE` of the way
    to the full edit of any attribute on. Always 1 where a name has no strength in the record.
    """
    if not set(port.names) <= set(port.strengths):
        return 1.0
    reached = 0.0
    for entry, name in zip(vector.tolist(), port.names, strict=False):
        strength = port.strengths[name]
        for end in (strength.entry(strength.lowest), strength.entry(strength.highest)):
            if end != strength.neutral:
                reached = max(reached, (entry - strength.neutral) / (end - strength.neutral))
    return 0.0 if reached < 1e-6 else min(1.0, reached / FADE)


def experimental_notes(port: AttributeInput | None, values: Mapping[str, float]) -> list[str]:
    """A sentence if attributes are set that the record calls experimental."""
    if port is None:
        return []
    wanted = {plain(name) for name, value in values.items() if value}
    names = [name for name in port.names if port.is_experimental(name) and plain(name) in wanted]
    return [f"experimental in this model, the edit is unreliable: {', '.join(names)}"] if names else []


def label_vectors(port: AttributeInput, labels: Sequence[str], randoms: Sequence[np.random.Generator]) -> Array:
    """Label tensors for pictures made from noise: what ``labels`` name, the rest drawn for each picture.

    A group of exactly one that ``labels`` leave open is drawn from the combinations of the training data that hold what
    was named; without such a combination, each name of the group is as likely as the others. Other names that are not
    given are 0.

    Args:
        labels: names that hold in every picture.
        randoms: one for each picture; as many numbers are taken from it whatever ``labels`` say.

    Returns:
        (``len(randoms)``, ``port.length``) float32 of 0 and 1.

    Raises:
        OptionError: an unknown name, or two names of one group.
    """
    chosen = _known_labels(port, labels)
    vectors = np.zeros((len(randoms), len(port.names)), np.float32)
    vectors[:, sorted(chosen)] = 1
    if port.exactly_one:
        groups = [[port.names.index(name) for name in group] for group in port.groups]
        rows = [({port.names.index(name) for name in row.names}, row.count) for row in port.combinations]
        fixed = chosen & {index for group in groups for index in group}
        fitting = [(members, count) for members, count in rows if fixed <= members]
        for vector, random in zip(vectors, randoms, strict=True):
            whole, *parts = random.random(1 + len(groups))
            row = _pick(fitting, whole) if fitting else set()
            for group, part in zip(groups, parts, strict=True):
                if fixed.isdisjoint(group):
                    vector[next((index for index in group if index in row), group[int(part * len(group))])] = 1
    return _with_complement(port, vectors)


def label_names(port: AttributeInput, vector: NDArray[np.float32]) -> tuple[str, ...]:
    """The names that are on in one row of :func:`label_vectors`."""
    return tuple(name for name, value in zip(port.names, vector, strict=False) if value > NEUTRAL)


def groups_text(port: AttributeInput) -> str:
    """The names that can be given, group by group, for messages."""
    grouped = {name for group in port.groups for name in group}
    free = [name for name in port.names if name not in grouped]
    one = "one of" if port.exactly_one else "at most one of"
    return "; ".join(
        [*(f"{one} {', '.join(group)}" for group in port.groups), *([f"any of {', '.join(free)}"] if free else [])]
    )


def plain(name: str) -> str:
    """A name as it is compared."""
    return name.lower().replace("_", "").replace("-", "").replace(" ", "")


def _known_labels(port: AttributeInput, labels: Sequence[str]) -> set[int]:
    known = {plain(name): index for index, name in enumerate(port.names)}
    chosen = set()
    for label in labels:
        index = known.get(plain(label))
        if index is None:
            raise OptionError(f"Unknown label '{label}'. The model takes {groups_text(port)}.")
        chosen.add(index)
    for group in port.groups:
        both = [name for name in group if port.names.index(name) in chosen]
        if len(both) > 1:
            raise OptionError(f"{' and '.join(both)} exclude each other. The model takes {groups_text(port)}.")
    return chosen


def _pick(rows: Sequence[tuple[set[int], int]], where: float) -> set[int]:
    """The row at ``where`` in [0, 1) of all rows laid end to end, each as long as its count."""
    ends = np.cumsum([count for _, count in rows])
    return rows[int(np.searchsorted(ends, where * ends[-1], side="right"))][0]


def _neutral(port: AttributeInput) -> Array:
    """The values of unset attributes, (C,)."""
    strengths = {name: port.strengths.get(name) for name in port.names}
    return np.array(
        [port.rest(name) if strength is None else strength.neutral for name, strength in strengths.items()], np.float32
    )


def _with_complement(port: AttributeInput, vectors: Array) -> Array:
    return np.concatenate([vectors, 1 - vectors], axis=1) if port.complement else vectors
