"""Network streams on loopback: a real RTSP server that goes away and comes back, MPEG-TS over UDP in and out."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ganlens.engine.errors import MediaError
from ganlens.engine.live.session import LiveSession, SessionOptions
from ganlens.engine.media.base import FrameFormat
from ganlens.engine.media.live.network import NetworkSource
from ganlens.engine.media.live.stream_sink import StreamSink
from ganlens.engine.pixels.frame import Frame
from tests.kit.models import invert_model

SERVER = Path(__file__).with_name("rtsp_server.py")


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def rtsp_server(port: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(["/usr/bin/python3", str(SERVER), str(port)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def until(true, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.mark.rtsp
def test_an_rtsp_stream_is_lost_and_comes_back(tmp_path):
    port = free_port(socket.SOCK_STREAM)
    url = f"rtsp://127.0.0.1:{port}/camera"
    model = str(invert_model(tmp_path / "invert.onnx", None))
    levels: list[int] = []

    def view(item) -> None:
        levels.append(int(item.frame.to_rgb()[60:].mean()))

    with contextlib.ExitStack() as stack:
        with rtsp_server(port):
            options = SessionOptions(backend="cpu", threads=1, adaptive=False)
            session = LiveSession(lambda: NetworkSource(url), models=[model], options=options)
            session.view(view)
            stack.enter_context(session)
            until(lambda: levels and levels[-1] < 40)  # white, inverted
            assert session.format is not None and session.format.size == (120, 160)
        until(lambda: session.source_state == "lost")
        shown = len(levels)
        until(lambda: len(levels) > shown + 5)  # the last picture, marked, meanwhile
        stack.enter_context(rtsp_server(port))
        captured = session.statistics.captured
        until(lambda: session.source_state == "live" and session.statistics.captured > captured + 10)
        assert session.statistics.reconnects >= 1
        until(lambda: session.state()["source"]["connection"] == "excellent", 8)


def test_nobody_answers():
    with pytest.raises(MediaError, match="cannot be opened.*Check the address"):
        NetworkSource(f"rtsp://127.0.0.1:{free_port(socket.SOCK_STREAM)}/camera")


def test_what_answers_is_not_a_stream(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.sendall(b"220 mail.example ESMTP\r\n" * 3)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        with pytest.raises(MediaError, match="cannot be opened|has no video"):
            NetworkSource(f"tcp://127.0.0.1:{server.getsockname()[1]}")
        thread.join(5)


def test_mpeg_ts_over_udp_there_and_back():
    url = f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
    stop = threading.Event()

    def send() -> None:
        with StreamSink(url, FrameFormat((120, 160), "rgb24", Fraction(25), Fraction(1, 25))) as sink:
            number = 0
            while not stop.wait(0.04):
                level = 40 + 15 * (number // 10 % 10)  # a staircase: order can be seen
                sink.write(Frame.from_rgb(np.full((120, 160, 3), level, np.uint8), Fraction(number, 25)))
                number += 1

    thread = threading.Thread(target=send)
    thread.start()
    try:
        with NetworkSource(url) as source:
            levels, times = [], []
            for frame in source:
                levels.append(int(frame.to_rgb().mean()))
                times.append(frame.time)
                if len(levels) == 40:
                    break
    finally:
        stop.set()
        thread.join(5)
    assert source.format.size == (120, 160)
    assert times == sorted(times) and len(set(times)) == len(times)
    steps = [round((level - 40) / 15) for level in levels]
    rises = [(b - a) % 10 for a, b in pairwise(steps)]
    assert set(rises) <= {0, 1} and sum(rises) >= 3
