"""The GPU benchmark's own logic, on the fake GPU with ONNX Runtime's CPU provider behind it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import helper
from torch import nn

from benchmarks import gpu
from benchmarks.gpu import Case, Clock, Model, Rates, Row, make_model, verdicts
from ganlens.engine import Frame
from ganlens.engine.cuda import Device
from ganlens.engine.model.description import read_onnx, read_spec
from ganlens.export.wrapper import ExportGenerator, graph_spec
from tests.fakes.cuda import FakeCuda, OnnxRuntimeOnFake, kept_cubins
from tests.kit.models import IR_VERSION, OPSET, constant, tensor

TINY = Case("tiny", "nano", 32)
LABELLED = Case("labelled", "mobile", 32, attributes=2)


class Shift(nn.Module):
    """y = x / 2, and a shift by the attributes where there are some."""

    def forward(self, x: torch.Tensor, attributes: torch.Tensor | None = None) -> torch.Tensor:
        shift = 0 if attributes is None else (attributes[:, :1] - attributes[:, 1:2])[:, :, None, None]
        return x * 0.5 + shift * 0.125


def shift_model(case: Case, batch: int) -> Model:
    """What make_model gives, without the seconds that PyTorch takes to export."""
    spec = case.spec()
    size = (case.side, case.side)
    image = (batch, 3, *size)
    inputs, weights = [tensor("x", image)], [constant("half", 0.5)]
    nodes = [helper.make_node("Mul", ["x", "half"], ["y" if not case.attributes else "scaled"])]
    if case.attributes:
        inputs.append(tensor("att", (batch, 2)))
        weights += [constant("signs", [[0.125], [-0.125]]), constant("column", [-1, 1, 1, 1], np.int64)]
        nodes.append(helper.make_node("MatMul", ["att", "signs"], ["shift"]))
        nodes.append(helper.make_node("Reshape", ["shift", "column"], ["shift4"]))
        nodes.append(helper.make_node("Add", ["scaled", "shift4"], ["y"]))
    graph = helper.make_graph(nodes, "shift", inputs, [tensor("y", image)], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return Model(case, batch, ExportGenerator(Shift(), spec), model, graph_spec(spec, size), macs=1000, weights=10)


@pytest.fixture(autouse=True)
def small_and_quick(own_cache: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "make_model", shift_model)
    monkeypatch.setenv("GANLENS_CACHE", str(kept_cubins()))
    monkeypatch.setattr(gpu, "WARM_UP", 2)


@pytest.fixture
def fake() -> FakeCuda:
    fake = FakeCuda()
    fake.elapsed_ms = 1000  # or a network would have to run thousands of times
    return fake


@pytest.fixture
def frames() -> list[Frame]:
    random = np.random.default_rng(0)
    return [Frame.from_rgb(random.integers(0, 256, (36, 64, 3), np.uint8)) for _ in range(3)]


class Hours:
    """A clock that goes on by a given time each time it is asked."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def run(fake: FakeCuda, frames: list[Frame], **changes: Any) -> list[Row]:
    options: dict[str, Any] = {
        "cases": [TINY],
        "batches": [1],
        "rates": Rates({"fp16": 1e12, "fp32": 1e11}, 1e12),
        "torch_device": None,
        "clock": Clock(600),
        "count": 3,
        "say": lambda line: None,
    }
    runtimes: dict[str, gpu.Open] = changes.pop("runtimes", {"fake": lambda path: OnnxRuntimeOnFake(path, fake)})
    return gpu.run(Device(driver=fake), runtimes, frames=frames, **options | changes)


def test_a_row_has_everything(fake: FakeCuda, frames: list[Frame]) -> None:
    half, full = run(fake, frames)
    for row in (half, full):
        assert row.problem == ""
        assert row.network_ms is not None and row.floor_ms is not None
        assert len(row.frames_ms) == 3 and row.frame_p50_ms == pytest.approx(np.median(row.frames_ms), abs=1e-3)
        assert row.frame_p50_ms <= (row.frame_p95_ms or 0) <= (row.frame_p99_ms or 0)
        assert row.fps is not None and row.fps > 0 and row.host_waits is not None and 0 < row.host_waits <= 1
    assert half.psnr_db is not None and full.psnr_db is not None
    assert 60 < half.psnr_db < 120 < full.psnr_db


def test_attributes_and_batches(fake: FakeCuda, frames: list[Frame]) -> None:
    rows = run(fake, frames, cases=[LABELLED], batches=[1, 2])
    assert [(row.batch, row.precision, row.problem) for row in rows] == [
        (1, "fp16", ""),
        (1, "fp32", ""),
        (2, "fp16", ""),
        (2, "fp32", ""),
    ]
    assert rows[0].psnr_db is not None and rows[0].psnr_db > 40
    assert rows[2].psnr_db is None and rows[2].frame_p50_ms is None and rows[2].network_ms is not None
    assert rows[2].fps is not None and rows[2].fps > 0 and rows[2].host_waits is not None


def test_a_wrong_network_is_seen(fake: FakeCuda, frames: list[Frame], tmp_path: Path) -> None:
    """The parity is of the device's answer: that of another network is far off."""
    model = shift_model(TINY, 1)
    other = dataclasses.replace(model, module=ExportGenerator(nn.Identity(), TINY.spec()))
    backend = OnnxRuntimeOnFake(model.write(tmp_path, "fp32"), fake)
    device = Device(driver=fake)
    binding = backend.bind_device(device, other.shapes)
    assert gpu.parity_db(device, binding, other, frames) < 40


def test_pytorch_goes_through_the_same_loop(
    fake: FakeCuda, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu.torch, "compile", lambda module, mode: module)
    rows = run(fake, frames, cases=[LABELLED], torch_device="cpu")
    assert [row.runtime for row in rows] == ["fake", "fake", "torch eager", "torch compile"]
    for row in rows[2:]:
        assert row.problem == "" and row.network_ms and row.frame_p50_ms and row.fps


def test_one_that_fails_does_not_stop_the_others(fake: FakeCuda, frames: list[Frame]) -> None:
    def broken(path: Path) -> gpu.Runtime:
        raise RuntimeError("out of paint")

    rows = run(fake, frames, runtimes={"broken": broken, "fake": lambda path: OnnxRuntimeOnFake(path, fake)})
    assert [(row.runtime, row.problem) for row in rows] == [
        ("broken", "RuntimeError: out of paint"),
        ("fake", ""),
        ("broken", "RuntimeError: out of paint"),
        ("fake", ""),
    ]


def test_what_comes_after_the_time_is_up_says_so(fake: FakeCuda, frames: list[Frame]) -> None:
    rows = run(fake, frames, batches=[1, 4], clock=Clock(10, Hours(1)), torch_device="cpu")
    assert rows[0].problem == ""
    assert {row.problem for row in rows[1:]} == {"not measured: the time was up"}
    assert len(rows) == 4


def test_what_matters_most_comes_first(fake: FakeCuda, frames: list[Frame]) -> None:
    rows = run(fake, frames, cases=[TINY, LABELLED], batches=[1, 2], clock=Clock(0))
    assert [(row.batch, row.model, row.precision) for row in rows[:3]] == [
        (1, "tiny", "fp16"),
        (1, "tiny", "fp32"),
        (1, "labelled", "fp16"),
    ]


def test_the_floor_is_the_higher_of_work_and_traffic() -> None:
    rates = Rates({"fp16": 1e12, "fp32": None}, 1e9)
    assert rates.floor_ms(macs=10**9, moved=1000, precision="fp16") == pytest.approx(2)
    assert rates.floor_ms(macs=1, moved=10**7, precision="fp16") == pytest.approx(10)
    assert rates.floor_ms(macs=1, moved=1, precision="fp32") is None
    model = shift_model(TINY, 1)
    assert model.moved_bytes("fp16") == 2 * (model.weights + 2 * 3 * 32 * 32)


def test_generators_are_exported_with_their_record(tmp_path: Path) -> None:
    model = make_model(LABELLED, 2)
    assert model.macs > 10**6 and model.weights > 10**5
    path = model.write(tmp_path, "fp16")
    spec = read_spec(path)
    assert (spec.name, spec.precision, spec.size.fixed) == ("labelled", "fp16", (32, 32))
    assert [tuple(value.dims) for value in read_onnx(path).inputs] == [*model.shapes] == [(2, 3, 32, 32), (2, 2)]


def test_the_network_is_timed_between_events(fake: FakeCuda) -> None:
    class Binding:
        inputs = outputs = ()
        runs = 0

        def __init__(self, capturable: bool) -> None:
            self.capturable = capturable

        def enqueue(self, stream: int) -> None:
            fake.put(stream, self.ran)

        def ran(self) -> None:
            self.runs += 1

    for capturable in (True, False):
        binding, before = Binding(capturable), fake.calls.copy()
        milliseconds = gpu.network_ms(Device(driver=fake), binding, seconds=10)
        launches = (fake.calls - before)["cuGraphLaunch"]
        assert launches == (binding.runs - 1 if capturable else 0)
        assert binding.runs - 1 == 10 + 5 * 20
        assert milliseconds == 1000 / 20


def row(**values: Any) -> Row:
    return Row(**{"model": "resnet9-256", "runtime": "tensorrt", "precision": "fp16", "batch": 1} | values)


@pytest.mark.parametrize(
    ("values", "met"),
    [
        ({"psnr_db": 60.0, "network_ms": 0.8, "frame_p50_ms": 0.99, "fps": 1600.0}, [True, True, True, True]),
        ({"psnr_db": 39.9, "network_ms": 0.5, "frame_p50_ms": 0.81, "fps": 1499.0}, [False, False, True, False]),
        ({"psnr_db": 40.0, "network_ms": 4.0, "frame_p50_ms": 4.59, "fps": 200.0}, [True, True, False, False]),
        ({"problem": "failed"}, [False, False, False]),
    ],
)
def test_goals_are_judged(values: dict[str, Any], met: list[bool]) -> None:
    found = verdicts([row(**values)])
    assert [verdict["met"] for verdict in found] == met
    assert not verdicts([row(**values, batch=4) if "batch" not in values else row(**values), row(precision="fp32")][:1])
    assert not verdicts([row(**values | {"runtime": "torch eager"})])


def test_the_file_tells_everything(fake: FakeCuda, frames: list[Frame], tmp_path: Path) -> None:
    rows = [*run(fake, frames), row(problem="not measured: the time was up")]
    path = tmp_path / "gpu.json"
    gpu.write_results(path, Device(driver=fake), rows, Rates({"fp16": 1e12, "fp32": None}, None), {"minutes": 9})
    record = json.loads(path.read_text())
    assert record["benchmark"] == "gpu"
    assert record["settings"]["gpu"]["name"] == "Fake GPU"
    assert record["settings"]["matrix_tflops"] == {"fp16": 1.0, "fp32": None}
    assert len(record["table"]["rows"]) == 2 and record["table"]["columns"] == list(gpu.COLUMNS)
    assert record["details"]["rows"][2]["problem"] == "not measured: the time was up"
    assert {goal["goal"] for goal in record["details"]["goals"]} >= {"PSNR dB at least", "whole frame p50 ms at most"}


def test_without_a_gpu_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_device() -> Device:
        return Device(driver=FakeCuda(devices=0))

    monkeypatch.setattr(gpu, "Device", no_device)
    monkeypatch.setattr("sys.argv", ["benchmarks.gpu"])
    with pytest.raises(SystemExit, match="needs an NVIDIA GPU. The driver finds no GPU"):
        gpu.main()


def test_the_command_from_beginning_to_end(
    fake: FakeCuda, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, frames: list[Frame], capsys: Any
) -> None:
    open_model: Callable[..., Any] = lambda path, name: OnnxRuntimeOnFake(path, fake)  # noqa: E731
    monkeypatch.setattr(gpu, "Device", lambda: Device(driver=fake))
    monkeypatch.setattr(gpu, "open_backend", open_model)
    monkeypatch.setattr(gpu, "CASES", (TINY,))
    monkeypatch.setattr(gpu.clips, "cached_clip", lambda folder: None)
    monkeypatch.setattr(gpu, "read_frames", lambda path, count: frames)
    monkeypatch.setattr("sys.argv", ["gpu", "--quick", "--runtime", "cuda", "--json", str(tmp_path / "out.json")])
    gpu.main()
    assert json.loads((tmp_path / "out.json").read_text())["details"]["rows"]
    assert "PSNR dB at least" in capsys.readouterr().out
