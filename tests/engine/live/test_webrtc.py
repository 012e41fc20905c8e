"""Pictures by WebRTC, with aiortc on both sides: no browser is needed (test_page.py has the page)."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ganlens.engine.errors import MissingExtra
from ganlens.engine.live.session import LiveSession, SessionOptions
from ganlens.engine.media.uri import open_source
from tests.kit.models import invert_model

if not os.environ.get("REQUIRE_BROWSER"):
    pytest.importorskip("starlette", reason="needs the extra 'live'")
    pytest.importorskip("aiortc", reason="needs the extra 'webrtc'")

import aiortc

from ganlens.engine.live.web import rtc
from ganlens.engine.live.web.server import Address, WebServer

TEST = "test:320x240@20,seconds=inf,live"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSession]:
    model = invert_model(tmp_path_factory.mktemp("models") / "invert.onnx", None)
    options = SessionOptions(backend="cpu", threads=1, adaptive=False)
    with LiveSession(lambda: open_source(TEST), models=[str(model)], options=options) as session:
        yield session


@pytest.fixture
def server(session: LiveSession) -> Iterator[WebServer]:
    with WebServer(session, Address(port=0), "webrtc") as server:
        yield server


def post(server: WebServer, body: Any, **headers: str) -> tuple[int, Any]:
    request = urllib.request.Request(server.url + "api/webrtc", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        return error.code, json.loads(text)["error"] if text.startswith("{") else text


async def offered() -> tuple[aiortc.RTCPeerConnection, str]:
    peer = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))
    peer.addTransceiver("video", direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    return peer, peer.localDescription.sdp


def an_offer() -> str:
    """An offer of a page that is gone again."""

    async def make() -> str:
        peer, sdp = await offered()
        await peer.close()
        return sdp

    return asyncio.run(make())


async def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.05)


def test_pictures_arrive_in_order_and_a_page_that_leaves_is_forgotten(server: WebServer) -> None:
    async def watch() -> tuple[list[int], set[tuple[int, int]]]:
        peer, sdp = await offered()
        arrived: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        peer.on("track", arrived.set_result)
        status, said = await asyncio.to_thread(post, server, {"sdp": sdp})
        assert status == 200, said
        await peer.setRemoteDescription(aiortc.RTCSessionDescription(said["sdp"], "answer"))
        track = await arrived
        pictures = [await asyncio.wait_for(track.recv(), 20) for _ in range(12)]
        assert server._state()["pages"]["webrtc"] == 1
        await peer.close()
        await until(lambda: server._state()["pages"]["webrtc"] == 0)
        return [picture.pts for picture in pictures], {(picture.height, picture.width) for picture in pictures}

    times, sizes = asyncio.run(watch())
    assert sizes == {(240, 320)}
    assert times == sorted(set(times))


def test_addresses_that_an_offer_names_are_not_contacted(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    set_remote = aiortc.RTCPeerConnection.setRemoteDescription

    async def noted(self: Any, description: Any) -> None:
        seen.append(description.sdp)
        await set_remote(self, description)

    monkeypatch.setattr(aiortc.RTCPeerConnection, "setRemoteDescription", noted)
    sdp = an_offer()
    assert "a=candidate:" in sdp
    assert post(server, {"sdp": sdp})[0] == 200
    assert "a=candidate:" not in seen[0] and "a=end-of-candidates" not in seen[0]


def test_connections_that_are_never_made_are_closed(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtc, "CONNECT_S", 0.5)
    sdp = an_offer()
    for _ in range(rtc.MOST_PEERS):
        assert post(server, {"sdp": sdp})[0] == 200
    assert post(server, {"sdp": sdp}) == (503, "4 pages take pictures by WebRTC, which is the limit")
    asyncio.run(until(lambda: server._state()["pages"]["webrtc"] == 0))


@pytest.mark.parametrize(
    "body", [{}, [], {"sdp": 1}, {"sdp": "v=0"}, {"sdp": "m=video x"}, {"sdp": "m=video " + "9" * (1 << 20)}]
)
def test_what_is_no_offer_is_refused(server: WebServer, body: Any) -> None:
    status, problem = post(server, body)
    assert status == 400 and "offer" in problem
    assert server._state()["pages"]["webrtc"] == 0


def test_foreign_pages_and_other_transports_are_refused(server: WebServer, session: LiveSession) -> None:
    sdp = an_offer()
    assert post(server, {"sdp": sdp}, origin="http://evil.example")[0] == 403
    with WebServer(session, Address(port=0)) as plain:
        status, problem = post(plain, {"sdp": sdp})
    assert status == 409 and "--web-transport" in problem


def test_without_aiortc_the_extra_is_named(session: LiveSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ganlens.engine.live.web.rtc")
    monkeypatch.delattr("ganlens.engine.live.web.rtc", raising=False)
    monkeypatch.setitem(sys.modules, "aiortc", None)
    with pytest.raises(MissingExtra, match=r"--web-transport webrtc needs .* 'ganlens\[webrtc\]'"):
        WebServer(session, Address(port=0), "webrtc")
