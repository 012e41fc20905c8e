"""The statistics of the benchmarks: pure functions of measured times.

Nothing is dropped: a slow frame is a frame that a user would see. What would mislead is counted and flagged instead.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")

PERCENTILES = (50, 90, 95, 99)
CONFIDENCE = 0.99
"""A percentile is given only where n is so large that some time exceeds the true percentile with this probability."""
NOISY = 0.10
"""Interquartile range over median, or share of the cores that other processes used, above which a row is noisy."""
OUTLIER_MADS = 5.0
"""A time is an outlier above the median plus so many median absolute deviations."""

WINDOW = 10
"""Times of each of the two windows that are compared to find the end of the warm-up."""
STEADY = 0.05
"""Largest relative change of the median from one window to the next once warmed up."""
LEAST_WARM_UP = 3
MOST_WARM_UP = 0.2
"""Share of the measuring time that the warm-up may take."""


def least_samples(percent: float) -> int:
    """How many times a percentile needs: 7 for p50, 44 for p90, 90 for p95, 459 for p99.

    With fewer, all of them stay below the true percentile with more than 1 - :data:`CONFIDENCE`: the largest time says
    nothing of it then (the binomial test of MLPerf's LoadGen, with no time allowed above).
    """
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(percent / 100))


def percentile(times: Sequence[float], percent: float) -> float | None:
    """The time that ``percent`` of the times do not exceed; None where there are too few for it."""
    if len(times) < least_samples(percent):
        return None
    return sorted(times)[math.ceil(len(times) * percent / 100) - 1]


class WarmUp:
    """Tells from the times of the first calls when they have become steady.

    >>> warm_up = WarmUp(budget_s=2.0)
    >>> while not warm_up.over:
    ...     warm_up.add(seconds_of_a_call())

    Over when the median of the last ten times differs by less than 5 % from that of the ten before, or when the budget
    is used up; never before three calls.

    Args:
        budget_s: seconds that it may take: :data:`MOST_WARM_UP` of the measuring time.
    """

    def __init__(self, budget_s: float) -> None:
        self._recent: deque[float] = deque(maxlen=2 * WINDOW)
        self._budget_s = budget_s
        self.calls = 0
        self.seconds = 0.0
        self.first_s = 0.0
        """Seconds of the first call: of a cold start."""

    def add(self, seconds: float) -> None:
        """Count one call."""
        if not self.calls:
            self.first_s = seconds
        self.calls += 1
        self.seconds += seconds
        self._recent.append(seconds)

    @property
    def steady(self) -> bool:
        """Whether the median has stopped changing."""
        if len(self._recent) < 2 * WINDOW:
            return False
        times = list(self._recent)
        before, after = statistics.median(times[:WINDOW]), statistics.median(times[WINDOW:])
        return abs(after - before) < STEADY * before

    @property
    def frame_s(self) -> float:
        """Median seconds of the last calls."""
        return statistics.median(self._recent)

    @property
    def over(self) -> bool:
        """Whether measuring may begin."""
        return self.calls >= LEAST_WARM_UP and (self.steady or self.seconds >= self._budget_s)


def count_outliers(times: Sequence[float]) -> int:
    """Times above the median plus five median absolute deviations. They stay among the times."""
    if not times:
        return 0
    median = statistics.median(times)
    deviation = statistics.median([abs(time - median) for time in times])
    return sum(time > median + OUTLIER_MADS * deviation for time in times) if deviation else 0


def relative_spread(values: Sequence[float]) -> float:
    """Interquartile range over median; 0 for fewer than two values."""
    if len(values) < 2:
        return 0.0
    lower, middle, upper = statistics.quantiles(values, n=4, method="inclusive")
    return (upper - lower) / middle if middle else 0.0


def bootstrap_interval(values: Sequence[float], confidence: float = 0.95, resamples: int = 4000) -> tuple[float, float]:
    """Percentile bootstrap interval of the median of runs.

    Args:
        values: one for each run, at least one; runs are what is resampled, because the times within one run are alike.
        confidence: of the interval.

    Returns:
        (lower, upper). The same values give the same interval. Up to five runs it is their whole range: the intervals
        of equal programs then part in 10 % (three runs), 3 % (four) or 0.8 % (five) of comparisons.
    """
    given = np.asarray(values, np.float64)
    if len(given) == 1:
        return float(given[0]), float(given[0])
    random = np.random.default_rng(0)
    medians = np.median(given[random.integers(len(given), size=(resamples, len(given)))], axis=1)
    tail = (1 - confidence) / 2
    lower, upper = np.quantile(medians, (tail, 1 - tail))
    return float(lower), float(upper)


def interleave(candidates: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Call every candidate once in each round, so that a slow minute of the machine hits all alike.

    Each round starts one place further, so that no candidate always follows the same one.
    """
    names = list(candidates)
    results: dict[str, list[T]] = {name: [] for name in names}
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            results[name].append(candidates[name]())
    return results


def paired_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> tuple[float, float, float]:
    """Median, lower and upper quartile of the ratios of the same round; a drift of the machine cancels in each."""
    ratios = [a / b for a, b in zip(numerators, denominators, strict=True)]
    if len(ratios) == 1:
        return ratios[0], ratios[0], ratios[0]
    lower, middle, upper = statistics.quantiles(ratios, n=4, method="inclusive")
    return middle, lower, upper


def bound(stage_walls: Sequence[float], stage_cpus: Sequence[float], core_count: int) -> float:
    """Seconds below which no pipeline of these stages can come: its longest stage, or all its work over all cores."""
    return max(*stage_walls, sum(stage_cpus) / core_count)
