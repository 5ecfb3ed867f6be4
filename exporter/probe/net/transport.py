"""httpx's transport for one probe: a fresh connection along a route, each phase in its lap, all evidence kept."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, Self, TypeAlias, cast

import anyio
import httpx

from exporter import __version__
from exporter.model.addresses import Whose
from exporter.model.authorities import Authorities
from exporter.model.vocabulary import DEFAULT_PORTS, Answer, Phase, Proxy, Root, TlsFacts, WayTaken
from exporter.probe.bodies import ENOUGH, is_page, readable
from exporter.probe.errors import NotHttp, NotTls, ProxyRefused, TooStrict
from exporter.probe.net.authentication import Account
from exporter.probe.net.clock import Clock, clock_in_force
from exporter.probe.net.http1 import Connection, Headers
from exporter.probe.net.proxy_auth import Talk
from exporter.probe.net.resolver import resolve
from exporter.probe.net.signin import SignIn
from exporter.probe.net.sockets import connect
from exporter.probe.net.streams import Resumed, Stream
from exporter.probe.net.tls import TlsStream, unverifying
from exporter.probe.net.trace import Trace
from exporter.probe.unverified import is_of_unknown_root

USER_AGENT: Final = f"configmgr-endpoint-exporter/{__version__}"
# A proxy that speaks HTTP/1.0 closes after its 407 unless it is asked not to, and by this name (RFC 9112, C.2.2); NTLM
# cannot sign in to one that closes. WinHTTP and curl send it to all proxies.
_TO_PROXIES: Final = ((b"Proxy-Connection", b"keep-alive"),)
_DRAINED: Final = 64 * 1024  # bytes of a page that are read for the sake of the connection, at most
_LONGEST_PAGE: Final = 4 * 1024 * 1024  # the same where no other connection will do
_PAGE_TIME: Final = 1.0  # seconds that a page may take; its status is known already
_SPARE: Final = 0.05  # seconds left for the verdict when a page or the second look has used up all others


@dataclass(frozen=True, slots=True)
class Route:
    """The way to a host: direct, or through a proxy where an account signs in; and whom to trust on it."""

    context: ssl.SSLContext
    proxy: Proxy | None = None
    sign_in: SignIn | None = None  # to the proxy; it outlives the route, keeps tickets and remembers a refusal
    clock: Clock = field(default_factory=clock_in_force)
    own: bool = False  # the target is one of the operator's own
    proxy_context: ssl.SSLContext | None = None  # for TLS to the proxy itself; None: the same
    way: WayTaken | None = None  # which of several it is; those that follow need time, too
    authorities: Authorities = field(default_factory=Authorities)  # that are known beside the public roots

    @property
    def share(self) -> float:
        """The part of the time that is left in which it must be connected: the same for each way that is left."""
        return 1.0 if self.way is None else 1.0 / (self.way.of - self.way.number + 1)

    @property
    def whose(self) -> Whose:
        """Whose host is at the other end of the first connection."""
        if self.proxy is not None:
            return Whose.PROXY
        return Whose.OWN if self.own else Whose.PUBLIC


class Origin(NamedTuple):
    """Whom to connect to."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: httpx.URL) -> Self:
        """Whom a URL names; the host as it goes on the wire."""
        return cls(url.scheme, url.raw_host.decode("ascii"), url.port or DEFAULT_PORTS[url.scheme])

    @property
    def authority(self) -> bytes:
        """Host and port as they stand on a request line."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}".encode("ascii")

    @property
    def name(self) -> str:
        """The host as TLS names it: without the final dot of an absolute name (RFC 6066, 3)."""
        return self.host.removesuffix(".")


class Transport(httpx.AsyncBaseTransport):
    """Carries one request along a route and leaves its trace.

    Sockets belong to the transport and are closed with it, whatever happened in between.
    """

    def __init__(self, route: Route, trace: Trace) -> None:
        self._route = route
        self._trace = trace
        self._sockets: list[socket.socket] = []
        self._opened: Answer | None = None  # what opened a tunnel

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read the head of its answer. Raises what `failure.classify` takes apart."""
        url = request.url
        origin = Origin.of(url)
        proxy = self._route.proxy
        if proxy is not None and origin.scheme == "http":
            whole = b"http://%b%b" % (url.netloc, url.raw_path)  # RFC 9112, 3.2.2
            headers = [*request.headers.raw, *_TO_PROXIES]
            connection, answer = await self._ask_proxy(proxy, Phase.PROCESSING, request.method, whole, headers)
        else:
            connection = Connection(await self._open(origin))
            self._trace.enter(Phase.PROCESSING)
            answer = await connection.ask(request.method, url.raw_path, request.headers.raw)
        self._trace.stop()
        self._trace.seen = replace(self._trace.seen, answer=answer)
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
        return httpx.Response(answer.status, headers=raw, stream=_Body(connection))

    async def aclose(self) -> None:
        """Close every socket that was opened."""
        for connection in self._sockets:
            connection.close()

    # ------------------------------------------------------------ the origin

    async def _open(self, origin: Origin) -> Stream:
        """A stream to the origin itself, secured if its scheme says so."""
        stream = await self._below(origin)
        if origin.scheme != "https":
            return stream
        self._trace.enter(Phase.TLS)
        try:
            return await self._secured(stream, origin, self._route.context, self._keep_tls, Transport._below)
        except NotTls as error:
            self._trace.stop()
            said = await _answer_in_plain_text(error.said, stream)
            self._trace.seen = replace(self._trace.seen, answer=said)
            if said is None and self._opened is not None:
                refusal = await _page_in_place_of_tunnel(self._opened, error.said, stream)
                if refusal is not None:
                    self._trace.enter(Phase.PROXY)  # it failed there, and this shows it
                    self._remember(refusal.answer)
                    raise refusal from error
            raise

    async def _below(self, origin: Origin) -> Stream:
        """A stream to the origin as it is before TLS, through the proxy's tunnel where there is one."""
        proxy = self._route.proxy
        if proxy is None:
            with self._in_time_for_others():
                return await self._dial(origin)
        headers = [(b"Host", origin.authority), (b"User-Agent", USER_AGENT.encode()), *_TO_PROXIES]
        connection, answer = await self._ask_proxy(proxy, Phase.PROXY, "CONNECT", origin.authority, headers)
        if not httpx.codes.is_success(answer.status):
            raise ProxyRefused(answer)
        self._opened = answer
        return connection.tunnel()

    async def _secured(
        self, stream: Stream, origin: Origin, context: ssl.SSLContext, keep: Callable[[TlsFacts], None], reach: Reach
    ) -> Stream:
        """TLS on a stream to somebody; `keep` takes what the handshake showed."""
        secure = TlsStream(stream, context, origin.name, self._trace, self._route.authorities)
        try:
            keep(await secure.handshake())
        except ssl.SSLCertVerificationError as error:
            self._trace.stop()
            keep(await self._second_look(secure, reach, origin, error))
            raise
        except (ssl.SSLError, ConnectionError) as error:
            self._trace.stop()
            if agreed := await self._agreed_with_others(reach, origin, error):
                raise TooStrict(error, *agreed) from error
            raise
        return secure

    def _keep_tls(self, facts: TlsFacts) -> None:
        self._trace.seen = replace(self._trace.seen, tls=facts)

    def _keep_proxy_tls(self, facts: TlsFacts) -> None:
        self._trace.seen = replace(self._trace.seen, proxy_tls=facts)

    async def _second_look(
        self, refused: TlsStream, reach: Reach, origin: Origin, error: ssl.SSLCertVerificationError
    ) -> TlsFacts:
        """The facts of a chain that did not verify; OpenSSL before 3 keeps them to itself: the server is asked again.

        Whatever comes of it, the verdict stands.
        """
        seen = await refused.facts()
        if not seen.chain and (again := await self._look_again(reach, origin)):
            seen = await again.facts(path=refused.path)
        return replace(seen, leads_to=seen.leads_to or (Root.PRIVATE if is_of_unknown_root(error) else None))

    async def _agreed_with_others(self, reach: Reach, origin: Origin, error: OSError) -> tuple[str, str] | None:
        """The TLS and the suite on which a client agrees that refuses nothing, where this one failed for its own sake.

        Without TLS 1.3, as some devices cut whoever offers that, and Windows Server before 2022 does not.
        """
        if not may_be_too_strict(error):
            return None
        again = await self._look_again(reach, origin, ssl.TLSVersion.TLSv1_2)
        if again is None:
            return None
        by_chance = isinstance(error, ConnectionError) and await self._look_again(reach, origin) is not None
        return None if by_chance else again.agreed

    async def _look_again(
        self, reach: Reach, origin: Origin, newest: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED
    ) -> TlsStream | None:
        """A handshake on another connection by a client that refuses nothing; None where that fails as well.

        Within the time that is left.
        """
        found = None
        left = anyio.current_effective_deadline() - anyio.current_time() - _SPARE
        look = Transport(self._route, Trace())
        # Also where the whole attempt is cancelled meanwhile: its next wait, if there is one, is then its last.
        with anyio.move_on_after(left), suppress(Exception, anyio.get_cancelled_exc_class()):
            below = await reach(look, origin)
            stream = TlsStream(below, unverifying(newest), origin.name, look._trace, self._route.authorities)
            await stream.handshake()
            found = stream
        await look.aclose()
        return found

    async def _dial(self, origin: Origin) -> Stream:
        self._trace.enter(Phase.RESOLVE)
        addresses = await resolve(origin.host, origin.port, self._trace, self._route.whose)
        found = tuple(dict.fromkeys(str(info[4][0]) for info in addresses))
        self._trace.seen = replace(self._trace.seen, addresses=found)
        self._trace.enter(Phase.CONNECT)
        stream = await connect(addresses, self._trace, self._route.clock)
        self._sockets.append(stream.socket)
        with suppress(OSError):  # gone already: the next phase shows how
            peer = str(stream.socket.getpeername()[0])
            self._trace.seen = replace(self._trace.seen, address=peer)
        return stream

    # ------------------------------------------------------------ the proxy

    async def _ask_proxy(
        self, proxy: Proxy, phase: Phase, method: str, target: bytes, headers: Headers
    ) -> tuple[Connection, Answer]:
        """Ask the proxy; again as long as it wants credentials and the account has more to say.

        On the same connection if it lives, since NTLM signs in a connection, not a request. Some proxies close it after
        their 407 and do not say so: where that may be, they are asked once more on a new one.
        """
        sign_in = self._route.sign_in or SignIn(Account(proxy))
        async with Talk(sign_in, self._trace, phase) as talk:
            await talk.may_begin()
            connection = await self._connect_to(proxy)
            self._trace.enter(phase)
            credentials = await talk.opening()
            while True:
                own = [] if credentials is None else [(b"Proxy-Authorization", credentials.encode("latin-1"))]
                try:
                    answer = await connection.ask(method, target, [*headers, *own])
                except OSError as error:
                    if connection.heard or not talk.may_ask_again(error, used=connection.asked > 1):
                        raise
                    connection = await self._connect_to(proxy)
                    self._trace.enter(phase)
                    continue
                refused = method == "CONNECT" and not httpx.codes.is_success(answer.status)
                if talk.goes_on_after(answer):
                    answer = await _with_whole_page(answer, connection)
                elif refused or talk.wants_login(answer.status):
                    with self._trace.aside():
                        answer = await _with_page(answer, connection)
                if refused:
                    self._remember(answer)
                credentials = await talk.heard(answer, connected=connection.keeps)
                if credentials is None:
                    return connection, answer
                if not connection.keeps:
                    connection = await self._connect_to(proxy)
                    self._trace.enter(phase)

    async def _connect_to(self, proxy: Proxy) -> Connection:
        """A connection to the proxy itself, by TLS if its URL says so: until that stands, it is not connected to."""
        origin = Origin.of(httpx.URL(proxy.url))
        with self._in_time_for_others():
            stream = await self._dial(origin)
            if origin.scheme == "https":
                context = self._route.proxy_context or self._route.context
                stream = await self._secured(stream, origin, context, self._keep_proxy_tls, Transport._dial)
        return Connection(stream)

    @contextmanager
    def _in_time_for_others(self) -> Iterator[None]:
        """Raise TimeoutError when this way takes more than its share of the time that is left."""
        if self._route.share == 1:
            yield
            return
        with anyio.fail_after((anyio.current_effective_deadline() - anyio.current_time()) * self._route.share):
            yield

    def _remember(self, answer: Answer) -> None:
        self._trace.seen = replace(self._trace.seen, dialogue=(*self._trace.seen.dialogue, answer))


class _Body(httpx.AsyncByteStream):
    """A body that is read as far as somebody asks, and dropped with the connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async with aclosing(self._connection.body()) as parts:
            async for part in parts:
                yield part


async def _with_page(answer: Answer, connection: Connection) -> Answer:
    """An answer with the beginning of its page, read to its end if it is short, so that the connection can go on."""
    body = await beginning(connection.body(), _DRAINED, _PAGE_TIME)
    return replace(answer, body=readable(answer, body))


async def _with_whole_page(answer: Answer, connection: Connection) -> Answer:
    """The same where no other connection will do: up to the end of the page, however long it takes."""
    read, body = 0, b""
    with suppress(OSError):
        async with aclosing(connection.body()) as parts:
            async for part in parts:
                read, body = read + len(part), body + part if read < _DRAINED else body
                if read > _LONGEST_PAGE:
                    break
    return replace(answer, body=readable(answer, body))


async def _answer_in_plain_text(said: bytes, stream: Stream) -> Answer | None:
    """The HTTP answer that begins with what was said in place of TLS; None where it is none."""
    connection = Connection(Resumed(said, stream))
    answer: Answer | None = None
    with anyio.move_on_after(_time_left(_PAGE_TIME)), suppress(NotHttp, OSError):
        answer = await connection.hear("GET")
    return await _with_page(answer, connection) if answer else None


async def _page_in_place_of_tunnel(opened: Answer, said: bytes, stream: Stream) -> ProxyRefused | None:
    """What a proxy, or what is taken for one, says with success and a page that stands where TLS should; None: no page.

    Filters and web servers answer so, whatever they were asked.
    """
    rest = Connection(Resumed(said, stream)).until_closed()
    page = replace(opened, body=readable(opened, await beginning(rest, ENOUGH, _PAGE_TIME)))
    return ProxyRefused(page) if page.body and is_page(page) else None


# What is not TLS at all fails for no strictness of ours.
_NO_TLS: Final = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "RECORD_LAYER_FAILURE", "ENDLESS"}
)


def may_be_too_strict(error: OSError) -> bool:
    """Whether a handshake may have failed because of what this client does not offer or refuses."""
    gone = isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)
    return not gone and getattr(error, "reason", None) not in _NO_TLS


def _time_left(most: float) -> float:
    """Seconds up to shortly before the attempt's deadline, `most` at most."""
    return min(most, anyio.current_effective_deadline() - anyio.current_time() - _SPARE)


async def beginning(chunks: AsyncIterable[bytes], most: int, seconds: float) -> bytes:
    """What comes of a body within some seconds, up to the chunk that makes it `most` bytes or more.

    Whatever is wrong with it is passed over: the head was read, and has decided. So the attempt's own timeout is never
    reached in here, also where the event loop is late: it is shielded, for these few seconds at most. What has come
    with the head is given even if no time is left.
    """
    body, left = b"", max(0.0, _time_left(seconds))
    with anyio.move_on_after(left, shield=True), suppress(Exception):
        async with aclosing(cast(AsyncGenerator[bytes], aiter(chunks))) as parts:
            async for part in parts:
                body += part
                if len(body) >= most or not left:
                    break
    return body


Reach: TypeAlias = Callable[[Transport, Origin], Awaitable[Stream]]  # how a stream to a host is made
