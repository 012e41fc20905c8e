"""What a strength means to a network, measured: which entry of the vector gives half of an edit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ..errors import OptionError, did_you_mean
from ..spec import AttributeInput, Strength
from .attributes import NEUTRAL, Array, attribute_vector, edit_share, plain

if TYPE_CHECKING:
    from ..backends.base import Backend

SHARES = (0.25, 0.5, 0.75)
"""Shares of the full edit that are measured; between them strengths are interpolated."""
HALVINGS = 8
"""Steps of the search: entries to 1/512 of the range."""

Change = Callable[[Array], list[Array]]
"""What the network changes in each of some pictures, for one vector."""


def default_strengths(port: AttributeInput) -> AttributeInput:
    """The port with a strength for every attribute: as recorded, else linear: 0..1, from -1 for those outside groups.

    For networks with the complement, which leave a picture alone at entries of 0.5. Names of a group only add: to take
    one away means to set another.
    """
    if port.strengths and set(port.names) <= set(port.strengths):
        return port
    if not port.complement or port.exactly_one:
        raise OptionError(
            "strengths need attributes with a neutral value: a port with complement and without groups of exactly one."
        )
    grouped = {name for group in port.groups for name in group}
    both, add = ((-1.0, 0.0), (0.0, NEUTRAL), (1.0, 1.0)), ((0.0, NEUTRAL), (1.0, 1.0))
    strengths = {name: Strength(points=add if name in grouped else both) for name in port.names}
    return AttributeInput.model_validate({**port.model_dump(), "strengths": strengths})


def mark_experimental(port: AttributeInput, names: Sequence[str]) -> AttributeInput:
    """The port with some attributes marked as experimental; all others are not.

    Raises:
        OptionError: an unknown name, or one without strength.
    """
    known = {plain(name): name for name in port.strengths}
    for name in names:
        if plain(name) not in known:
            raise OptionError(f"No strength is recorded for '{name}'. {did_you_mean(name, port.strengths)}")
    marked = {plain(name) for name in names}
    strengths = {
        name: strength.model_copy(update={"experimental": plain(name) in marked})
        for name, strength in port.strengths.items()
    }
    return port.model_copy(update={"strengths": strengths})


def calibrate(
    port: AttributeInput, change: Change, progress: Callable[[str], None] = lambda name: None
) -> AttributeInput:
    """The port with strengths of which each shows its share of the edit.

    The share of a vector v is the projection of its edit on the full one, over all pictures:
    ``share(v) * sum(e(v) * e(full)) / sum(e(full) ** 2)``, where the edit ``e(v) = c(v) - c(neutral)`` is the change to
    the picture (mask included) without what the network changes at strength 0, and ``share`` is
    :func:`~.attributes.edit_share`. For each share in :data:`SHARES` the entry is found by halving the range, which
    takes the share to rise with the entry.

    Args:
        port: with strengths, whose ends and neutral entries are kept.
        change: the network.
        progress: called with each name before it is measured.
    """
    strengths = dict(port.strengths)
    still = change(attribute_vector(port, {}))
    for name, strength in port.strengths.items():
        progress(name)
        points = [(0.0, strength.neutral)]
        for end in (strength.lowest, strength.highest):
            if end != 0:
                points += _measured(port, change, still, name, end)
                points.append((end, strength.entry(end)))
        strengths[name] = strength.model_copy(update={"points": tuple(sorted(points))})
    return port.model_copy(update={"strengths": strengths})


def network_change(backend: Backend, images: Iterable[Array]) -> Change:
    """What a backend's network changes in pictures, (1, 3, h, w) each, inside its mask."""
    pictures = list(images)

    def change(vector: Array) -> list[Array]:
        changes = []
        for image in pictures:
            output = backend.run(image, vector)
            moved = output.translated - image
            if output.mask is not None and backend.spec.output.kind == "segment":
                moved *= output.mask
            changes.append(moved)
        return changes

    return change


def _measured(
    port: AttributeInput, change: Change, still: list[Array], name: str, end: float
) -> list[tuple[float, float]]:
    """(strength, entry) between 0 and ``end``, which is not included."""
    strength = port.strengths[name]
    full = [one - none for one, none in zip(change(attribute_vector(port, {name: end})), still, strict=True)]
    power = sum(float((one * one).sum()) for one in full)
    if power == 0:
        return []  # no edit at all: any entry is as good
    points = []
    low = strength.neutral
    for share in SHARES:
        high = strength.entry(end)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            tried = _bent(port, name, end, share, middle)
            vector = attribute_vector(tried, {name: end * share})
            edits = zip(change(vector), still, full, strict=True)
            reached = sum(float(((one - none) * whole).sum()) for one, none, whole in edits) / power
            shown = edit_share(tried, vector[0]) * reached
            low, high = (middle, high) if shown < share else (low, middle)
        points.append((end * share, round((low + high) / 2, 4)))
    return points


def _bent(port: AttributeInput, name: str, end: float, share: float, entry: float) -> AttributeInput:
    """The port in which strength ``end * share`` of one name is ``entry``."""
    strength = port.strengths[name]
    points = sorted([(0.0, strength.neutral), (end * share, entry), (end, strength.entry(end))])
    bent = strength.model_copy(update={"points": tuple(points)})
    return port.model_copy(update={"strengths": {**port.strengths, name: bent}})
