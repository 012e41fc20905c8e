"""What the engine adds to the network, whether ``auto`` picks right, how soon the first frame comes, how much memory.

    python -m benchmarks.latency --model starry

Calls that are compared take turns, one each, so that a disturbance of the machine hits all alike; medians are reported.
"""

from __future__ import annotations

import argparse
import datetime
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from ganlens.engine import Translator, VideoSource
from ganlens.engine.backends import available, default_threads, open_backend
from ganlens.engine.backends.openvino_backend import precision_hint
from ganlens.engine.benchmark import clip as clips
from ganlens.engine.benchmark.processes import ENGINE, Usage, median_usage, run_pipeline
from ganlens.engine.benchmark.stats import interleave
from ganlens.engine.errors import EngineError
from ganlens.engine.model import find_model
from ganlens.engine.pixels.frame import Frame

from . import results

CPU_BACKENDS = ("cpu", "openvino")
LARGE = (4000, 3000)
"""Width and height of a picture of 12 megapixels."""
Row = list[results.Cell]


def seconds(call: Callable[[], object]) -> Callable[[], float]:
    """``call``, answering how long it took."""

    def timed() -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    return timed


def bare_run(
    backend: str, onnx: Path, image: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> Callable[[], object]:
    """The library's own call, as its documentation shows it, on the same threads as ours."""
    if backend == "cpu":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = default_threads()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(str(onnx), options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda: session.run(None, {name: image})
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": precision_hint(), "PERFORMANCE_HINT": "LATENCY"}
    core = openvino.Core()
    model = core.read_model(str(onnx))
    model.reshape(list(image.shape))
    compiled = core.compile_model(model, "CPU", {**settings, "INFERENCE_NUM_THREADS": str(default_threads())})
    return lambda: compiled([image])


def overhead(model: str, backend: str, side: int, rounds: int) -> dict[str, float]:
    """Median seconds of the bare session, of ``Backend.run`` and of a whole ``Translator`` call on a square picture."""
    picture = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    with Translator.open(model, backend=backend, frame_size=(side, side)) as translator:
        frame = Frame.from_rgb(picture)
        image = translator.compositor.prepare(frame)[None]
        calls: dict[str, Callable[[], object]] = {
            "session": bare_run(backend, find_model(model), image),
            "backend": lambda: translator.backend.run(image),
            "translator": lambda: translator(frame),
        }
        for call in calls.values():
            call()
        samples = interleave({name: seconds(call) for name, call in calls.items()}, rounds)
    return {name: statistics.median(times) for name, times in samples.items()}


def choice(model: str, rounds: int) -> tuple[str, dict[str, float]]:
    """What ``auto`` picks with nothing remembered, and the median seconds of every CPU backend."""
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ.get("GANLENS_CACHE")
        os.environ["GANLENS_CACHE"] = folder
        try:
            with open_backend(model) as picked:
                name = picked.name
        finally:
            if before is None:
                del os.environ["GANLENS_CACHE"]
            else:
                os.environ["GANLENS_CACHE"] = before
    backends = {status.name: open_backend(model, status.name) for status in available() if status.usable}
    size = next(iter(backends.values())).spec.size
    height, width = size.fixed or size.preferred
    image = np.random.default_rng(0).uniform(-1, 1, (1, 3, height, width)).astype(np.float32)
    calls = {name: seconds(partial(backend.run, image)) for name, backend in backends.items()}
    for call in calls.values():
        call()
    samples = interleave(calls, rounds)
    for backend in backends.values():
        backend.close()
    return name, {name: statistics.median(times) for name, times in samples.items()}


def starts(model: str, clip: Path, folder: Path, rounds: int) -> dict[str, Usage]:
    """Median usage of whole processes: help, one frame with each way to choose the backend, and the whole clip."""
    cache = {"GANLENS_CACHE": str(folder)}

    def translate(name: str, *options: str) -> Callable[[], Usage]:
        output = str(folder / f"{name}.mp4")
        command = [*ENGINE, "translate", "--video", str(clip), "-o", output, "-y", "-q", "--model", model, *options]
        return lambda: run_pipeline([command], cache)

    one_frame = ("--duration", "0.03")
    candidates: dict[str, Callable[[], Usage]] = {"help": lambda: run_pipeline([[*ENGINE, "--help"]], cache)}
    for backend in ("auto", *CPU_BACKENDS):
        if backend == "auto" or any(status.name == backend and status.usable for status in available()):
            candidates[f"first frame, {backend}"] = translate("one", "--backend", backend, *one_frame)
    candidates["2 s of video"] = translate("two", "--duration", "2")
    candidates["10 s of video"] = translate("ten")
    for call in candidates.values():
        call()  # files into the system's cache, the choice of auto into ours
    return {name: median_usage(usages) for name, usages in interleave(candidates, rounds).items()}


def large_picture(model: str, clip: Path, folder: Path, rounds: int) -> dict[str, Usage]:
    """Median usage of processes that translate a picture of 12 megapixels at full size, in tiles or in one piece."""
    photo = folder / "large.png"
    with VideoSource(clip) as source:
        frame = next(iter(source))
    Image.fromarray(frame.to_rgb()).resize(LARGE, Image.Resampling.BICUBIC).save(photo, compress_level=1)

    def translate(framing: str) -> Callable[[], Usage]:
        output = str(folder / f"{framing}.png")
        command = [*ENGINE, "translate", str(photo), "-o", output, "-y", "-q", "--model", model, "--framing", framing]
        return lambda: run_pipeline([[*command, "--backend", "cpu"]])

    name = f"{LARGE[0]}x{LARGE[1]} picture, cpu, --framing"
    usages = interleave({f"{name} {framing}": translate(framing) for framing in ("tile", "native")}, rounds)
    return {name: median_usage(taken) for name, taken in usages.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="starry", help="name or ONNX file")
    parser.add_argument("--clip", type=Path, help="720p clip with sound; default: made from the shipped one")
    parser.add_argument("--side", type=int, default=256, help="side of the picture for the overhead")
    parser.add_argument("--rounds", type=int, default=200, help="for single calls; processes take a fortieth")
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds, to see that it works")
    parser.add_argument("--json", type=Path, help="default: benchmarks/results/latency-DATE.json")
    options = parser.parse_args()
    clip = options.clip or clips.cached_clip(results.BENCH)
    rounds = options.rounds // 10 if options.quick else options.rounds
    rows: list[Row] = []
    details: dict[str, object] = {}
    for backend in CPU_BACKENDS:
        try:
            times = overhead(options.model, backend, options.side, rounds)
        except EngineError as error:
            print(f"Without {backend}: {error}", file=sys.stderr)
            continue
        details[f"overhead {backend}"] = times
        rows += overhead_rows(backend, options.side, times)
    picked, times = choice(options.model, rounds)
    details["choice"] = {"picked": picked, **times}
    rows.append(
        [f"auto picks {picked}: its time over the best", f"{times[picked] / min(times.values()):.2f}", "≤ 1.05"]
    )
    with tempfile.TemporaryDirectory() as folder:
        usages = starts(options.model, clip, Path(folder), max(1, rounds // 40))
        usages |= large_picture(options.model, clip, Path(folder), max(1, rounds // 100))
    details["starts"] = {name: vars(usage) for name, usage in usages.items()}
    rows += start_rows(usages)
    results.write(
        options.json or results.FOLDER / f"latency-{datetime.date.today()}.json",
        "latency",
        title=f"Overhead, start and memory ({options.model})",
        columns=["measure", "value", "goal"],
        rows=rows,
        settings={"model": options.model, "side": options.side, "rounds": rounds, "threads": default_threads()},
        details=details,
    )


def overhead_rows(backend: str, side: int, times: Mapping[str, float]) -> list[Row]:
    """The lines of the table about one backend."""
    session = times["session"]
    return [
        [f"{backend}: bare session run at {side}²", f"{1e3 * session:.2f} ms", ""],
        [f"{backend}: Backend.run beside it", f"{100 * (times['backend'] / session - 1):+.1f} %", "≤ 3 %"],
        [
            f"{backend}: whole Translator call on a {side}² picture",
            f"{100 * (times['translator'] / session - 1):+.1f} %",
            "",
        ],
    ]


def start_rows(usages: Mapping[str, Usage]) -> list[Row]:
    """The lines of the table about whole processes."""
    rows: list[Row] = []
    for name, usage in usages.items():
        if name == "help":
            rows.append(["engine --help", f"{usage.wall:.2f} s", "< 0.3 s"])
        else:
            rows.append([f"{name}: whole process, peak memory", f"{usage.wall:.2f} s, {usage.peak_mib:.0f} MiB", ""])
    return rows


if __name__ == "__main__":
    main()
