"""The quality of a page's pictures follows its link: a link of made-up bandwidth and delay, over made-up time."""

from __future__ import annotations

import heapq
import json
import socket
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ganlens.engine.live.policy import QualityLimits, QualityState, choose_quality
from ganlens.engine.live.session import LiveSession, SessionOptions
from ganlens.engine.media.uri import open_source
from ganlens.engine.pixels.frame import Frame
from tests.kit.models import identity_model
from tests.kit.pages import page

broadcast = pytest.importorskip("ganlens.engine.live.web.broadcast", reason="needs the extra 'live'")
server = pytest.importorskip("ganlens.engine.live.web.server", reason="needs the extra 'live'")
encoding = pytest.importorskip("ganlens.engine.media.live.encoding", reason="needs the extra 'live'")

RATE = 30
DELTA, KEY = 8_000, 24_000
"""Bytes of a picture in the best quality."""
FULL = RATE * DELTA
"""Bytes a second that the best quality needs."""


class Page:
    """A page behind a link of ``bandwidth`` bytes a second, on which everything takes ``delay`` seconds more."""

    def __init__(self, bandwidth: float, delay: float = 0.01) -> None:
        self.bandwidth, self.delay = bandwidth, delay
        self.now = 0.0
        self.viewer = broadcast.Viewer(self.keys.add, clock=lambda: self.now)
        self.viewer.take("h264")
        self.changes: list[tuple[float, int]] = []
        self.drawn: list[float] = []
        self._number = 0
        self._free = 0.0
        self._answers: list[tuple[float, int]] = []

    @property
    def keys(self) -> set[object]:
        """Streams of which a key frame was asked for."""
        return self.__dict__.setdefault("_keys", set())

    def run(self, seconds: float) -> None:
        """Pictures for so long, each encoded as the page wants it."""
        end = self.now + seconds
        while self.now < end:
            self.now += 1 / RATE
            while self._answers and self._answers[0][0] <= self.now:
                at, number = heapq.heappop(self._answers)
                if self.viewer.drawn(number):
                    self.drawn.append(at)
            self._number += 1
            level, key = self.viewer.level, self.viewer.stream in self.keys
            self.keys.discard(self.viewer.stream)
            size = (KEY if key else DELTA) >> level
            picture = encoding.Encoded(b"", key, "avc1.42c01f", (480, 640))
            self.viewer.show(picture, self._number, bytes(size))
            if self.viewer.level != level:
                self.changes.append((self.now, self.viewer.level))
            while self.viewer.waiting:
                message = self.viewer._outgoing.get_nowait()
                if isinstance(message, bytes):
                    self._free = max(self.now, self._free) + len(message) / self.bandwidth
                    heapq.heappush(self._answers, (self._free + self.delay, self._number))

    def fps(self, seconds: float) -> float:
        """Pictures drawn a second of late."""
        return sum(at > self.now - seconds for at in self.drawn) / seconds


def test_a_quick_link_has_the_best_quality() -> None:
    page = Page(4 * FULL)
    page.run(60)
    assert page.changes == []
    assert page.fps(10) == pytest.approx(RATE, abs=0.5)


@pytest.mark.parametrize("share", [0.7, 0.45, 0.25])
def test_a_link_that_becomes_slow_gets_smaller_pictures_within_two_seconds(share: float) -> None:
    page = Page(4 * FULL)
    page.run(5)
    page.bandwidth = share * FULL
    page.run(2)
    assert page.viewer.level > 0
    page.run(3)
    assert page.fps(1) > 0.85 * RATE


def test_a_link_filled_by_large_pictures_is_not_judged_by_them() -> None:
    page = Page(4 * FULL)
    page.run(5)
    page.bandwidth = 0.1 * FULL
    page.run(15)
    assert page.viewer.level == 3
    assert page.fps(2) > 6  # of one and a half


def test_a_slow_link_does_not_pump() -> None:
    page = Page(0.7 * FULL)
    page.run(300)
    assert len(page.changes) <= 16  # each try of a better quality is later than the one before, up to 64 s
    assert len([at for at, _ in page.changes if at > 150]) <= 6


def test_the_quality_returns_with_the_link() -> None:
    page = Page(0.4 * FULL)
    page.run(10)
    assert page.viewer.level > 0
    page.bandwidth = 4 * FULL
    page.run(60)
    assert page.viewer.level == 0


def test_a_short_pause_changes_nothing() -> None:
    page = Page(4 * FULL)
    page.run(5)
    page._free = page.now + 0.4
    page.run(5)
    assert page.changes == []


def test_a_page_far_away_keeps_its_quality_because_smaller_pictures_do_not_help() -> None:
    page = Page(40 * FULL, delay=0.3)
    page.run(120)
    away = sum(
        end - at
        for (at, level), (end, _) in zip(page.changes, [*page.changes[1:], (page.now, 0)], strict=True)
        if level
    )
    assert page.viewer.level == 0
    assert away < 10


def test_a_hidden_page_tells_nothing_of_its_link() -> None:
    state = QualityState()
    for step in range(100):
        state = choose_quality(state, 1.0, 0.0, step / 10, 4)
    assert state.level == 0


def test_much_too_slow_falls_by_several_levels_at_once() -> None:
    state, now = QualityState(), 0.0
    while state.level == 0:
        now += 0.1
        state = choose_quality(state, 0.7, 9.0, now, 4)
    assert (state.level, now) == (2, pytest.approx(QualityLimits().fall_after_s, abs=0.21))


def messages(client: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Opcode and content of a server's WebSocket messages."""

    def read(count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = client.recv(count - len(data))
            if not piece:
                raise ConnectionResetError
            data += piece
        return data

    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += read(1)
    while True:
        first, length = read(2)
        if length >= 126:
            length = int.from_bytes(read(2 if length == 126 else 8), "big")
        yield first & 15, read(length)


def test_a_client_that_reads_slowly_gets_smaller_pictures(tmp_path: Path) -> None:
    model = identity_model(tmp_path / "same.onnx", None)
    options = SessionOptions(backend="cpu", threads=1, adaptive=False)
    source = "test:640x480@25,seconds=inf,live"
    with (
        LiveSession(lambda: open_source(source), models=[str(model)], options=options) as session,
        server.WebServer(session, server.Address(port=0)) as web,
        page(web, 4096) as client,
    ):
        client({"type": "video", "codec": "jpeg"})
        sizes: dict[int, int] = {}
        level, end = 0, time.monotonic() + 30
        for opcode, data in messages(client.client):
            if opcode == 1 and (told := json.loads(data))["type"] == "video":
                level = told["level"]
            elif opcode == 2:
                time.sleep(len(data) / 100_000)
                sizes[level] = len(data)
                client({"type": "drawn", "number": broadcast.HEADER.unpack_from(data)[5]})
            assert time.monotonic() < end, f"still the best quality: {sizes}"
            if max(sizes, default=0) > 0:
                break
        assert sizes[0] > sizes[max(sizes)]  # the picture is plain
        assert web._state()["pages"]["reduced"] == 1


@pytest.mark.parametrize("codec", ["h264", "jpeg"])
def test_each_level_makes_smaller_pictures(codec: str) -> None:
    y, x = np.mgrid[:240, :320]
    noise = np.random.default_rng(1).integers(0, 40, (240, 320))
    picture = (120 + 60 * np.sin(x / 9) + 40 * np.cos(y / 7) + noise).clip(0, 255).astype(np.uint8)
    frame = Frame.from_rgb(np.stack([picture] * 3, -1))
    sizes = [len(broadcast._encoder((codec, level), (240, 320)).encode(frame).data) for level in range(4)]
    assert len(broadcast.QUALITIES[codec]) == broadcast.LEVELS == 4
    assert all(1.3 * small < large for large, small in pairwise(sizes)), sizes
