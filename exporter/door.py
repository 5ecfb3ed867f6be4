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
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import bcrypt
import structlog
from anyio.abc import TaskGroup
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from exporter.reading.documents import DocumentError
from exporter.web_config import WebConfig, load

log = structlog.get_logger("exporter")

# A person, a Prometheus or a proxy asks by few connections; a scanner by many, and may have these and no other's.
CONNECTIONS: Final = 512
CONNECTIONS_OF_ONE_ADDRESS: Final = 64
HANDSHAKE_WITHIN: Final = 5.0  # seconds for TLS
HEAD_WITHIN: Final = 10.0  # seconds for the head of a request, from the first moment it is waited for
ANSWER_WITHIN: Final = 300.0  # seconds for an answer to be made and taken
LONGEST_HEAD: Final = 16 << 10  # bytes
LONGEST_BODY: Final = 4 << 10  # bytes; no request needs one
PROBES_AT_ONCE: Final = 8  # on demand, beside those on the timer
OPEN_TO_ALL: Final = frozenset({"/-/healthy", "/-/ready"})
LOOK_EVERY: Final = 1.0  # seconds between two looks at the files


class Keys:
    """The web-config in force: read again when one of its files changes; where that fails, the old one stays."""

    def __init__(self, path: Path | None) -> None:
        """Raises DocumentError."""
        self._path = path
        self._config = load(path)
        self._seen = self._signature()
        self._looked = time.monotonic()

    @property
    def config(self) -> WebConfig:
        """What holds now."""
        now = time.monotonic()
        if self._path is not None and now - self._looked >= LOOK_EVERY:
            self._looked = now
            seen = self._signature()
            if seen != self._seen:
                self._seen = seen
                self._read_again()
        return self._config

    def _read_again(self) -> None:
        try:
            self._config = load(self._path)
        except DocumentError as error:
            for mistake in error.mistakes:
                log.error("web configuration not reloaded", mistake=str(mistake))  # noqa: TRY400 - a person's mistake
        else:
            self._seen = self._signature()
            log.info("web configuration reloaded", file=str(self._path))

    def _signature(self) -> tuple[object, ...]:
        return tuple(_signature(file) for file in self._config.files)


def _signature(path: Path) -> object:
    try:
        found = path.stat()
    except OSError as error:
        return error.errno
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
        config = self._keys.config

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(config.headers)
            await send(message)

        answer = await self._refusal(Headers(scope=scope), scope["path"], config) or self._app
        if answer is not self._app or scope["path"] != "/probe":
            await answer(scope, receive, sending)
            return
        try:
            self._probes.acquire_nowait()
        except anyio.WouldBlock:
            await _TOO_MANY(scope, receive, sending)
            return
        try:
            await self._app(scope, receive, sending)
        finally:
            self._probes.release()

    async def _refusal(self, headers: Headers, path: str, config: WebConfig) -> ASGIApp | None:
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > LONGEST_BODY:
            return PlainTextResponse("no request needs a body as long\n", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        asked = config.users and path not in OPEN_TO_ALL
        if asked and not await self._passwords.open(headers.get("authorization", ""), config):
            return PlainTextResponse("unauthorized\n", HTTPStatus.UNAUTHORIZED, _ASK)
        if path in self._closed:
            return PlainTextResponse("switched off\n", HTTPStatus.NOT_FOUND)
        return None


_ASK: Final = {"WWW-Authenticate": 'Basic realm="configmgr-endpoint-exporter", charset="UTF-8"'}
_TOO_MANY: Final = PlainTextResponse(
    f"{PROBES_AT_ONCE} probes on demand are under way; try again later\n",
    HTTPStatus.SERVICE_UNAVAILABLE,
    {"Retry-After": "5"},
)


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
        return bcrypt.checkpw(password, known)
    except ValueError:  # longer than bcrypt takes, or with a NUL in it
        return False


# ---------------------------------------------------------------- connections


class Connection(H11Protocol):
    """A connection that must send its requests and take its answers in time."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in the base class
        """Begin to wait for a request."""
        super().connection_made(transport)
        self.lost = asyncio.Event()
        self._deadline: asyncio.TimerHandle | None = None
        self._expect(HEAD_WITHIN)

    def data_received(self, data: bytes) -> None:
        """Take what came; the clock runs on until a request is complete."""
        asked = self.cycle
        if self._deadline is None:
            self._expect(HEAD_WITHIN)
        super().data_received(data)
        if self.cycle is not asked:
            self._expect(ANSWER_WITHIN)

    def on_response_complete(self) -> None:
        """Rest, until the next request or the end of patience with an idle connection."""
        self._expect(None)
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room for another."""
        self._expect(None)
        super().connection_lost(exc)
        self.lost.set()

    def _expect(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self.transport.abort)


class Gate:
    """Counts who is inside."""

    def __init__(self, most: int = CONNECTIONS, most_of_one: int = CONNECTIONS_OF_ONE_ADDRESS) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._inside: Counter[str] = Counter()

    def full(self, address: str) -> bool:
        """Whether nobody more may come from this address."""
        return self._inside.total() >= self._most or self._inside[address] >= self._most_of_one

    @contextmanager
    def inside(self, address: str) -> Iterator[None]:
        """Count one from this address."""
        self._inside[address] += 1
        try:
            yield
        finally:
            self._inside[address] -= 1
            self._inside += Counter()  # forgets who has left


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
        if gate.full(address[0]):
            connection.close()
        else:
            group.start_soon(_speak, connection, gate, address[0], keys, make)


async def _speak(
    connection: socket.socket, gate: Gate, address: str, keys: Keys, make: Callable[[], Connection]
) -> None:
    """One connection, from its handshake to its end."""
    config, loop = keys.config, asyncio.get_running_loop()
    patience: dict[str, Any] = {"ssl_handshake_timeout": HANDSHAKE_WITHIN} if config.tls else {}
    with gate.inside(address), connection:
        connection.setblocking(False)
        try:
            transport, protocol = await loop.connect_accepted_socket(make, connection, ssl=config.tls, **patience)
        except OSError as error:  # no TLS, no certificate, no patience
            log.debug("connection not opened", address=address, error=str(error))
            return
        if config.allowed_sans and not config.allowed_sans & set(_names(transport)):
            transport.abort()
        await protocol.lost.wait()


def _names(transport: asyncio.BaseTransport) -> Iterable[str]:
    """The alternative names in the client's certificate; none where it gave no certificate."""
    certificate = transport.get_extra_info("peercert") or {}
    return (str(name) for _, name in certificate.get("subjectAltName", ()))
