"""The door of the HTTP side on the loopback, before an application of the test's choice."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
import uvicorn
from anyio.from_thread import BlockingPortal, start_blocking_portal
from starlette.types import ASGIApp

from exporter.door import Keys
from exporter.serve import Front, listen, open_doors, server_of
from tests.servers import HOST


@dataclass
class Door:
    """An open door, seen from both sides."""

    address: tuple[str, int]
    server: uvicorn.Server
    portal: BlockingPortal

    def call(self) -> socket.socket:
        """A connection to it."""
        return socket.create_connection(self.address, 5)

    def heard(self) -> None:
        """Wait until it has read what was sent, so that what is sent next comes as a packet of its own."""
        for _ in range(3):
            self.portal.call(anyio.sleep, 0)

    def said(self, *packets: bytes) -> bytes:
        """All that it answers to these packets and to the end of what we have to say."""
        with self.call() as connection, suppress(OSError):
            for packet in packets:
                connection.sendall(packet)
                self.heard()
            connection.shutdown(socket.SHUT_WR)
            return read(connection)
        return b""

    def answer(self, *fields: str, path: str = "/") -> int:
        """The status of its answer to a request."""
        head = (f"GET {path} HTTP/1.1", "Host: x", "Connection: close", *fields, "", "")
        with self.call() as connection:
            connection.sendall("\r\n".join(head).encode("latin-1"))
            return int(read(connection).split()[1])

    def inside(self) -> int:
        """How many connections it holds."""
        return len(self.server.server_state.connections)


def read(connection: socket.socket) -> bytes:
    """All that comes, until the other side hangs up."""
    answered = b""
    with suppress(ConnectionError):
        while data := connection.recv(65536):
            answered += data
    return answered


@contextmanager
def opened(app: ASGIApp, web_config: Path | None = None, closed: Collection[str] = ()) -> Iterator[Door]:
    """Open to all who come by, until the block ends and what was asked is answered."""
    listener = listen(f"{HOST}:0")
    front = Front([listener], Keys(web_config), frozenset(closed))
    server = server_of(app, front)

    async def serve(*, task_status: anyio.abc.TaskStatus[anyio.CancelScope]) -> None:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(open_doors, front, server, anyio.CancelScope(), group)
                task_status.started(scope)

    async def close(scope: anyio.CancelScope) -> None:
        scope.cancel()
        await asyncio.gather(*server.server_state.tasks)

    with start_blocking_portal() as portal:
        address = listener.getsockname()
        _, scope = portal.start_task(serve)
        yield Door(address, server, portal)
        portal.call(close, scope)
