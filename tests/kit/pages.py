"""A page of ``engine live`` without a browser: a WebSocket that sends what a test says and reads what it likes."""

from __future__ import annotations

import base64
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Page:
    """An open WebSocket; called with a message, it sends it."""

    def __init__(self, client: socket.socket) -> None:
        self.client = client

    def __call__(self, message: dict[str, object]) -> None:
        text = json.dumps(message).encode()
        length = bytes([0x80 | len(text)]) if len(text) < 126 else bytes([0xFE]) + len(text).to_bytes(2, "big")
        self.client.sendall(b"\x81" + length + bytes(4) + text)  # a mask of zeros


@contextmanager
def page(server: Any, received: int | None = None) -> Iterator[Page]:
    """A client that has opened a WebSocket of a server and read nothing yet.

    Args:
        received: bytes of the system's buffer for what arrives.
    """
    with socket.socket() as client:
        if received is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, received)
        client.connect(("127.0.0.1", server.port))
        key = base64.b64encode(os.urandom(16)).decode()
        client.sendall(
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        client.settimeout(20)
        assert client.recv(12) == b"HTTP/1.1 101"
        client.settimeout(2)
        yield Page(client)
