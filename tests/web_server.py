"""The web server on the loopback, before an application of the test's choice."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal
from starlette.types import ASGIApp

from exporter.web.access import Credentials
from exporter.web.server import ServerConfig, WebServer, listen
from tests.servers import HOST


@dataclass
class Serving:
    """A server that runs, seen from both sides."""

    address: tuple[str, int]
    server: WebServer
    portal: BlockingPortal

    def connect(self) -> socket.socket:
        """A connection to it."""
        return socket.create_connection(self.address, 5)

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

    def answer(self, *fields: str, path: str = "/") -> int:
        """The status of its answer to a request."""
        head = (f"GET {path} HTTP/1.1", "Host: x", "Connection: close", *fields, "", "")
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
    app: ASGIApp, web_config: Path | None = None, switched_off: Collection[str] = (), *, uvloop: bool = False
) -> Iterator[Serving]:
    """Serves until the block ends and what was asked is answered."""
    listener = listen(f"{HOST}:0")
    address = listener.getsockname()
    server = WebServer(app, ServerConfig([listener], Credentials(web_config), frozenset(switched_off)))
    with start_blocking_portal(backend_options={"use_uvloop": uvloop}) as portal:
        portal.start_task_soon(server.serve)
        yield Serving(address, server, portal)
        portal.call(server.stop)
