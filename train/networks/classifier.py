"""A small classifier of attributes: two 3x3 convolutions with batch norm for each halving of the picture."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

STAGES = 4


class AttributeClassifier(nn.Module):
    """Attribute logits of a face; more than 0 is "has it".

    Args:
        attributes: heads.
        width: channels at half size; they double with each of the four halvings, up to four times.
    """

    def __init__(self, attributes: int, width: int = 32) -> None:
        super().__init__()
        channels = [3, *(width * min(4, 2**stage) for stage in range(STAGES))]
        self.layers = nn.Sequential(
            *(
                module
                for inputs, outputs in pairwise(channels)
                for module in (*_normed(inputs, outputs, stride=2), *_normed(outputs, outputs, stride=1))
            )
        )
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(channels[-1], attributes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) in [-1, 1] to logits (N, attributes)."""
        h = adaptive_avg_pool2d(self.layers(x), 1).flatten(1)
        return self.head(self.dropout(h))  # type: ignore[no-any-return]


def _normed(inputs: int, outputs: int, *, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
