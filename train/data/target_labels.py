"""Which attributes an edit shall have: drawn at random in training, one by one in tests."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .attribute_table import HAIR_COLOURS


def draw_targets(att: Tensor, how: str = "permute") -> Tensor:
    """Target labels for a batch (N, C).

    Args:
        how: "permute": the batch's own vectors in another order, so that none is impossible (two hair colours);
            "coin": each attribute an independent fair coin.
    """
    if how == "coin":
        return torch.randint(0, 2, att.shape, device=att.device).to(att.dtype)
    return att[torch.randperm(len(att)).to(att.device)]


def flip_each(att: Tensor, names: Sequence[str]) -> list[Tensor]:
    """StarGAN's test targets, one (N, C) for each attribute.

    A hair colour is set and the other hair colours are cleared; any other attribute is flipped.
    """
    hair = hair_columns(names)
    targets = []
    for column in range(len(names)):
        target = att.clone()
        if column in hair:
            target[:, hair] = 0
            target[:, column] = 1
        else:
            target[:, column] = 1 - target[:, column]
        targets.append(target)
    return targets


def hair_columns(names: Sequence[str]) -> list[int]:
    """Columns of hair colours."""
    colours = {colour.lower() for colour in HAIR_COLOURS}
    return [column for column, name in enumerate(names) if name.lower() in colours]
