"""Which attributes an edit shall have: drawn at random in training, one by one in tests."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def draw_targets(att: Tensor, how: str = "permute") -> Tensor:
    """Target labels for a batch (N, C).

    Args:
        how: "permute": the batch's own vectors in another order, so that none is impossible (two hair colours);
            "coin": each attribute an independent fair coin; "opposite": each attribute flipped.
    """
    if how == "opposite":
        return 1 - att
    if how == "coin":
        return torch.randint(0, 2, att.shape, device=att.device).to(att.dtype)
    return att[torch.randperm(len(att)).to(att.device)]


def flip_each(att: Tensor, names: Sequence[str], exclusive: Sequence[str], added: Sequence[str] = ()) -> list[Tensor]:
    """StarGAN's test targets, one (N, C) for each attribute.

    An attribute of those of which at most one holds (hair colours, classes) is set and the others are cleared; any
    other attribute is flipped.

    Args:
        att: (N, C), 0 or 1.
        names: the attributes, in the order of the columns.
        exclusive: those of which at most one holds.
        added: others that can only be set.
    """
    only = [column for column, name in enumerate(names) if name in exclusive]
    targets = []
    for column in range(len(names)):
        target = att.clone()
        if column in only:
            target[:, only] = 0
            target[:, column] = 1
        else:
            target[:, column] = 1 if names[column] in added else 1 - target[:, column]
        targets.append(target)
    return targets
