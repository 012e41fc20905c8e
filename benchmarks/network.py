"""The bare network, by `engine benchmark` and by the tools that its libraries bring: do the figures agree?

    python -m benchmarks.network --model starry

OpenVINO's ``benchmark_app`` and ONNX Runtime's ``onnxruntime_test`` run the same file at the same size on the same
number of threads; ours is the stage "run" of the latency scenario. Each is a process of its own, in interleaved rounds.
ONNX Runtime's ``onnxruntime_perf_test`` is not part of its package for Python; ``onnxruntime_test`` is. It measures
from the first run on, and its threads spin while they wait; ours do not, unless ``--spin`` asks for it.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from ganlens.engine.backends import default_threads
from ganlens.engine.benchmark.processes import ENGINE
from ganlens.engine.benchmark.stats import interleave, paired_ratio
from ganlens.engine.model import find_model

from . import results

OURS = {"cpu": "ganlens, --backend cpu", "openvino": "ganlens, --backend openvino"}
PEERS = {"cpu": "onnxruntime.tools.onnxruntime_test", "openvino": "OpenVINO's benchmark_app"}


def ours(model: str, backend: str, side: int, seconds: float) -> float:
    """Median milliseconds of the stage "run"."""
    with tempfile.TemporaryDirectory() as folder:
        command = [*ENGINE, "benchmark", model, "--backend", backend, "--size", str(side), "--scenario", "latency"]
        command += ["--seconds", f"{seconds:g}", "--runs", "1", "-o", folder]
        _output(command)
        (file,) = Path(folder).glob("*.json")
        (row,) = json.loads(file.read_text(encoding="utf-8"))["results"]
    return float(row["stages"]["run"])


def benchmark_app(onnx: Path, side: int, seconds: float, threads: int) -> float:
    """Median milliseconds of one request after the other."""
    call = "from openvino.tools.benchmark.main import main; main()"
    command = [sys.executable, "-c", call, "-m", str(onnx), "-shape", f"[1,3,{side},{side}]", "-hint", "none"]
    command += ["-nstreams", "1", "-nthreads", str(threads), "-api", "sync", "-t", str(max(1, round(seconds)))]
    match = re.search(r"Median:\s+([\d.]+) ms", _output(command))
    if match is None:
        raise ValueError("benchmark_app did not print a median latency")
    return float(match[1])


def onnxruntime_test(onnx: Path, side: int, runs: int) -> float:
    """Mean milliseconds of one run after the other; the tool reports no median."""
    command = [sys.executable, "-m", "onnxruntime.tools.onnxruntime_test", str(onnx), str(runs)]
    command += ["--symbolic_dims", f"batch=1,height={side},width={side}"]
    match = re.search(r"avg latency: ([\d.]+) ms", _output(command))
    if match is None:
        raise ValueError("onnxruntime_test did not print an average latency")
    return float(match[1])


def _output(command: list[str]) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}")
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="starry", help="name or ONNX file")
    parser.add_argument("--side", type=int, default=256, help="side of the picture, in pixels")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each tool in each round")
    parser.add_argument("--quick", action="store_true", help="two short rounds, to see that it works")
    parser.add_argument("--json", type=Path, help="default: benchmarks/results/network-DATE.json")
    options = parser.parse_args()
    rounds, seconds = (2, 1.0) if options.quick else (options.rounds, options.seconds)
    onnx, threads = find_model(options.model), default_threads()
    tools: dict[str, Callable[[], float]] = {
        OURS["cpu"]: lambda: ours(options.model, "cpu", options.side, seconds),
        PEERS["cpu"]: lambda: onnxruntime_test(onnx, options.side, runs=max(20, round(50 * seconds))),
    }
    if importlib.util.find_spec("openvino"):
        tools[OURS["openvino"]] = lambda: ours(options.model, "openvino", options.side, seconds)
        tools[PEERS["openvino"]] = lambda: benchmark_app(onnx, options.side, seconds, threads)
    measured = interleave(tools, rounds)
    rows: list[list[results.Cell]] = []
    for backend, name in OURS.items():
        if name not in measured:
            continue
        peer = PEERS[backend]
        ratio, lower, upper = paired_ratio(measured[peer], measured[name])
        rows.append([name, round(statistics.median(measured[name]), 2), "1.00"])
        rows.append([peer, round(statistics.median(measured[peer]), 2), f"{ratio:.2f} ({lower:.2f}–{upper:.2f})"])
    results.write(
        options.json or results.FOLDER / f"network-{datetime.date.today()}.json",
        "network",
        title=f"The bare network by several tools: {options.model} at {options.side}x{options.side}, {threads} threads",
        columns=["tool", "ms", "times ours (quartiles)"],
        rows=rows,
        settings={
            "model": options.model,
            "side": options.side,
            "rounds": rounds,
            "seconds": seconds,
            "threads": threads,
        },
        details={"milliseconds": measured},
    )


if __name__ == "__main__":
    main()
