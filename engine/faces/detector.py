"""What is taken from OpenCV: the face detector YuNet, and the motion of points between pictures. Its only importer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import BackendError, MissingExtra
from .geometry import Points

YUNET = Path(__file__).parent / "yunet.onnx"


class Face(NamedTuple):
    """A face found in a picture."""

    landmarks: Points
    """(5,): left eye, right eye, nose tip, left and right corner of the mouth, as seen; pixels of the picture."""
    size: float
    """Width of the face in pixels of the picture."""
    score: float
    """0 to 1."""


class FaceDetector(Protocol):
    """Finds faces in a small picture. One call at a time."""

    def detect(self, picture: NDArray[np.uint8]) -> list[Face]:
        """The faces in ``picture``, (H, W, 3) uint8 BGR, in any order."""
        ...


class YuNet:
    """YuNet (Wu, Peng, Yu: "YuNet: A Tiny Millisecond-level Face Detector", 2023) through OpenCV's FaceDetectorYN.

    Finds faces from about 10 to 300 pixels.

    Args:
        threshold: smallest score of a face.

    Raises:
        MissingExtra: OpenCV is not installed.
    """

    def __init__(self, threshold: float = 0.7) -> None:
        self._cv2 = _opencv()
        self._threshold = threshold
        self._networks: dict[tuple[int, int], Any] = {}

    def detect(self, picture: NDArray[np.uint8]) -> list[Face]:
        """See :meth:`FaceDetector.detect`."""
        height, width = picture.shape[:2]
        network = self._networks.get((width, height))
        if network is None:  # one for each size: a change of size plans the network anew
            network = self._networks[width, height] = self._create((width, height))
        try:
            _, rows = network.detect(picture)
        except self._cv2.error as error:
            raise BackendError(f"OpenCV's face detector failed: {error}") from error
        # A pixel's centre is a whole number there.
        return [
            Face(row[4:14:2] + 0.5 + 1j * (row[5:14:2] + 0.5), float(row[2]), float(row[14]))
            for row in ([] if rows is None else rows.astype(np.float64))
        ]

    def _create(self, size: tuple[int, int]) -> Any:
        log = self._cv2.utils.logging
        level = log.getLogLevel()
        log.setLogLevel(log.LOG_LEVEL_ERROR)  # OpenCV 5 warns of a setting that is its own default
        try:
            return self._cv2.FaceDetectorYN.create(str(YUNET), "", size, self._threshold)
        finally:
            log.setLogLevel(level)


_PYRAMID = 3
_WINDOW = (21, 21)
_ENOUGH = (3, 10, 0.03)  # at most ten steps, or one of less than 0.03 px


def follow_points(
    before: NDArray[np.uint8], now: NDArray[np.uint8], points: Points
) -> tuple[Points, NDArray[np.bool_]]:
    """Where points of one grey picture are in the next (pyramidal Lucas-Kanade), and which were found."""
    cv2 = _opencv()
    start = np.stack([points.real, points.imag], axis=-1).astype(np.float32)[:, None] - 0.5
    end, found, _ = cv2.calcOpticalFlowPyrLK(
        before, now, start, None, winSize=_WINDOW, maxLevel=_PYRAMID, criteria=_ENOUGH
    )
    moved = end[:, 0].astype(np.float64) + 0.5
    return moved[:, 0] + 1j * moved[:, 1], found[:, 0] == 1


def shrink(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A grey picture in fewer pixels, (height, width), each the mean of those that it covers."""
    cv2 = _opencv()
    shrunk: NDArray[np.uint8] = cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)
    return shrunk


def _opencv() -> Any:
    try:
        import cv2
    except ModuleNotFoundError as error:
        raise MissingExtra("Finding faces", "opencv-python-headless", "faces") from error
    return cv2
