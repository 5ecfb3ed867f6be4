"""Connections of those who ask: how many there may be, what they may hold, how long they may take, whom they show."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any, Final, NoReturn, Protocol

import anyio
import anyio.lowlevel
import h11
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exporter.config.web import WebConfig
from exporter.system import waiting
from exporter.web.access import PROVEN, Credentials
from exporter.web.callers import origin_of

log = structlog.get_logger("exporter")

# A person, a Prometheus or a proxy needs few connections; a scanner opens many, and may have these and no other's.
CONNECTIONS: Final = waiting.CONNECTIONS if waiting.BY_SELECT else 512
CONNECTIONS_OF_ONE_ORIGIN: Final = 64
HANDSHAKE_WITHIN: Final = 5.0  # seconds for TLS
HEAD_WITHIN: Final = 10.0  # seconds for the head of a request, from the first moment it is waited for
ANSWER_WITHIN: Final = 300.0  # seconds for an answer to be made and taken
ACCEPTED_AT_ONCE: Final = 64  # connections, before all else has its turn
OPENED_AT_ONCE: Final = 16
STALLED_AFTER: Final = 5.0  # seconds in which nothing of an answer is taken
PIECE: Final = 16 << 10  # bytes of an answer that are sent at a time, so that the rest is here, where it is counted
SYSTEM_BUFFER: Final = (
    128 << 10
)  # bytes for a connection, which would be some MB and are counted as ours in a container
UNSENT: Final = 32 << 20  # bytes of answers that are still to be sent to all
UNSENT_OF_ONE_ORIGIN: Final = 8 << 20
CONNECTION: Final = "connection"  # key of a request's connection in the state of its ASGI scope


class Counted(Protocol):
    """What the limiter knows of a connection."""

    origin: str
    proven: bool  # who asks may do so, and has asked for more than health
    unsent: int  # bytes of its answer that are still to be sent

    @property
    def busy(self) -> bool:
        """Whether an answer is being made or taken; otherwise it waits for a request that may never come."""

    @property
    def accepted(self) -> bool:
        """Whether requests are read from it."""

    def abort(self) -> None:
        """End it at once."""


class ConnectionLimiter:
    """Counts connections, and bytes that they are still to be sent; who holds most makes room for others."""

    def __init__(
        self,
        most: int = CONNECTIONS,
        most_of_one: int = CONNECTIONS_OF_ONE_ORIGIN,
        unsent: int = UNSENT,
        unsent_of_one: int = UNSENT_OF_ONE_ORIGIN,
    ) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._most_unsent = unsent
        self._most_unsent_of_one = unsent_of_one
        self._open: dict[Counted, None] = {}  # oldest first

    def __len__(self) -> int:
        return len(self._open)

    @property
    def unsent(self) -> int:
        """How many bytes of answers are still to be sent."""
        return sum(each.unsent for each in self._open)

    def admit(self, connection: Counted) -> bool:
        """Whether there is a place for this connection; if so, it is counted from now on.

        When its origin has as many as it may have, the oldest of them that is idle goes, and first one from which
        nothing was asked by who may ask. When there is no place in all, an idle one of the origin with most goes.
        """
        held = Counter(each.origin for each in self._open)
        own = held[connection.origin]
        if own >= self._most_of_one:
            idle = [each for each in self._open if each.origin == connection.origin and not each.busy]
        elif len(self._open) >= self._most:
            idle = [each for each in self._open if held[each.origin] > own and not each.busy]
        else:
            self._open[connection] = None
            return True
        if not idle:
            return False
        self._end(min(idle, key=lambda each: (-held[each.origin], each.proven)))  # the first of those that are equal
        self._open[connection] = None
        return True

    def make_room(self, connection: Counted, size: int) -> None:
        """End connections, the oldest first, until an answer of so many bytes may wait to be sent to this one.

        They are of its own origin, or, where all are sent too much, of the one that is sent most.
        """
        while slow := [each for each in self._open if each.unsent and each is not connection]:
            held = Counter({connection.origin: size})
            for each in slow:
                held[each.origin] += each.unsent
            own = [each for each in slow if each.origin == connection.origin]
            if own and held[connection.origin] > self._most_unsent_of_one:
                self._end(own[0])
            elif held.total() > self._most_unsent:
                self._end(max(slow, key=lambda each: held[each.origin]))  # the first of those that are equal
            else:
                return

    def _end(self, connection: Counted) -> None:
        self.release(connection)
        connection.abort()

    def release(self, connection: Counted) -> None:
        """Free the connection's place, if it has one."""
        self._open.pop(connection, None)

    def abort(self, *, unaccepted_only: bool = False) -> None:
        """End every connection, or those that have not been accepted yet."""
        for each in [each for each in self._open if not (unaccepted_only and each.accepted)]:
            each.abort()


class Connection(asyncio.Protocol):
    """Stands between the transport and the library's protocol, which sees a connection only when it is accepted.

    Accepted is what has a place and, with TLS, has shown a certificate that is allowed.
    """

    def __init__(
        self,
        origin: str,
        accepted: socket.socket,
        limiter: ConnectionLimiter,
        handler: Callable[[Connection], asyncio.Protocol],
    ) -> None:
        self.origin = origin
        self._socket: socket.socket | None = accepted  # until there is a transport, which then owns it
        self.proven = False
        self.unsent = 0
        self.lost = asyncio.Event()
        self._answers: set[anyio.CancelScope] = set()  # being made; the next may begin just before the last one ends
        self._stalled_since: float | None = None
        self._limiter = limiter
        self._make_handler = handler
        self._handler: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self._opening: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._allowed_sans = frozenset[str]()
        self._loop = asyncio.get_running_loop()

    @property
    def busy(self) -> bool:
        """Whether an answer is being made or taken; one of which nothing is taken for a while keeps no place."""
        if self._stalled_since is not None and self._loop.time() - self._stalled_since > STALLED_AFTER:
            return False
        return bool(self._answers or self.unsent)

    @property
    def accepted(self) -> bool:
        """Whether requests are read from it."""
        return self._handler is not None

    @property
    def closing(self) -> bool:
        """Whether nothing more can be sent."""
        return self._transport is None or self._transport.is_closing()

    def open(self, config: WebConfig) -> None:
        """Begin to speak, with TLS if that is configured; the place is free again when it ends."""
        if self._socket is None:  # it had to make room meanwhile
            return
        self._allowed_sans = frozenset(map(plain_name, config.allowed_sans))
        self._opening = self._loop.create_task(self._open(self._socket, config.tls))
        self._opening.add_done_callback(self._opened)

    def abort(self) -> None:
        """End at once, whatever is still to be sent."""
        if self._opening is not None:
            self._opening.cancel()
        elif self._transport is None:
            self._close()
        if self._transport is not None:
            self._transport.abort()

    async def _open(self, accepted: socket.socket, context: ssl.SSLContext | None) -> None:
        try:
            accepted.setblocking(False)
            await self._loop.connect_accepted_socket(
                lambda: self, accepted, ssl=context, ssl_handshake_timeout=HANDSHAKE_WITHIN if context else None
            )
        except Exception as error:  # noqa: BLE001 - no TLS, no certificate, too slow, or names in it that cannot be read
            log.debug("connection not opened", origin=self.origin, error=str(error))

    def _opened(self, _: asyncio.Task[None]) -> None:
        self._opening = None  # it may hold an error, whose traceback holds this and the buffers of TLS
        if self._transport is None:
            self._close()

    def _close(self) -> None:
        """Close what never had a transport."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self.connection_lost(None)

    # ---------------------------------------------------------------- called by the event loop

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # TCP gives no other
        """Judge the certificate, and let the library's protocol begin."""
        self._transport, self._socket = transport, None
        transport.set_write_buffer_limits(high=PIECE)
        if self._allowed_sans and self._allowed_sans.isdisjoint(_names(transport)):
            log.debug(
                "connection not opened", origin=self.origin, error="none of client_allowed_sans in the certificate"
            )
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
            except Exception as error:  # noqa: BLE001 - whatever it is, it ends this connection and nothing else
                log.debug("connection ended", origin=self.origin, error=f"{type(error).__name__}: {error}")
                self._transport.abort()

    def eof_received(self) -> bool | None:
        """Hand on that no more will come."""
        return self._handler.eof_received() if self._handler else None

    def pause_writing(self) -> None:
        """Hand on that the client reads too slowly."""
        self._stalled_since = self._loop.time()
        if self._handler:
            self._handler.pause_writing()

    def resume_writing(self) -> None:
        """Hand on that the client has caught up."""
        self._stalled_since = None
        if self._handler:
            self._handler.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the place, and end the work on its answer."""
        self._limiter.release(self)
        self._expect_within(None)
        for answer in self._answers:
            answer.cancel()
        if self._handler:
            self._handler.connection_lost(exc)
        self.lost.set()

    # ---------------------------------------------------------------- answering

    @contextmanager
    def answering(self) -> Iterator[None]:
        """An answer is made in this block, within its time; it is left at once when the connection is lost."""
        with anyio.CancelScope() as answer:
            self._answers.add(answer)
            try:
                if self.lost.is_set():
                    answer.cancel()
                else:
                    self._expect_within(ANSWER_WITHIN)
                yield
            finally:
                self._answers.discard(answer)

    async def end_with_it(self) -> None:
        """Be cancelled where nothing more can be sent: the library takes messages until it knows of that."""
        if self.closing:
            await self.lost.wait()
            await anyio.lowlevel.checkpoint()

    def hold(self, size: int) -> None:
        """Note that so many bytes are to be sent; others may have to go for that."""
        self._limiter.make_room(self, size)
        self.unsent = size

    def complete_answer(self) -> None:
        """Expect the next request, or first that the answer is taken."""
        if self._transport and not self.lost.is_set():
            self._expect_within(ANSWER_WITHIN if self._transport.get_write_buffer_size() else HEAD_WITHIN)

    def _expect_within(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self._loop.call_later(seconds, self.abort)


class Acceptor:
    """Accepts connections as fast as they come, and opens them in turn: one of each origin before the next of any.

    Who comes in a flood waits behind it no longer than one who comes alone, for what is dear is to open a connection.
    """

    def __init__(
        self,
        limiter: ConnectionLimiter,
        credentials: Credentials,
        handler: Callable[[Connection], asyncio.Protocol],
    ) -> None:
        self._limiter = limiter
        self._credentials = credentials
        self._handler = handler
        self._accepted: dict[str, deque[Connection]] = {}  # in the order in which the origins come next
        self._more = anyio.Event()

    async def accept(self, listener: socket.socket) -> NoReturn:
        """Accept, for ever. Connections for which there is no place are closed at once."""
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SYSTEM_BUFFER)  # as each that it accepts has, then
        in_a_row = 0
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
            connection = Connection(origin_of(address[0]), accepted, self._limiter, self._handler)
            if self._limiter.admit(connection):
                self._accepted.setdefault(connection.origin, deque()).append(connection)
                self._more.set()
            else:
                connection.abort()
            in_a_row += 1
            if in_a_row % ACCEPTED_AT_ONCE == 0:  # a flood is accepted without a pause, and would delay everything else
                await anyio.lowlevel.checkpoint()

    async def open(self) -> NoReturn:
        """Open what was accepted, for ever."""
        while True:
            if not self._accepted:
                self._more = anyio.Event()
                await self._more.wait()
            for origin in list(self._accepted)[:OPENED_AT_ONCE]:
                waiting = self._accepted.pop(origin)
                waiting.popleft().open(self._credentials.config)
                if waiting:
                    self._accepted[origin] = waiting  # behind all others
            await anyio.lowlevel.checkpoint()


def contain(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Take what the event loop says of a stranger's connection for what it is: no fault of ours, and no traceback."""
    if "transport" in context or "protocol" in context:
        log.debug("connection ended", what=context["message"], error=str(context.get("exception", "")))
    else:
        loop.default_exception_handler(context)


class Answers:
    """ASGI middleware that ties answers to their connection: they end with it, and are sent as they are taken."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        connection: Connection = scope["state"][CONNECTION]

        async def sending(message: Message) -> None:
            await connection.end_with_it()
            connection.proven = connection.proven or PROVEN in scope["state"]
            if message["type"] != "http.response.body":
                await send(message)
                return
            await _in_pieces(message, connection, send)
            if not message.get("more_body", False):
                connection.complete_answer()

        with connection.answering():
            await self._app(scope, receive, sending)


async def _in_pieces(message: Message, connection: Connection, send: Send) -> None:
    """Send a body so that the library holds little of it: it waits before each piece until the last ones are taken."""
    body, more = message.get("body", b""), message.get("more_body", False)
    connection.hold(len(body))
    try:
        for start in range(0, len(body) or 1, PIECE):
            await connection.end_with_it()
            piece = body[start : start + PIECE]
            last = start + PIECE >= len(body)
            await send({"type": "http.response.body", "body": piece, "more_body": more or not last})
            connection.unsent -= len(piece)
    finally:
        connection.unsent = 0


def _names(transport: asyncio.BaseTransport) -> set[str]:
    """The alternative names in the client's certificate, of the kinds that have a text; none where it gave none."""
    certificate = transport.get_extra_info("peercert") or {}
    names = certificate.get("subjectAltName", ())
    return {plain_name(str(name)) for kind, name in names if kind in _KINDS}


_KINDS: Final = frozenset({"DNS", "email", "IP Address", "URI"})


def plain_name(name: str) -> str:
    """A name as it is compared: an address in its shortest form, which OpenSSL writes at length."""
    try:
        return str(ip_address(name.strip()))
    except ValueError:
        return name
