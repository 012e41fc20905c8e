"""What differs between the versions of PyAV that ganlens works with, 17 to 19."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, cast

import av
from av.container import InputContainer

_TAGS: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}


def open_to_read(address: str, **options: Any) -> InputContainer:
    """:func:`av.open` for an input; tags that are not UTF-8 are no error, whose bytes PyAV 19 keeps by itself."""
    return cast(InputContainer, av.open(address, "r", **_TAGS, **options))


def fraction(rational: Any) -> Fraction | None:
    """A rational number of libav, exactly; None where libav does not know it.

    In PyAV 19 these have a type of their own, whose products are rounded to 32 bits.
    """
    return Fraction(rational.numerator, rational.denominator) if rational else None
