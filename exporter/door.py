"""The door of the HTTP side: who is let in, how many at a time, and for how long they may make us wait."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import socket
import time
from base64 import b64decode
from binascii import Error as NotBase64
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.lowlevel
import anyio.to_thread
import bcrypt
import h11
import structlog
from anyio.abc import TaskGroup
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from exporter.config.documents import DocumentError
from exporter.config.web import WebConfig, files_of, load
from exporter.probe.net.threads import in_daemon_thread
from exporter.system import waiting

log = structlog.get_logger("exporter")

# A person, a Prometheus or a proxy asks by few connections; a scanner by many, and may have these and no other's.
CONNECTIONS: Final = waiting.CONNECTIONS if waiting.BY_SELECT else 512
CONNECTIONS_OF_ONE_ORIGIN: Final = 64
HANDSHAKE_WITHIN: Final = 5.0  # seconds for TLS
HEAD_WITHIN: Final = 10.0  # seconds for the head of a request, from the first moment it is waited for
ANSWER_WITHIN: Final = 300.0  # seconds for an answer to be made and taken
LONGEST_HEAD: Final = 16 << 10  # bytes
LONGEST_BODY: Final = 4 << 10  # bytes; no request needs one
PROBES_AT_ONCE: Final = 8  # on demand, beside those on the timer
OPEN_TO_ALL: Final = frozenset({"/-/healthy", "/-/ready"})
LOOK_EVERY: Final = 1.0  # seconds between two looks at the files
LOOK_WITHIN: Final = 2.0  # seconds that who asks waits for one


class Keys:
    """The web-config in force: read again when one of its files changes; where that fails, the old one stays.

    So it does as long as one of them hangs, which holds up who asks for a moment once, and nobody else.
    """

    def __init__(self, path: Path | None) -> None:
        """Raises DocumentError."""
        self._path = path
        self._seen = self._look()
        self.config = load(path)
        self._looked = time.monotonic()
        self._looking = False

    @property
    def hang(self) -> bool:
        """Whether one of the files is being read."""
        return self._looking

    async def current(self) -> WebConfig:
        """What holds now."""
        if self._path is not None and not self._looking and time.monotonic() - self._looked >= LOOK_EVERY:
            self._looking = True
            with anyio.move_on_after(LOOK_WITHIN):
                await in_daemon_thread(self._look_again)
        return self.config

    def _look_again(self) -> None:
        try:
            seen = self._look()
            if seen != self._seen:
                self._seen = seen
                self._read_again()
        finally:
            self._looked, self._looking = time.monotonic(), False

    def _look(self) -> list[object]:
        """How the file and those that it names look now; also where a mistake in them keeps the old ones in force."""
        return [(file, _signature(file)) for file in files_of(self._path)] if self._path else []

    def _read_again(self) -> None:
        try:
            self.config = load(self._path)
        except DocumentError as error:
            for mistake in error.mistakes:
                log.error("web configuration not reloaded", mistake=str(mistake))  # noqa: TRY400 - a person's mistake
        else:
            log.info("web configuration reloaded", file=str(self._path), **self.config.demands)


def _signature(path: Path) -> object:
    try:
        found = path.stat()
    except (OSError, ValueError) as error:  # not there, or no path at all
        return str(error)
    return (found.st_ino, found.st_mtime_ns, found.st_size)


# ---------------------------------------------------------------- requests


class Guard:
    """Stands before the application: turns away whom it must, and adds the headers to every answer."""

    def __init__(self, app: ASGIApp, keys: Keys, closed: Collection[str] = ()) -> None:
        self._app = app
        self._keys = keys
        self._closed = closed  # paths that are switched off
        self._passwords = _Passwords()
        self._probes = anyio.Semaphore(PROBES_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        config = await self._keys.current()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(config.headers)
            await send(message)

        with suppress(asyncio.CancelledError):  # the exporter ends, and has waited for this answer long enough
            await self._answer(scope, receive, sending, config)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, config: WebConfig) -> None:
        answer = await self._refusal(scope, config) or self._app
        if answer is not self._app or scope["path"] != "/probe":
            await answer(scope, receive, send)
            return
        try:
            self._probes.acquire_nowait()
        except anyio.WouldBlock:
            await _TOO_MANY(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        finally:
            self._probes.release()

    async def _refusal(self, scope: Scope, config: WebConfig) -> ASGIApp | None:
        headers, path = Headers(scope=scope), scope["path"]
        if excess := _excess(scope, headers):
            return excess
        asked = config.users and path not in OPEN_TO_ALL
        if asked and not await self._passwords.open(headers.get("authorization", ""), config):
            return PlainTextResponse("unauthorized\n", HTTPStatus.UNAUTHORIZED, _ASK)
        if path in self._closed:
            return PlainTextResponse("switched off\n", HTTPStatus.NOT_FOUND)
        if not path.isprintable():  # the routes take `/probe` with a line end behind it for `/probe`
            return PlainTextResponse("no such path\n", HTTPStatus.NOT_FOUND)
        return None


def _excess(scope: Scope, headers: Headers) -> ASGIApp | None:
    """The refusal of a request that is larger than any needs to be."""
    head = len(scope["raw_path"]) + len(scope["query_string"]) + sum(len(n) + len(v) for n, v in headers.raw)
    if head > LONGEST_HEAD:  # a head that comes in one piece passes the server's own limit
        return PlainTextResponse("the head is too long\n", HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _HANG_UP)
    if "transfer-encoding" in headers:  # of any length, and where requests are smuggled
        return PlainTextResponse("no request needs a body in chunks\n", HTTPStatus.LENGTH_REQUIRED, _HANG_UP)
    if int(headers.get("content-length", "0")) > LONGEST_BODY:
        return PlainTextResponse("no request needs a body as long\n", HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _HANG_UP)
    return None


_HANG_UP: Final = {"Connection": "close"}
_ASK: Final = {"WWW-Authenticate": 'Basic realm="configmgr-endpoint-exporter", charset="UTF-8"'}
_TOO_MANY: Final = PlainTextResponse(
    f"{PROBES_AT_ONCE} probes on demand are under way; try again later\n",
    HTTPStatus.SERVICE_UNAVAILABLE,
    {"Retry-After": "5"},
)


_BCRYPT_READS: Final = 72  # bytes: others leave the rest unread, so a longer password fits here where it fits there


class _Passwords:
    """Compares passwords with hashes: one at a time, since each takes as long as it should, and what fitted is kept."""

    def __init__(self) -> None:
        self._one_at_a_time = anyio.CapacityLimiter(1)
        self._salt = secrets.token_bytes(16)
        self._nobody = bcrypt.hashpw(secrets.token_bytes(16), bcrypt.gensalt(10))  # so that a name takes no less time
        self._fitted: set[bytes] = set()

    async def open(self, authorization: str, config: WebConfig) -> bool:
        """Whether these credentials are somebody's."""
        name, password = _credentials(authorization)
        if name is None:
            return False
        known = config.users.get(name, self._nobody)
        seen = hashlib.sha256(b"\0".join((self._salt, known, password))).digest()
        if seen in self._fitted:
            return True
        fits = await anyio.to_thread.run_sync(_fits, password, known, limiter=self._one_at_a_time)
        if not fits or name not in config.users:
            return False
        if len(self._fitted) > len(config.users):  # hashes that were replaced
            self._fitted.clear()
        self._fitted.add(seen)
        return True


def _credentials(authorization: str) -> tuple[str | None, bytes]:
    scheme, _, text = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None, b""
    with suppress(NotBase64, UnicodeDecodeError, ValueError):
        name, colon, password = b64decode(text.strip(), validate=True).partition(b":")
        if colon:
            return name.decode(), password
    return None, b""


def _fits(password: bytes, known: bytes) -> bool:
    try:
        return bcrypt.checkpw(password[:_BCRYPT_READS], known)
    except ValueError:  # with a NUL in it
        return False


# ---------------------------------------------------------------- connections


class Connection(H11Protocol):
    """A connection that must send its requests and take its answers in time."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in the base class
        """Begin to wait for a request."""
        super().connection_made(transport)
        self.lost = asyncio.Event()
        self._deadline: asyncio.TimerHandle | None = None
        self._expect_within(HEAD_WITHIN)

    @property
    def busy(self) -> bool:
        """Whether an answer is being made."""
        return self.cycle is not None and not self.cycle.response_complete

    def data_received(self, data: bytes) -> None:
        """Take what came, unless we have hung up."""
        if not self.transport.is_closing():
            super().data_received(data)

    def handle_events(self) -> None:
        """See what came; with the head of a request, the clock of its answer starts."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._expect_within(ANSWER_WITHIN)

    def on_response_complete(self) -> None:
        """Wait until the answer is taken, and for the next request."""
        self._expect_within(ANSWER_WITHIN if self.transport.get_write_buffer_size() else HEAD_WITHIN)
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Hang up on what is no HTTP, and say so where no answer has begun; one that is being made comes too late."""
        if self.busy:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            super().send_400_response(msg)
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room for another."""
        self._expect_within(None)
        super().connection_lost(exc)
        self.lost.set()

    def _expect_within(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self.transport.abort)


@dataclass(eq=False)
class Visit:
    """One connection, from the moment it is taken."""

    origin: str
    stay: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    connection: Connection | None = None  # after the handshake

    @property
    def busy(self) -> bool:
        """Whether an answer is being made; otherwise it waits for a request that may never come."""
        return self.connection is not None and self.connection.busy


class Gate:
    """Who is inside; where all room is taken, it is made at the cost of those who take most of it."""

    def __init__(self, most: int = CONNECTIONS, most_of_one: int = CONNECTIONS_OF_ONE_ORIGIN) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._inside: dict[Visit, None] = {}  # in the order they came

    def admit(self, address: str) -> Visit | None:
        """A visit from this address, or None if it has no room."""
        visit = Visit(origin_of(address))
        inside = Counter(each.origin for each in self._inside)
        if inside[visit.origin] >= self._most_of_one:
            return None
        if len(self._inside) >= self._most:
            ahead = [each for each in self._inside if inside[each.origin] > inside[visit.origin] and not each.busy]
            if not ahead:
                return None
            longest = max(ahead, key=lambda each: inside[each.origin])  # the first of those that are equal
            longest.stay.cancel()
            self.leave(longest)
        self._inside[visit] = None
        return visit

    def leave(self, visit: Visit) -> None:
        """Make room for another."""
        self._inside.pop(visit, None)


def origin_of(address: str) -> str:
    """Whose an address is: one host has a whole /64 of IPv6, but the /64 of link-local addresses is everybody's."""
    ip = ip_address(address)
    if isinstance(ip, IPv4Address) or ip.is_link_local:
        return address
    return str(ip.ipv4_mapped or ip_network((int(ip), 64), strict=False))


async def welcome(
    listener: socket.socket, gate: Gate, keys: Keys, make: Callable[[], Connection], group: TaskGroup
) -> None:
    """Take connections, for ever; each lives in `group`. Those for which there is no room are closed at once."""
    loop = asyncio.get_running_loop()
    listener.setblocking(False)
    while True:
        try:
            connection, address = await loop.sock_accept(listener)
        except OSError as error:  # out of descriptors: it stays in the queue until there is one
            log.error("no connection can be taken", error=str(error))  # noqa: TRY400 - says it all
            await anyio.sleep(1)
            continue
        visit = gate.admit(address[0])
        if visit is None:
            connection.close()
        else:
            group.start_soon(_speak, connection, visit, gate, keys, make)
        await anyio.lowlevel.checkpoint()  # a flood is taken without a pause, and would keep all else waiting


async def _speak(
    connection: socket.socket, visit: Visit, gate: Gate, keys: Keys, make: Callable[[], Connection]
) -> None:
    """One connection, from its handshake to its end."""
    with visit.stay, connection:
        try:
            await _converse(connection, visit, await keys.current(), make)
        finally:
            gate.leave(visit)


async def _converse(connection: socket.socket, visit: Visit, config: WebConfig, make: Callable[[], Connection]) -> None:
    loop = asyncio.get_running_loop()
    patience: dict[str, Any] = {"ssl_handshake_timeout": HANDSHAKE_WITHIN} if config.tls else {}
    protocol = make()  # what the loop gives back is of the layer beneath TLS where it is uvloop
    connection.setblocking(False)
    try:
        await loop.connect_accepted_socket(lambda: protocol, connection, ssl=config.tls, **patience)
    except OSError as error:  # no TLS, no certificate, no patience
        log.debug("connection not opened", origin=visit.origin, error=str(error))
        return
    visit.connection = protocol
    try:
        if not config.allowed_sans or config.allowed_sans & set(_names(protocol.transport)):
            await protocol.lost.wait()
    finally:
        protocol.transport.abort()


def _names(transport: asyncio.BaseTransport) -> Iterable[str]:
    """The alternative names in the client's certificate; none where it gave no certificate."""
    certificate = transport.get_extra_info("peercert") or {}
    return (str(name) for _, name in certificate.get("subjectAltName", ()))
