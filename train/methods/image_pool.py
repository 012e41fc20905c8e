"""The image pool: a history of generated images, so that a discriminator does not forget old failures."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class ImagePool:
    """Up to ``size`` images with its own random state; part of the checkpoint.

    Until full it stores and returns what comes. Afterwards, for each image, with probability 1/2 it returns a random
    stored image and puts the new one in its place. Size 0 returns everything unchanged.
    """

    def __init__(self, size: int = 50, seed: int = 0) -> None:
        self.size = size
        self.images: list[Tensor] = []
        self._random = torch.Generator().manual_seed(seed)

    def __call__(self, images: Tensor) -> Tensor:
        """Exchange a batch (N, 3, H, W) of detached images for one of the same shape."""
        if self.size == 0:
            return images
        return torch.stack([self._exchange(image) for image in images])

    def _exchange(self, image: Tensor) -> Tensor:
        if len(self.images) < self.size:
            self.images.append(image.clone())
            return image
        if torch.rand((), generator=self._random) < 0.5:
            return image
        place = int(torch.randint(self.size, (), generator=self._random))
        old, self.images[place] = self.images[place], image.clone()
        return old if old.shape == image.shape else image  # a run may go on with larger pictures

    def state_dict(self) -> dict[str, Any]:
        """Images and random state."""
        return {"images": [image.cpu() for image in self.images], "random": self._random.get_state()}

    def load_state_dict(self, state: dict[str, Any], device: torch.device | str = "cpu") -> None:
        """Continue exactly where the saved pool was."""
        self.images = [image.to(device) for image in state["images"]]
        self._random.set_state(state["random"])
