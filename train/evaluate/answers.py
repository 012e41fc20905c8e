"""What a classifier says of an editor's attributes, of which it need not know all, and of others to be kept."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..data.hair import hair_columns
from .classifier import Classifier


class Answers:
    """A classifier's answers in the order of an editor's attributes, then others; False where it does not know one.

    Raises:
        TrainingError: it knows none of the editor's attributes and there are no others, or it does not know one of the
            others.
    """

    def __init__(self, classifier: Classifier, names: Sequence[str], others: Sequence[str] = ()) -> None:
        known = {name.lower() for name in classifier.record.attributes}
        asked = [*(name for name in names if name.lower() in known), *others]
        self._classifier = classifier
        self._columns = classifier.columns(asked or names)
        self._length = len(names)
        self._hair = hair_columns([*names, *others])
        self.knows = torch.tensor([name.lower() in known for name in names] + [True] * len(others))
        """(C,) bool."""

    def __call__(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) in [-1, 1] to (N, C) bool."""
        answers = torch.zeros(len(x), len(self.knows), dtype=torch.bool)
        answers[:, self.knows] = self._classifier(x)[:, self._columns].cpu()
        return answers

    def kept_by(self, column: int) -> Tensor:
        """What an edit of this attribute is to keep, as far as the classifier can tell, (C,) bool: all others, but of
        a hair colour not those that the editor does not have."""
        kept = self.knows.clone()
        kept[column] = False
        if column in self._hair:
            kept[[other for other in self._hair if other >= self._length]] = False
        return kept


def other_names(names: Sequence[str], classifier: Classifier) -> list[str]:
    """What the classifier knows and an editor of these attributes does not edit."""
    own = {name.lower() for name in names}
    return [name for name in classifier.record.attributes if name.lower() not in own]
