"""The decisions of a live session: which frame is too old, when a source is lost, how long to wait, which size to run,
and in which quality a page gets pictures.

Pure functions of a state and a time in seconds: nothing here reads a clock, sleeps or holds a lock. The limits are the
module's constants, each with the reason for its value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

Policy = Literal["fresh", "smooth", "every"]
"""Which frames a session takes: the newest only, in order within a staleness budget, or every one."""
POLICIES: tuple[Policy, ...] = get_args(Policy)
Connection = Literal["excellent", "fair", "poor", "unusable"]
"""How well a source delivers."""

STALENESS_S = 0.5
"""Age above which a queued frame of policy "smooth" is dropped: cameras pause up to 0.4 to 0.5 s at a key frame, and
after such a pause the queue must not be emptied at once, which looks like a jump."""
SMOOTH_DEPTH = 8
"""Frames that policy "smooth" queues at most."""
STALL_S = 1.0
STALL_PERIODS = 10
"""A source is lost when no frame arrived for the longer of one second and ten frame periods."""
BACKOFF_FIRST_S = 0.1
BACKOFF_MOST_S = 2.0
CONNECTION_WINDOW_S = 3.0
"""Frames arrived over frames due are counted over this time: long enough to even out one late frame, short enough to
call a connection good again within five seconds of a loss."""
CONNECTION_LIMITS: tuple[tuple[float, Connection], ...] = ((0.9, "excellent"), (0.7, "fair"), (0.3, "poor"))
"""Share of the frames due from which a connection deserves its word."""

LOAD_PERCENT = 80
"""Among the times that frames took in the last second, the one that stands for the load. A median would call a machine
fast enough on which one frame in three is late; a higher one would take a moment's work of another program, or a
thumbnail's, for a slow machine."""


def wait_limit(period_s: float) -> float:
    """Seconds without a frame after which a source of that frame period is taken for lost."""
    return max(STALL_S, STALL_PERIODS * period_s)


def backoff(attempt: int) -> float:
    """Seconds to wait before the given attempt (from 0) to open a lost source again: 0.1, 0.2, 0.4, … 2."""
    return min(BACKOFF_FIRST_S * 2.0 ** min(attempt, 30), BACKOFF_MOST_S)


def stale_count(ages_s: Sequence[float], budget_s: float = STALENESS_S) -> int:
    """How many frames at the head of a queue are too old to show; the newest one is never among them.

    Args:
        ages_s: seconds since capture, oldest first.
        budget_s: the age that is still shown.
    """
    count = 0
    while count < len(ages_s) - 1 and ages_s[count] > budget_s:
        count += 1
    return count


def connection(arrived: int, seconds: float, rate: float | None, *, delivering: bool = True) -> Connection:
    """One word for how well a source delivers.

    Args:
        arrived: frames that arrived in the last ``seconds``.
        rate: frames per second that are due; None if unknown, then any delivery is good.
        delivering: False while the source is lost or opening.
    """
    if not delivering:
        return "unusable"
    if rate is None or seconds <= 0:
        return "excellent"
    share = arrived / max(1.0, rate * seconds)
    return next((word for limit, word in CONNECTION_LIMITS if share >= limit), "unusable")


@dataclass(frozen=True)
class SizeLimits:
    """When the network's size changes. ``load`` is the time that a frame takes over the time that it may take."""

    high: float = 0.95
    """Above it the rate cannot be kept."""
    target: float = 0.75
    """What a new size is chosen for: room for what else the machine does."""
    shrink_after_s: float = 0.6
    """How long the load must be high: shorter peaks are the machine's noise."""
    grow_after_s: float = 4.0
    """How long a larger size must look possible. Much longer than to shrink: a picture that turns soft for a moment is
    noticed less than one that stutters."""
    most_patience_s: float = 64.0
    settle_s: float = 0.5
    """Loads measured so soon after a change still belong to the size before."""


@dataclass(frozen=True)
class SizeState:
    """The size in use and what led to it."""

    level: int = 0
    """Index into the areas; 0 is the largest."""
    changed: float = float("-inf")
    """Time of the last change."""
    high_since: float | None = None
    low_since: float | None = None
    patience_s: float = SizeLimits.grow_after_s
    """How long a larger size must look possible; doubles each time that growing proved to be wrong."""
    grew: bool = False
    """Whether the last change was to a larger size."""


def choose_size(
    state: SizeState, load: float, now: float, areas: Sequence[float], limits: SizeLimits | None = None
) -> SizeState:
    """The next state; its ``level`` differs from the given one when the size should change.

    The time of a network is taken to be proportional to its area. A size that is too slow is left at once for the
    largest one that fits the target; a larger one is tried a step at a time, and later each time that it failed.

    Args:
        load: time that a frame takes at the present size over the time that it may take.
        now: in seconds, of any clock that does not jump.
        areas: shares of the largest size's area, falling from 1.
    """
    limits = limits or SizeLimits()
    if now - state.changed < limits.settle_s:
        return replace(state, high_since=None, low_since=None)
    if load > limits.high and state.level < len(areas) - 1:
        since = now if state.high_since is None else state.high_since
        if now - since < limits.shrink_after_s:
            return replace(state, high_since=since, low_since=None)
        wanted = areas[state.level] * limits.target / load
        level = next((i for i, area in enumerate(areas) if i > state.level and area <= wanted), len(areas) - 1)
        wrong = state.grew and now - state.changed < 2 * state.patience_s
        patience = min(state.patience_s * 2, limits.most_patience_s) if wrong else state.patience_s
        return SizeState(level, now, patience_s=patience)
    if state.level > 0 and load * areas[state.level - 1] / areas[state.level] < limits.target:
        since = now if state.low_since is None else state.low_since
        if now - since < state.patience_s:
            return replace(state, high_since=None, low_since=since)
        return SizeState(state.level - 1, now, patience_s=state.patience_s, grew=True)
    return replace(state, high_since=None, low_since=None)


@dataclass(frozen=True)
class QualityLimits:
    """When the quality of a page's pictures changes."""

    behind: float = 0.1
    """Share of the pictures that a page is not sent because it is behind, above which they are too large for its
    link. A single picture that is late now and then is the link's noise."""
    fall_after_s: float = 1.0
    """How long it must be behind: longer than a moment's pause stays among the pictures counted."""
    rise_after_s: float = 4.0
    """How long no picture must be left out before a better quality is tried; doubles each time that it was wrong."""
    most_patience_s: float = 64.0
    settle_s: float = 1.0
    """Shares counted so soon after a change still belong to the quality before."""
    judge_s: float = 3.0
    """The same after a fall: the large pictures that fill a slow link have to get through it first."""
    gain: float = 1.1
    """How many times as many pictures must be drawn in a lower quality: a page that is far away, or slow itself, gains
    nothing."""
    futile_s: float = 60.0
    """How long the quality then stays as it was."""


@dataclass(frozen=True)
class QualityState:
    """The quality in use and what led to it."""

    level: int = 0
    """0 is the best; a picture of the next level has about half as many bytes."""
    changed: float = float("-inf")
    """Time of the last change."""
    behind_since: float | None = None
    clear_since: float | None = None
    patience_s: float = QualityLimits.rise_after_s
    rose: bool = False
    """Whether the last change was to a better quality."""
    fell: tuple[int, float] | None = None
    """The level before a fall, and the pictures drawn a second then; None once the fall proved to be right."""
    futile_until: float = float("-inf")


def choose_quality(
    state: QualityState, behind: float, drawn: float, now: float, levels: int, limits: QualityLimits | None = None
) -> QualityState:
    """The next state; its ``level`` differs from the given one when the quality should change.

    Args:
        behind: share of the pictures of the last half second that the page was not sent, because it had not drawn
            those before.
        drawn: pictures that it drew in the last second; 0 tells nothing: a page that draws none is hidden, or
            the pictures before the last change fill its link.
        now: in seconds, of any clock that does not jump.
        levels: how many there are.
    """
    limits = limits or QualityLimits()
    if now - state.changed < (limits.settle_s if state.fell is None else limits.judge_s) or drawn <= 0:
        return replace(state, behind_since=None, clear_since=None)
    if behind > limits.behind:
        if state.fell is not None and drawn < limits.gain * state.fell[1]:
            return QualityState(state.fell[0], now, futile_until=now + limits.futile_s)
        since = now if state.behind_since is None else state.behind_since
        waiting = replace(state, behind_since=since, clear_since=None)
        if now - since < limits.fall_after_s or now < state.futile_until or state.level == levels - 1:
            return waiting
        steps = max(1, math.ceil(-math.log2(max(1 - behind, 0.01))))
        wrong = state.rose and now - state.changed < 2 * state.patience_s
        patience = min(state.patience_s * 2, limits.most_patience_s) if wrong else state.patience_s
        return QualityState(min(state.level + steps, levels - 1), now, patience_s=patience, fell=(state.level, drawn))
    if state.level > 0 and behind == 0:
        since = now if state.clear_since is None else state.clear_since
        if now - since < state.patience_s:
            return replace(state, behind_since=None, clear_since=since, fell=None)
        return QualityState(state.level - 1, now, patience_s=state.patience_s, rose=True)
    return replace(state, behind_since=None, clear_since=None, fell=None)
