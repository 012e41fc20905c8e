"""The server of the page and the API of a live session, in a thread beside it."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
import time
from collections.abc import AsyncIterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...errors import EngineError, MediaError, MissingExtra, OptionError
from ...files import parse_json
from ...media.live.browser import BrowserSource
from ..session import LiveSession
from .address import Address, Listener
from .guard import Guard

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
    from starlette.routing import Mount, Route, WebSocketRoute
    from starlette.staticfiles import StaticFiles
    from starlette.websockets import WebSocket, WebSocketDisconnect
except ModuleNotFoundError as error:
    raise MissingExtra("The page of engine live", (error.name or "").partition(".")[0], "live") from error

from .broadcast import Broadcast, Viewer, state_message
from .thumbnails import Thumbnails
from .translate import PictureTranslator

if TYPE_CHECKING:
    from .rtc import Peers

Transport = Literal["socket", "webrtc"]
STATIC = Path(__file__).parent / "static"
MOST_CLIENTS = 16
MOST_MESSAGE = 4 << 20
"""Bytes of one message of a page: a 4K JPEG of its camera."""
MOST_TEXT = 64 << 10
MOST_WAITING = 64
"""Messages that wait for a page to take them."""
_TICK_S = 0.05
_STATISTICS_S = 1.0
UPLOAD = struct.Struct("<BBHd")
"""Header of an uploaded picture: codec (1 H.264, 2 JPEG, 3 VP8), flags (1 key frame), 0, time in microseconds."""
_UPLOAD_CODECS = {1: "h264", 2: "jpeg", 3: "vp8"}


class WebServer:
    """Serves a session's page until :meth:`close`.

    Args:
        session: what the page shows and changes.
        address: where; a :class:`Listener` has taken it already, and is closed with the server.
        transport: how pictures reach pages. "webrtc" needs the extra of that name; a page that cannot connect by it
            says so, and takes them over its socket.

    Raises:
        MissingExtra: the packages of the transport are not installed.
        MediaError: the address is taken, or not one of this machine.
        OptionError: the certificate cannot be used.
    """

    def __init__(
        self, session: LiveSession, address: Address | Listener | None = None, transport: Transport = "socket"
    ) -> None:
        self._make_peers: type[Peers] | None = None
        if transport == "webrtc":
            from .rtc import Peers

            self._make_peers = Peers
        self._session = session
        self.transport = transport
        self._listener = listener = address if isinstance(address, Listener) else Listener(address or Address())
        self.url, self.port, self.token = listener.url, listener.port, listener.token
        self._ready = threading.Event()
        self._broadcast: Broadcast | None = None
        self._peers: Peers | None = None
        self._viewers: set[Viewer] = set()
        self._thumbnails = Thumbnails(session)
        self._pictures = PictureTranslator(session)
        config = uvicorn.Config(
            Guard(self._app(), self.token, local_only=listener.address.local),
            ws="wsproto",
            ws_max_size=MOST_MESSAGE,
            ws_per_message_deflate=False,  # pictures are compressed already: it would cost CPU time and memory only
            ws_ping_interval=20.0,
            log_level="critical",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
            limit_concurrency=256,
        )
        config.load()
        config.ssl = listener.tls
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="web server", daemon=True)

    @property
    def clients(self) -> int:
        """Number of open pages."""
        return len(self._viewers)

    def start(self) -> WebServer:
        """Serve from now on."""
        self._thread.start()
        if not self._ready.wait(10.0):
            raise MediaError(f"The page cannot be served at {self.url}.")
        return self

    def close(self) -> None:
        """Close every connection and stop."""
        self._pictures.refuse()
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(5.0)
        self._thumbnails.close()
        self._pictures.close()
        self._listener.close()

    def __enter__(self) -> WebServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(self._server.serve(sockets=[self._listener.socket]))

    def _app(self) -> Starlette:
        routes = [
            Route("/", self._page),
            Route("/api/state", self._get_state, methods=["GET"]),
            Route("/api/state", self._patch_state, methods=["PATCH"]),
            Route("/api/snapshot", self._snapshot, methods=["POST"]),
            Route("/api/record", self._record, methods=["POST"]),
            Route("/api/recordings/{name}", self._recording),
            Route("/api/models/{name}/thumbnail", self._thumbnail),
            Route("/api/webrtc", self._webrtc, methods=["POST"]),
            Route("/api/translate", self._pictures.answer, methods=["POST"]),
            Route("/api/openapi.json", self._openapi),
            Route("/metrics", self._metrics),
            WebSocketRoute("/ws", self._socket_of_page),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]
        return Starlette(
            routes=routes,  # the guard takes the token off their paths
            lifespan=self._lifespan,
            exception_handlers={EngineError: _engine_error, _BadRequest: _bad_request},
        )

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        broadcast = self._broadcast = Broadcast(loop)
        unview = [self._session.view(broadcast.give)]
        if self._make_peers is not None:
            self._peers = self._make_peers(loop)
            unview.append(self._session.view(self._peers.give))
        telling = asyncio.create_task(self._tell())
        self._ready.set()
        try:
            yield
        finally:
            telling.cancel()
            for end in unview:
                end()
            broadcast.close()
            if self._peers is not None:
                await self._peers.close()

    # --- state ------------------------------------------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        source = self._session.source
        broadcast = self._broadcast
        state = self._session.state()
        state["browser_camera"] = (
            None
            if not isinstance(source, BrowserSource)
            else {
                "in_use": source.attached,
                "width": source.format.size[1],
                "height": source.format.size[0],
                "rate": float(source.format.rate or 30),
            }
        )
        state["pages"] = {
            "open": len(self._viewers),
            "reduced": sum(viewer.level > 0 for viewer in self._viewers),
            "transport": self.transport,
            "webrtc": 0 if self._peers is None else self._peers.open,
            "encode_ms": 0.0
            if broadcast is None or not broadcast.encoded
            else round(1000 * broadcast.encode_s / broadcast.encoded, 2),
        }
        return state

    async def _tell(self) -> None:
        """Send the state to all pages when it changes, and its numbers once a second."""
        version, sent = -1, 0.0
        while True:
            await asyncio.sleep(_TICK_S)
            now = time.monotonic()
            if not self._viewers or (self._session.version == version and now - sent < _STATISTICS_S):
                continue
            version, sent = self._session.version, now
            message = state_message(self._state())
            for viewer in self._viewers:
                viewer.tell(message)

    def _change(self, body: Any) -> None:
        """Apply a PATCH: all of it, or an error."""
        if not isinstance(body, dict):
            raise _BadRequest('expected a JSON object such as {"controls": {"opacity": 0.5}}')
        known = {"model", "framing", "controls", "preset", "save_preset"}
        unknown = sorted(set(body) - known)
        if unknown:
            raise _BadRequest(f"unknown field {', '.join(unknown)}; expected {', '.join(sorted(known))}")
        if not isinstance(body.get("controls", {}), dict):
            raise _BadRequest("controls: expected an object of names and values")
        session = self._session
        try:
            with session.all_or_nothing():
                if "preset" in body:
                    session.apply_preset(_whole("preset", body["preset"]))
                if "model" in body:
                    session.choose_model(str(body["model"]))
                if "framing" in body:
                    session.choose_framing(None if body["framing"] is None else str(body["framing"]))
                if "controls" in body:
                    session.set_controls(**{str(name): value for name, value in body["controls"].items()})
                if "save_preset" in body:
                    session.save_preset(_whole("save_preset", body["save_preset"]))
        except TypeError as error:
            raise _BadRequest(str(error)) from error

    # --- requests ---------------------------------------------------------------------------------------------------

    async def _page(self, _: Request) -> Response:
        return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

    async def _openapi(self, _: Request) -> Response:
        return FileResponse(STATIC.parent / "openapi.json", media_type="application/json")

    async def _get_state(self, _: Request) -> Response:
        return JSONResponse(self._state())

    async def _patch_state(self, request: Request) -> Response:
        self._change(await _json_body(request))
        return JSONResponse(self._state())

    async def _snapshot(self, _: Request) -> Response:
        data = await asyncio.to_thread(self._session.snapshot)
        name = time.strftime("ganlens-%Y%m%d-%H%M%S.png")
        return Response(data, media_type="image/png", headers={"content-disposition": f'attachment; filename="{name}"'})

    async def _record(self, request: Request) -> Response:
        body = await _json_body(request)
        action = body.get("action") if isinstance(body, dict) else None
        if action == "start":
            await asyncio.to_thread(self._session.start_recording)
        elif action == "stop":
            await asyncio.to_thread(self._session.recorder.stop)
        else:
            raise _BadRequest('expected {"action": "start"} or {"action": "stop"}')
        return JSONResponse(self._session.recorder.state())

    async def _recording(self, request: Request) -> Response:
        name = request.path_params["name"]
        for path in self._session.recorder.finished:
            if path.name == name and path.exists():
                return FileResponse(path, filename=name)
        return PlainTextResponse("404 no such recording of this session\n", 404)

    async def _thumbnail(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._session.models:
            return PlainTextResponse("404 no such model\n", 404)
        data = await self._thumbnails.get(name)
        if data is None:
            return Response(status_code=204)
        return Response(data, media_type="image/jpeg", headers={"cache-control": "no-store"})

    async def _webrtc(self, request: Request) -> Response:
        if self._peers is None:
            return JSONResponse({"error": "pictures go over the socket here; see engine live --web-transport"}, 409)
        return await self._peers.answer(request)

    async def _metrics(self, _: Request) -> Response:
        return PlainTextResponse(_prometheus(self._state()))

    async def _socket_of_page(self, socket: WebSocket) -> None:
        await socket.accept()
        if len(self._viewers) >= MOST_CLIENTS:
            await socket.close(1013, f"{MOST_CLIENTS} pages are open, which is the limit; close one")
            return
        assert self._broadcast is not None
        viewer = Viewer(self._broadcast.ask_for_key, self._broadcast.update)
        self._viewers.add(viewer)
        self._broadcast.viewers.add(viewer)
        viewer.tell(state_message(self._state()))
        sending = asyncio.create_task(_send(socket, viewer))
        try:
            while True:
                message = await socket.receive()
                if message["type"] == "websocket.disconnect":
                    break
                data, text = message.get("bytes"), message.get("text")
                if data is not None:
                    self._uploaded(viewer, data)
                elif text is not None:
                    problem = self._said(viewer, text)
                    if problem:
                        viewer.say({"type": "error", "message": problem})
                while viewer.waiting >= MOST_WAITING:  # a page that takes no answers is not read from either
                    await asyncio.sleep(_TICK_S)
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            self._viewers.discard(viewer)
            self._broadcast.viewers.discard(viewer)
            self._broadcast.update()
            source = self._session.source
            if isinstance(source, BrowserSource):
                source.detach(viewer)
            sending.cancel()

    def _said(self, viewer: Viewer, text: str) -> str:
        """Act on a JSON message of a page; what was wrong with it, if anything."""
        if len(text) > MOST_TEXT:
            return f"a message of {len(text)} characters is too long; at most {MOST_TEXT}"
        try:
            message = parse_json(text)
            kind = message["type"]
        except (ValueError, KeyError, TypeError):
            return 'a message must be a JSON object with a "type"'
        assert self._broadcast is not None
        try:
            if kind == "drawn":
                number = int(message["number"])
                at = self._broadcast.captured_at(number)
                if viewer.drawn(number) and at is not None:
                    self._session.statistics.drawn.add(time.monotonic() - at)
            elif kind == "patch":
                self._change(message["change"])
            elif kind == "video":
                codec = message["codec"]
                if codec not in ("h264", "jpeg", None):
                    return f"codec: got {codec!r}, expected h264, jpeg or null"
                viewer.take(codec)
                self._broadcast.update()
            elif kind == "camera":
                self._camera(viewer, bool(message["on"]), message.get("rate"))
            else:
                return f"unknown type {kind!r}; expected drawn, patch, video or camera"
        except (EngineError, _BadRequest) as error:
            return str(error)
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            return f"a message of type {kind!r} is not complete ({error})"
        return ""

    def _camera(self, viewer: Viewer, on: bool, rate: Any) -> None:
        source = self._session.source
        if not isinstance(source, BrowserSource):
            viewer.say({"type": "camera", "state": "unavailable"})
            return
        if not on:
            source.detach(viewer)
            viewer.say({"type": "camera", "state": "off"})
        else:
            loop = asyncio.get_running_loop()

            def ask() -> None:
                with contextlib.suppress(RuntimeError):  # the server has ended
                    loop.call_soon_threadsafe(viewer.say, {"type": "camera", "state": "key"})

            granted = source.attach(viewer, ask, rate if isinstance(rate, int | float) and 1 <= rate <= 240 else None)
            viewer.say({"type": "camera", "state": "on" if granted else "busy"})
        self._session.changed()

    def _uploaded(self, viewer: Viewer, data: bytes) -> None:
        """A picture of a page's camera; anything else is ignored."""
        source = self._session.source
        if not isinstance(source, BrowserSource) or len(data) <= UPLOAD.size:
            return
        code, flags, _, microseconds = UPLOAD.unpack_from(data)
        codec = _UPLOAD_CODECS.get(code)
        if codec is None or not 0 <= microseconds < 2**53:
            return
        at = Fraction(round(microseconds), 1_000_000)
        source.push(viewer, codec, data[UPLOAD.size :], key=bool(flags & 1), time=at)


class _BadRequest(Exception):
    """A request that is not one of the API's."""


def _bad_request(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)


def _engine_error(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 422 if isinstance(error, OptionError) else 409)


async def _json_body(request: Request) -> Any:
    data = b""
    async for piece in request.stream():
        data += piece
        if len(data) > MOST_TEXT:
            raise _BadRequest(f"the body is longer than {MOST_TEXT} bytes")
    try:
        return parse_json(data)
    except ValueError as error:
        raise _BadRequest(f"the body is not JSON ({error})") from error


async def _send(socket: WebSocket, viewer: Viewer) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError, OSError):
        while True:
            message = await viewer.next()
            if isinstance(message, str):
                await socket.send_text(message)
            else:
                await socket.send_bytes(message)


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _BadRequest(f"{name}: got {value!r}, expected a number from 1 to 9")
    return value


def _prometheus(state: dict[str, Any]) -> str:
    counters, timing = state["counters"], state["timing"]
    lines = []

    def add(name: str, kind: str, help: str, *values: tuple[str, float | None]) -> None:
        lines.append(f"# HELP ganlens_{name} {help}")
        lines.append(f"# TYPE ganlens_{name} {kind}")
        lines.extend(f"ganlens_{name}{labels} {value}" for labels, value in values if value is not None)

    for name, help in (
        ("captured", "Frames delivered by the source."),
        ("shown", "Frames passed to the sinks."),
        ("late", "Frames that left the filter more than two frame periods after capture, not counting model time."),
        ("stalls", "Number of times the source stalled."),
        ("reconnects", "Number of times a lost source was reopened."),
    ):
        add(f"{name}_total", "counter", help, ("", counters[name]))
    dropped = [(f'{{cause="{cause}"}}', count) for cause, count in counters["dropped"].items()]
    add("dropped_total", "counter", "Frames dropped, by cause.", *dropped)
    rates = (('{at="in"}', timing["fps_in"]), ('{at="out"}', timing["fps_out"]))
    add("frames_per_second", "gauge", "Frames captured and shown.", *rates)
    for name in ("latency_ms", "model_ms", "drawn_ms"):
        values = (('{quantile="0.5"}', timing[name]["p50"]), ('{quantile="0.95"}', timing[name]["p95"]))
        add(name, "gauge", "Milliseconds, over the last five seconds.", *values)
    add("pages", "gauge", "Number of open pages.", ("", state["pages"]["open"]))
    add("source_up", "gauge", "1 while the source delivers frames.", ("", float(state["source"]["state"] == "live")))
    return "\n".join(lines) + "\n"
