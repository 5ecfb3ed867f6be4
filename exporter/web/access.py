"""Who may ask over HTTP, what a request may hold, and how much is done at a time; the web-config in force."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Final

import anyio
import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exporter.config.documents import DocumentError
from exporter.config.web import WebConfig, files_of, load
from exporter.system.reader import Reader, Unread
from exporter.web.callers import Names, sent_by_another_site
from exporter.web.passwords import Passwords
from exporter.web.turns import Busy, TokenBucket, Turn, Turns

log = structlog.get_logger("exporter")

LONGEST_HEAD: Final = 16 << 10  # bytes
LONGEST_BODY: Final = 4 << 10  # bytes; no request needs one
PROBES_AT_ONCE: Final = 8  # on demand, beside those on the timer
PROBES_OF_ONE: Final = 6  # of one client
ANSWERS_AT_ONCE: Final = 2  # that are made; others wait. More would only take the interpreter from each other
ANSWERS_OF_ONE: Final = 1  # client
ANSWERS_WAITING: Final = 256
ANSWERS_WAITING_OF_ONE: Final = 16
OPEN_TO_ALL: Final = frozenset({"/-/healthy", "/-/ready"})
PROBE: Final = "/probe"
RELOAD: Final = "/-/reload"
# What acts, and the option that opens it to whoever reaches the port.
ACTS: Final = MappingProxyType({RELOAD: "--web.enable-lifecycle", PROBE: "--web.enable-probe"})
ORIGIN: Final = "origin"  # key in the state of an ASGI scope: the host that asks
PROVEN: Final = "proven"  # the same: who asks may do so, and asked for more than health
# Headers of every answer that has none of its own by that name.
ALWAYS: Final = MappingProxyType({"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"})
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


@dataclass(frozen=True)
class Policy:
    """What the command line says of requests."""

    opened: frozenset[str] = frozenset()  # paths that act, also for who shows no password and no certificate
    switched_off: frozenset[str] = frozenset()  # paths
    names: Names = field(default_factory=Names)


class Access:
    """ASGI middleware that refuses what must not reach the application, and adds the headers to every answer.

    What it lets through is done in turn by origin, or by user and origin where there are users: so a stranger at the
    address of Prometheus delays it no more than a stranger elsewhere does.
    """

    def __init__(self, app: ASGIApp, credentials: Credentials, policy: Policy | None = None) -> None:
        self._app = app
        self._credentials = credentials
        self._policy = policy or Policy()
        self._passwords = Passwords()
        self._bucket: TokenBucket | None = None
        self._answers = Turns(
            at_once=ANSWERS_AT_ONCE,
            at_once_of_one=ANSWERS_OF_ONE,
            waiting=ANSWERS_WAITING,
            waiting_of_one=ANSWERS_WAITING_OF_ONE,
        )
        self._probes = Turns(at_once=PROBES_AT_ONCE, at_once_of_one=PROBES_OF_ONE, waiting=0, waiting_of_one=0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        config = self._credentials.config

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in ALWAYS.items():
                    headers.setdefault(name, value)
                headers.update({"date": formatdate(usegmt=True), **config.headers})
            await send(message)

        with suppress(asyncio.CancelledError):  # the exporter ends, and has waited for this answer long enough
            await self._answer(scope, receive, sending, config)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, config: WebConfig) -> None:
        path, origin = scope["path"], scope.get("state", {}).get(ORIGIN, "")
        try:
            refusal, user = await self._refusal(scope, config, origin)
            if refusal:
                await refusal(scope, receive, send)
            elif path in OPEN_TO_ALL or path == RELOAD:  # costs nothing, or is shared by all who wait for it
                await self._app(scope, receive, send)
            else:
                turns = self._probes if path == PROBE else self._answers
                turn = await turns.begin((origin, user))
                await self._in_turn(turn, scope, receive, send)
        except Busy:
            await (_TOO_MANY_PROBES if path == PROBE else _TOO_MANY)(scope, receive, send)

    async def _in_turn(self, turn: Turn, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            turn.end()  # it is made: who takes it slowly keeps nobody waiting
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            turn.end()

    async def _refusal(self, scope: Scope, config: WebConfig, origin: str) -> tuple[ASGIApp | None, str | None]:
        """The answer to what must not reach the application, if it must not; and who asks, where there are users."""
        headers, path = Headers(scope=scope), scope["path"]
        if path not in OPEN_TO_ALL and not self._within_the_rate(config):
            return _TOO_OFTEN, None
        if excess := _excess(scope, headers) or self._foreign(headers, path, config):
            return excess, None
        user = None
        if config.users and path not in OPEN_TO_ALL:
            try:
                user = await self._passwords.user(origin, headers.get("authorization", ""), config.users)
            except Busy:
                return _TOO_MANY_PASSWORDS, None
            if user is None:
                return PlainTextResponse("unauthorized\n", HTTPStatus.UNAUTHORIZED, _ASK), None
        if path not in OPEN_TO_ALL:
            scope.setdefault("state", {})[PROVEN] = True
        return self._closed(path, config), user

    def _within_the_rate(self, config: WebConfig) -> bool:
        if config.rate_limit is None:
            self._bucket = None
            return True
        if self._bucket is None or self._bucket.limit != config.rate_limit:
            self._bucket = TokenBucket(config.rate_limit)
        return self._bucket.take()

    def _foreign(self, headers: Headers, path: str, config: WebConfig) -> ASGIApp | None:
        """The refusal of what a page of another site has a browser ask."""
        host, names = headers.get("host", ""), self._policy.names
        # Where a password or a certificate is asked for, or the name has to be in ours, such a page gets nowhere.
        if path not in OPEN_TO_ALL and not config.users and config.tls is None and not names.hold(host):
            return _forbidden(
                "the Host header names neither this machine nor an address; "
                "to be asked by that name, it takes --web.allowed-hosts=NAME"
            )
        if path in ACTS and sent_by_another_site(headers.get("sec-fetch-site"), headers.get("origin"), host, names):
            return _forbidden("a page of another site asks for this, which is not done")
        return None

    def _closed(self, path: str, config: WebConfig) -> ASGIApp | None:
        if path in self._policy.switched_off:
            return PlainTextResponse("switched off\n", HTTPStatus.NOT_FOUND)
        if not path.isprintable():  # the routes take `/probe` with a line end behind it for `/probe`
            return PlainTextResponse("no such path\n", HTTPStatus.NOT_FOUND)
        if path in ACTS and path not in self._policy.opened and not config.knows_who_asks:
            return _forbidden(
                f"{path} is for who shows a password or a certificate, by a web-config file; "
                f"{ACTS[path]} opens it to all who reach this port"
            )
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


def _forbidden(why: str) -> ASGIApp:
    return PlainTextResponse(f"{why}\n", HTTPStatus.FORBIDDEN)


_HANG_UP: Final = {"Connection": "close"}
_ASK: Final = {"WWW-Authenticate": 'Basic realm="configmgr-endpoint-exporter", charset="UTF-8"'}
_TOO_MANY: Final = PlainTextResponse(
    f"{ANSWERS_WAITING_OF_ONE} requests of yours wait already; try again later\n",
    HTTPStatus.SERVICE_UNAVAILABLE,
    {"Retry-After": "1"},
)
_TOO_MANY_PROBES: Final = PlainTextResponse(
    f"{PROBES_OF_ONE} probes on demand of yours, or {PROBES_AT_ONCE} of all, are under way; try again later\n",
    HTTPStatus.SERVICE_UNAVAILABLE,
    {"Retry-After": "5"},
)
_TOO_OFTEN: Final = PlainTextResponse(
    "more requests than rate_limit of the web-config file lets through; try again later\n",
    HTTPStatus.TOO_MANY_REQUESTS,
    {"Retry-After": "1"},
)
_TOO_MANY_PASSWORDS: Final = PlainTextResponse(
    "passwords from your address wait to be compared already; try again later\n",
    HTTPStatus.TOO_MANY_REQUESTS,
    {"Retry-After": "1"},
)
