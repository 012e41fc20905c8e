"""A call of each kind fails, at the beginning, in the middle and at the end of one short clip; all: make torture."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.__main__ import chosen
from tests.torture.faults import KINDS, Bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder: Path = tmp_path_factory.mktemp("torture")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANLENS_CACHE", str(folder / "cache"))
        return Bench(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_no_failing_call_leaves_damage(bench: Bench, kind: str) -> None:
    calls = bench.count(kind)
    assert calls, f"nothing calls {kind} any more: the fault is put in the wrong place"
    problems = {number: bench.fail(kind, number)[1] for number in chosen(calls, 3)}
    assert not any(problems.values()), problems
