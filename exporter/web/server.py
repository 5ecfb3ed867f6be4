"""Listen and serve: an ASGI application and who may ask it -> HTTP on sockets, by uvicorn, in our event loop."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import anyio
import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from exporter.system.words import words_of
from exporter.web.access import ALWAYS, LONGEST_HEAD, ORIGIN, Access, Credentials, Policy
from exporter.web.connections import CONNECTION, HEAD_WITHIN, Acceptor, Answers, Connection, ConnectionLimiter, contain

GRACE: Final = 2  # seconds that answers under way have to finish
BACKLOG: Final = 2048  # connections that wait to be accepted; others, of a Prometheus too, are tried again later


class ListenError(Exception):
    """An address that cannot be listened on."""


@dataclass(frozen=True)
class ServerConfig:
    """What the web server listens on, who may ask, and which paths are switched off."""

    sockets: Sequence[socket.socket]
    credentials: Credentials
    policy: Policy = field(default_factory=Policy)

    @property
    def addresses(self) -> str:
        """What is listened on, for people."""
        return ",".join(map(_shown, self.sockets))


def listen(address: str) -> socket.socket:
    """A listening socket for `HOST:PORT`, `[IPV6]:PORT`, or `:PORT` for all addresses. Raises ListenError.

    `[::]:PORT` is all of IPv4, too, as it is for exporters in Go.
    """
    host, port = parted(address)
    dual_stack = host in {"", "::"} and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual_stack or ":" in host else socket.AF_INET
    try:
        if sys.platform == "win32":
            return _listen_alone((host, port), family, dual_stack=dual_stack)
        return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=dual_stack)
    except UnicodeError:  # of a name with an empty label, say
        raise ListenError(f"cannot listen on {address}: {_NO_HOST}") from None
    except OSError as error:
        raise ListenError(f"cannot listen on {address}: {_reason(error, port)}") from error


def _reason(error: OSError, port: int) -> str:
    """Why nothing can be listened on, and what to do about it."""
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"the port is in use; {_WHOSE.format(port=port)} shows by whom. End that program or give another port"
            )
        case errno.EACCES if sys.platform == "win32":  # how it says so where the other program shares its port
            return f"another program has the port, or Windows keeps it; {_WHOSE.format(port=port)} shows it if one has"
        case errno.EACCES:
            return "ports below 1024 are for the administrator; give a higher one"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address; give one of its own, or :PORT for all of them"
        case socket.EAI_NONAME | socket.EAI_AGAIN:
            return _NO_HOST
        case number:
            return words_of(number) if number else str(error)


_NO_HOST: Final = "the name is not known; give an address of this machine, or :PORT for all of them"
_WHOSE: Final = (
    "`Get-NetTCPConnection -LocalPort {port} | Select-Object OwningProcess`"
    if sys.platform == "win32"
    else "`ss -ltnp sport = :{port}`"
)


if sys.platform == "win32":

    def _listen_alone(address: tuple[str, int], family: int, *, dual_stack: bool) -> socket.socket:
        """The same so that no other program, of whatever account, can take the port beside us, as Windows lets it."""
        listener = socket.socket(family)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            if dual_stack:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listener.bind(address)
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
        return listener


def parted(address: str) -> tuple[str, int]:
    """Host, empty for all addresses, and port. Raises ListenError."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004 - the highest port there is
        raise ListenError(f"{address!r} is not HOST:PORT, for example :10965 or 127.0.0.1:10965")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _shown(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if bound.family == socket.AF_INET6 else f"{host}:{port}"


class _Handler(H11Protocol):
    """The library's, whose answer to what is no request lacks the headers that all answers have."""

    def send_400_response(self, msg: str) -> None:
        """Refuse, and hang up."""
        fields = {**ALWAYS, "Content-Type": "text/plain; charset=utf-8", "Connection": "close"}
        head = h11.Response(status_code=400, headers=list(fields.items()), reason=HTTPStatus(400).phrase)
        for event in (head, h11.Data(data=f"{msg}\n".encode()), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


class WebServer:
    """Serves an application on its sockets, from `serve` to `stop`; it takes no signals.

    uvicorn would accept by itself, but then nothing counts who is in a handshake, or ends one that is too slow.
    """

    def __init__(self, app: ASGIApp, config: ServerConfig) -> None:
        self.connections = ConnectionLimiter()
        self._served = config
        self._accepting: anyio.CancelScope | None = None
        self._config = uvicorn.Config(
            Answers(Access(app, config.credentials, config.policy)),
            http="h11",
            ws="none",
            h11_max_incomplete_event_size=LONGEST_HEAD,
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            lifespan="off",
            timeout_keep_alive=int(HEAD_WITHIN),
            timeout_graceful_shutdown=GRACE,
        )
        self._config.load()
        self._server = uvicorn.Server(self._config)
        self._server.lifespan = self._config.lifespan_class(self._config)

    def _handler(self, connection: Connection) -> asyncio.Protocol:
        state = {CONNECTION: connection, ORIGIN: connection.origin}
        return _Handler(self._config, self._server.server_state, state)

    async def serve(self) -> None:
        """Accept connections, until `stop`."""
        await self._server.startup(sockets=[])
        asyncio.get_running_loop().set_exception_handler(contain)
        with anyio.CancelScope() as self._accepting, ExitStack() as listening:
            acceptor = Acceptor(self.connections, self._served.credentials, self._handler)
            async with anyio.create_task_group() as group:
                group.start_soon(acceptor.open)
                for listener in map(listening.enter_context, self._served.sockets):
                    group.start_soon(acceptor.accept, listener)

    async def stop(self) -> None:
        """Accept no more, wait for GRACE seconds until what was asked is answered, and hang up."""
        if self._accepting is not None:
            self._accepting.cancel()
        self.connections.abort(unaccepted_only=True)
        if self._server.started:
            await self._server.shutdown()
        self.connections.abort()
