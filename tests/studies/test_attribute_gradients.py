"""The study of figures 1 and 2, short: far away only the attribute loss moves anything."""

from __future__ import annotations

from studies.attribute_gradients import STARTS, measure, table


def test_far_away_the_class_loss_vanishes_and_the_attribute_loss_does_not() -> None:
    class_loss, attribute = (measure(loss, "far", seed=0, steps=150) for loss in ("class", "attribute"))
    assert class_loss.last < 1e-3 < 1e-2 < attribute.last
    assert attribute.towards > 0.5 > class_loss.towards


def test_table_has_a_row_for_each_start_and_loss() -> None:
    lines = table(steps=3, seeds=1).splitlines()
    assert len(lines) == 4 + 2 * len(STARTS) and all(line.count("|") == 7 for line in lines[2:])
