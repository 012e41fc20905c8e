"""The statistics: what a number of times supports, and what it does not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ganlens.engine.benchmark.stats import (
    WarmUp,
    bootstrap_interval,
    count_outliers,
    least_samples,
    percentile,
    relative_spread,
)
from ganlens.engine.timing import Histogram


@pytest.mark.parametrize(("percent", "least"), [(50, 7), (90, 44), (95, 90), (99, 459)])
def test_a_percentile_needs_enough_times(percent: int, least: int) -> None:
    assert least_samples(percent) == least
    assert percentile([1.0] * (least - 1), percent) is None
    assert percentile([1.0] * least, percent) == 1.0
    # With the least number some time is above the true percentile in 99 of 100; with one fewer it is not.
    assert 1 - (percent / 100) ** least >= 0.99 > 1 - (percent / 100) ** (least - 1)


def test_percentile_is_the_time_that_so_many_do_not_exceed() -> None:
    times = [float(number) for number in range(1000, 0, -1)]
    assert [percentile(times, percent) for percent in (50, 90, 95, 99)] == [500.0, 900.0, 950.0, 990.0]


def warmed(times: list[float], budget_s: float = 1e9) -> WarmUp:
    """A warm-up fed until it is over, or until the times end."""
    warm_up = WarmUp(budget_s)
    for time in times:
        if warm_up.over:
            break
        warm_up.add(time)
    return warm_up


def test_warm_up_ends_when_the_median_stops_changing() -> None:
    falling = [100.0] + [10.0 - 0.2 * number for number in range(20)] + [6.0] * 100
    warm_up = warmed(falling)
    assert warm_up.first_s == 100.0
    assert 25 <= warm_up.calls <= 41
    assert warmed([5.0] * 100).calls == 20


def test_warm_up_never_takes_more_than_its_share_nor_fewer_than_three_calls() -> None:
    slower = [1.1**number for number in range(100)]
    assert warmed(slower, budget_s=30.0).seconds < 45.0
    assert warmed([50.0] * 100, budget_s=30.0).calls == 3


def test_one_disturbed_call_does_not_prolong_the_warm_up() -> None:
    assert warmed([1.0] * 15 + [40.0] + [1.0] * 100).calls == 20


def test_outliers_are_counted_and_stay() -> None:
    times = [1.0, 1.1, 0.9, 1.05, 0.95] * 20 + [9.0, 8.0]
    assert count_outliers(times) == 2
    assert percentile(times, 95) == 1.1
    assert count_outliers([1.0] * 50) == 0
    assert count_outliers([]) == 0


def test_spread_is_the_interquartile_range_over_the_median() -> None:
    assert relative_spread([10.0, 10.0, 10.0, 10.0]) == 0
    assert relative_spread([8.0, 9.0, 10.0, 11.0, 12.0]) == pytest.approx(0.2)
    assert relative_spread([5.0]) == 0


def test_interval_of_few_runs_is_their_range() -> None:
    assert bootstrap_interval([3.0, 1.0, 2.0]) == (1.0, 3.0)
    assert bootstrap_interval([3.0, 1.0, 2.0, 5.0, 4.0]) == (1.0, 5.0)
    assert bootstrap_interval([2.0]) == (2.0, 2.0)


def test_interval_holds_the_true_median_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(1)
    hits = 0
    for _ in range(300):
        low, high = bootstrap_interval(list(random.lognormal(0.0, 0.1, 15)), resamples=500)
        hits += low <= 1.0 <= high
    assert 0.90 <= hits / 300 <= 0.99


def test_histograms_of_two_processes_add_up_to_the_histogram_of_all_their_times() -> None:
    random = np.random.default_rng(2)
    first, second = random.lognormal(-5, 0.3, 500), random.lognormal(-4, 0.1, 300)
    both, one, other = Histogram(), Histogram(), Histogram()
    for time in first:
        one.add(time)
        both.add(time)
    for time in second:
        other.add(time)
        both.add(time)
    read = Histogram.from_bins_ms(one.bins_ms())
    read.merge(Histogram.from_bins_ms(other.bins_ms()))
    assert read.bins_ms() == both.bins_ms()
    assert sum(count for _, count in read.bins_ms()) == 800
    true = sorted([*first, *second])[399]
    assert math.isclose(read.rank_s(400), true, rel_tol=0.005)
