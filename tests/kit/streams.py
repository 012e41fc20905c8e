"""What must hold of every video that is written: times rise, size and format stay, no frame is lost unseen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from ganlens.engine.media.file.sink import VideoSink
from ganlens.engine.session import Report, Session


def check_video(path: Path, frames: int | None = None) -> int:
    """Decode a video; the number of its frames.

    Args:
        frames: how many there must be.

    Raises:
        AssertionError: it does not play as it should.
    """
    last: Fraction | None = None
    shape: tuple[int, int, str] | None = None
    count = 0
    with av.open(f"file:{path}") as container:
        for frame in container.decode(video=0):
            assert frame.pts is not None and frame.time_base is not None, f"{path}: frame {count + 1} has no time"
            time = frame.pts * frame.time_base
            assert last is None or time > last, f"{path}: frame {count + 1} is at {time} s, the one before at {last} s"
            this = (frame.width, frame.height, frame.format.name)
            assert shape in (None, this), f"{path}: frame {count + 1} is {this}, the ones before {shape}"
            last, shape, count = time, this, count + 1
    assert frames in (None, count), f"{path} has {count} frames; {frames} were written"
    clocks: dict[int, Any] = defaultdict(lambda: None)
    with av.open(f"file:{path}") as container:
        for packet in container.demux():
            if packet.dts is None or packet.stream.type not in ("video", "audio"):
                continue
            before = clocks[packet.stream.index]
            assert before is None or packet.dts >= before, f"{path}: stream {packet.stream.index} goes back"
            clocks[packet.stream.index] = packet.dts
    return count


def check_all(monkeypatch: pytest.MonkeyPatch, closed: Callable[[Path], object] = lambda _: None) -> None:
    """Check every video that is written from now on, and that sessions write every frame that their source gives."""
    close, run = VideoSink.close, Session.run

    def checked_close(sink: VideoSink, *, complete: bool = True) -> None:
        was_done = sink._file.done
        close(sink, complete=complete)
        if not was_done:
            check_video(sink.path, sink.frames)
            closed(sink.path)

    def checked_run(session: Session) -> Report:
        report = run(session)
        given = getattr(session.source, "_given", None)
        if given is not None and not report.stopped:
            made = session._before + report.frames
            assert made == given, f"the source gave {given} frames; {made} were written"
        return report

    monkeypatch.setattr(VideoSink, "close", checked_close)
    monkeypatch.setattr(Session, "run", checked_run)
