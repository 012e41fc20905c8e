"""Files for half an hour: one clip after the other, and faces, in one process; memory, threads and descriptors.

    python -m benchmarks.soak_files --minutes 30
    python -m benchmarks.soak_files --minutes 5 --clip people.mp4 --json out/soak.json

Memory is fitted by a line over the second half of each part. Exit status 1 if a criterion fails.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil

from ganlens.engine import Controls, Frame, Session, Translator, open_sink, open_source

from . import results

ROOT = Path(__file__).resolve().parents[1]
MOST_SLOPE = 0.4
"""Growth of the resident memory, in MB a minute."""
CLIP_S = 2.0


class Sample(NamedTuple):
    """The process after a clip."""

    minutes: float
    rss_mb: float
    threads: int
    handles: int


def soak(minutes: float, clip: Path, translator: Translator, controls: Controls) -> tuple[list[Sample], int]:
    """Translate the clip again and again, each time into a file with its sound; samples, and the frames written."""
    process, samples, frames = psutil.Process(), [], 0
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        while (passed := (time.monotonic() - began) / 60) < minutes:
            with open_source(clip, duration=CLIP_S) as source:  # type: ignore[attr-defined]
                sink = open_sink(f"{folder}/out.mp4", source.format, origin=source, overwrite=True, preset="ultrafast")
                frames += Session(source, translator, sink, controls).run().frames
            samples.append(Sample(passed, process.memory_info().rss / 1e6, process.num_threads(), process.num_fds()))
    return samples, frames


def faces(path: Path) -> Path:
    """A clip of a drawn face that moves."""
    from tests.kit.faces import backdrop, put_face

    def frames() -> Iterator[Frame]:
        for number in range(50):
            picture = backdrop(360, 640)
            put_face(picture, (220 + 4 * number, 180), 300)
            yield Frame.from_rgb(picture, time=Fraction(number, 25))

    with open_source("test:640x360@25:rgb24,frames=1") as source:  # type: ignore[attr-defined]
        sink = open_sink(str(path), source.format)
        for frame in frames():
            sink.write(frame)
        sink.close()
    return path


def judge(samples: list[Sample]) -> dict[str, tuple[str, str, bool]]:
    """Measured, limit and whether it is met, by criterion."""
    times, rss, threads, handles = (np.array(column) for column in zip(*samples, strict=True))
    later = times >= times[-1] / 2
    slope = float(np.polyfit(times[later], rss[later], 1)[0])
    rows = {"memory, MB a minute, second half": (f"{slope:.2f}", f"{MOST_SLOPE:g}", slope <= MOST_SLOPE)}
    part = max(1, len(samples) // 10)
    for name, values in (("threads", threads), ("descriptors", handles)):
        early, late = int(np.median(values[part : 2 * part + 1])), int(np.median(values[-part:]))
        rows[f"{name}, early and late"] = (f"{early} and {late}", "2 more", late <= early + 2)
    return rows


def main() -> int:
    """Run, print and write what was found."""
    parser = argparse.ArgumentParser(prog="benchmarks.soak_files", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="half for the clip, half for the faces")
    parser.add_argument("--clip", type=Path, default=ROOT / "media" / "meadow.mp4")
    parser.add_argument("--faces", type=Path, help="a video with faces; default: a drawn one that moves")
    parser.add_argument("--model", default="starry")
    parser.add_argument("--face-model", default="face")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the network [1]")
    parser.add_argument("--json", type=Path, default=results.BENCH / "soak_files.json")
    options = parser.parse_args()
    rows: list[list[str]] = []
    details: dict[str, object] = {}
    met, frames = True, 0
    with tempfile.TemporaryDirectory() as folder:
        people = options.faces or faces(Path(folder) / "faces.mp4")
        for name, model, clip in (("clip", options.model, options.clip), ("faces", options.face_model, people)):
            with Translator.open(model, threads=options.threads) as translator:
                port = translator.spec.attributes
                controls = Controls(attributes={port.names[0]: 1.0} if port else {})
                samples, written = soak(options.minutes / 2, clip, translator, controls)
                seen = translator.frames_with_faces
            if seen == 0:
                print(f"{clip}: no face was found")
                met = False
            frames += written
            for criterion, (value, limit, good) in judge(samples).items():
                rows.append([f"{name}: {criterion}", value, limit, "yes" if good else "no"])
                met &= good
            every = max(1, len(samples) // 200)
            details[name] = {
                "frames": written,
                "minutes": [round(sample.minutes, 2) for sample in samples[::every]],
                "rss_mb": [round(sample.rss_mb, 1) for sample in samples[::every]],
            }
    results.write(
        options.json,
        "soak_files",
        title=f"engine translate for {options.minutes:g} minutes in one process: {frames} frames",
        columns=("", "measured", "limit", "met"),
        rows=rows,
        settings={name: str(getattr(options, name)) for name in ("minutes", "model", "face_model", "threads")},
        details=details,
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
