"""The web server on the loopback, before an application of the test's choice."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal
from starlette.types import ASGIApp

from exporter.system.loop import UVLOOP, selecting_loop
from exporter.web.access import PROBE, RELOAD, Credentials, Policy
from exporter.web.server import ServerConfig, WebServer, listen
from tests.servers import HOST

OPEN: Final = Policy(opened=frozenset({RELOAD, PROBE}))
LOOPS: Final[dict[str, dict[str, Any]]] = {
    "asyncio": {},
    "select": {"loop_factory": selecting_loop},  # as on Windows
    **({"uvloop": {"use_uvloop": True}} if UVLOOP else {}),
}


@dataclass
class Serving:
    """A server that runs, seen from both sides."""

    address: tuple[str, int]
    server: WebServer
    portal: BlockingPortal

    def connect(self) -> socket.socket:
        """A connection to it."""
        return socket.create_connection(self.address, 5)

    @contextmanager
    def secure(self, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
        """The same by TLS. Raises OSError."""
        with self.connect() as plain, context.wrap_socket(plain, server_hostname="localhost") as connection:
            yield connection

    def heard(self) -> None:
        """Wait until it has read what was sent, so that what is sent next comes as a packet of its own."""
        for _ in range(3):
            self.portal.call(anyio.sleep, 0)

    def said(self, *packets: bytes) -> bytes:
        """All that it answers to these packets and to the end of what we have to say."""
        with self.connect() as connection, suppress(OSError):
            for packet in packets:
                connection.sendall(packet)
                self.heard()
            connection.shutdown(socket.SHUT_WR)
            return read(connection)
        return b""

    def answer(self, *fields: str, path: str = "/", method: str = "GET") -> int:
        """The status of its answer to a request."""
        head = (f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *fields, "", "")
        with self.connect() as connection:
            connection.sendall("\r\n".join(head).encode("latin-1"))
            return int(read(connection).split()[1])

    def open(self) -> int:
        """How many connections it holds."""
        return len(self.server.connections)


def read(connection: socket.socket) -> bytes:
    """All that comes, until the other side hangs up."""
    answered = b""
    with suppress(ConnectionError):
        while data := connection.recv(65536):
            answered += data
    return answered


@contextmanager
def serving(
    app: ASGIApp, web_config: Path | None = None, policy: Policy = OPEN, *, loop: str = "asyncio"
) -> Iterator[Serving]:
    """Serves until the block ends and what was asked is answered."""
    listener = listen(f"{HOST}:0")
    address = listener.getsockname()
    server = WebServer(app, ServerConfig([listener], Credentials(web_config), policy))
    with start_blocking_portal(backend_options=LOOPS[loop]) as portal:
        portal.start_task_soon(server.serve)
        yield Serving(address, server, portal)
        portal.call(server.stop)
