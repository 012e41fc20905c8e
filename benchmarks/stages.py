"""The stages of the pipeline alone: decode only, network only, encode only. Their sum is what no pipeline can beat.

    python -m benchmarks.stages --clip clip.mp4 --model monet [--region X,Y,W,H]

Prints one JSON object: per stage the wall and processor seconds for the whole clip, all cores given to the one stage
and nothing else running in between; the network has as many frames in flight as on the command line. Opening files,
loading the model and the first (warming) call are not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from itertools import repeat
from pathlib import Path

import av

from ganlens.engine import Translator
from ganlens.engine.cli.cpu_budget import ThreadBudget
from ganlens.engine.media import VideoSource
from ganlens.engine.media.av_frames import VideoFrame
from ganlens.engine.pixels.framing import Framing
from ganlens.engine.threads import ordered

from .clip import RATE
from .measure import cores


@contextmanager
def clocked(stages: dict[str, dict[str, float]], name: str) -> Iterator[None]:
    """Put wall and processor seconds of the block under ``name``."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    stages[name] = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def measure(
    clip: Path, model: str, backend: str, region: tuple[int, int, int, int] | None, crf: int, preset: str
) -> dict[str, dict[str, float]]:
    """Wall and processor seconds of each stage for the whole clip."""
    stages: dict[str, dict[str, float]] = {}
    with av.open(str(clip)) as container:
        container.streams.video[0].thread_type = "AUTO"
        container.streams.video[0].codec_context.thread_count = cores()
        with clocked(stages, "decode"):
            frames = sum(1 for _ in container.decode(video=0))
    framing = Framing("crop", region) if region else Framing("fit")
    budget = ThreadBudget.plan()
    threads = max(1, budget.network // budget.in_flight)
    with ExitStack() as stack:
        source = stack.enter_context(VideoSource(clip))
        lanes = [
            stack.enter_context(
                Translator.open(model, backend=backend, framing=framing, threads=threads, frame_size=source.format.size)
            )
            for _ in range(budget.in_flight)
        ]
        translated = list(lanes[0].stream(source))
        image = lanes[0].compositor.prepare(translated[0])[None]
        for lane in lanes:
            lane.backend.run(image)
        with clocked(stages, "run"):
            deque(ordered([lane.backend.run for lane in lanes], repeat(image, frames)), maxlen=0)
    pictures = [frame.picture for frame in translated if isinstance(frame, VideoFrame) and frame.picture]
    with tempfile.TemporaryDirectory() as folder:
        encode(pictures[:10], Path(folder, "warm.mp4"), crf, preset)
        with clocked(stages, "encode"):
            encode(pictures, Path(folder, "out.mp4"), crf, preset)
    return stages


def encode(pictures: Sequence[av.VideoFrame], output: Path, crf: int, preset: str) -> None:
    """Encode with libx264 as our sink asks it to: frame threads, as many as there are cores."""
    tick = Fraction(1, RATE)
    with av.open(os.fspath(output), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": preset, "crf": str(crf)})
        stream.width, stream.height, stream.pix_fmt = pictures[0].width, pictures[0].height, pictures[0].format.name
        stream.codec_context.time_base = tick
        stream.codec_context.thread_count, stream.codec_context.thread_type = cores(), "AUTO"
        for index, picture in enumerate(pictures):
            picture.pts, picture.time_base, picture.pict_type = index, tick, 0  # 0: the encoder chooses the type
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--region", type=lambda text: tuple(int(n) for n in text.split(",")))
    parser.add_argument("--crf", type=int, default=20)
    parser.add_argument("--preset", default="veryfast")
    print(json.dumps(measure(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
