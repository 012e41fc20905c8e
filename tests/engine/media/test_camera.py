"""What cameras say of times and rates, without a camera; tests/camera checks them against devices."""

from __future__ import annotations

from fractions import Fraction

import pytest

from ganlens.engine.errors import MediaError
from ganlens.engine.media.live.camera import ArrivalRate, CameraSource, CaptureClock


def times(stamps: list[float | None], arrivals: list[float]) -> list[float]:
    clock = CaptureClock()
    pairs = zip(stamps, arrivals, strict=True)
    return [float(clock.time(None if stamp is None else Fraction(stamp), Fraction(now))) for stamp, now in pairs]


@pytest.mark.parametrize(
    ("stamps", "arrivals", "captured"),
    [
        pytest.param([100, 101], [100.25, 101.25], [100, 101], id="same clock"),
        pytest.param([100.5, 101], [100.25, 101.25], [100.25, 101], id="stated ahead"),
        pytest.param([1.7e9, 1.7e9 + 1], [100.25, 102], [100.25, 101.25], id="time of day"),
        pytest.param([1e6, 1e6 + 1, 4, 5], [10, 11.5, 12, 13.5], [10, 11, 12, 13], id="a clock that wraps"),
        pytest.param([1e6, 99, 100], [90, 99.5, 100.5], [90, 99, 100], id="a first stamp that is wrong"),
        pytest.param([None, None], [10, 11], [10, 11], id="no stamps"),
    ],
)
def test_times_are_of_the_programs_clock(stamps, arrivals, captured):
    assert times(stamps, arrivals) == captured


def measured(rate: float, *, waits: bool) -> list[float]:
    counter = ArrivalRate(0)
    found = []
    for number in range(1, round(10 * rate) + 1):
        if waits:
            counter.waited()
        found.append(counter.arrived(number / rate))
    return [value for value in found if value is not None]


def test_the_rate_is_measured_by_a_reader_that_waits():
    assert measured(12.5, waits=True) == pytest.approx([12.5] * 3, rel=0.05)


def test_a_slow_reader_does_not_blame_the_camera():
    assert measured(5, waits=False) == []


def test_what_is_no_camera(tmp_path):
    file = tmp_path / "video0"
    file.write_bytes(b"nothing")
    with pytest.raises(MediaError, match="cannot be opened as a camera"):
        CameraSource(str(file))
