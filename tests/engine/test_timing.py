"""Stage times: sums are exact, percentiles to half a percent, memory is constant."""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
import pytest

from ganlens.engine.timing import StageTimer, StageTimes


def test_percentiles_match_numpy() -> None:
    seconds = np.random.default_rng(0).lognormal(-4, 1, 5000)
    timer = StageTimer()
    for value in seconds:
        timer.add(float(value))
    summary = timer.summary()
    assert summary.frames == 5000
    assert summary.total_s == pytest.approx(seconds.sum()) and summary.mean_ms == pytest.approx(1e3 * seconds.mean())
    assert summary.max_ms == pytest.approx(1e3 * seconds.max())
    for percent, value in ((50, summary.p50_ms), (95, summary.p95_ms), (99, summary.p99_ms)):
        exact = 1e3 * np.percentile(seconds, percent, method="inverted_cdf")
        assert value == pytest.approx(exact, rel=0.005)


def test_nothing_measured() -> None:
    assert StageTimer().summary() == (0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert StageTimes().summary() == {}


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 1e6])
def test_extremes_are_counted(seconds: float) -> None:
    timer = StageTimer()
    timer.add(seconds)
    assert timer.frames == 1 and timer.percentile_s(50) <= max(seconds, 0)


def test_memory_is_constant() -> None:
    timer = StageTimer()
    before = sys.getsizeof(timer._histogram._counts)
    for _ in range(10_000):
        timer.add(0.001)
    assert sys.getsizeof(timer._histogram._counts) == before < 50_000


def test_stages_by_name_in_order() -> None:
    times = StageTimes()
    for _ in range(3):
        with times.measure("run"):
            time.sleep(0.002)
        with times.measure("compose"):
            pass
    summary = times.summary()
    assert list(summary) == ["run", "compose"] and summary["run"].frames == 3
    assert 1.9 < summary["run"].p50_ms < 50 and summary["compose"].p50_ms < summary["run"].p50_ms


def test_threads_measure_the_same_stage_side_by_side() -> None:
    times = StageTimes()
    meeting = threading.Barrier(2, timeout=5)

    def work() -> None:
        with times.measure("run"):
            meeting.wait()  # both are inside
            time.sleep(0.005)
            meeting.wait()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    summary = times.summary()["run"]
    assert summary.frames == 2 and summary.total_s >= 0.01


def test_failed_frames_do_not_count() -> None:
    times = StageTimes()
    with pytest.raises(ZeroDivisionError), times.measure("run"):
        raise ZeroDivisionError
    assert times.summary() == {}


def test_iterate_times_the_upstream_only() -> None:
    times = StageTimes()
    for _ in times.iterate("decode", (time.sleep(0.001) for _ in range(5))):
        time.sleep(0.01)
    assert times.summary()["decode"].frames == 5
    assert times.summary()["decode"].p50_ms < 9


def test_iterate_closes_the_upstream() -> None:
    closed = []

    def upstream():  # type: ignore[no-untyped-def]
        try:
            yield from range(10)
        finally:
            closed.append(True)

    items = StageTimes().iterate("decode", upstream())
    next(items)
    items.close()  # type: ignore[attr-defined]
    assert closed
