"""What versions of PyAV do differently."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av

from ganlens.engine import VideoSink, VideoSource
from ganlens.engine.media.libav import fraction, open_to_read


def tagged(path: Path, tag: bytes) -> Path:
    """A clip whose title is ``tag``, of six bytes."""
    with av.open(str(path), "w") as container:
        container.metadata["title"] = "QQQQQQ"
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        container.mux(stream.encode(None))
    path.write_bytes(path.read_bytes().replace(b"QQQQQQ", tag))
    return path


def test_tags_that_are_not_utf8_are_no_error(tmp_path: Path) -> None:
    clip = tagged(tmp_path / "in.mkv", b"Q\xff\xfeQQQ")
    with open_to_read(str(clip)) as container:
        assert container.metadata["title"].startswith("Q")
    with VideoSource(clip) as source, VideoSink(tmp_path / "out.mkv", source.format, origin=source) as sink:
        for frame in source:
            sink.write(frame)
    with open_to_read(str(tmp_path / "out.mkv")) as container:
        assert container.metadata["title"].endswith("QQQ")


def test_rational_numbers_are_exact_fractions(tmp_path: Path) -> None:
    with open_to_read(str(tagged(tmp_path / "in.mkv", b"tagged"))) as container:
        stream = container.streams.video[0]
        tick = fraction(stream.time_base)
        assert type(tick) is Fraction and tick == Fraction(1, 1000)
        assert tick * tick * tick * tick == Fraction(1, 10**12)
        assert fraction(stream.average_rate) == 10
    assert fraction(None) is None and fraction(Fraction(0)) is None
