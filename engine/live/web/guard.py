"""Who may use the page: an ASGI middleware in front of every request and socket.

On loopback every program of this machine may; pages of other sites may not, which the Host and Origin headers tell
(DNS rebinding, cross-site requests). On any other address a random token is the first part of every path.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
        b"object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def new_token() -> str:
    """A token for an address: 128 random bits."""
    return secrets.token_urlsafe(16)


class Guard:
    """Refuses what must not pass, and mounts the app behind the token.

    Args:
        app: what is guarded.
        token: first part of every path; "" for none.
        local_only: accept only Host headers that name this machine's loopback.
    """

    def __init__(self, app: App, token: str, *, local_only: bool) -> None:
        self._app = app
        self._token = token
        self._local_only = local_only

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        problem = self._problem(scope, headers)
        if problem:
            await _refuse(scope, receive, send, problem)
            return
        if self._token:
            prefix = "/" + self._token
            scope = {**scope, "root_path": prefix}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []), *_HEADERS]}
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _problem(self, scope: Scope, headers: dict[bytes, str]) -> str:
        host = headers.get(b"host", "")
        name = urlsplit("//" + host).hostname or ""
        if self._local_only and not is_loopback(name):
            return f"the address {host!r} is not this machine's loopback"
        origin = headers.get(b"origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return f"a page of {origin!r} may not use this one"
        if self._token:
            given = scope["path"].split("/", 2)[1] if scope["path"].startswith("/") else ""
            if not hmac.compare_digest(given.encode(), self._token.encode()):
                return "the token in the address is missing or wrong; take the whole address that engine live printed"
        return ""


async def _refuse(scope: Scope, receive: Receive, send: Send, problem: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": problem[:100]})
        return
    body = f"403 forbidden: {problem}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode()), *_HEADERS]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})
