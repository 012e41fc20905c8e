"""What a thousand hours of video take on machines that are taken away at random, by simulation from measured numbers.

    python -m studies.thousand_hours --core-seconds 4.2 --cores 96

Each core translates one clip at a time, as ``engine translate --jobs`` and ``--shard`` do with ``--threads 1``. A core
is lost at random (spot machines, power) and comes back later; its clip begins again, or with ``--segment`` where its
last whole segment ended. Prints core-hours, share that was lost, wall time, and cost by the price that you give.
"""

from __future__ import annotations

import argparse
import heapq
import random
from typing import NamedTuple


class Outcome(NamedTuple):
    """What a run took."""

    wall_h: float
    core_h: float
    """Spent on clips, what was lost included."""
    lost_h: float
    """Spent on what had to be made again."""


def simulate(
    clips_s: list[float],
    *,
    core_seconds: float,
    cores: int,
    losses_per_core_h: float = 0.0,
    away_s: float = 120.0,
    segment_s: float | None = None,
    start_s: float = 2.0,
    seed: int = 0,
) -> Outcome:
    """Run clips over cores, the longest first.

    Args:
        clips_s: seconds of each clip.
        core_seconds: of work for a second of video.
        losses_per_core_h: how often a core is lost, in an hour of work on average.
        away_s: until it is back.
        segment_s: seconds of video that a loss leaves whole; None: nothing of the clip.
        start_s: to open the model, after each start.
    """
    chance = random.Random(seed)
    free = [0.0] * cores
    spent = lost = 0.0
    end = 0.0
    waiting = [-seconds for seconds in clips_s]  # what is left of each clip
    heapq.heapify(waiting)
    while waiting:
        left = -heapq.heappop(waiting)
        begin = heapq.heappop(free)
        work = start_s + left * core_seconds
        until_loss = chance.expovariate(losses_per_core_h / 3600) if losses_per_core_h else float("inf")
        if until_loss >= work:
            spent += work
            end = max(end, begin + work)
            heapq.heappush(free, begin + work)
            continue
        spent += until_loss
        made = max(0.0, until_loss - start_s) / core_seconds
        kept = 0.0 if segment_s is None else made // segment_s * segment_s
        lost += until_loss - kept * core_seconds
        heapq.heappush(waiting, kept - left)
        heapq.heappush(free, begin + until_loss + away_s)
    return Outcome(end / 3600, spent / 3600, lost / 3600)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--core-seconds", type=float, required=True, help="core-seconds for a second of video, measured"
    )
    parser.add_argument("--hours", type=float, default=1000.0, help="hours of video")
    parser.add_argument("--clip-minutes", type=float, default=45.0, help="length of a clip on average")
    parser.add_argument("--cores", type=int, default=96)
    parser.add_argument("--price", type=float, help="of a core-hour, in any currency")
    options = parser.parse_args()
    lengths = random.Random(1)
    clips: list[float] = []
    while sum(clips) < options.hours * 3600:
        clips.append(lengths.uniform(0.2, 1.8) * options.clip_minutes * 60)
    print(f"{len(clips)} clips, {sum(clips) / 3600:.0f} hours of video, {options.cores} cores, one clip on each")
    print(f"{'losses of a core':<22}{'--segment':<12}{'core-hours':>11}{'lost':>8}{'wall':>10}{'cost':>10}")
    for losses, title in ((0.0, "none"), (1 / 24, "one a day"), (1 / 6, "one in 6 hours")):
        for segment in (None, 60.0):
            one = simulate(
                clips,
                core_seconds=options.core_seconds,
                cores=options.cores,
                losses_per_core_h=losses,
                segment_s=segment,
            )
            cost = "" if options.price is None else f"{one.core_h * options.price:.0f}"
            share = f"{100 * one.lost_h / one.core_h:.1f} %"
            print(
                f"{title:<22}{'60s' if segment else '-':<12}{one.core_h:>11.0f}{share:>8}{one.wall_h:>8.1f} h{cost:>10}"
            )


if __name__ == "__main__":
    main()
