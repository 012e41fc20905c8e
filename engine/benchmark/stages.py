"""The stages of the pipeline alone: decode only, network only, encode only. Their sum is what no pipeline can beat.

    python -m ganlens.engine.benchmark.stages --clip clip.mp4 --model starry [--region X,Y,W,H]

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
from contextlib import ExitStack, closing, contextmanager
from fractions import Fraction
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import av

from ..cpu_budget import ThreadBudget
from ..media import VideoSource
from ..media.av_frames import VideoFrame
from ..model.attributes import attribute_vector
from ..pixels.compositor import Compositor
from ..pixels.framing import Framing
from ..threads import ordered
from ..translator import Translator
from .clip import RATE
from .processes import cores


@contextmanager
def clocked(stages: dict[str, dict[str, float]], name: str) -> Iterator[None]:
    """Put wall and processor seconds of the block under ``name``."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    stages[name] = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def measure(
    clip: Path,
    model: str,
    backend: str,
    region: tuple[int, int, int, int] | None,
    size: tuple[int, int] | None,
    crf: int,
    preset: str,
    most: int,
    threads: int | None,
) -> dict[str, Any]:
    """Wall and processor seconds of each stage for the first ``most`` frames of the clip, and how many those are.

    Args:
        region: (x, y, width, height) of the crop; None: the whole frame.
        size: (height, width) of the network's image; None: what suits the model.
        threads: of the network, as of ``engine translate``.
    """
    stages: dict[str, dict[str, float]] = {}
    with av.open(str(clip)) as container:
        container.streams.video[0].thread_type = "AUTO"
        container.streams.video[0].codec_context.thread_count = cores()
        with clocked(stages, "decode"):
            frames = sum(1 for _ in islice(container.decode(video=0), most))
    framing = Framing("crop", region) if region else Framing("fit", size=size)
    budget = ThreadBudget.plan(network=threads)
    threads = max(1, budget.network // budget.in_flight)
    with ExitStack() as stack:
        source = stack.enter_context(VideoSource(clip))
        lanes = [
            stack.enter_context(
                Translator.open(model, backend=backend, framing=framing, threads=threads, frame_size=source.format.size)
            )
            for _ in range(budget.in_flight)
        ]
        with closing(lanes[0].stream(source)) as stream:
            translated = list(islice(stream, most))
        compositor, spec = lanes[0].compositor, lanes[0].spec
        assert isinstance(compositor, Compositor)
        image = compositor.prepare(translated[0])[None]
        vector = attribute_vector(spec.attributes, {}) if spec.attributes else None
        runs = [partial(lane.backend.run, attributes=vector) for lane in lanes]
        for run in runs:
            run(image)
        with clocked(stages, "run"):
            deque(ordered(runs, repeat(image, frames)), maxlen=0)
    pictures = [frame.picture for frame in translated if isinstance(frame, VideoFrame) and frame.picture]
    with tempfile.TemporaryDirectory() as folder:
        encode(pictures[:10], Path(folder, "warm.mp4"), crf, preset)
        with clocked(stages, "encode"):
            encode(pictures, Path(folder, "out.mp4"), crf, preset)
    return {**stages, "frames": frames}


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
    parser.add_argument("--size", type=lambda text: tuple(int(n) for n in reversed(text.split("x"))))
    parser.add_argument("--most", type=int, default=300, help="frames; translated ones are kept in memory")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--crf", type=int, default=20)
    parser.add_argument("--preset", default="veryfast")
    print(json.dumps(measure(**vars(parser.parse_args()))))  # noqa: T201


if __name__ == "__main__":
    main()
