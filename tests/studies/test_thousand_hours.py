"""The simulation of many clips on machines that are taken away."""

from __future__ import annotations

import pytest

from studies.thousand_hours import simulate

CLIPS = [600.0, 1200.0, 1800.0] * 20


def test_without_losses_it_is_the_work_itself():
    one = simulate(CLIPS, core_seconds=3.0, cores=4, start_s=2.0)
    assert one.core_h == pytest.approx((3.0 * sum(CLIPS) + 2.0 * len(CLIPS)) / 3600)
    assert one.lost_h == 0 and one.wall_h == pytest.approx(one.core_h / 4, rel=0.05)


def test_segments_lose_less():
    plain, parts = (
        simulate(CLIPS, core_seconds=3.0, cores=4, losses_per_core_h=0.5, segment_s=segment) for segment in (None, 60)
    )
    assert 0 < parts.lost_h < plain.lost_h / 5
    useful = simulate(CLIPS, core_seconds=3.0, cores=4, start_s=0.0).core_h
    for one in (plain, parts):
        assert one.core_h - one.lost_h <= useful + 2.0 * len(CLIPS) / 3600 + 1e-6
