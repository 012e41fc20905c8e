"""Finding faces in a frame: the small pictures that the detector sees, made from the frame's own planes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._kernels import Prepare, WarpPrepare
from ..pixels.frame import Frame
from .detector import FaceDetector
from .geometry import Similarity, sidewise

SMALLEST_PX = 16.0
"""Faces narrower than this in the frame are left alone: the model's picture would be mostly invented."""

LOOK_PX = 128
"""Side of the picture in which a face is looked at closely: the place is then good to 0.4 px of 128 (measured on real
clips; 64 and 96 px are three times worse, 160 costs more and is hardly better)."""

_WHOLE_PX = (320, 640)
"""Longer side of the picture in which faces are searched: half of the frame's, between these."""
_MULTIPLE = 32  # of the detector's sides

_LOOKS = 5
_SETTLED = 0.01
"""Share of the square by which two looks may differ."""


class Sight:
    """A face as the detector sees it."""

    def __init__(self, landmarks: NDArray[np.complex128], width_px: float) -> None:
        self.square: Similarity = Similarity.of_face(landmarks)
        self.sidewise: float = sidewise(landmarks)
        self.width_px = width_px


class Finder:
    """Finds faces in frames of any size and format. Not for concurrent use.

    Args:
        detector: what finds faces in a small picture.
    """

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = detector
        self._kernels: dict[object, tuple[Prepare, NDArray[np.float32], WarpPrepare]] = {}

    def search(self, frame: Frame) -> list[Sight]:
        """The faces of the whole frame, the largest first; those narrower than :data:`SMALLEST_PX` are left out."""
        prepare, picture, _ = self._kernels_for(frame)
        prepare(frame.planes, picture)
        scale = frame.size[1] / picture.shape[2] + 1j * frame.size[0] / picture.shape[1]
        sights = []
        for face in self._detector.detect(_as_bytes(picture)):
            landmarks = face.landmarks.real * scale.real + 1j * face.landmarks.imag * scale.imag
            if face.size * scale.real >= SMALLEST_PX:
                sights.append(Sight(landmarks, face.size * scale.real))
        return sorted(sights, key=lambda sight: -sight.square.side)

    def look(self, frame: Frame, square: Similarity) -> Sight | None:
        """The face in ``square``, looked at closely and upright; None if there is none."""
        _, _, warp = self._kernels_for(frame)
        picture = np.empty((3, LOOK_PX, LOOK_PX), np.float32)
        warp(frame.planes, square.tensor((LOOK_PX, LOOK_PX)), picture)
        middle = LOOK_PX * (0.5 + 0.6j)
        faces = [
            face
            for face in self._detector.detect(_as_bytes(picture))
            if abs(face.landmarks.mean() - middle) < LOOK_PX / 3 and LOOK_PX / 5 < face.size < LOOK_PX
        ]
        if not faces:
            return None
        face = min(faces, key=lambda face: abs(face.landmarks.mean() - middle) / face.score)
        return Sight(square.to_frame(face.landmarks / LOOK_PX), face.size / LOOK_PX * square.side)

    def look_closer(self, frame: Frame, sight: Sight) -> Sight:
        """A face just found, looked at until it stands upright in its square: leaning faces are seen too upright."""
        for _ in range(_LOOKS):
            closer = self.look(frame, sight.square)
            if closer is None:
                return sight
            settled = closer.square.distance(sight.square) < _SETTLED
            sight = closer
            if settled:
                break
        return sight

    def _kernels_for(self, frame: Frame) -> tuple[Prepare, NDArray[np.float32], WarpPrepare]:
        key = (frame.format, frame.size, frame.color)
        if key not in self._kernels:
            height, width = frame.size
            longer = min(max(max(frame.size) / 2, _WHOLE_PX[0]), _WHOLE_PX[1])
            sides = (round(side * longer / max(frame.size) / _MULTIPLE) for side in (height, width))
            size = (max(1, next(sides)) * _MULTIPLE, max(1, next(sides)) * _MULTIPLE)
            common = {
                "format": frame.format,
                "frame_size": frame.size,
                "matrix": frame.color.matrix,
                "full_range": frame.color.full_range,
                "siting": frame.color.siting,
                "value_range": (0.0, 255.0),
                "bgr": True,
            }
            whole = Prepare(region=(0.0, 0.0, float(height), float(width)), size=size, **common)  # type: ignore[arg-type]
            warp = WarpPrepare(size=(LOOK_PX, LOOK_PX), **common)  # type: ignore[arg-type]
            self._kernels.clear()  # frames of another size: another stream
            self._kernels[key] = whole, np.empty((3, *size), np.float32), warp
        return self._kernels[key]


def _as_bytes(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(3, H, W) in 0..255 as (H, W, 3) uint8, as OpenCV wants it."""
    return np.ascontiguousarray((picture + 0.5).astype(np.uint8).transpose(1, 2, 0))
