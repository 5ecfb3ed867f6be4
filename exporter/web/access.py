"""Who may ask over HTTP, and what a request may hold: passwords, limits on requests, and their configuration."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Collection
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
import bcrypt
import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exporter.config.documents import DocumentError
from exporter.config.web import WebConfig, files_of, load
from exporter.system.reader import Reader, Unread

log = structlog.get_logger("exporter")

LONGEST_HEAD: Final = 16 << 10  # bytes
LONGEST_BODY: Final = 4 << 10  # bytes; no request needs one
PROBES_AT_ONCE: Final = 8  # on demand, beside those on the timer
OPEN_TO_ALL: Final = frozenset({"/-/healthy", "/-/ready"})
LOOK_EVERY: Final = 1.0  # seconds between two looks at the files


class Credentials:
    """The web-config in force: read again when one of its files changes; where that fails, the old one stays.

    The old one also stays while a file hangs, which delays nobody.
    """

    def __init__(self, path: Path | None) -> None:
        """Raises DocumentError."""
        self._path = path
        self._reader = Reader()
        self._seen = self._look()
        self._unread = False
        self.config = load(path)

    @property
    def hang(self) -> bool:
        """Whether one of the files is still read, though nobody waits for it."""
        return self._reader.hangs

    async def watch(self) -> None:
        """Look at the files every LOOK_EVERY seconds, for ever."""
        while self._path is not None:
            await anyio.sleep(LOOK_EVERY)
            await self.look()

    async def look(self) -> None:
        """Read the configuration again if one of its files has changed. Whatever is wrong with them is logged."""
        try:
            changed = await self._reader.read(self._read_if_changed)
        except Unread as error:
            if not self._unread:  # it is tried again, and comes to the same again
                log.error("web configuration not reloaded", mistake=str(error))  # noqa: TRY400 - says everything
            self._unread = True
            return
        self._unread = False
        if changed is not None:
            self._seen, found = changed
            self._adopt(found)

    def _read_if_changed(self) -> tuple[list[object], WebConfig | DocumentError] | None:
        seen = self._look()
        if seen == self._seen:
            return None
        try:
            return seen, load(self._path)
        except DocumentError as error:
            return seen, error

    def _look(self) -> list[object]:
        """How the file and those that it names look now; also where a mistake in them keeps the old ones in force."""
        return [(file, _signature(file)) for file in files_of(self._path)] if self._path else []

    def _adopt(self, found: WebConfig | DocumentError) -> None:
        if isinstance(found, DocumentError):
            for mistake in found.mistakes:
                log.error("web configuration not reloaded", mistake=str(mistake))
        else:
            self.config = found
            log.info("web configuration reloaded", file=str(self._path), **found.demands)


def _signature(path: Path) -> object:
    try:
        found = path.stat()
    except (OSError, ValueError) as error:  # not there, or no path at all
        return str(error)
    return (found.st_ino, found.st_mtime_ns, found.st_size)


# ---------------------------------------------------------------- requests


class Access:
    """ASGI middleware that refuses what must not reach the application, and adds the headers to every answer."""

    def __init__(self, app: ASGIApp, credentials: Credentials, switched_off: Collection[str] = ()) -> None:
        self._app = app
        self._credentials = credentials
        self._switched_off = switched_off  # paths
        self._passwords = _Passwords()
        self._probes = anyio.Semaphore(PROBES_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        config = self._credentials.config

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update({"date": formatdate(usegmt=True), **config.headers})
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
        if path in self._switched_off:
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
