"""What differs between the versions of PyAV that ganlens works with, 17 to 19."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av

READING: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
"""Options of :func:`av.open` for inputs: tags that are not UTF-8 are no error. PyAV 19 keeps their bytes by itself."""


def fraction(rational: Any) -> Fraction | None:
    """A rational number of libav, exactly; None where libav does not know it.

    In PyAV 19 these have a type of their own, whose products are rounded to 32 bits.
    """
    return Fraction(rational.numerator, rational.denominator) if rational else None
