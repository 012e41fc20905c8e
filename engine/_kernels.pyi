"""The native kernels: regions of 8-bit frames to tensors and back. :mod:`ganlens.engine.reference` specifies them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

def targets() -> list[str]:
    """Instruction sets that this build and this CPU can run, slowest first: "scalar", then "avx2" or "neon"."""

class Prepare:
    """Resamples the region of a frame to the float tensor that a generator takes; tables are made once, here.

    An object may be called from several threads; the calls wait for each other. The interpreter lock is released.
    """

    def __init__(
        self,
        *,
        format: str,
        frame_size: tuple[int, int],
        region: tuple[float, float, float, float],
        size: tuple[int, int],
        matrix: str,
        full_range: bool,
        siting: str,
        value_range: tuple[float, float],
        bgr: bool,
        target: str = "",
    ) -> None:
        """Make the tables.

        Args:
            format: "rgb24", "yuv420p" or "nv12".
            frame_size: (height, width) of the frames.
            region: (top, left, height, width) in luma pixels; may be fractional and may extend beyond the frame, whose
                edge is replicated there.
            size: (height, width) of the tensor.
            matrix: "bt601", "bt709" or "bt2020" (non-constant luminance).
            full_range: whether Y'CbCr uses 0..255 (JPEG) instead of 16..235 and 16..240.
            siting: "left", "center" or "topleft": the position of the chroma samples.
            value_range: what 0 and 255 become.
            bgr: B, G, R instead of R, G, B planes.
            target: one of :func:`targets`; "" takes the fastest.

        Raises:
            ValueError, TypeError: an argument is wrong; the message says what was given and what was expected.
        """

    def __call__(self, planes: Sequence[NDArray[np.uint8]], out: NDArray[np.float32]) -> None:
        """Fill ``out``, (3, h, w) float32 C-contiguous, from the planes of a frame (rows may be padded)."""

    def tables(self) -> dict[str, Any]:
        """What the kernel works with, for kernels elsewhere; arrays as the bytes of the C++ ones.

        Returns:
            "affine": float32, 9 of the matrix, 3 offsets; "parts", for each resolution: "first_plane", "channels",
            "first_channel", "interleaved", "unit", and "down", "across", each with "taps", "first" (int32 per output)
            and "weight" (float32, outputs x taps).
        """

class Compose:
    """Writes a generator's output into the region of a frame; nothing outside it is touched.

    An object may be called from several threads; the calls wait for each other. The interpreter lock is released.
    """

    def __init__(
        self,
        *,
        format: str,
        frame_size: tuple[int, int],
        region: tuple[float, float, float, float],
        size: tuple[int, int],
        matrix: str,
        full_range: bool,
        siting: str,
        value_range: tuple[float, float],
        bgr: bool,
        feather: tuple[float, float, float, float] = (0, 0, 0, 0),
        detail: float = 0.0,
        opacity: float = 1.0,
        target: str = "",
    ) -> None:
        """Make the tables; arguments as of :class:`Prepare`, and

        Args:
            feather: widths in pixels of the linear ramps at the top, bottom, left and right edge, inward.
            detail: 0..1, how much luminance detail of the source above the generator's Nyquist frequency to add.
            opacity: 0..1, factor of the blend weight.
        """

    def __call__(
        self,
        translated: NDArray[np.float32],
        destination: Sequence[NDArray[np.uint8]],
        *,
        mask: NDArray[np.float32] | None = None,
        prepared: NDArray[np.float32] | None = None,
        source: Sequence[NDArray[np.uint8]] | None = None,
        detail: float | None = None,
        opacity: float | None = None,
    ) -> None:
        """Write into ``destination`` (planes of a frame, changed in place).

        Args:
            translated: (3, h, w) float32 C-contiguous in ``value_range``; values outside are clipped.
            mask: (h, w) float32 C-contiguous in [0, 1], factor of the blend weight; 1 shows ``translated``.
            prepared: (3, h, w), what :class:`Prepare` gave for this frame; needed if ``detail`` > 0.
            source: planes of the untouched frame, for ``detail``; None: ``destination`` still holds it.
            detail, opacity: for this call; None: as given when the object was made.
        """

    def tables(self) -> dict[str, Any]:
        """What the kernel works with, for kernels elsewhere; arrays as the bytes of the C++ ones.

        Returns:
            "coding": the struct ``Coding``, without detail; "parts", for each resolution: "first_plane", "channels",
            "first_channel", "interleaved", "top", "left", "luma" (whether detail is added), "down", "across" as of
            :meth:`Prepare.tables`, "lerp" (int16 per row), "row_ramp" (float64 per row) and "column_ramp" (int16 per
            column).
        """

    def strength(self, *, detail: float | None = None, opacity: float | None = None) -> bytes:
        """The struct ``Strength`` for kernels elsewhere: what depends on detail and opacity."""

class WarpPrepare:
    """Resamples a rotated square of the frame, another one in each call. Calls of several threads run side by side."""

    def __init__(
        self,
        *,
        format: str,
        frame_size: tuple[int, int],
        size: tuple[int, int],
        matrix: str,
        full_range: bool,
        siting: str,
        value_range: tuple[float, float],
        bgr: bool,
    ) -> None:
        """Arguments as of :class:`Prepare`."""

    def __call__(
        self,
        planes: Sequence[NDArray[np.uint8]],
        similarity: tuple[float, float, float, float],
        out: NDArray[np.float32],
    ) -> None:
        """Fill ``out``, (3, h, w) float32 C-contiguous.

        Args:
            similarity: (a, b, shift_u, shift_v), luma coordinates of the frame to pixels of the tensor:
                ``u = a x - b y + shift_u, v = b x + a y + shift_v``. The square may reach beyond the frame.
        """

class WarpCompose:
    """Writes what a generator changed into a rotated square of a frame; nothing outside it is touched.

    An object may be called from several threads; the calls wait for each other. The interpreter lock is released.
    """

    def __init__(
        self,
        *,
        format: str,
        frame_size: tuple[int, int],
        size: tuple[int, int],
        matrix: str,
        full_range: bool,
        siting: str,
        value_range: tuple[float, float],
        bgr: bool,
        border: float = 0.0,
        feather: float = 0.0,
        detail: float = 0.0,
    ) -> None:
        """Arguments as of :class:`Prepare`, and

        Args:
            border, feather: in tensor pixels: nothing is written up to ``border`` from the square's edge; the weight
                rises from 0 to 1 over ``feather`` from there.
            detail: 0..1, how much of the original's detail shows through the mask.
        """

    def __call__(
        self,
        translated: NDArray[np.float32],
        prepared: NDArray[np.float32],
        destination: Sequence[NDArray[np.uint8]],
        similarity: tuple[float, float, float, float],
        *,
        composed: bool,
        mask: NDArray[np.float32] | None = None,
        opacity: float = 1.0,
        detail: float | None = None,
    ) -> None:
        """Write into ``destination`` (planes of a frame, changed in place).

        Args:
            translated: (3, h, w) float32 C-contiguous: a finished picture, or, not ``composed``, a segment to be laid
                over ``prepared`` with the mask.
            prepared: (3, h, w), what :class:`WarpPrepare` gave.
            similarity: as it was given to :class:`WarpPrepare`.
            mask: (h, w) float32 C-contiguous in [0, 1]; None: 1.
            opacity: 0..1, factor of the weight.
            detail: 0..1; None: as given when the object was made.
        """
