"""Pictures to pages by WebRTC (extra "webrtc", aiortc): on a network that loses packets a lost one holds up nothing.

A page offers, by POST, and gets an answer; everything else stays on its socket. Each page has an encoder of its own,
whose bit rate follows what the page's network takes. No STUN or TURN server is asked, and the addresses that an offer
names are not used: the page, which reached this server already, does the connecting.
"""

from __future__ import annotations

import asyncio
import json
from fractions import Fraction
from typing import Any

from av.video.frame import PictureType, VideoFrame
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...errors import MissingExtra
from ...media.live.conversion import Converter
from ..queue import Captured
from .broadcast import page_size

try:
    from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
    from aiortc.mediastreams import MediaStreamError
except ModuleNotFoundError as error:
    raise MissingExtra("--web-transport webrtc", (error.name or "").partition(".")[0], "webrtc") from error

MOST_PEERS = 4
"""Each has an encoder of its own; further pages take pictures over their socket."""
MOST_OFFER = 64 << 10
CONNECT_S = 15.0
"""A connection that is not made by then is closed."""
TICK = Fraction(1, 90_000)


class NewestPicture(MediaStreamTrack):  # type: ignore[misc, unused-ignore]  # without aiortc its base is unknown
    """The session's pictures as a track: the newest one each time that the sender asks. Used in one event loop."""

    kind = "video"

    def __init__(self) -> None:
        super().__init__()
        self._newest: Captured | None = None
        self._changed = asyncio.Event()
        self._converter: Converter | None = None
        self._began: Fraction | None = None

    def give(self, item: Captured) -> None:
        """Leave a picture; one that was not taken is dropped."""
        self._newest = item
        self._changed.set()

    def stop(self) -> None:
        """End the track, and what waits for it."""
        super().stop()
        self._changed.set()

    async def recv(self) -> VideoFrame:
        """The next picture as yuv420p, with its time in 1/90000 s."""
        while True:
            await self._changed.wait()
            if self.readyState != "live":
                raise MediaStreamError
            self._changed.clear()
            item, self._newest = self._newest, None
            if item is not None:
                return await asyncio.get_running_loop().run_in_executor(None, self._converted, item)

    def _converted(self, item: Captured) -> VideoFrame:
        size = page_size(item.frame.size)
        if self._converter is None or self._converter.size != size:
            self._converter = Converter("yuv420p", size, matrix="bt601", full_range=False)
        picture = self._converter(item.frame)
        time = item.frame.time or Fraction(0)
        self._began = time if self._began is None else self._began
        picture.pts, picture.time_base = round((time - self._began) / TICK), TICK
        picture.pict_type = PictureType.NONE  # the picture is used again, and its last turn may have been a key frame
        return picture


class Peers:
    """The pages that take pictures by WebRTC. Used in the server's event loop, but for :meth:`give`.

    Args:
        loop: the server's event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._peers: dict[RTCPeerConnection, NewestPicture] = {}
        self._timers: set[asyncio.Task[None]] = set()

    @property
    def open(self) -> int:
        """Number of pages."""
        return len(self._peers)

    def give(self, item: Captured) -> None:
        """Leave a picture for every page; called by the session's thread."""
        if self._peers:
            self._loop.call_soon_threadsafe(self._deliver, item)

    def _deliver(self, item: Captured) -> None:
        for track in self._peers.values():
            track.give(item)

    async def answer(self, request: Request) -> Response:
        """POST {"sdp": offer}: {"sdp": answer}."""
        offer = await _offer(request)
        if offer is None:
            return JSONResponse({"error": 'expected {"sdp": ...}, the offer of a page that takes a video'}, 400)
        if len(self._peers) >= MOST_PEERS:
            problem = f"{MOST_PEERS} pages take pictures by WebRTC, which is the limit"
            return JSONResponse({"error": problem}, 503, {"retry-after": "10"})
        peer, track = RTCPeerConnection(RTCConfiguration(iceServers=[])), NewestPicture()
        self._peers[peer] = track
        try:
            await peer.setRemoteDescription(RTCSessionDescription(without_candidates(offer), "offer"))
            peer.addTrack(track)
            await peer.setLocalDescription(await peer.createAnswer())
        except Exception as error:  # aiortc raises what its parser comes across: ValueError, KeyError, IndexError, ...
            await self._close(peer)
            return JSONResponse({"error": f"the offer cannot be answered ({type(error).__name__}: {error})"}, 400)
        if "a=candidate:" not in peer.localDescription.sdp:
            await self._close(peer)
            return JSONResponse({"error": "this machine has no network address but loopback, which WebRTC needs"}, 409)

        async def changed() -> None:
            if peer.connectionState in ("failed", "closed"):
                await self._close(peer)

        peer.on("connectionstatechange", changed)
        timer = asyncio.create_task(self._close_unless_connected(peer))
        self._timers.add(timer)
        timer.add_done_callback(self._timers.discard)
        return JSONResponse({"sdp": peer.localDescription.sdp})

    async def close(self) -> None:
        """Close every connection."""
        for timer in self._timers:
            timer.cancel()
        for peer in list(self._peers):
            await self._close(peer)

    async def _close(self, peer: RTCPeerConnection) -> None:
        track = self._peers.pop(peer, None)
        if track is not None:
            track.stop()
            await peer.close()

    async def _close_unless_connected(self, peer: RTCPeerConnection) -> None:
        await asyncio.sleep(CONNECT_S)
        if peer.connectionState != "connected":
            await self._close(peer)


def without_candidates(sdp: str) -> str:
    """A description without the addresses that it names, nor an end of them: the other side is waited for."""
    kept = (line for line in sdp.splitlines() if not line.startswith(("a=candidate:", "a=end-of-candidates")))
    return "\r\n".join(kept) + "\r\n"


async def _offer(request: Request) -> str | None:
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > MOST_OFFER:
            return None
    try:
        body: Any = json.loads(content)
    except ValueError:
        return None
    sdp = body.get("sdp") if isinstance(body, dict) else None
    return sdp if isinstance(sdp, str) and "m=video" in sdp else None
