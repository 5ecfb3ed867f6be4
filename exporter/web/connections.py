"""Connections of those who ask: how many there may be, how long they may take, and what certificate they must show."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from functools import partial
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Final, NoReturn, Protocol

import anyio
import anyio.lowlevel
import h11
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exporter.config.web import WebConfig
from exporter.system import waiting
from exporter.web.access import Credentials

log = structlog.get_logger("exporter")

# A person, a Prometheus or a proxy needs few connections; a scanner opens many, and may have these and no other's.
CONNECTIONS: Final = waiting.CONNECTIONS if waiting.BY_SELECT else 512
CONNECTIONS_OF_ONE_ORIGIN: Final = 64
HANDSHAKE_WITHIN: Final = 5.0  # seconds for TLS
HEAD_WITHIN: Final = 10.0  # seconds for the head of a request, from the first moment it is waited for
ANSWER_WITHIN: Final = 300.0  # seconds for an answer to be made and taken
CONNECTION: Final = "connection"  # key of a request's connection in the state of its ASGI scope


class Counted(Protocol):
    """What the limiter knows of a connection."""

    origin: str

    @property
    def busy(self) -> bool:
        """Whether an answer is being made; otherwise it waits for a request that may never come."""

    @property
    def accepted(self) -> bool:
        """Whether requests are read from it."""

    def abort(self) -> None:
        """End it at once."""


class ConnectionLimiter:
    """Counts connections; when no place is free, one is made at the cost of the origin that holds most."""

    def __init__(self, most: int = CONNECTIONS, most_of_one: int = CONNECTIONS_OF_ONE_ORIGIN) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._open: dict[Counted, None] = {}  # oldest first

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: Counted) -> bool:
        """Whether there is a place for this connection; if so, it is counted from now on."""
        held = Counter(each.origin for each in self._open)
        own = held[connection.origin]
        if own >= self._most_of_one:
            return False
        if len(self._open) >= self._most:
            idle = [each for each in self._open if held[each.origin] > own and not each.busy]
            if not idle:
                return False
            oldest = max(idle, key=lambda each: held[each.origin])  # the first of those that are equal
            self.release(oldest)
            oldest.abort()
        self._open[connection] = None
        return True

    def release(self, connection: Counted) -> None:
        """Free the connection's place, if it has one."""
        self._open.pop(connection, None)

    def abort(self, *, unaccepted_only: bool = False) -> None:
        """End every connection, or those that have not been accepted yet."""
        for each in [each for each in self._open if not (unaccepted_only and each.accepted)]:
            each.abort()


def origin_of(address: str) -> str:
    """The host that an address belongs to: all of a /64 of IPv6 is one host, but link-local addresses are not."""
    ip = ip_address(address)
    if isinstance(ip, IPv4Address) or ip.is_link_local:
        return address
    return str(ip.ipv4_mapped or ip_network((int(ip), 64), strict=False))


class Connection(asyncio.Protocol):
    """Stands between the transport and the library's protocol, which sees a connection only when it is accepted.

    Accepted is what has a place and, with TLS, has shown a certificate that is allowed.
    """

    def __init__(
        self, origin: str, limiter: ConnectionLimiter, handler: Callable[[Connection], asyncio.Protocol]
    ) -> None:
        self.origin = origin
        self.busy = False
        self.lost = asyncio.Event()
        self._limiter = limiter
        self._make_handler = handler
        self._handler: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self._opening: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._allowed_sans = frozenset[str]()
        self._loop = asyncio.get_running_loop()

    @property
    def accepted(self) -> bool:
        """Whether requests are read from it."""
        return self._handler is not None

    @property
    def closing(self) -> bool:
        """Whether nothing more can be sent."""
        return self._transport is None or self._transport.is_closing()

    def open(self, socket: socket.socket, config: WebConfig) -> None:
        """Begin to speak on a socket, with TLS if that is configured; the place is free again when it ends."""
        self._allowed_sans = config.allowed_sans
        self._opening = self._loop.create_task(self._open(socket, config.tls))
        self._opening.add_done_callback(partial(self._opened, socket))

    def abort(self) -> None:
        """End at once, whatever is still to be sent."""
        if self._opening is not None:
            self._opening.cancel()
        if self._transport is not None:
            self._transport.abort()

    async def _open(self, socket: socket.socket, context: ssl.SSLContext | None) -> None:
        try:
            socket.setblocking(False)
            await self._loop.connect_accepted_socket(
                lambda: self, socket, ssl=context, ssl_handshake_timeout=HANDSHAKE_WITHIN if context else None
            )
        except OSError as error:  # no TLS, no certificate, too slow
            log.debug("connection not opened", origin=self.origin, error=str(error))

    def _opened(self, socket: socket.socket, _: asyncio.Task[None]) -> None:
        self._opening = None  # it may hold an error, whose traceback holds this and the buffers of TLS
        if self._transport is None:
            socket.close()
            self.connection_lost(None)

    # ---------------------------------------------------------------- called by the event loop

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # TCP gives no other
        """Judge the certificate, and let the library's protocol begin."""
        self._transport = transport
        if self._allowed_sans and self._allowed_sans.isdisjoint(_names(transport)):
            transport.abort()
            return
        self._expect_within(HEAD_WITHIN)
        self._handler = self._make_handler(self)
        self._handler.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Hand on what came, unless the connection ends."""
        if self._handler and self._transport and not self.closing:
            try:
                self._handler.data_received(data)
            except h11.LocalProtocolError:  # nonsense, too late for the answer 400: another answer has begun
                self._transport.close()

    def eof_received(self) -> bool | None:
        """Hand on that no more will come."""
        return self._handler.eof_received() if self._handler else None

    def pause_writing(self) -> None:
        """Hand on that the client reads too slowly."""
        if self._handler:
            self._handler.pause_writing()

    def resume_writing(self) -> None:
        """Hand on that the client has caught up."""
        if self._handler:
            self._handler.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the place."""
        self._limiter.release(self)
        self._expect_within(None)
        if self._handler:
            self._handler.connection_lost(exc)
        self.lost.set()

    # ---------------------------------------------------------------- answering

    def begin_answer(self) -> None:
        """Expect the whole answer within its time."""
        self.busy = True
        if not self.lost.is_set():
            self._expect_within(ANSWER_WITHIN)

    def complete_answer(self) -> None:
        """Expect the next request, or first that the answer is taken."""
        self.busy = False
        if self._transport and not self.lost.is_set():
            self._expect_within(ANSWER_WITHIN if self._transport.get_write_buffer_size() else HEAD_WITHIN)

    def _expect_within(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self._loop.call_later(seconds, self.abort)


async def accept(
    listener: socket.socket,
    limiter: ConnectionLimiter,
    credentials: Credentials,
    handler: Callable[[Connection], asyncio.Protocol],
) -> NoReturn:
    """Accept connections, for ever. Those for which there is no place are closed at once."""
    loop = asyncio.get_running_loop()
    listener.setblocking(False)
    while True:
        try:
            accepted, address = await loop.sock_accept(listener)
        except ConnectionError:  # it has gone before it was accepted, which Windows reports
            await anyio.lowlevel.checkpoint()
            continue
        except OSError as error:  # out of descriptors: it stays in the queue until there is one
            log.error("no connection can be accepted", error=str(error))  # noqa: TRY400 - says everything
            await anyio.sleep(1)
            continue
        connection = Connection(origin_of(address[0]), limiter, handler)
        if limiter.admit(connection):
            connection.open(accepted, credentials.config)
        else:
            accepted.close()
        await anyio.lowlevel.checkpoint()  # a flood is accepted without a pause, and would delay everything else


class TimedAnswers:
    """ASGI middleware that notes on a connection when one of its answers begins and when it is complete."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        connection: Connection = scope["state"][CONNECTION]

        async def sending(message: Message) -> None:
            if connection.closing:  # the library takes messages for a connection until it knows that this is lost
                await connection.lost.wait()
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                connection.complete_answer()

        connection.begin_answer()
        await self._app(scope, receive, sending)


def _names(transport: asyncio.BaseTransport) -> set[str]:
    """The alternative names in the client's certificate; none where it gave no certificate."""
    certificate = transport.get_extra_info("peercert") or {}
    return {str(name) for _, name in certificate.get("subjectAltName", ())}
