"""The gates: good filters pass, each fault fails its own gate and no other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ganlens.engine.evaluate import gates
from ganlens.engine.evaluate.evaluation import Evaluation, Target, evaluate
from ganlens.engine.evaluate.gates import Gate
from ganlens.engine.evaluate.measures import box_mean

SIZE = (96, 128)


def pictures(count: int = 3) -> list[np.ndarray]:
    """Blobs of colour with fine texture."""
    random = np.random.default_rng(0)
    made = []
    for _ in range(count):
        coarse = random.uniform(40, 215, (6, 8, 3)).repeat(16, axis=0).repeat(16, axis=1)
        made.append(np.rint(coarse + random.normal(0, 12, coarse.shape)).clip(0, 255).astype(np.uint8))
    return made


def still_clip(frames: int = 6) -> list[np.ndarray]:
    random = np.random.default_rng(1)
    base = pictures(1)[0].astype(float)
    return [np.rint(base + random.normal(0, 0.6, base.shape)).clip(0, 255).astype(np.uint8) for _ in range(frames)]


def grey(x: np.ndarray) -> np.ndarray:
    return np.repeat(np.rint(x.mean(axis=2, keepdims=True)).astype(np.uint8), 3, axis=2)


def flat(x: np.ndarray) -> np.ndarray:
    mean = x.mean(axis=(0, 1))
    return np.rint(mean + (x - mean) * 0.5).astype(np.uint8)


def blurred(x: np.ndarray) -> np.ndarray:
    return np.stack([box_mean(x[..., c].astype(float), 3) for c in range(3)], axis=-1).astype(np.uint8)


def combed(x: np.ndarray) -> np.ndarray:
    comb = np.zeros(x.shape[:2])
    comb[::4, ::4] = 30
    return (x + comb[..., None]).clip(0, 255).astype(np.uint8)


def framed(x: np.ndarray) -> np.ndarray:
    made = x.astype(int) - 20
    made[8:-8, 8:-8] += 20
    return made.clip(0, 255).astype(np.uint8)


def threaded(x: np.ndarray) -> np.ndarray:
    down = np.arange(x.shape[0])
    rows = np.random.default_rng(3).normal(0, 8, 8)[down % 8] * (-1) ** (
        down // 8
    )  # a grid would be the same in each 8
    return (x + rows[:, None, None]).clip(0, 255).astype(np.uint8)


def restless() -> Callable[[np.ndarray], np.ndarray]:
    random = np.random.default_rng(2)
    return lambda x: (x + random.normal(0, 9, x.shape)).clip(0, 255).astype(np.uint8)


def judged(filter: Callable[[np.ndarray], np.ndarray]) -> Evaluation:
    shown = pictures()
    target = Target("teacher", shown, paired=True, teacher=lambda x: x)
    return evaluate("toy", filter, shown, target, {"room": still_clip()})


def failures(done: Evaluation) -> set[str]:
    return {gate.name for gate in done.gates if gate.ok is False}


def test_a_filter_that_does_what_its_teacher_does_passes_all_gates() -> None:
    done = judged(lambda x: x)
    assert done.passed
    assert {gate.letter for gate in done.gates} == {"a", "b", "c", "d", "e"}
    assert {gate.name for gate in done.gates if gate.ok is None} == {"L1 to the target"}
    assert next(gate.value for gate in done.gates if gate.letter == "e") == 0


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (grey, {"chroma", "colour spread"}),
        (flat, {"chroma", "contrast", "fine detail", "colour spread"}),
        (blurred, {"fine detail"}),
        (combed, {"grid of 4 px", "grid of 2 px"}),
        (framed, {"frame line"}),
        (threaded, {"threads"}),
        (restless(), {"flicker, room", "flicker p99, room"}),
    ],
)
def test_each_fault_fails_its_gates(fault: Callable[[np.ndarray], np.ndarray], expected: set[str]) -> None:
    done = judged(fault)
    assert not done.passed
    assert failures(done) == expected


def test_a_teachers_own_grid_is_allowed_but_no_more() -> None:
    shown = pictures()
    same = evaluate("toy", combed, shown, Target("t", [combed(x) for x in shown], paired=True, teacher=combed))
    assert not failures(same)


def test_without_a_target_shares_are_reported_and_faults_judged() -> None:
    done = evaluate("toy", lambda x: x, pictures())
    assert done.passed and done.columns == ("source", "toy")
    assert {gate.name for gate in done.gates if gate.ok is None} == {
        "chroma",
        "contrast",
        "fine detail",
        "colour spread",
    }


def test_works_of_the_style_are_a_target_without_pairs() -> None:
    shown = pictures()
    done = evaluate("toy", lambda x: x, shown, Target("paintings", shown[:1], paired=False))
    assert "e" not in {gate.letter for gate in done.gates}
    assert done.columns == ("source", "target", "toy", "colour transfer")


def test_flicker_is_free_up_to_two_levels_and_bound_to_the_source_above() -> None:
    quiet, loud = gates.Flicker(0.1, 1.9, 5, 0.5), gates.Flicker(2.0, 4.9, 11.9, 0.5)
    assert all(gate.ok for gate in gates.judge_flicker({"a": quiet, "b": loud}))
    assert [gate.ok for gate in gates.judge_flicker({"a": gates.Flicker(2.0, 5.1, 12.1, 0.5)})] == [False, False]
    assert [gate.ok for gate in gates.judge_flicker({"a": None})] == [None]


def test_the_budget() -> None:
    assert [gate.ok for gate in gates.judge_budget(4_000_000, 1_000_341_504, 0.64)] == [True, True, True]
    assert [gate.ok for gate in gates.judge_budget(4_100_000, 1_100_000_000, 0.7)] == [False, False, False]
    assert [gate.ok for gate in gates.judge_budget(1, None, None)] == [True, None, None]


def test_a_gate_without_value_or_limit_has_no_verdict() -> None:
    assert Gate("a", "x", None, 1.0).ok is None and Gate("a", "x", 1.0, None).ok is None
    assert Gate("a", "x", 1.0, 1.0).ok is True and Gate("a", "x", 1.0, 1.0, at_least=True).ok is True


def test_the_sheet_has_a_row_for_each_picture_and_clip() -> None:
    done = evaluate(
        "toy", grey, pictures(14), Target("t", pictures(14), paired=True), {"c": still_clip()}, against={"old": flat}
    )
    assert done.columns == ("source", "target", "toy", "colour transfer", "old")
    assert done.sheet is not None
    rows, columns = 13, 5
    assert done.sheet.shape == (rows * (SIZE[0] + 4) - 4, columns * (SIZE[1] + 4) - 4, 3)
    first = done.sheet[: SIZE[0], : SIZE[1]]
    assert np.array_equal(first, pictures(1)[0])
    clip = done.sheet[12 * (SIZE[0] + 4) :]
    frame = next(iter(still_clip()))
    tiles = [clip[:, number * (SIZE[1] + 4) :][:, : SIZE[1]] for number in range(columns)]
    assert np.array_equal(tiles[2], grey(frame)) and np.array_equal(tiles[4], flat(frame)), (
        "in the columns of their titles"
    )
    assert tiles[1].min() == tiles[3].min() == 255, "no target is known for a frame"
