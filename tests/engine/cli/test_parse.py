"""Words of the command line as values."""

from __future__ import annotations

from fractions import Fraction

import pytest

from ganlens.engine.cli.parse import order_note, parse_raw, parse_region, parse_size, parse_time
from ganlens.engine.errors import OptionError
from ganlens.engine.model.attributes import parse_settings


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("62.5", 62.5), ("1:02.5", 62.5), ("90:00", 5400), ("1:00:01.25", 3601.25), (" 7 ", 7), (".5", 0.5)],
)
def test_times(text, seconds):
    assert parse_time("--start", text) == seconds


@pytest.mark.parametrize(
    "text", ["", "x", "nan", "inf", "-1", "1:60", "1:2:3:4", "1:-2", "1.5:00", "-1:00", ":5", "1e400", "1:nan"]
)
def test_what_is_no_time(text):
    with pytest.raises(OptionError, match="--start"):
        parse_time("--start", text)


def test_a_duration_is_positive():
    with pytest.raises(OptionError, match="more than 0"):
        parse_time("--duration", "0:00", positive=True)


def test_sizes_and_regions():
    assert parse_size("--size", "640x480") == (480, 640)
    assert parse_region("--region", "1, 2,30,40") == (1, 2, 30, 40)
    assert parse_size("--size", "640×480") == parse_size("--size", "640X480") == (480, 640)
    assert parse_size("--size", "256", square=True) == (256, 256)
    for bad in ("640", "640x480x3", "axb", "99999999x1", "0x8", "-8x8", "8 by 8", "1e3", "²", ""):
        for square in (False, bad != "640"):
            with pytest.raises(OptionError, match="WIDTHxHEIGHT"):
                parse_size("--size", bad, square=square)


def test_sizes_that_had_another_order_are_pointed_out():
    assert order_note("--opt", (360, 640)).startswith("note: --opt is WIDTHxHEIGHT: 640 wide, 360 high.")
    assert order_note("--opt", (64, 64)) == ""


def test_settings():
    assert parse_settings("--set", ["smiling=1", " Blond_Hair = .5"]) == {"smiling": 1.0, "Blond_Hair": 0.5}
    with pytest.raises(OptionError, match="NAME=VALUE"):
        parse_settings("--set", ["smiling"])
    with pytest.raises(OptionError, match="given before"):
        parse_settings("--set", ["smiling=1", "Smiling=0"])


def test_bare_frames():
    assert parse_raw("1280x720@30000/1001:nv12") == {
        "size": (720, 1280),
        "rate": Fraction(30000, 1001),
        "format": "nv12",
    }
    for bad in ("big", "4x4", "4x4@0/0", "4x4@1/", "4x4@30:", "9999999x1@30"):
        with pytest.raises(OptionError, match="1280x720@30:nv12"):
            parse_raw(bad)
