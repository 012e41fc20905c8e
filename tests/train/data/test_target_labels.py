"""Wished labels: permutations, coins, and StarGAN's rule for hair."""

from __future__ import annotations

import torch

from ganlens.train.data.hair import hair_columns
from ganlens.train.data.target_labels import draw_targets, flip_each

NAMES = ("Black_Hair", "blond_hair", "Male", "Smiling")


def test_permuted_targets_are_the_batchs_own_vectors() -> None:
    torch.manual_seed(0)
    att = torch.tensor([[1.0, 0, 0, 1], [0, 1, 1, 0], [0, 0, 1, 1], [1, 0, 1, 0]])
    orders = set()
    for _ in range(20):
        target = draw_targets(att)
        rows = [att.tolist().index(row) for row in target.tolist()]
        assert sorted(rows) == [0, 1, 2, 3]
        orders.add(tuple(rows))
    assert len(orders) > 5


def test_opposite_targets_flip_each_label() -> None:
    att = torch.tensor([[1.0, 0], [0, 0]])
    assert draw_targets(att, "opposite").tolist() == [[0, 1], [1, 1]]


def test_coins_are_fair_and_independent() -> None:
    torch.manual_seed(0)
    drawn = draw_targets(torch.zeros(4000, 2), "coin")
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert abs(drawn.mean().item() - 0.5) < 0.03
    assert abs((drawn[:, 0] * drawn[:, 1]).mean().item() - 0.25) < 0.03


def test_a_hair_colour_replaces_the_others_and_the_rest_is_flipped() -> None:
    att = torch.tensor([[1.0, 0, 0, 1]])
    black, blond, male, smiling = flip_each(att, NAMES, NAMES[:2])
    assert black.tolist() == [[1, 0, 0, 1]]
    assert blond.tolist() == [[0, 1, 0, 1]]
    assert male.tolist() == [[1, 0, 1, 1]]
    assert smiling.tolist() == [[1, 0, 0, 0]]
    assert att.tolist() == [[1, 0, 0, 1]]
    assert hair_columns(NAMES) == [0, 1]


def test_what_can_only_be_set_is_not_taken_away() -> None:
    att = torch.tensor([[1.0, 0, 1, 1]])
    male, smiling = flip_each(att, NAMES, NAMES[:2], added=("Smiling",))[2:]
    assert (male.tolist(), smiling.tolist()) == ([[1, 0, 0, 1]], [[1, 0, 1, 1]])
