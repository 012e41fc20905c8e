"""Marks on the fields of a configuration: what may change when a run is resumed, and what has an effect when."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .base import TrainConfig


class With(NamedTuple):
    """Mark of an option that has an effect only where another option has one of these values."""

    option: str
    values: tuple[str, ...]

    def problem(self, config: TrainConfig) -> str:
        """Why the marked option has no effect, or nothing."""
        value = str(getattr(config, self.option))
        if value in self.values:
            return ""
        return f"belongs to {flag(self.option)} {' and '.join(self.values)}, not to {value or 'the default'}"


class NotWith(NamedTuple):
    """Mark of an option that has no effect where another option has one of these values."""

    option: str
    values: tuple[str, ...]

    def problem(self, config: TrainConfig) -> str:
        """Why the marked option has no effect, or nothing."""
        value = str(getattr(config, self.option))
        return f"has no effect with {flag(self.option)} {value}" if value in self.values else ""


class Alias(NamedTuple):
    """Mark of an option with another name on the command line."""

    option: str


def flag(option: str) -> str:
    """How an option is written on the command line."""
    return "--" + option.replace("_", "-")


class Mark:
    """A mark without values."""


MayChange = Mark()
"""Mark of an option that may differ when a run is resumed: its length, its places, its words, and, when asked for,
rates and weights. Folders may move; their contents must stay the same. ``size`` may where no network is made for one:
coarse to fine, a run begins on small pictures, at a fraction of the cost, and ends on large ones."""
