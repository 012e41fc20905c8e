"""Classical picture filters that a generator can learn from: calm, and they keep colours and faces.

All take and give (H, W, 3) uint8 RGB. They need OpenCV, which the extra ``faces`` brings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlens.engine.errors import MissingExtra, OptionError, did_you_mean

Pixels = NDArray[np.uint8]
Filter = Callable[[Pixels], Pixels]


def comic(pixels: Pixels) -> Pixels:
    """Flat colours, few steps of brightness, dark lines (Winnemöller et al. 2006, "Real-Time Video Abstraction").

    Bilateral filtering flattens, the difference of two Gaussians of the lightness draws the lines.
    """
    cv2 = _opencv()
    lab = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)  # L in 0..100
    for _ in range(2):
        lab = cv2.bilateralFilter(lab, d=7, sigmaColor=10, sigmaSpace=4)
    light = np.ascontiguousarray(lab[..., 0])
    fine, coarse = cv2.GaussianBlur(light, (0, 0), 0.8), cv2.GaussianBlur(light, (0, 0), 1.3)
    difference = fine - 0.985 * coarse
    lines = np.where(difference > 0, 1.0, 1.0 + np.tanh(0.9 * difference))
    step = 12.5
    nearest = np.round(light / step) * step
    light = nearest + step / 2 * np.tanh((light - nearest) / step * 5)
    lab = np.dstack([np.clip(light * 1.04 * lines, 0, 100), lab[..., 1:] * 1.3]).astype(np.float32)
    return _to_pixels(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB))


def pencil(pixels: Pixels) -> Pixels:
    """A pencil drawing on warm paper: lightness divided by its own blur ("colour dodge"), a breath of colour left."""
    cv2 = _opencv()
    lab = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    light = cv2.bilateralFilter(np.ascontiguousarray(lab[..., 0]), d=5, sigmaColor=8, sigmaSpace=2) / 100 + 0.02
    dodged = np.clip(light / (cv2.GaussianBlur(light, (0, 0), 5) + 1e-3), 0, 1)
    shade = 0.75 + 0.25 * np.clip(cv2.GaussianBlur(light, (0, 0), 2) * 1.6, 0, 1)  # soft hatching in the dark
    tone = dodged**2.5 * shade
    paper = np.dstack([tone * 97, lab[..., 1] * 0.12 + 0.5, lab[..., 2] * 0.12 + 4]).astype(np.float32)
    return _to_pixels(cv2.cvtColor(paper, cv2.COLOR_LAB2RGB))


def oil(pixels: Pixels, radius: int = 4) -> Pixels:
    """Dabs of one colour with sharp edges: the mean of the calmest of four squares around a pixel (Kuwahara 1976)."""
    cv2 = _opencv()
    image = pixels.astype(np.float32) / 255
    side = radius + 1
    mean = cv2.blur(image, (side, side), borderType=cv2.BORDER_REFLECT)
    spread = (cv2.blur(image * image, (side, side), borderType=cv2.BORDER_REFLECT) - mean * mean).sum(axis=2)
    half = side // 2
    corners = [(-half, -half), (-half, half), (half, -half), (half, half)]
    height, width = spread.shape

    def moved(array: NDArray[np.float32], down: int, right: int) -> NDArray[np.float32]:
        rows = np.clip(np.arange(height) + down, 0, height - 1)
        columns = np.clip(np.arange(width) + right, 0, width - 1)
        found: NDArray[np.float32] = array[rows][:, columns]
        return found

    calmest = np.argmin([moved(spread, *corner) for corner in corners], axis=0)
    result = np.choose(calmest[..., None], [moved(mean, *corner) for corner in corners])
    lab = cv2.cvtColor(result.astype(np.float32), cv2.COLOR_RGB2LAB)
    lab[..., 1:] *= 1.25
    return _to_pixels(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB))


FILTERS: dict[str, Filter] = {"comic": comic, "pencil": pencil, "oil": oil}


def find_filter(name: str) -> Filter:
    """The filter of that name.

    Raises:
        OptionError: there is none.
    """
    if name not in FILTERS:
        raise OptionError(f"No filter is called '{name}'. {did_you_mean(name, FILTERS)}")
    return FILTERS[name]


def _opencv() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise MissingExtra("The filters of engine train paired", "opencv-python-headless", "faces") from error
    return cv2


def _to_pixels(image: NDArray[np.float32]) -> Pixels:
    scaled: Pixels = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    return scaled
