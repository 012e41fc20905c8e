"""Where the page of a live session is served, taken before the server and its packages are imported."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import MediaError, OptionError, reason
from .guard import is_loopback, new_token

if TYPE_CHECKING:
    import ssl

DEFAULT_PORT = 8000
SILENT_S = 20.0
"""A connection whose other end takes nothing for so long is cut."""


@dataclass(frozen=True)
class Address:
    """Where the page is served."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    certificate: Path | None = None
    key: Path | None = None

    @property
    def local(self) -> bool:
        """Whether only this machine reaches it."""
        return is_loopback(self.host)


class Listener:
    """An address that is taken: connections wait until a server answers them.

    Args:
        address: a port of 0 takes a free one.

    Raises:
        MediaError: the address is taken, or not one of this machine.
        OptionError: the certificate cannot be used.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self.tls = _load_certificate(address)
        self.token = "" if address.local else new_token()
        """First part of every path; "" for none."""
        self.socket = _listen(address)
        self.port = int(self.socket.getsockname()[1])

    @property
    def url(self) -> str:
        """The address of the page, with its token."""
        scheme = "https" if self.address.certificate else "http"
        host = self.address.host
        if host in ("0.0.0.0", "::"):
            host = _own_address()
        host = f"[{host}]" if ":" in host else host
        return f"{scheme}://{host}:{self.port}/" + (f"{self.token}/" if self.token else "")

    def close(self) -> None:
        """Give the address up. A second call has no effect."""
        self.socket.close()


def _load_certificate(address: Address) -> ssl.SSLContext | None:
    if address.certificate is None:
        return None
    import ssl  # late: without a certificate nothing needs it

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(address.certificate, address.key)
    except (OSError, ValueError) as error:
        raise OptionError(f"The certificate cannot be used ({reason(error)}). Check --cert and --key.") from error
    return context


def _listen(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        listening = socket.create_server((address.host, address.port), family=family, backlog=64)
    except socket.gaierror as error:
        raise MediaError(f"{address.host} is not an address of this machine ({reason(error)}).") from error
    except OSError as error:
        cure = "Choose another with --web HOST:PORT, or stop the program that uses it."
        raise MediaError(f"{address.host}:{address.port} cannot be listened on ({reason(error)}). {cure}") from error
    # A message after another is sent at once, not after an acknowledgement, which may take 40 ms: asyncio sets this
    # for sockets whose protocol is TCP, and create_server leaves that field 0. Connections take options over.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * SILENT_S))
    return listening


def _own_address() -> str:
    """The address of this machine in its network, as far as the system tells."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # documentation network: nothing is sent
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
