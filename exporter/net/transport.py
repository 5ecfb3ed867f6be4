"""httpx's transport for one probe: a fresh connection along a route, each phase in its lap, all evidence kept."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Final, cast

import anyio
import httpcore
import httpx

from exporter.authentication import Account
from exporter.failure import ProxyRefused, unknown_root
from exporter.model import Answer, Phase, Proxy, Root, TlsFacts
from exporter.net.clock import Clock, clock_in_force
from exporter.net.proxy_auth import Talk
from exporter.net.signin import SignIn
from exporter.net.sockets import connect, resolve
from exporter.net.tls import TlsStream, unverifying
from exporter.net.trail import Trail

Headers = Sequence[tuple[bytes, bytes]]

_BEGINNING: Final = b"HTTP/"
PAGE: Final = 4096  # bytes of a page that are kept
_DRAINED: Final = 64 * 1024  # bytes of a page that are read for the sake of the connection, at most
_PAGE_TIME: Final = 1.0  # seconds that a page may take; its status is known already
_SPARE: Final = 0.05  # seconds left for the verdict when a page or the second look has used up all others


@dataclass(frozen=True, slots=True)
class Route:
    """The way to a host: direct, or through a proxy where an account signs in; and whom to trust on it."""

    context: ssl.SSLContext
    proxy: Proxy | None = None
    sign_in: SignIn | None = None  # to the proxy; it outlives the route, keeps tickets and remembers a refusal
    clock: Clock = field(default_factory=clock_in_force)


class Transport(httpx.AsyncBaseTransport):
    """Carries one request along a route and leaves its trail.

    Sockets belong to the transport and are closed with it, whatever happened in between.
    """

    def __init__(self, route: Route, trail: Trail) -> None:
        self._route = route
        self._trail = trail
        self._sockets: list[socket.socket] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read the head of its answer. Raises what `failure.classify` takes apart."""
        asked = request.url
        url = httpcore.URL(scheme=asked.raw_scheme, host=asked.raw_host, port=asked.port, target=asked.raw_path)
        if self._route.proxy is not None and url.scheme == b"http":
            response = await self._ask_proxy(
                self._route.proxy, Phase.PROCESSING, request.method, url, request.headers.raw
            )
        else:
            stream = await self._open(url.origin)
            self._trail.enter(Phase.PROCESSING)
            connection = httpcore.AsyncHTTP11Connection(url.origin, _Spoken(stream))
            response = await connection.handle_async_request(
                httpcore.Request(request.method, url, headers=request.headers.raw)
            )
        self._trail.stop()
        self._trail.evidence["answer"] = _head(response)
        return httpx.Response(response.status, headers=response.headers, stream=_Body(response))

    async def aclose(self) -> None:
        """Close every socket that was opened."""
        for connection in self._sockets:
            connection.close()

    # ------------------------------------------------------------ the origin

    async def _open(self, origin: httpcore.Origin) -> httpcore.AsyncNetworkStream:
        """A stream to the origin itself, secured if its scheme says so."""
        stream = await self._below(origin)
        if origin.scheme != b"https":
            return stream
        self._trail.enter(Phase.TLS)
        secure = TlsStream(stream, self._route.context, _name(origin), self._trail)
        try:
            self._trail.evidence["tls"] = await secure.handshake()
        except ssl.SSLCertVerificationError as error:
            self._trail.stop()
            self._trail.evidence["tls"] = await self._second_look(origin, error)
            raise
        return secure

    async def _below(self, origin: httpcore.Origin) -> httpcore.AsyncNetworkStream:
        """A stream to the origin as it is before TLS, through the proxy's tunnel where there is one."""
        proxy = self._route.proxy
        if proxy is None:
            return await self._dial(origin)
        authority = _authority(origin)
        url = httpcore.URL(scheme=b"http", host=origin.host, port=origin.port, target=authority)
        response = await self._ask_proxy(proxy, Phase.PROXY, "CONNECT", url, [(b"Host", authority)])
        if not httpx.codes.is_success(response.status):
            raise ProxyRefused(self._trail.evidence["dialogue"][-1])
        return cast(httpcore.AsyncNetworkStream, response.extensions["network_stream"])

    async def _second_look(self, origin: httpcore.Origin, error: ssl.SSLCertVerificationError) -> TlsFacts:
        """The facts of a chain that did not verify: OpenSSL keeps them to itself, so the server is asked once more.

        Within the time that is left, and whatever comes of it, the verdict stands.
        """
        seen = TlsFacts()
        left = anyio.current_effective_deadline() - anyio.current_time() - _SPARE
        look = Transport(self._route, Trail())
        with anyio.move_on_after(left, shield=True), suppress(Exception):
            seen = await TlsStream(await look._below(origin), unverifying(), _name(origin), look._trail).handshake()
        await look.aclose()
        return replace(seen, leads_to=seen.leads_to or (Root.PRIVATE if unknown_root(error) else None))

    async def _dial(self, origin: httpcore.Origin) -> httpcore.AsyncNetworkStream:
        self._trail.enter(Phase.RESOLVE)
        addresses = await resolve(_name(origin), origin.port, self._trail)
        self._trail.evidence["addresses"] = tuple(dict.fromkeys(str(info[4][0]) for info in addresses))
        self._trail.enter(Phase.CONNECT)
        stream = await connect(addresses, self._trail, self._route.clock)
        self._sockets.append(stream.socket)
        with suppress(OSError):  # gone already: the next phase tells how
            self._trail.evidence["address"] = str(stream.socket.getpeername()[0])
        return stream

    # ------------------------------------------------------------ the proxy

    async def _ask_proxy(
        self, proxy: Proxy, phase: Phase, method: str, url: httpcore.URL, headers: Headers
    ) -> httpcore.Response:
        """Ask the proxy; again as long as it wants credentials and the account has more to say.

        On the same connection if it lives, since NTLM signs in a connection, not a request.
        """
        sign_in = self._route.sign_in or SignIn(Account(proxy))
        connection = await self._connect_to(proxy)
        self._trail.enter(phase)
        async with Talk(sign_in) as talk:
            with self._trail.waiting():
                credentials = await talk.opening()
            while True:
                own = [] if credentials is None else [(b"Proxy-Authorization", credentials.encode("latin-1"))]
                asked = httpcore.Request(method, _as_asked_of(proxy, method, url), headers=[*headers, *own])
                response = await connection.handle_async_request(asked)
                refused = method == "CONNECT" and not httpx.codes.is_success(response.status)
                wanted = response.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED
                answer = await _page(response) if refused or wanted else _head(response)
                if refused:
                    self._remember(answer)
                with self._trail.waiting():
                    credentials = await talk.heard(answer)
                if credentials is None:
                    return response
                await response.aclose()
                if not connection.is_available():
                    connection = await self._connect_to(proxy)
                    self._trail.enter(phase)

    async def _connect_to(self, proxy: Proxy) -> httpcore.AsyncHTTP11Connection:
        """A connection to the proxy itself, by TLS if its URL says so."""
        origin = httpcore.URL(proxy.url).origin
        stream: httpcore.AsyncNetworkStream = await self._dial(origin)
        if origin.scheme == b"https":
            self._trail.enter(Phase.PROXY)
            secure = TlsStream(stream, self._route.context, _name(origin), self._trail)
            await secure.handshake()
            stream = secure
        return httpcore.AsyncHTTP11Connection(origin, _Spoken(stream))

    def _remember(self, answer: Answer) -> None:
        self._trail.evidence["dialogue"] = (*self._trail.evidence.get("dialogue", ()), answer)


class _Spoken(httpcore.AsyncNetworkStream):
    """A stream whose first bytes must be those of an HTTP answer: the parser would wait for the end of any line."""

    def __init__(self, below: httpcore.AsyncNetworkStream) -> None:
        self._below = below
        self._first = b""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        """What has arrived. Raises httpcore.RemoteProtocolError when it begins otherwise."""
        data = await self._below.read(max_bytes, timeout)
        if len(self._first) < len(_BEGINNING):
            self._first = (self._first + data)[: len(_BEGINNING)]
            if not _BEGINNING.startswith(self._first):
                raise httpcore.RemoteProtocolError(f"the answer is not HTTP: it begins with {self._first!r}")
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Send all of it."""
        await self._below.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close the stream below."""
        await self._below.aclose()

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - the interface's
        """What the stream below knows."""
        return self._below.get_extra_info(info)


class _Body(httpx.AsyncByteStream):
    """A body that is read as far as somebody asks, and dropped with the connection."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in cast(AsyncIterable[bytes], self._response.stream):
            yield chunk


def _head(response: httpcore.Response) -> Answer:
    headers = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers)
    return Answer(response.status, tuple(headers))


async def _page(response: httpcore.Response) -> Answer:
    """An answer with the beginning of its page, read to its end if it is short, so that the connection can go on."""
    body = await beginning(cast(AsyncIterable[bytes], response.stream), _DRAINED, _PAGE_TIME)
    return replace(_head(response), body=body[:PAGE].decode("latin-1"))


async def beginning(chunks: AsyncIterable[bytes], most: int, seconds: float) -> bytes:
    """What comes of a body within some seconds, up to the chunk that makes it `most` bytes or more.

    Whatever is wrong with it is passed over: the head was read, and has decided. So the attempt's own timeout is never
    reached in here, also where the event loop is late: it is shielded, for these few seconds at most.
    """
    body = b""
    left = anyio.current_effective_deadline() - anyio.current_time() - _SPARE
    if left <= 0:
        return body
    with anyio.move_on_after(min(seconds, left), shield=True), suppress(Exception):
        async for chunk in chunks:
            body += chunk
            if len(body) >= most:
                break
    return body


def _as_asked_of(proxy: Proxy, method: str, url: httpcore.URL) -> httpcore.URL:
    """The URL as it stands on the request line to a proxy: whole (RFC 9112, 3.2.2), or the authority for CONNECT."""
    at = httpcore.URL(proxy.url)
    target = url.target if method == "CONNECT" else bytes(url)
    return httpcore.URL(scheme=at.scheme, host=at.host, port=at.port, target=target)


def _authority(origin: httpcore.Origin) -> bytes:
    host = b"[%b]" % origin.host if b":" in origin.host else origin.host
    return b"%b:%d" % (host, origin.port)


def _name(origin: httpcore.Origin) -> str:
    return origin.host.decode("ascii")
