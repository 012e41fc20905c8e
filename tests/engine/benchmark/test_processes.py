"""Measuring processes and comparing what was measured."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ganlens.engine.benchmark.processes import Usage, median_usage, run_pipeline, run_steps
from ganlens.engine.benchmark.stats import bound, interleave, paired_ratio

PYTHON = sys.executable


def test_pipeline_joins_processes_and_adds_their_processor_time() -> None:
    write = "import sys, time; end = time.process_time() + 0.1\nwhile time.process_time() < end: pass\nprint('abc')"
    read = "import sys, time; end = time.process_time() + 0.1\nwhile time.process_time() < end: pass\n"
    usage = run_pipeline([[PYTHON, "-c", write], [PYTHON, "-c", read + "assert sys.stdin.read() == 'abc\\n'"]])
    assert usage.cpu >= 0.2
    assert usage.wall >= 0.1
    assert usage.peak_mib > 2
    assert 0 <= usage.foreign <= 1


def test_steps_run_one_after_the_other_and_add_up(tmp_path: Path) -> None:
    hold = "import sys, time; from pathlib import Path; x = b'1' * {} * 2**20; time.sleep(0.1); "
    first = hold.format(1) + f"Path({str(tmp_path / 'made')!r}).touch()"
    second = hold.format(101) + f"assert Path({str(tmp_path / 'made')!r}).exists()"
    usage = run_steps([[[PYTHON, "-c", first]], [[PYTHON, "-c", second]]])
    assert usage.wall >= 0.2
    assert 95 < usage.peak_mib < 160
    with pytest.raises(RuntimeError, match="ended with status 1"):
        run_steps([[[PYTHON, "-c", "raise SystemExit(1)"]], [[PYTHON, "-c", "open('never')"]]])


def test_peak_is_the_processes_own() -> None:
    """Not the measuring one's, whose size a forked process begins with."""
    hold = "import time; x = b'1' * {} * 2**20; time.sleep(0.1)"
    small, large = (run_pipeline([[PYTHON, "-c", hold.format(mib)]]).peak_mib for mib in (1, 101))
    assert 2 < small < 50
    assert 95 < large - small < 110


@pytest.mark.parametrize("place", [0, 1])
def test_failing_process_is_named_with_its_words(place: int) -> None:
    commands = [[PYTHON, "-c", "pass"], [PYTHON, "-c", "pass"]]
    commands[place] = [PYTHON, "-c", "raise SystemExit('out of paint')"]
    with pytest.raises(RuntimeError, match=r"(?s)status 1.*out of paint"):
        run_pipeline(commands)


def test_environment_reaches_the_process() -> None:
    run_pipeline([[PYTHON, "-c", "import os; assert os.environ['COLOUR'] == 'blue'"]], {"COLOUR": "blue"})


def test_rounds_are_interleaved_and_begin_one_further_each_time() -> None:
    order: list[str] = []

    def call(name: str) -> int:
        order.append(name)
        return len(order)

    results = interleave({name: lambda n=name: call(n) for name in "abc"}, 3)
    assert "".join(order) == "abcbcacab"
    assert results == {"a": [1, 6, 8], "b": [2, 4, 9], "c": [3, 5, 7]}


def test_median_of_each_measure_on_its_own() -> None:
    usage = Usage(1.0, 5.0, 100.0, 0.0)
    usages = [usage, replace(usage, wall=9.0, cpu=4.0), replace(usage, wall=2.0, peak_mib=300.0)]
    assert median_usage(usages) == Usage(2.0, 5.0, 100.0, 0.0)


def test_ratio_is_of_the_same_round() -> None:
    # A machine that is twice as slow in every second round changes both alike.
    assert paired_ratio([1.5, 3.0, 1.5, 3.0], [1.0, 2.0, 1.0, 2.0]) == (1.5, 1.5, 1.5)
    assert paired_ratio([1.0, 2.0, 3.0, 4.0, 5.0], [1.0] * 5) == (3.0, 2.0, 4.0)
    assert paired_ratio([3.0], [2.0]) == (1.5, 1.5, 1.5)


@pytest.mark.parametrize(
    ("walls", "cpus", "cores", "expected"),
    [
        ([1.0, 2.0, 1.0], [1.0, 4.0, 3.0], 2, 4.0),  # all work over all cores
        ([1.0, 6.0, 1.0], [1.0, 6.0, 1.0], 2, 6.0),  # one stage that no second core helps
        ([1.0, 1.0, 1.0], [1.0, 1.0, 1.0], 8, 1.0),
    ],
)
def test_bound(walls: list[float], cpus: list[float], cores: int, expected: float) -> None:
    assert bound(walls, cpus, cores) == expected
