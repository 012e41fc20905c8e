"""A client that takes pictures and reads nothing: nobody else loses one, and what waits for it is bounded."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest

from ganlens.engine.errors import MediaError
from ganlens.engine.live.session import LiveSession, SessionOptions
from ganlens.engine.live.web import address
from ganlens.engine.media.uri import open_source
from tests.kit.models import identity_model
from tests.kit.pages import page

server_module = pytest.importorskip("ganlens.engine.live.web.server", reason="needs the extra 'live'")
broadcast = pytest.importorskip("ganlens.engine.live.web.broadcast", reason="needs the extra 'live'")

TEST = "test:640x480@25,seconds=inf,live"


def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSession]:
    model = identity_model(tmp_path_factory.mktemp("models") / "same.onnx", None)
    options = SessionOptions(backend="cpu", threads=1, adaptive=False)
    with LiveSession(lambda: open_source(TEST), models=[str(model)], options=options) as session:
        yield session


def test_it_costs_nobody_a_picture_and_little_memory(session: LiveSession) -> None:
    with server_module.WebServer(session, server_module.Address(port=0)) as server, page(server, 4096) as send:
        send({"type": "video", "codec": "jpeg"})
        until(lambda: server._viewers and next(iter(server._viewers)).sent)
        (slow,) = server._viewers
        slow._in_flight.clear()  # the server takes its pictures as drawn, so that its socket fills up
        with page(server) as send_other:
            send_other({"type": "video", "codec": "jpeg"})
            until(lambda: len(server._viewers) == 2)
            (quick,) = server._viewers - {slow}
            until(lambda: quick.sent)
            sent, dropped, encoded = quick.sent, quick.dropped, server._broadcast.encoded
            end = time.monotonic() + 3
            while time.monotonic() < end:
                session.changed()
                quick._in_flight.clear()  # it draws each picture at once
                slow._in_flight.clear()
                time.sleep(0.01)
            assert quick.dropped == dropped
            assert server._broadcast.encoded - encoded - 2 <= quick.sent - sent
            assert quick.sent - sent > 10
            until(lambda: slow.dropped)
            assert slow.waiting <= 2 * broadcast.MOST_IN_FLIGHT + 2  # pictures, their description and one state


def test_its_messages_are_not_read_either(session: LiveSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "SILENT_S", 600.0)  # a loaded machine may take longer than 20 s to fill the way
    with server_module.WebServer(session, server_module.Address(port=0)) as server, page(server, 4096) as send:
        send({"type": "video", "codec": "jpeg"})
        until(lambda: server._viewers and next(iter(server._viewers)).sent)
        (slow,) = server._viewers
        with pytest.raises(TimeoutError):  # the way to the server is full
            for _ in range(200_000):
                send({"type": "nonsense", "padding": "x" * 5000})
                assert slow.waiting <= server_module.MOST_WAITING + 16
        assert server.clients == 1


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux cuts such a connection")
def test_it_is_cut_off(session: LiveSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "SILENT_S", 1.0)
    with server_module.WebServer(session, server_module.Address(port=0)) as server, page(server, 4096) as send:
        send({"type": "video", "codec": "jpeg"})
        until(lambda: server.clients == 1)
        (slow,) = server._viewers

        def gone() -> bool:
            slow._in_flight.clear()
            return server.clients == 0

        until(gone)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1"])
def test_a_small_message_does_not_hold_the_next_picture_back(host: str) -> None:
    try:
        listener = address.Listener(address.Address(host, 0))
    except MediaError:
        pytest.skip(f"this machine has no {host}")
    to = "127.0.0.1" if host == "0.0.0.0" else host
    try:
        with socket.create_connection((to, listener.port), 5):
            connection, _ = listener.socket.accept()
            with connection:
                assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    finally:
        listener.close()
