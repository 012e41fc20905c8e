"""Hair colours among the attributes: at most one of them holds."""

from __future__ import annotations

from collections.abc import Sequence

HAIR_COLOURS = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair", "Red_Hair", "Blue_Hair", "Pink_Hair")
"""Attributes of which at most one is 1."""


def hair_columns(names: Sequence[str]) -> list[int]:
    """Columns of hair colours."""
    colours = {colour.lower() for colour in HAIR_COLOURS}
    return [column for column, name in enumerate(names) if name.lower() in colours]
