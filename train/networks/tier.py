"""The way of a picture through a real-time generator, which all tiers share."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

Output = Tensor | tuple[Tensor, Tensor]


class TierGenerator(nn.Module, ABC):
    """Down to 1/8 scale, blocks, up again, and a head. A subclass makes the layers."""

    multiple_of = 8
    mask: bool
    stem: nn.Module
    down1: nn.Module
    down2: nn.Module
    body: nn.ModuleList

    @abstractmethod
    def way_up(self, h: Tensor, h1: Tensor, h0: Tensor) -> Tensor:
        """Features at 1/8, and the skips at 1/4 and 1/2 scale, to features at 1/2 scale."""

    @abstractmethod
    def answer(self, x: Tensor, up: Tensor, h: Tensor, attributes: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The picture in [-1, 1], (N, 3, H, W), and the mask's logits, (N, 1, H, W), if there is one.

        Args:
            x: the input.
            up: features at 1/2 scale.
            h: those at the end of the body.
            attributes: as in :meth:`forward`.
        """

    def forward(self, x: Tensor, attributes: Tensor | None = None) -> Output:
        """Translate.

        Args:
            x: (N, 3, H, W) in [-1, 1], H and W multiples of 8.
            attributes: (N, A); required if the network was made with labels.

        Returns:
            (N, 3, H, W) in [-1, 1]; with a mask also (N, 1, H, W) in [0, 1], and the first is then a segment.
        """
        return self.forward_features(x, attributes)[0]

    def forward_features(
        self, x: Tensor, attributes: Tensor | None = None
    ) -> tuple[Output, tuple[Tensor, Tensor, Tensor]]:
        """The output, and the features before, in the middle and at the end of the body (for distillation)."""
        h0 = self.stem(x)
        h1 = self.down1(h0)
        h = start = middle = self.down2(h1)
        for number, block in enumerate(self.body, 1):
            h = block(h, attributes)
            if number == (len(self.body) + 1) // 2:
                middle = h
        picture, logits = self.answer(x, self.way_up(h, h1, h0), h, attributes)
        return picture if logits is None else (picture, torch.sigmoid(logits)), (start, middle, h)

    def parts(self, y: Tensor) -> tuple[Tensor, Tensor | None]:
        """The head's channels of picture and mask; without a mask nothing is cut, which a runtime would do as told."""
        return (y[:, :3], y[:, 3:]) if self.mask else (y, None)
