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


def brush(pixels: Pixels) -> Pixels:
    """Strokes of a brush along the contours, with a relief of paint, in the picture's own colours.

    Coherence-enhancing filtering (Kyprianidis and Kang 2011, "Image and Video Abstraction by Coherence-Enhancing
    Filtering"), in one round: fine detail is smeared along the contours (line integral convolution) and sharpened
    across them. What a stroke may become is bounded by the colours around it, so that contours get no halo.
    """
    cv2 = _opencv()
    original = pixels.astype(np.float32) / 255
    detailed = 2 * original - cv2.GaussianBlur(original, (0, 0), 2.0)
    along = _along_contours(cv2.cvtColor(np.clip(detailed, 0, 1), cv2.COLOR_RGB2GRAY))
    image = _smear(detailed, along, 9.0)
    image = image + 2.8 * (image - _mean_across(image, along, 3.5))
    around = np.ones((9, 9), np.uint8)
    image = np.clip(image, cv2.erode(original, around) - 0.05, cv2.dilate(original, around) + 0.05)
    image = _smear(image, along, 3.0)
    lab = cv2.cvtColor(np.clip(image, 0, 1), cv2.COLOR_RGB2LAB)
    height = lab[..., 0] - cv2.GaussianBlur(lab[..., 0], (0, 0), 4)  # of the paint; the light is above, on the left
    padded = np.pad(height, 1, mode="edge")
    lab[..., 0] = np.clip(lab[..., 0] + 0.5 * (padded[:-2, :-2] - padded[2:, 2:]), 0, 100)
    lab[..., 1:] *= 1.25
    return _to_pixels(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB))


def _along_contours(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Unit vectors (H, W, 2), x and y, along the contours, by the smoothed structure tensor.

    Where there is no contour nearby, those farther away count.
    """
    cv2 = _opencv()
    grey = cv2.GaussianBlur(grey, (0, 0), 1.4)
    right, down = cv2.Scharr(grey, cv2.CV_32F, 1, 0), cv2.Scharr(grey, cv2.CV_32F, 0, 1)
    tensor = np.dstack([right * right - down * down, 2 * right * down])  # twice the angle of the gradient
    tensor = sum(share * cv2.GaussianBlur(tensor, (0, 0), size) for share, size in ((1, 3.5), (0.25, 7), (0.06, 14)))
    angle = 0.5 * np.arctan2(tensor[..., 1], tensor[..., 0]) + np.pi / 2
    return np.dstack([np.cos(angle), np.sin(angle)]).astype(np.float32)


def _smear(image: NDArray[np.float32], along: NDArray[np.float32], deviation: float) -> NDArray[np.float32]:
    """The mean along the contour through each pixel, by a Gaussian (line integral convolution, Cabral, Leedom 1993)."""
    total, weights = image.copy(), 1.0
    for way in (1, -1):
        place, step = _places(image), way * along
        for distance in range(1, round(2 * deviation) + 1):
            place = place + step
            weight = float(np.exp(-0.5 * (distance / deviation) ** 2))
            total += weight * _at(image, place)
            weights += weight
            there = _at(along, place)
            step = np.where((there * step).sum(2, keepdims=True) < 0, -there, there)  # a contour has no forwards
    smeared: NDArray[np.float32] = total / weights
    return smeared


def _mean_across(image: NDArray[np.float32], along: NDArray[np.float32], deviation: float) -> NDArray[np.float32]:
    """The mean across the contour at each pixel, by a Gaussian."""
    total, weights = image.copy(), 1.0
    across = np.dstack([-along[..., 1], along[..., 0]])
    for distance in range(1, round(2 * deviation) + 1):
        weight = float(np.exp(-0.5 * (distance / deviation) ** 2))
        for way in (distance, -distance):
            total += weight * _at(image, _places(image) + way * across)
        weights += 2 * weight
    mean: NDArray[np.float32] = total / weights
    return mean


def _places(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where each pixel is, (H, W, 2), x and y."""
    rows, columns = np.indices(image.shape[:2], np.float32)
    return np.dstack([columns, rows])


def _at(image: NDArray[np.float32], places: NDArray[np.float32]) -> NDArray[np.float32]:
    """The image at those places, between its pixels; beyond a border, the border's."""
    cv2 = _opencv()
    found: NDArray[np.float32] = cv2.remap(image, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return found


FILTERS: dict[str, Filter] = {"comic": comic, "pencil": pencil, "oil": oil, "brush": brush}


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
