"""Words of the command line as values: sizes, times, rectangles, settings."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any

from ..errors import OptionError


def parse_size(option: str, text: str, *, square: bool = False) -> tuple[int, int]:
    """``WIDTHxHEIGHT`` as (height, width).

    Args:
        square: take one number as well, for a square.
    """
    words = f"{text}x{text}" if square and text.strip().isdecimal() else text.replace("×", "x")
    found = re.fullmatch(r"\s*(\d{1,6})\s*x\s*(\d{1,6})\s*", words.lower())
    if found is None or not int(found[1]) * int(found[2]):
        expected = "N or WIDTHxHEIGHT" if square else "WIDTHxHEIGHT"
        raise OptionError(f"{option} {text}: expected {expected} in whole pixels, each at least 1.")
    return int(found[2]), int(found[1])


def order_note(option: str, size: tuple[int, int]) -> str:
    """What to say of a size (height, width) where an option was HEIGHTxWIDTH in the past; empty for a square."""
    height, width = size
    if height == width:
        return ""
    return f"note: {option} is WIDTHxHEIGHT: {width} wide, {height} high. Earlier versions took HEIGHTxWIDTH."


def parse_region(option: str, text: str) -> tuple[int, int, int, int]:
    """``X,Y,W,H`` in pixels."""
    x, y, width, height = _integers(option, text, ",", ("X", "Y", "W", "H"))
    return x, y, width, height


def parse_time(option: str, text: str, *, positive: bool = False) -> float:
    """Seconds, or ``[hours:]minutes:seconds``, each with decimals at its end: 62.5, 62.5s or 1:02.5.

    Args:
        positive: refuse 0.
    """
    parts = text.strip().removesuffix("s").split(":")
    try:
        if not 1 <= len(parts) <= 3 or any(not part.isdigit() for part in parts[:-1]):
            raise ValueError
        seconds = float(parts[-1])
        if len(parts) > 1 and not 0 <= seconds < 60:
            raise ValueError
    except ValueError:
        raise OptionError(f"{option} {text}: expected seconds (62.5) or a time (1:02.5).") from None
    for part, factor in zip(reversed(parts[:-1]), (60, 3600), strict=False):
        seconds += int(part) * factor
    if not math.isfinite(seconds) or seconds < 0 or (positive and seconds == 0):
        raise OptionError(f"{option} {text}: expected {'more than 0' if positive else '0 or more'} seconds.")
    return seconds


def parse_raw(text: str) -> dict[str, Any]:
    """``1280x720@30:nv12`` as size (height, width), rate and format of bare frames."""
    found = re.fullmatch(r"(\d{1,6})x(\d{1,6})@([\d./]{1,20})(?::(\w+))?", text)
    try:
        assert found is not None
        width, height, rate, pixel_format = found.groups()
        return {"size": (int(height), int(width)), "rate": Fraction(rate), "format": pixel_format or "yuv420p"}
    except (AssertionError, ValueError, ZeroDivisionError):
        raise OptionError(
            f"--raw {text}: expected WxH@RATE or WxH@RATE:FORMAT, for example 1280x720@30:nv12."
        ) from None


def _integers(option: str, text: str, separator: str, names: tuple[str, ...]) -> list[int]:
    parts = text.lower().split(separator)
    if len(parts) != len(names) or any(not re.fullmatch(r"-?\d{1,6}", part.strip()) for part in parts):
        raise OptionError(f"{option} {text}: expected {separator.join(names)} in whole pixels.")
    return [int(part) for part in parts]
