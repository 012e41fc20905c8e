"""End to end: ten seconds of 720p30 with sound, whole processes, beside a plain OpenCV loop and VapourSynth + vs-mlrt.

    python -m benchmarks.video --model starry --mode region --rounds 10

Every program gets the same clip, the same network at the same size and, but for the plain loop (whose OpenCV has no
x264), the same x264 settings; so the loop is measured once more with an ffmpeg after it that makes such a file.
Before the clock runs, each output is checked: all frames there, ours with exact timestamps and untouched sound, and the
peers' pictures near ours. Peers that are not installed are named and left out; README.md beside this file says how to
get them.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np

from ganlens.engine.benchmark import clip as clips
from ganlens.engine.benchmark.processes import ENGINE, Command, Usage, cores, median_usage, run_steps
from ganlens.engine.benchmark.stats import bound, interleave, paired_ratio
from ganlens.engine.model import find_model
from ganlens.engine.model.description import read_spec
from ganlens.engine.pixels.framing import Framing

from . import results

PEERS = Path(__file__).parent / "peers"
REGION_SIDE = 512
QUIET = 0.05
"""Largest share of the machine that other programs may use during a run whose figures are kept."""
LEAST_PSNR = 25.0
"""In dB, luminance, between a peer's output and ours: other scalers and another encoder, but the same picture."""


@dataclass(frozen=True)
class Job:
    """What every program has to do."""

    clip: Path
    model: str
    """A name or a path, as the user gives it."""
    onnx: Path
    size: tuple[int, int]
    """(height, width) of the network's image, with its margin."""
    margin: int
    """Pixels of repeated edge that the network sees on each side of a whole frame."""
    region: tuple[int, int, int, int] | None
    """(x, y, width, height), or None for the whole frame."""
    crf: int
    preset: str

    @property
    def region_text(self) -> str:
        """As the command line takes it."""
        return ",".join(map(str, self.region or ()))


Program = Callable[[Job, Path], list[list[Command]]]
"""The pipelines of processes to run one after the other for a job and its output."""


def ours(job: Job, output: Path, backend: str = "auto", batch: int | None = None) -> list[list[Command]]:
    """This project's command line, with the decoder and encoder that the peers have too."""
    framing = ["--framing", "crop", "--region", job.region_text] if job.region else ["--framing", "fit"]
    command = [*ENGINE, "translate", "--video", str(job.clip), "-o", str(output), "-y"]
    command += ["--model", job.model, *framing, "--backend", backend, "--crf", str(job.crf), "--preset", job.preset]
    command += ["--decoder", "cpu", "--encoder", "cpu", *(["--batch", str(batch)] if batch else [])]
    return [[[*command, "--json", str(output.with_suffix(".json"))]]]


def plain_loop(job: Job, output: Path) -> list[list[Command]]:
    """cv2.VideoCapture, onnxruntime, cv2.VideoWriter."""
    region = [str(number) for number in job.region[:3]] if job.region else []
    script = str(PEERS / "plain_loop.py")
    numbers = [*map(str, (*job.size, job.margin)), *region]
    return [[[sys.executable, script, str(job.clip), str(output), str(job.onnx), *numbers]]]


def plain_loop_and_ffmpeg(job: Job, output: Path, ffmpeg: str) -> list[list[Command]]:
    """The same, and what its users then do for the file that ours writes: H.264, and the clip's sound."""
    silent = output.with_suffix(".silent.mp4")
    finish = [ffmpeg, "-v", "error", "-y", "-i", str(silent), *_finish(job), str(output)]
    return [*plain_loop(job, silent), [finish]]


def _finish(job: Job) -> list[str]:
    """Arguments of an ffmpeg whose first input is the translated video: our x264 settings, the clip's sound."""
    sound = ["-i", str(job.clip), "-map", "0:v", "-map", "1:a", "-c:a", "copy"]
    return [*sound, "-c:v", "libx264", "-preset", job.preset, "-crf", str(job.crf)]


def vapoursynth(job: Job, output: Path, vspipe: str, ffmpeg: str) -> list[list[Command]]:
    """vspipe with vs-mlrt's ONNX Runtime, piped to ffmpeg, which copies the sound."""
    values = {
        "clip": job.clip.resolve(),
        "cache": job.clip.with_suffix(".bestsource").resolve(),
        "model": job.onnx.resolve(),
        "height": job.size[0],
        "width": job.size[1],
        "margin": job.margin,
        **({"region": ",".join(map(str, job.region[:3]))} if job.region else {}),
    }
    arguments = [part for name, value in values.items() for part in ("-a", f"{name}={value}")]
    return [
        [
            [vspipe, "-c", "y4m", *arguments, str(PEERS / "vapoursynth_mlrt.vpy"), "-"],
            [ffmpeg, "-v", "error", "-y", "-i", "-", *_finish(job), str(output)],
        ]
    ]


def stages(job: Job, environment: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Each stage alone, in a process of its own."""
    command = [sys.executable, "-m", "ganlens.engine.benchmark.stages", "--clip", str(job.clip), "--model", job.model]
    command += ["--crf", str(job.crf), "--preset", job.preset]
    command += ["--region", job.region_text] if job.region else []
    root = Path(__file__).parents[1]
    environment = {**os.environ, **environment}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=root, env=environment)
    answer: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    del answer["frames"]
    return answer


def find_vapoursynth(folder: Path | None) -> tuple[str, str] | str:
    """Paths of vspipe and ffmpeg, or what is missing.

    Args:
        folder: the ``bin`` of the virtual environment that VapourSynth is installed in; None: the search path.
    """
    path = f"{folder}{os.pathsep}{os.environ.get('PATH', '')}" if folder else None
    vspipe, ffmpeg = shutil.which("vspipe", path=path), shutil.which("ffmpeg", path=path)
    if vspipe is None:
        return "vspipe was not found; see benchmarks/README.md, then give --vapoursynth FOLDER"
    if ffmpeg is None:
        return "ffmpeg was not found; install the system's package"
    return vspipe, ffmpeg


def video_times(path: Path) -> list[Fraction]:
    """Presentation times of the first video stream in seconds, exact, in order, from the first frame on."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        pts = [packet.pts for packet in container.demux(stream) if packet.pts is not None]
        assert stream.time_base is not None
        return [time * stream.time_base for time in sorted(pts)]


def sound_packets(path: Path) -> list[bytes]:
    """The packets of the first sound stream; empty without one."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return []
        return [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size]


def psnr(first: Path, second: Path, every: int = 30) -> float:
    """Luminance PSNR in dB over every ``every``-th frame of two clips of the same size."""
    squares: list[float] = []
    with av.open(str(first)) as one, av.open(str(second)) as other:
        for index, (a, b) in enumerate(zip(one.decode(video=0), other.decode(video=0), strict=True)):
            if index % every == 0:
                difference = a.to_ndarray(format="gray").astype(np.float32) - b.to_ndarray(format="gray")
                squares.append(float(np.mean(difference**2)))
    return float(10 * np.log10(255**2 / max(float(np.mean(squares)), 1e-9)))


def check(job: Job, outputs: Mapping[str, Path]) -> dict[str, dict[str, object]]:
    """What each output is, after refusing those that are wrong.

    Raises:
        ValueError: frames, timestamps or sound are missing, or a peer's picture is another one.
    """
    expected, sound = video_times(job.clip), sound_packets(job.clip)
    facts: dict[str, dict[str, object]] = {}
    for name, output in outputs.items():
        times = video_times(output)
        if len(times) != len(expected):
            raise ValueError(f"{name}: got {len(times)} frames, expected {len(expected)}")
        facts[name] = {
            "timestamps exact": times == expected,
            "sound untouched": sound_packets(output) == sound,
            "mebibytes": round(output.stat().st_size / 2**20, 2),
        }
        if name.startswith("ganlens") and not (facts[name]["timestamps exact"] and facts[name]["sound untouched"]):
            raise ValueError(f"{name}: timestamps or sound differ from the clip's: {facts[name]}")
        if name != "ganlens":
            value = psnr(outputs["ganlens"], output)
            facts[name]["PSNR to ours, dB"] = round(value, 1)
            if value < LEAST_PSNR:
                raise ValueError(f"{name}: its pictures are not ours: {value:.1f} dB, expected {LEAST_PSNR} at least")
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="starry", help="name or ONNX file")
    parser.add_argument("--clip", type=Path, help="720p clip with sound; default: made from the shipped one")
    parser.add_argument("--mode", choices=["region", "frame"], default="region", help=f"{REGION_SIDE}² or whole frame")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--batch", type=int, action="append", default=[], help="ours again with so many; repeat")
    parser.add_argument("--crf", type=int, default=20)
    parser.add_argument("--preset", default="veryfast")
    parser.add_argument("--vapoursynth", type=Path, help="bin folder of the environment with VapourSynth")
    parser.add_argument("--quick", action="store_true", help="two rounds, to see that it works")
    parser.add_argument("--json", type=Path, help="default: benchmarks/results/video-MODE-MODEL-DATE.json")
    options = parser.parse_args()
    clip = options.clip or clips.cached_clip(results.BENCH)
    onnx = find_model(options.model)
    left, top = (clips.WIDTH - REGION_SIDE) // 2, (clips.HEIGHT - REGION_SIDE) // 2
    region = (left, top, REGION_SIDE, REGION_SIDE) if options.mode == "region" else None
    framing = Framing("crop", region) if region else Framing("fit")
    spec = read_spec(onnx)
    if (
        spec.value_range != (-1.0, 1.0)
        or spec.channel_order != "RGB"
        or spec.attributes
        or spec.latent
        or spec.output.mask
    ):
        parser.error("the peers' scripts know models with one RGB image of -1..1 in and out only")
    size = framing.layout((clips.HEIGHT, clips.WIDTH), spec.size).size
    margin = 0 if region else spec.size.margin  # the ramp of a region inside the frame needs none
    job = Job(clip, options.model, onnx, size, margin, region, options.crf, options.preset)
    programs: dict[str, Program] = {
        "ganlens": ours,
        "ganlens --backend cpu": lambda job, output: ours(job, output, "cpu"),
        **({"ganlens --backend openvino": partial(ours, backend="openvino")} if find_spec("openvino") else {}),
        "plain OpenCV loop": plain_loop,
    }
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        print("Without the plain loop that ffmpeg finishes: ffmpeg was not found", file=sys.stderr)
    else:
        programs["plain OpenCV loop, then ffmpeg"] = lambda job, output: plain_loop_and_ffmpeg(job, output, ffmpeg)
    for batch in options.batch:
        programs[f"ganlens --batch {batch}"] = partial(ours, batch=batch)
    peer = find_vapoursynth(options.vapoursynth)
    if isinstance(peer, str):
        print(f"Without VapourSynth: {peer}", file=sys.stderr)
    else:
        programs["VapourSynth + mlrt (ort)"] = lambda job, output: vapoursynth(job, output, *peer)
    with tempfile.TemporaryDirectory() as folder:
        report(job, programs, Path(folder), 2 if options.quick else options.rounds, options)


def report(job: Job, programs: Mapping[str, Program], folder: Path, rounds: int, options: argparse.Namespace) -> None:
    """Check, measure in interleaved rounds, and write the result."""
    outputs = {name: folder / f"{number}.mp4" for number, name in enumerate(programs)}
    environment = {"GANLENS_CACHE": str(folder)}  # auto decides now, in the check, and remembers it for the rounds

    def run(name: str) -> Usage:
        return run_steps(programs[name](job, outputs[name]), environment)

    for name in programs:
        run(name)
    facts = check(job, outputs)
    stage_rounds: list[dict[str, dict[str, float]]] = []
    measured: dict[str, list[Usage | None]] = interleave(
        {
            **{name: partial(run, name) for name in programs},
            "stages": lambda: stage_rounds.append(stages(job, environment)),
        },
        rounds,
    )
    runs = {name: [usage for usage in usages if usage] for name, usages in measured.items() if name in programs}
    bounds = [
        bound([part["wall"] for part in parts.values()], [part["cpu"] for part in parts.values()], cores())
        for parts in stage_rounds
    ]
    frames = len(video_times(job.clip))
    rows: list[list[results.Cell]] = []
    for name, usages in runs.items():
        middle = median_usage(usages)
        walls = [usage.wall for usage in usages]
        to_bound, *_ = paired_ratio(walls, bounds)
        to_ours, lower, upper = paired_ratio(walls, [usage.wall for usage in runs["ganlens"]])
        rows.append(
            [
                name,
                round(middle.wall, 2),
                round(frames / middle.wall, 1),
                round(middle.cpu, 1),
                round(middle.peak_mib),
                round(to_bound, 2),
                f"{to_ours:.2f} ({lower:.2f}–{upper:.2f})",
                "yes" if facts[name]["sound untouched"] else "no",
            ]
        )
    own = json.loads(outputs["ganlens"].with_suffix(".json").read_text(encoding="utf-8"))
    foreign = statistics.median(usage.foreign for usages in runs.values() for usage in usages)
    if foreign > QUIET:
        print(
            f"Other programs used {100 * foreign:.0f} % of the machine meanwhile: not worth keeping.", file=sys.stderr
        )
    what = f"region of {REGION_SIDE}²" if job.region else "whole frame"
    results.write(
        options.json or results.FOLDER / f"video-{options.mode}-{job.onnx.stem}-{datetime.date.today()}.json",
        f"video {options.mode}, {job.onnx.stem}",
        title=f"{job.onnx.stem}: {frames} frames of 720p30 H.264 + AAC, {what}, network at {job.size[1]}x{job.size[0]}",
        columns=[
            "program",
            "seconds",
            "fps",
            "CPU s",
            "peak MiB",
            "wall / bound",
            "times ours (quartiles)",
            "sound kept",
        ],
        rows=rows,
        settings={
            "model": job.model,
            "backend that auto picked": own["backend"],
            "model MiB": round(job.onnx.stat().st_size / 2**20, 2),
            "network size": list(job.size),
            "margin": job.margin,
            "region": list(job.region or ()),
            "x264": {"preset": job.preset, "crf": job.crf},
            "rounds": rounds,
            "share of the machine that others used": round(foreign, 3),
            "bound": "max(longest stage, CPU seconds of decode + run + encode / cores), each stage alone, same round",
            "bound seconds": [round(value, 3) for value in bounds],
        },
        details={
            "checks": facts,
            "stages inside ours, last round": own["stages"],
            "stages": stage_rounds,
            "runs": {name: [asdict(usage) for usage in usages] for name, usages in runs.items()},
        },
    )


if __name__ == "__main__":
    main()
