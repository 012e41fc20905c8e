"""Everything about one GPU in one call: right, how fast the network is, how fast a whole frame, beside the usual ways.

    python -m benchmarks.gpu [--minutes 9] [--case resnet9-256] [--runtime tensorrt] [--json FILE]

For each generator, precision and batch: the answer's PSNR against PyTorch in float32 on frames of the shipped clip; the
network alone, as a captured graph between two events, against the floor max(2 MACs / measured matrix rate, bytes /
measured bandwidth); one 720p frame from host memory to host memory (p50, p95, p99) with one frame in flight; frames per
second with three, or three batches; and the share of that time in which the host only waits. PyTorch in float16, eager
and compiled, goes through the same frame loop. Rows that come after the time is up say so. Weights are random: only
speed and agreement count here.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import datetime
import functools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from ganlens.engine import Compositor, Frame, Framing, FunctionBackend, GeneratorSpec, Output, Translator, VideoSource
from ganlens.engine.backends import open_backend
from ganlens.engine.benchmark import clip as clips
from ganlens.engine.cuda import Device, DeviceBinding
from ganlens.engine.errors import EngineError
from ganlens.engine.spec import AttributeInput, SizeRule
from ganlens.engine.ways.gpu import FramePipeline
from ganlens.export.cost import multiply_accumulates
from ganlens.export.parity import sample_attributes
from ganlens.export.precision import to_fp16
from ganlens.export.to_onnx import composition_nodes, to_graph
from ganlens.export.wrapper import ExportGenerator, graph_spec
from ganlens.train.networks import make_generator

from . import results

Array = NDArray[np.float32]
PSNR_FP16_DB = 40.0
FRAME_RATIO, FRAME_EXTRA_MS = 1.15, 0.3
"""A whole frame may take this much of the network alone, or this much more."""
IN_FLIGHT = 3
STREAMS = 2
"""Networks beside each other, where a library can."""
WARM_UP = 20
"""Frames and runs that are not timed."""
COLUMNS = (
    "model",
    "runtime",
    "precision",
    "batch",
    "PSNR dB",
    "network ms",
    "network / floor",
    "frame p50 ms",
    "p95",
    "p99",
    "frame / network",
    "frames/s",
    "host waits %",
    "frames/s, 2 streams",
)


@dataclass(frozen=True)
class Case:
    """One generator at one size."""

    name: str
    tier: str
    side: int
    attributes: int = 0

    def spec(self) -> GeneratorSpec:
        """Its record."""
        names = tuple(f"a{index}" for index in range(self.attributes))
        return GeneratorSpec(
            name=self.name,
            architecture="stargan" if self.attributes else "cyclegan",
            tier=self.tier,
            size=SizeRule(multiple_of=8, preferred=(self.side, self.side)),
            attributes=AttributeInput(names=names) if names else None,
        )


CASES = (
    Case("resnet9-256", "resnet9", 256),
    Case("mobile-256", "mobile", 256),
    Case("stargan-128", "stargan", 128, 5),
    Case("stargan-256", "stargan", 256, 5),
    Case("nano-256", "nano", 256),
    Case("light-256", "light", 256),
)
BATCHES = (1, 4, 16)
PRECISIONS = ("fp16", "fp32")

GOALS = {
    "resnet9-256": {"frame_p50_ms": 1.0, "fps": 1500.0},
    "mobile-256": {"frame_p50_ms": 0.4},
}
"""On a GPU of the H100's class, FP16, batch 1."""


class Runtime(Protocol):
    """What opens a model and binds it to device memory."""

    concurrent: bool

    def bind_device(self, device: Device, shapes: tuple[tuple[int, ...], ...]) -> DeviceBinding: ...
    def close(self) -> None: ...


Open = Callable[[Path], Runtime]


@dataclass(frozen=True)
class Rates:
    """What the GPU does at best, measured; None where it could not be."""

    flops: dict[str, float | None]
    """Floating-point operations per second of a large matrix product, by precision."""
    bytes: float | None
    """Bytes per second read and written by a large copy."""

    def floor_ms(self, macs: int, moved: int, precision: str) -> float | None:
        """The time that no network of this work and this traffic can beat."""
        flops = self.flops.get(precision)
        if flops is None or self.bytes is None:
            return None
        return 1e3 * max(2 * macs / flops, moved / self.bytes)


@dataclass
class Row:
    """One measurement; what stays None was not measured."""

    model: str
    runtime: str
    precision: str
    batch: int
    psnr_db: float | None = None
    network_ms: float | None = None
    floor_ms: float | None = None
    frame_p50_ms: float | None = None
    frame_p95_ms: float | None = None
    frame_p99_ms: float | None = None
    fps: float | None = None
    host_waits: float | None = None
    """Share of the time with several frames in flight in which the host waits for the GPU."""
    fps_streams: float | None = None
    """Frames per second with :data:`STREAMS` networks beside each other."""
    problem: str = ""
    seconds: float = 0.0
    """What the measurement itself took."""
    frames_ms: list[float] = field(default_factory=list)

    def cells(self) -> list[results.Cell]:
        """The row of the table."""
        ratio = self.network_ms / self.floor_ms if self.network_ms and self.floor_ms else None
        whole = self.frame_p50_ms / self.network_ms if self.frame_p50_ms and self.network_ms else None
        waits = None if self.host_waits is None else 100 * self.host_waits
        numbers = (self.psnr_db, self.network_ms, ratio, self.frame_p50_ms, self.frame_p95_ms, self.frame_p99_ms, whole)
        digits = (1, 3, 2, 3, 3, 3, 2)
        cells: list[results.Cell] = [self.model, self.runtime, self.precision, self.batch]
        cells += [_cell(number, places) for number, places in zip(numbers, digits, strict=True)]
        return [*cells, _cell(self.fps, 0), _cell(waits, 0), _cell(self.fps_streams, 0)]


class Clock:
    """How much time is left of what was given."""

    def __init__(self, seconds: float, now: Callable[[], float] = time.perf_counter) -> None:
        self._now, self._end = now, now() + seconds
        self.now = now

    @property
    def left(self) -> float:
        return self._end - self._now()


# ---------------------------------------------------------------- models


@dataclass(frozen=True)
class Model:
    """A generator as a file and as PyTorch runs it."""

    case: Case
    batch: int
    module: ExportGenerator
    graph: onnx.ModelProto
    spec: GeneratorSpec
    macs: int
    """Multiply-accumulates per picture."""
    weights: int
    """Number of them."""

    def write(self, folder: Path, precision: str) -> Path:
        """The ONNX file with inputs and outputs of this precision."""
        model = self.graph
        if precision == "fp16":
            model = to_fp16(model, keep_nodes=composition_nodes(model), half_io=True)
        onnx.helper.set_model_props(model, self.spec.model_copy(update={"precision": precision}).to_metadata())
        path = folder / f"{self.case.name}-{precision}-{self.batch}.onnx"
        onnx.save(model, str(path))
        return path

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """(height, width) of the inputs."""
        image = (self.batch, 3, self.case.side, self.case.side)
        return (image,) if self.spec.attributes is None else (image, (self.batch, self.spec.attributes.length))

    def moved_bytes(self, precision: str) -> int:
        """Bytes that must cross the memory bus at least: weights, input and output."""
        return (2 if precision == "fp16" else 4) * (self.weights + 2 * self.batch * 3 * self.case.side**2)


@functools.cache
def make_model(case: Case, batch: int) -> Model:
    """A generator with random weights, exported for one batch."""
    torch.manual_seed(0)
    spec = case.spec()
    generator = make_generator(spec).eval()
    module = ExportGenerator(generator, spec)
    size = (case.side, case.side)
    fixed = graph_spec(spec, size)
    graph = to_graph(module, fixed, feeds(spec, case.side, batch))
    weights = sum(parameter.numel() for parameter in generator.parameters())
    return Model(case, batch, module, graph, fixed, multiply_accumulates(graph, fixed, size), weights)


def feeds(spec: GeneratorSpec, side: int, batch: int) -> dict[str, Array]:
    """Inputs by name: noise, and attributes drawn at random."""
    random = np.random.default_rng(0)
    inputs = {"x": random.uniform(-1, 1, (batch, 3, side, side)).astype(np.float32)}
    if spec.attributes is not None:
        inputs["att"] = np.repeat(sample_attributes(spec.attributes, random), batch, axis=0)
    return inputs


# ---------------------------------------------------------------- measurements


def parity_db(device: Device, binding: DeviceBinding, model: Model, frames: Sequence[Frame]) -> float:
    """The worst PSNR of the network's answers against PyTorch in float32, over some frames; one picture at a time."""
    compositor = Compositor(model.spec, Framing("fit"))
    stream = device.stream()
    attributes = feeds(model.spec, model.case.side, 1).get("att")
    worst = np.inf
    for frame in frames:
        image = compositor.prepare(frame)[None]
        inputs = [image] if attributes is None else [image, attributes]
        for target, array in zip(binding.inputs, inputs, strict=True):
            staged = device.pinned(target.shape, target.dtype)
            np.copyto(staged, array, casting="same_kind")
            stream.to_device(target, staged)
            stream.synchronize()
        binding.enqueue(stream.handle)
        answer = device.download(binding.outputs[0]).astype(np.float64)
        with torch.inference_mode():
            expected = model.module(*(torch.from_numpy(array) for array in inputs))
        expected = (expected[0] if isinstance(expected, tuple) else expected).numpy()
        error = float(np.mean((answer - expected) ** 2))
        low, high = model.spec.value_range
        worst = min(worst, 10 * np.log10((high - low) ** 2 / max(error, 1e-20)))
    return float(worst)


def network_ms(device: Device, binding: DeviceBinding, seconds: float = 0.4) -> float:
    """Milliseconds of one run, between two events around many; as a graph where it can be one."""
    stream = device.stream()
    binding.enqueue(stream.handle)
    stream.synchronize()
    start: Callable[[], None] = lambda: binding.enqueue(stream.handle)  # noqa: E731
    if binding.capturable:
        graph = device.capture(stream, start)
        start = lambda: graph.launch(stream)  # noqa: E731
    began, ended = device.event(timed=True), device.event(timed=True)

    def runs(count: int) -> float:
        stream.record(began)
        for _ in range(count):
            start()
        stream.record(ended)
        ended.synchronize()
        return ended.milliseconds_since(began) / count

    once = max(runs(10), 1e-3)
    count = int(np.clip(1e3 * seconds / 5 / once, 10, 2000))
    return statistics.median(runs(count) for _ in range(5))


def frame_times(translate: Callable[[Frame], Frame], frames: Sequence[Frame], count: int, clock: Clock) -> list[float]:
    """Milliseconds of single frames, one after the other, the first few not counted."""
    times = []
    for index, frame in enumerate(islice(cycle(frames), count + WARM_UP)):
        before = clock.now()
        translate(frame)
        if index >= WARM_UP:
            times.append(1e3 * (clock.now() - before))
    return times


def throughput(
    stream: Callable[[Iterator[Frame]], Iterator[Frame]], frames: Sequence[Frame], count: int, clock: Clock
) -> tuple[float, float]:
    """Frames per second with a full flight, and the seconds that took."""
    for _ in stream(islice(cycle(frames), WARM_UP)):
        pass
    before = clock.now()
    done = sum(1 for _ in stream(islice(cycle(frames), count)))
    took = clock.now() - before
    return done / took, took


def measure(
    device: Device,
    model: Model,
    name: str,
    open_model: Open,
    precision: str,
    frames: Sequence[Frame],
    rates: Rates,
    folder: Path,
    clock: Clock,
    count: int,
) -> Row:
    """One row; what goes wrong is written into it."""
    row = Row(model.case.name, name, precision, model.batch)
    began = clock.now()
    try:
        runtime = open_model(model.write(folder, precision))
        try:
            binding = runtime.bind_device(device, model.shapes)
            row.floor_ms = rates.floor_ms(model.macs * model.batch, model.moved_bytes(precision), precision)
            row.network_ms = network_ms(device, binding)
            if model.batch == 1:
                row.psnr_db = parity_db(device, binding, model, frames[:: max(1, len(frames) // 4)][:4])
            measure_frames(row, device, runtime, model, frames, clock, count)
        finally:
            runtime.close()
    except Exception as error:  # one runtime that fails must not cost the others their rows
        row.problem = f"{type(error).__name__}: {error}"
    row.seconds = clock.now() - began
    return row


def measure_frames(
    row: Row, device: Device, runtime: Runtime, model: Model, frames: Sequence[Frame], clock: Clock, count: int
) -> None:
    """Whole frames: one at a time, then several in flight, then on several streams; of a batch all but the first."""
    ways = [(1, 1)] * (model.batch == 1) + [(IN_FLIGHT, 1)] + [(2 * STREAMS, STREAMS)] * runtime.concurrent
    with contextlib.ExitStack() as stack:  # closing a way closes the network that all run
        for in_flight, streams in ways:
            way = FramePipeline(
                device,
                runtime,
                Compositor(model.spec),
                in_flight=in_flight,
                spin=in_flight == 1,
                batch=model.batch,
                streams=streams,
            )
            translator = stack.enter_context(Translator(way=way))
            if in_flight == 1:
                set_frame_times(row, frame_times(translator, frames, count, clock))
            elif streams > 1:
                row.fps_streams, _ = throughput(translator.stream, frames, 2 * count, clock)
            else:
                row.fps, took = throughput(translator.stream, frames, 2 * count, clock)
                # The frames before the clock waited too; they are few.
                row.host_waits = min(1.0, translator.times.summary()["wait"].total_s / took)


def set_frame_times(row: Row, times: list[float]) -> None:
    """Percentiles of single frames."""
    row.frame_p50_ms, row.frame_p95_ms, row.frame_p99_ms = (float(np.percentile(times, p)) for p in (50, 95, 99))
    row.frames_ms = [round(value, 4) for value in times]


def measure_torch(model: Model, compiled: bool, where: str, frames: Sequence[Frame], clock: Clock, count: int) -> Row:
    """The same frame loop with PyTorch in float16: our CPU kernels, copies, the module."""
    row = Row(model.case.name, "torch compile" if compiled else "torch eager", "fp16", 1)
    began = clock.now()
    dtype = torch.float16 if where == "cuda" else torch.float32
    try:
        module: Any = copy.deepcopy(model.module.generator).to(where, dtype)
        if compiled:
            module = torch.compile(module, mode="max-autotune" if where == "cuda" else "default")
        given = feeds(model.spec, model.case.side, 1)
        attributes = [torch.from_numpy(given["att"]).to(where, dtype)] if "att" in given else []

        def answer(image: Array) -> Output:
            with torch.inference_mode():
                out = module(torch.from_numpy(image).to(where, dtype), *attributes)
                out = out[0] if isinstance(out, tuple) else out
                return Output(out.clamp(-1, 1).float().cpu().numpy())

        image = torch.from_numpy(given["x"]).to(where, dtype)

        def run(times: int) -> float:
            before = clock.now()
            with torch.inference_mode():
                for _ in range(times):
                    module(image, *attributes)
            if where == "cuda":
                torch.cuda.synchronize()
            return 1e3 * (clock.now() - before) / times

        run(WARM_UP)
        row.network_ms = statistics.median(run(WARM_UP) for _ in range(5))
        spec = model.spec.model_copy(update={"attributes": None})
        translator = Translator(FunctionBackend(spec, answer))
        set_frame_times(row, frame_times(translator, frames, count, clock))
        row.fps, _ = throughput(translator.stream, frames, count, clock)
    except Exception as error:
        row.problem = f"{type(error).__name__}: {error}"
    row.seconds = clock.now() - began
    return row


def measure_rates() -> Rates:
    """A large matrix product and a large copy, by PyTorch; None where it has no GPU."""
    if not torch.cuda.is_available():
        return Rates({"fp16": None, "fp32": None}, None)

    def seconds(work: Callable[[], object], times: int = 10) -> float:
        work()
        torch.cuda.synchronize()
        before = time.perf_counter()
        for _ in range(times):
            work()
        torch.cuda.synchronize()
        return (time.perf_counter() - before) / times

    flops: dict[str, float | None] = {}
    torch.backends.cuda.matmul.allow_tf32 = True  # as TensorRT does for float32
    side = 8192
    for precision, dtype in (("fp16", torch.float16), ("fp32", torch.float32)):
        a, b = (torch.randn(side, side, device="cuda", dtype=dtype) for _ in range(2))
        flops[precision] = 2 * side**3 / seconds(lambda a=a, b=b: a @ b)  # type: ignore[misc]
    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return Rates(flops, 2 * source.numel() / seconds(lambda: target.copy_(source)))


# ---------------------------------------------------------------- the whole


def run(
    device: Device,
    runtimes: dict[str, Open],
    *,
    cases: Sequence[Case],
    batches: Sequence[int],
    frames: Sequence[Frame],
    rates: Rates,
    torch_device: str | None,
    clock: Clock,
    count: int,
    say: Callable[[str], None] = print,
) -> list[Row]:
    """All rows, the most telling ones first: batch 1 of every case before larger batches, FP16 before FP32.

    Args:
        torch_device: where PyTorch runs beside; None: it does not.
        count: single frames that are timed.
    """
    rows: list[Row] = []

    def add(row: Row) -> None:
        rows.append(row)
        cells = (f"{cell:g}" if isinstance(cell, float) else str(cell) for cell in row.cells())
        say(f"[{clock.left:4.0f} s left] " + "  ".join(cells) + (f"  {row.problem}" if row.problem else ""))

    with tempfile.TemporaryDirectory() as folder:
        for batch in batches:
            for case in cases:
                for precision in PRECISIONS:
                    for name, open_model in runtimes.items():
                        if clock.left <= 0:
                            add(Row(case.name, name, precision, batch, problem="not measured: the time was up"))
                            continue
                        add(
                            measure(
                                device,
                                make_model(case, batch),
                                name,
                                open_model,
                                precision,
                                frames,
                                rates,
                                Path(folder),
                                clock,
                                count,
                            )
                        )
    if torch_device is not None:  # last: to compile can take minutes
        for compiled in (False, True):
            for case in cases:
                if clock.left > 0:
                    add(measure_torch(make_model(case, 1), compiled, torch_device, frames, clock, count))
    return rows


def verdicts(rows: Sequence[Row]) -> list[dict[str, object]]:
    """Each goal and its measured value: parity, a whole frame against the network alone, goals of single models."""
    found: list[dict[str, object]] = []

    def judge(row: Row, goal: str, came: float | None, wanted: float, met: bool) -> None:
        found.append(
            {"model": row.model, "runtime": row.runtime, "goal": goal, "came": came, "wanted": wanted, "met": met}
        )

    for row in rows:
        if row.batch != 1 or row.precision != "fp16" or row.runtime.startswith("torch"):
            continue
        judge(
            row, "PSNR dB at least", row.psnr_db, PSNR_FP16_DB, row.psnr_db is not None and row.psnr_db >= PSNR_FP16_DB
        )
        if row.network_ms is not None:
            most = max(FRAME_RATIO * row.network_ms, row.network_ms + FRAME_EXTRA_MS)
            p50 = row.frame_p50_ms
            judge(row, "whole frame p50 ms at most", p50, most, p50 is not None and p50 <= most)
        for name, wanted in GOALS.get(row.model, {}).items() if row.runtime == "tensorrt" else ():
            came = getattr(row, name)
            most_wanted = name.endswith("_ms")
            met = came is not None and (came <= wanted if most_wanted else came >= wanted)
            judge(row, f"{name} at {'most' if most_wanted else 'least'}", came, wanted, met)
    return found


def read_frames(path: Path, count: int) -> list[Frame]:
    """The first frames of the 720p clip, in memory of their own."""
    with VideoSource(path) as source:
        return [frame.copy() for frame in islice(source, count)]


def write_results(path: Path, device: Device, rows: Sequence[Row], rates: Rates, settings: dict[str, object]) -> None:
    """The JSON file and the table on the screen."""
    measured = [row for row in rows if not row.problem]
    results.write(
        path,
        "gpu",
        title=f"One 720p frame on {device.name}, host memory to host memory",
        columns=COLUMNS,
        rows=[row.cells() for row in measured],
        settings={
            **settings,
            "gpu": {
                "name": device.name,
                "compute_capability": list(device.compute_capability),
                "driver_cuda": list(device.driver_version),
                "memory_gib": round(device.info.memory / 2**30, 1),
            },
            "matrix_tflops": {name: None if rate is None else rate / 1e12 for name, rate in rates.flops.items()},
            "bandwidth_gb_s": None if rates.bytes is None else rates.bytes / 1e9,
        },
        details={"rows": [vars(row) for row in rows], "goals": verdicts(rows)},
    )


def _cell(number: float | None, places: int) -> results.Cell:
    return "–" if number is None else round(number, places)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=9.0, help="no measurement begins after this")
    parser.add_argument("--case", action="append", choices=[case.name for case in CASES], help="only these")
    parser.add_argument("--runtime", action="append", choices=["tensorrt", "cuda"], help="only these")
    parser.add_argument("--quick", action="store_true", help="batch 1, few frames, to see that it works")
    parser.add_argument("--no-torch", action="store_true", help="without PyTorch beside")
    parser.add_argument("--json", type=Path, help="default: benchmarks/results/gpu-DATE.json")
    options = parser.parse_args()
    clock = Clock(60 * options.minutes)
    try:
        device = Device()
    except EngineError as error:
        sys.exit(f"benchmarks.gpu needs an NVIDIA GPU. {error}")
    print(device)
    names = options.runtime or ["tensorrt", "cuda"]
    runtimes: dict[str, Open] = {name: lambda path, name=name: open_backend(path, name) for name in names}  # type: ignore[misc]
    frames = read_frames(clips.cached_clip(results.BENCH), 60)
    rates = measure_rates()
    rows = run(
        device,
        runtimes,
        cases=[case for case in CASES if case.name in (options.case or [case.name])],
        batches=(1,) if options.quick else BATCHES,
        frames=frames,
        rates=rates,
        torch_device="cuda" if torch.cuda.is_available() and not options.no_torch else None,
        clock=clock,
        count=50 if options.quick else 500,
    )
    default = results.FOLDER / f"gpu-{datetime.date.today()}.json"
    write_results(options.json or default, device, rows, rates, {"minutes": options.minutes, "quick": options.quick})
    for verdict in verdicts(rows):
        print(f"{'met    ' if verdict['met'] else 'MISSED '} {verdict}")
    if any(row.problem for row in rows):
        print(
            f"{sum(bool(row.problem) for row in rows)} of {len(rows)} rows have a problem; see details in the JSON file"
        )


if __name__ == "__main__":
    main()
