"""The course of a benchmark on an artificial machine, and what comparing its results says."""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ganlens.engine.benchmark import runner
from ganlens.engine.benchmark.bare import Bare
from ganlens.engine.benchmark.compare import compare, table, worst_slowdown
from ganlens.engine.benchmark.job import Job
from ganlens.engine.benchmark.report import markdown, sentence
from ganlens.engine.benchmark.report import table as result_table
from ganlens.engine.benchmark.result import Result, json_schema, read_result
from ganlens.engine.benchmark.runner import Plan, benchmark, run_worker
from ganlens.engine.benchmark.worker import work
from ganlens.engine.errors import BackendError, OptionError
from ganlens.engine.model import find_model

SCHEMA_FILE = Path(runner.__file__).with_name("schema.json")
PLAN = Plan(models=("psc",), backends=("cpu",), scenarios=("latency", "throughput"), seconds=2.0)
"""For a model that needs no pictures: quick to prepare."""
DEFAULT = replace(PLAN, seconds=runner.DEFAULT_SECONDS, runs=runner.DEFAULT_RUNS)


class Machine:
    """Answers jobs as a machine would on which a frame takes ``ms``.

    Each process is a little faster or slower than the others, each frame again, and one in a hundred is slow.
    """

    def __init__(
        self, ms: float = 8.0, seed: int = 0, between: float = 0.015, within: float = 0.04, bare_ms: float | None = None
    ) -> None:
        self.ms = ms
        self.bare_ms = bare_ms
        """Milliseconds of the bare network where the machine has its usual speed; None: there is none."""
        self.speed: Callable[[], float] = lambda: 1.0
        """How many times as long all takes in a process."""
        self.between, self.within = between, within
        self.random = random.Random(seed)
        self.jobs: list[Job] = []
        self.broken: dict[str, str] = {}
        """Backend → why it fails."""
        self.crash: Callable[[Job], bool] = lambda job: False

    def __call__(self, job: Job, seconds: float) -> dict[str, Any]:
        self.jobs.append(job)
        if self.crash(job):
            raise BackendError("its process ended with SIGSEGV: out of luck")
        if job.kind == "reference":
            return {"reference": "artificial reference"}
        if job.backend in self.broken:
            return {"error": self.broken[job.backend], "cure": "pip install 'ganlens[cpu]'"}
        if job.kind == "probe":
            sweep = [
                {"in_flight": count, "batch": batch, "per_second": 100.0 + 10 * count, "why": ""}
                for count, batch in job.ways
            ]
            quality = {
                "psnr_db": [60.0, 70.0],
                "max_abs": 1e-5,
                "cosine": 1.0,
                "computes": "fp32",
                "gate": "max abs <= 1e-03",
                "ok": True,
            }
            return {"sweep": sweep, "quality": quality}
        process = math.exp(self.random.gauss(0, self.between))
        scenarios = {}
        for name, seconds in job.scenarios:
            machine = self.speed()
            scenarios[name] = self.measured(self.ms * process * machine, seconds)
            if self.bare_ms is not None:
                bare_ms = self.bare_ms * machine * math.exp(self.random.gauss(0, self.between))
                scenarios[name] |= {"bare_ms": bare_ms, "relative": self.ms * process * machine / bare_ms}
        return {"cold_ms": 900.0, "library": "artificial", "device": "cpu", "peak_mib": 100.0, "scenarios": scenarios}

    def measured(self, ms: float, seconds: float) -> dict[str, Any]:
        times = [
            ms / 1e3 * math.exp(self.random.gauss(0, self.within)) * (4 if self.random.random() < 0.01 else 1)
            for _ in range(max(1, int(seconds / (ms / 1e3))))
        ]
        return {
            "times_s": times,
            "per_second": len(times) / sum(times),
            "wall_s": sum(times),
            "cpu_s": sum(times),
            "foreign": 0.01,
            "energy_j": None,
            "warm_up": {"calls": 20, "ms": 160.0, "first_ms": 30.0},
            "stages_ms": {"run": ms},
            "ms_at_30hz": ms + 0.2,
            "counts": {},
            "throttled": False,
            "frame": (64, 64),
            "bare_ms": None,
            "relative": None,
        }


def measure(machine: Machine, plan: Plan = PLAN) -> Result:
    return benchmark(plan, command="engine benchmark psc", worker=machine)


def test_rows_hold_what_was_measured(tmp_path: Path) -> None:
    result = measure(Machine(ms=8.0))
    latency, throughput = result.results
    assert (latency.scenario, throughput.scenario) == ("latency", "throughput")
    assert len(latency.runs) == 5
    assert latency.n == sum(run.n for run in latency.runs) == sum(count for _, count in latency.histogram)
    assert latency.ms is not None and latency.ms.p50 == pytest.approx(8.0, rel=0.03)
    assert latency.ms.p95 is not None and latency.ms.p99 is None and 90 <= latency.n < 459
    assert latency.interval[0] <= latency.value <= latency.interval[1]
    assert throughput.streams_at_30 == int(throughput.per_second / 30)
    assert throughput.ms_at_30hz == pytest.approx(8.2, rel=0.03)
    assert latency.quality is not None and latency.quality.reference == "artificial reference"
    assert latency.outliers > 0 and latency.flags == ()
    path = tmp_path / "result.json"
    path.write_text(result.to_json(), encoding="utf-8")
    assert read_result(path) == result


def test_the_json_is_what_the_shipped_schema_says() -> None:
    schema = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    assert schema == json_schema(), "run: python -m ganlens.engine.benchmark.result > engine/benchmark/schema.json"
    values = json.loads(measure(Machine()).to_json())
    jsonschema.validate(values, schema, cls=jsonschema.Draft202012Validator)
    del values["results"][0]["interval"]
    with pytest.raises(jsonschema.ValidationError, match="interval"):
        jsonschema.validate(values, schema, cls=jsonschema.Draft202012Validator)


def test_two_results_of_one_machine_do_not_differ_in_nine_of_ten_tries() -> None:
    equal = 0
    for number in range(10):
        old = measure(Machine(seed=2 * number), DEFAULT)
        new = measure(Machine(seed=2 * number + 1), DEFAULT)
        comparisons, _ = compare(old, new)
        assert len(comparisons) == 2
        equal += all(one.verdict == "no difference" for one in comparisons)
    assert equal >= 9


def test_a_slow_down_of_15_percent_is_found_in_nine_of_ten_tries() -> None:
    found = 0
    for number in range(10):
        old = measure(Machine(seed=2 * number), DEFAULT)
        new = measure(Machine(ms=8.0 * 1.15, seed=2 * number + 1), DEFAULT)
        comparisons, _ = compare(old, new)
        found += all(one.verdict == "slower" and 1.05 < one.slowdown < 1.25 for one in comparisons)
    assert found >= 9


def drifting(ms: float, seed: int) -> Machine:
    """A machine that is up to 1.5 times as slow from minute to minute, in turns with the bare network."""
    machine = Machine(ms, seed, bare_ms=7.0)
    minute = random.Random(seed).uniform(1.0, 1.5)
    machine.speed = lambda: minute * machine.random.uniform(0.95, 1.05)
    return machine


def test_where_the_machine_drifts_frames_are_compared_with_the_bare_network() -> None:
    equal = found = 0
    for number in range(10):
        old = measure(drifting(8.0, 2 * number), DEFAULT)
        same, _ = compare(old, measure(drifting(8.0, 2 * number + 1), DEFAULT))
        equal += all(one.verdict == "no difference" for one in same)
        slower, _ = compare(old, measure(drifting(8.0 * 1.15, 2 * number + 1), DEFAULT))
        found += all(one.verdict == "slower" and 1.05 < one.slowdown < 1.25 for one in slower)
    assert equal >= 9 and found >= 9


def test_the_table_tells_the_speed_of_the_machine() -> None:
    slow = Machine(bare_ms=7.0, between=0)
    slow.speed = lambda: 1.5
    comparisons, _ = compare(measure(Machine(bare_ms=7.0, between=0)), measure(slow))
    assert {one.verdict for one in comparisons} == {"no difference"}
    assert all(one.machine == pytest.approx(1.5, rel=0.05) for one in comparisons)
    text = table(comparisons)
    assert "adjusted for the machine's speed: time of the bare network, new / old, 1.5" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80


def test_what_is_not_measured_alike_is_not_adjusted() -> None:
    def slow(**row_changes: Any) -> Result:
        machine = Machine(bare_ms=7.0)
        machine.speed = lambda: 1.5
        result = measure(machine)
        return result.model_copy(update={"results": tuple(r.model_copy(update=row_changes) for r in result.results)})

    old = measure(Machine(bare_ms=7.0))
    other = old.machine.model_copy(update={"cpu": "Z80"})
    for first, second in (
        (old, slow(library="artificial 2")),
        (old, slow(threads=9)),
        (old.model_copy(update={"machine": other}), slow()),
        (measure(Machine()), slow()),
    ):
        comparisons, _ = compare(first, second)
        assert {(one.verdict, one.machine) for one in comparisons} == {("slower", None)}
        assert table(comparisons).endswith("not adjusted for the machine's speed.")
    faster = old.results[0].model_copy(update={"library": "artificial 2"})
    mixed, _ = compare(old.model_copy(update={"results": (faster, *old.results[1:])}), slow())
    assert "; not adjusted: latency on cpu." in " ".join(table(mixed).split())


def test_other_versions_are_said() -> None:
    old = measure(Machine())
    _, notes = compare(old.model_copy(update={"software": {**old.software, "numpy": "1.0"}}), measure(Machine()))
    assert any(note.startswith("numpy 1.0 in the old result") for note in notes)


def test_a_speed_up_is_called_faster_and_fails_nothing() -> None:
    comparisons, _ = compare(measure(Machine()), measure(Machine(ms=5.0)))
    assert {one.verdict for one in comparisons} == {"faster"}
    assert worst_slowdown(comparisons) == 1.0
    assert "faster" in table(comparisons) and max(map(len, table(comparisons).splitlines())) <= 80


def test_absent_backends_are_rows_with_the_cure() -> None:
    machine = Machine()
    machine.broken = {"openvino": "openvino is not installed"}
    result = measure(machine, replace(PLAN, backends=("openvino", "cpu")))
    assert {row.backend for row in result.results} == {"cpu"}
    failure = result.failures[0]
    assert (failure.backend, failure.why, failure.cure) == (
        "openvino", "openvino is not installed", "pip install 'ganlens[cpu]'",
    )  # fmt: skip
    assert "openvino is not installed. pip install 'ganlens[cpu]'" in " ".join(result_table(result).split())
    assert "openvino is not installed" in markdown(result)
    assert (
        sum(job.backend == "openvino" and job.kind != "reference" for job in machine.jobs) == 1
    )  # not tried again in every run


def test_a_crash_in_the_third_run_ends_that_row_only() -> None:
    machine = Machine()
    machine.crash = lambda job: job.backend == "openvino" and job.kind == "run" and sum(
        done.backend == "openvino" and done.kind == "run" for done in machine.jobs
    ) == 3  # fmt: skip
    result = measure(machine, replace(PLAN, backends=("openvino", "cpu")))
    assert {(row.backend, len(row.runs)) for row in result.results} == {("openvino", 2), ("cpu", 5)}
    assert result.failures[0].why == "its process ended with SIGSEGV: out of luck"


def test_an_interrupt_keeps_the_runs_that_are_done() -> None:
    machine = Machine()

    def stop(job: Job) -> bool:
        if sum(done.kind == "run" for done in machine.jobs) == 4:
            raise KeyboardInterrupt
        return False

    machine.crash = stop
    result = measure(machine)
    assert result.interrupted
    assert [len(row.runs) for row in result.results] == [3, 3]
    assert all("interrupted" in row.flags for row in result.results)
    jsonschema.validate(json.loads(result.to_json()), json_schema())


def test_processes_of_all_backends_take_turns() -> None:
    machine = Machine()
    measure(machine, replace(PLAN, backends=("openvino", "cpu"), runs=5))
    runs = [job.backend for job in machine.jobs if job.kind == "run"]
    for number in range(5):
        assert set(runs[2 * number : 2 * number + 2]) == {"openvino", "cpu"}


def test_the_best_way_of_throughput_is_the_one_measured() -> None:
    machine = Machine()
    result = measure(machine, replace(PLAN, threads=4, batches=(1, 4)))
    row = next(row for row in result.results if row.scenario == "throughput")
    assert len(row.sweep) == 2  # a model from noise has no frames in flight
    assert row.in_flight == 1 and (row.in_flight, row.batch) in {(one.in_flight, one.batch) for one in row.sweep}
    assert all((job.in_flight, job.batch) == (row.in_flight, row.batch) for job in machine.jobs if job.kind == "run")


def test_a_busy_machine_makes_rows_noisy() -> None:
    class Busy(Machine):
        def measured(self, ms: float, seconds: float) -> dict[str, Any]:
            return {**super().measured(ms, seconds), "foreign": 0.4}

    result = measure(Busy())
    assert all(row.flags == ("noisy",) for row in result.results)
    assert "other programs used up to 40 % of the cores; close them, or measure longer with --seconds 4" in (
        " ".join(result_table(result).split())
    )
    assert all("noisy" in row.flags for row in measure(Machine(within=0.3)).results if row.scenario == "latency")


def test_a_reference_that_fails_is_said_and_does_not_end_the_row() -> None:
    machine = Machine()
    machine.crash = lambda job: job.kind == "reference"
    result = measure(machine)
    assert len(result.results) == 2
    assert "no reference to judge quality by: its process ended with SIGSEGV" in " ".join(result_table(result).split())
    assert result.failures[0].backend == "reference"


def test_a_lower_precision_is_not_measured_without_its_reference(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from ganlens.engine.model import open as open_model

    shipped = open_model("psc")
    model = onnx.load(shipped.path)
    spec = shipped.spec.model_copy(update={"precision": "fp16"})
    onnx.helper.set_model_props(model, spec.to_metadata())
    path = tmp_path / "half.onnx"
    path.write_bytes(model.SerializeToString())
    plan = replace(PLAN, models=(str(path),))
    alone = measure(Machine(), plan)
    assert not alone.results
    assert "no float32 reference for half.onnx" in alone.failures[0].why
    beside = measure(Machine(), replace(plan, models=(str(path), str(shipped.path))))
    assert {row.precision for row in beside.results} == {"fp16", "fp32"}
    assert all(row.quality is not None for row in beside.results)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scenarios": ("latencey",)}, "No scenario is called 'latencey'. Did you mean latency"),
        ({"backends": ("tensorflow",)}, "No backend is called 'tensorflow'"),
        ({"precisions": ("fp8",)}, "No precision is called 'fp8'"),
        ({"sizes": ((100, 100),)}, "--size 100x100: psc takes 64x64"),
        ({"runs": 0}, "--runs: got 0, expected at least 1"),
        ({"seconds": float("nan")}, "--seconds: got nan"),
        ({"images": "nowhere/*.png", "models": ("starry",)}, "nowhere"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_the_clock_runs(changes: dict[str, Any], message: str) -> None:
    machine = Machine()
    with pytest.raises((OptionError, OSError), match=message.replace("*", r"\*")):
        measure(machine, replace(PLAN, **changes))
    assert not machine.jobs


def test_results_without_a_common_row_are_not_compared() -> None:
    old, new = measure(Machine()), measure(Machine(), replace(PLAN, backends=("openvino",)))
    with pytest.raises(OptionError, match="Expected the same model, backend, scenario and size"):
        compare(old, new)
    with pytest.raises(OptionError, match="another file of that name"):
        changed = old.models[0].model_copy(update={"sha256": "0" * 64})
        compare(old.model_copy(update={"models": (changed,)}), measure(Machine()))


def test_what_else_differs_is_said() -> None:
    old = measure(Machine(), replace(PLAN, runs=3))
    other = old.machine.model_copy(update={"cpu": "Z80"})
    _, notes = compare(old.model_copy(update={"machine": other}), measure(Machine(), replace(PLAN, threads=1)))
    assert any("another machine: Z80" in note for note in notes)
    assert any("fewer than 4 runs" in note for note in notes)


def test_table_fits_a_terminal_and_ends_in_the_sentence() -> None:
    result = measure(Machine(ms=8.0), replace(PLAN, backends=("openvino", "cpu")))
    text = result_table(result)
    assert max(map(len, text.splitlines())) <= 80
    assert text.splitlines()[-1] == sentence(result)
    best = max(row.per_second for row in result.results if row.scenario == "throughput")
    assert sentence(result).startswith(f"psc runs at {best:.0f} fps on ")
    assert sentence(result).endswith(f" here: {int(best / 30)} streams of 30 fps.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ('{"schema": "ganlens-benchmark/7"}', "schema 'ganlens-benchmark/7', expected 'ganlens-benchmark/1'"),
        ("[1]", "schema None"),
        ('{"schema": "ganlens-benchmark/1"}', "is not a valid ganlens-benchmark/1 file: when: is missing"),
    ],
)
def test_a_file_that_is_no_result_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "old.json"
    path.write_text(text)
    with pytest.raises(OptionError, match=message):
        read_result(path)


JOB = Job(kind="run", model="psc", backend="cpu", size=(64, 64), threads=1)


def test_a_process_that_is_killed_is_an_error_with_its_last_words() -> None:
    words = "import os, sys; sys.stderr.write('no more memory\\n'); sys.stderr.flush(); os.abort()"
    with pytest.raises(BackendError, match="ended with SIGABRT: no more memory"):
        run_worker(JOB, 0.0, [sys.executable, "-c", words])
    with pytest.raises(BackendError, match="ended with status 3"):
        run_worker(JOB, 0.0, [sys.executable, "-c", "raise SystemExit(3)"])


def test_a_process_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "PATIENCE_S", 0.3)
    with pytest.raises(BackendError, match="no answer after 0 s"):
        run_worker(JOB, 0.0, [sys.executable, "-c", "import time; time.sleep(60)"])


def test_a_real_process_measures_a_real_model() -> None:
    pytest.importorskip("onnxruntime")
    result = benchmark(replace(PLAN, seconds=0.4, runs=2))
    assert {row.scenario for row in result.results} == {"latency", "throughput"}
    for row in result.results:
        assert row.library.startswith("ONNX Runtime") and len(row.runs) == 2 and row.n > 0
        assert row.cold_ms > 100 and row.peak_mib > 20
        assert all(run.bare_ms and run.relative for run in row.runs)
        assert row.quality is not None and row.quality.ok and row.quality.psnr_db[0] > 100


def test_a_bare_network_whose_process_ends_has_no_time() -> None:
    for words in ("pass", "print('ready', flush=True); input(); input()"):
        with closing(Bare(JOB, [sys.executable, "-c", words])) as bare:
            assert bare() is None


def test_the_bare_network_runs_in_every_library_of_the_processor() -> None:
    for name, module in (("cpu", "onnxruntime"), ("openvino", "openvino")):
        pytest.importorskip(module)
        with closing(Bare(replace(JOB, backend=name))) as bare:
            assert bare() is not None


def test_a_model_replaced_during_the_benchmark_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(find_model("comic").read_bytes())
    plan = Plan(models=(str(path),))
    digest = plan.opened[str(path)].file.sha256
    job = Job(kind="run", model=str(path), backend="cpu", size=(64, 64), threads=1, sha256=digest)
    assert job.opened is job.opened and job.opened.data == path.read_bytes()
    path.write_bytes(find_model("wave").read_bytes())
    assert plan.opened[str(path)].file.sha256 == digest, "read once"
    answer = work(replace(job, scenarios=(("latency", 0.1),)))
    assert "was changed or replaced since the benchmark began" in answer["error"]
