"""A face model on a video: frames per second, processor time per frame and stage, and how much the change flickers.

    python -m benchmarks.faces --video people.mp4 --model face.onnx --set smiling=1

The whole program (decode, detect, run, compose, encode) as a user starts it. The processor time of starting is taken
off by a second, shorter run. ``bound`` is what the processor time alone would allow with all cores free: where other
programs run beside it (``foreign``), the frames per second say little and the bound is the better figure.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import statistics
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from ganlens.engine import Frame, Translator, VideoSource
from ganlens.engine.backends import default_threads
from ganlens.engine.benchmark.processes import ENGINE, Usage, run_pipeline
from ganlens.engine.faces import FaceFraming
from ganlens.engine.faces.temporal_smoothing import Flicker, measure_flicker

from . import results

STEADY = (0.0, 0.5, 1.0)


def run(
    options: argparse.Namespace, backend: str, batch: int | None, duration: float
) -> tuple[Usage, dict[str, object]]:
    """Translate ``duration`` seconds of the clip by the command line."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        settings = [part for setting in options.set for part in ("--set", setting)]
        command = [
            *ENGINE, "translate", "--video", options.video, "--model", options.model, "--framing", "faces", "--quiet",
            "--duration", str(duration), "--backend", backend, "--json", str(report), "-o", f"{folder}/out.mp4",
            *settings, *(["--batch", str(batch)] if batch else []),
        ]  # fmt: skip
        usage = run_pipeline([command])
        return usage, json.loads(report.read_text(encoding="utf-8"))


def speed(options: argparse.Namespace, backend: str, batch: int | None) -> dict[str, object]:
    """Medians over rounds of a long run less a short one."""
    walls, cpus, foreign = [], [], []
    stages: dict[str, object] = {}
    frames = 0
    for _ in range(options.rounds):
        short, few = run(options, backend, batch, options.short)
        usage, record = run(options, backend, batch, options.seconds)
        frames = int(str(record["frames"])) - int(str(few["frames"]))
        if frames < 1:
            raise SystemExit(f"{options.video} is too short for --seconds {options.seconds:g}.")
        walls.append((usage.wall - short.wall) / frames)
        cpus.append((usage.cpu - short.cpu) / frames)
        foreign.append(usage.foreign)
        stages = dict(record["stages"])  # type: ignore[call-overload]
    cpu = statistics.median(cpus)
    return {
        "frames": frames,
        "fps": 1 / statistics.median(walls),
        "cpu_ms": 1e3 * cpu,
        "bound": default_threads() / cpu,
        "foreign": statistics.median(foreign),
        "stages": stages,
        "walls": walls,
        "cpus": cpus,
    }


def flicker(model: str, frames: Sequence[Frame], attributes: dict[str, float], steady: float) -> Flicker:
    """Flicker of the change that the model makes to these frames, before any encoder."""
    with Translator.open(model, backend="cpu", framing=FaceFraming(steady=steady)) as translator:
        made = [frame.to_rgb() for frame in translator.stream(frames, **attributes)]
    return measure_flicker((frame.to_rgb() for frame in frames), made)


def copies(source: Iterable[Frame], count: int) -> list[Frame]:
    """The first frames, in memory of their own."""
    kept = itertools.islice(source, count)
    return [Frame(tuple(plane.copy() for plane in f.planes), f.format, f.color, f.time) for f in kept]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.faces", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--video", required=True, help="a clip with a face")
    parser.add_argument("--model", required=True, help="a face model: name or ONNX file")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="an attribute; repeat for more"
    )
    parser.add_argument("--backends", default="cpu,openvino", help="backends, separated by commas")
    parser.add_argument(
        "--batch", type=int, action="append", default=[], help="each backend again with so many faces a run; repeat"
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="of the clip")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it works")
    parser.add_argument("--json", type=Path, metavar="FOLDER", help="where the two results go")
    options = parser.parse_args(arguments)
    if options.quick:
        options.seconds, options.rounds = min(options.seconds, 2.0), 1
    options.short = options.seconds / 4
    with VideoSource(options.video) as source:
        height, width = source.format.size
        frames = copies(source, 20 if options.quick else 90)
    attributes = {name: float(value) for name, _, value in (setting.partition("=") for setting in options.set)}

    speeds = {
        backend if batch is None else f"{backend} --batch {batch}": speed(options, backend, batch)
        for backend in options.backends.split(",")
        for batch in (None, *options.batch)
    }
    flickers = {strength: flicker(options.model, frames, attributes, strength) for strength in STEADY}
    folder = options.json or results.FOLDER.parents[1] / "out" / "bench"
    today = datetime.date.today()
    settings = {**vars(options), "json": None, "video": Path(options.video).name, "model": Path(options.model).name}
    keys = ("fps", "cpu_ms", "bound", "foreign")
    results.write(
        folder / f"faces-speed-{today}.json",
        "faces-speed",
        title=f"A face model on {width}x{height} video, whole program, {default_threads()} threads",
        columns=["backend", "fps", "CPU ms a frame", "fps bound by CPU", "share of the cores used by others"],
        rows=[[backend, *(round(float(str(made[key])), 2) for key in keys)] for backend, made in speeds.items()],
        settings=settings,
        details=speeds,
    )
    results.write(
        folder / f"faces-flicker-{today}.json",
        "faces-flicker",
        title=f"Flicker on still parts of the change, {len(frames)} frames, steps of 255 from frame to frame",
        columns=["--steady", "change", "source", "change / source"],
        rows=[[f"{strength:g}", *(round(v, 2) for v in (*made, made.ratio))] for strength, made in flickers.items()],
        settings=settings,
        details={str(strength): made._asdict() for strength, made in flickers.items()},
    )


if __name__ == "__main__":
    main()
