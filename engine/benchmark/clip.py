"""The clip that all video benchmarks translate: 720p30 H.264 with AAC sound, made from the shipped clip or any other.

Each source frame is used once, forwards then backwards and so on, at 30 frames per second: a slow clip does not turn
into one with repeated frames, which an encoder would get for nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.filter import Graph

from .pictures import SHIPPED_CLIP, there_and_back

WIDTH, HEIGHT, RATE = 1280, 720, 30
FRAMES = 300
SAMPLE_RATE = 48_000


def make_clip(source: Path, output: Path, frames: int = FRAMES) -> Path:
    """Write ``frames`` frames of 1280x720, 30 per second, BT.709, with a stereo tone of the same length.

    The picture is scaled to cover and cropped in the middle. The same source gives the same pictures and sound.

    Raises:
        ValueError: the source has no video frames.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    pictures = read_pictures(source, frames)
    if not pictures:
        raise ValueError(f"{source} has no video frames to make a benchmark clip of; give a clip that plays")
    with av.open(str(output), "w") as container:
        video = container.add_stream("libx264", rate=RATE, options={"preset": "medium", "crf": "18"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.codec_context.thread_count = 1  # more threads give other bits
        video.codec_context.time_base = Fraction(1, RATE)
        for name in ("colorspace", "color_primaries", "color_trc"):
            setattr(video.codec_context, name, 1)  # BT.709
        video.codec_context.color_range = 1  # limited
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="stereo")
        audio.codec_context.bit_rate = 128_000
        sound = tone_frames(frames * SAMPLE_RATE // RATE)
        heard = 0
        for index, picture in enumerate(scaled(pictures[there_and_back(len(pictures), i)] for i in range(frames))):
            picture.pts, picture.time_base = index, Fraction(1, RATE)
            container.mux(video.encode(picture))
            while heard * RATE < (index + 1) * SAMPLE_RATE and (block := next(sound, None)) is not None:
                heard += block.samples
                container.mux(audio.encode(block))
        container.mux(video.encode())
        container.mux(audio.encode())
    return output


def cached_clip(folder: Path, frames: int = FRAMES) -> Path:
    """The clip made from the shipped one, in ``folder``; made now if it is not there yet."""
    path = folder / f"clip-{frames}.mp4"
    return path if path.exists() else make_clip(SHIPPED_CLIP, path, frames)


def read_pictures(source: Path, limit: int) -> list[av.VideoFrame]:
    """The first ``limit`` decoded pictures of the first video stream."""
    with av.open(str(source)) as container:
        return list(itertools.islice(container.decode(video=0), limit))


def scaled(pictures: Iterator[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """Pictures scaled to cover 1280x720 and cropped in the middle, as BT.709 limited yuv420p."""
    graph: Graph | None = None
    for index, picture in enumerate(pictures):
        if graph is None:
            graph = Graph()
            chain = [
                graph.add_buffer(
                    width=picture.width, height=picture.height, format=picture.format, time_base=Fraction(1, RATE)
                ),
                graph.add(
                    "scale",
                    f"{WIDTH}:{HEIGHT}:force_original_aspect_ratio=increase:force_divisible_by=2:flags=bicubic"
                    ":out_color_matrix=bt709:out_range=limited",
                ),
                graph.add("crop", f"{WIDTH}:{HEIGHT}"),
                graph.add("format", "yuv420p"),
                graph.add("buffersink"),
            ]
            graph.link_nodes(*chain).configure()
        picture.pts, picture.time_base = index, Fraction(1, RATE)
        graph.vpush(picture)
        yield graph.vpull()


def tone_frames(samples: int, block: int = 1024) -> Iterator[av.AudioFrame]:
    """``samples`` samples of a soft two-note stereo tone, in blocks."""
    for start in range(0, samples, block):
        time = np.arange(start, min(start + block, samples)) / SAMPLE_RATE
        wave = np.stack([0.2 * np.sin(2 * np.pi * hertz * time) for hertz in (440.0, 660.0)]).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
        yield frame
