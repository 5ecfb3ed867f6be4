"""Reach a host by a path and exchange one request with it, on a stopwatch. The only module that opens sockets."""

from __future__ import annotations

import base64
import errno
import os
import socket
import ssl
import sys
import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias, TypeVar, cast

import anyio
import anyio.from_thread
import anyio.lowlevel
import httpcore
import httpx
import truststore

from exporter.certificates import facts
from exporter.failure import PeerClosed, ProxyRefused, unknown_root
from exporter.model import Phase, Proxy, TlsFacts, TlsSettings

T = TypeVar("T")
AddressInfo: TypeAlias = tuple[int, int, int, str, Any]  # as socket.getaddrinfo gives it

HEAD_START: Final = 0.25  # seconds that an address has before the next is tried beside it (RFC 8305, section 5)
_UNDER_WAY: Final = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN})
_CHUNK: Final = 64 * 1024
_DER: Final = 2  # _ssl.ENCODING_DER


class Trail:
    """How far an attempt came: a lap for each phase, and what was seen. Entering a phase ends the one before."""

    def __init__(self) -> None:
        self.phase = Phase.RESOLVE
        self.laps: dict[Phase, float] = {}
        self.evidence: dict[str, Any] = {}
        self._entered: float | None = None

    def enter(self, phase: Phase) -> None:
        """End the phase before and begin this one."""
        now = time.perf_counter()
        self._end_lap(now)
        self.phase, self._entered = phase, now

    def stop(self) -> None:
        """End the phase under way, if any; it stays the one where the attempt stood."""
        self._end_lap(time.perf_counter())
        self._entered = None

    def _end_lap(self, now: float) -> None:
        if self._entered is not None:
            self.laps[self.phase] = self.laps.get(self.phase, 0.0) + now - self._entered


# ---------------------------------------------------------------- trust


def tls_context(settings: TlsSettings) -> ssl.SSLContext:
    """The one context of all probes: the system's trust, and the operator's own CA beside it."""
    context: ssl.SSLContext
    if sys.platform in {"win32", "darwin"}:
        context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        # On Linux truststore only points OpenSSL at the system's bundle, but does so for every connection, which reads
        # the bundle again: 24 ms, twenty times the probe. The standard library reads the same bundle once.
        context = ssl.create_default_context()
    if settings.ca_file is not None:
        context.load_verify_locations(settings.ca_file)
    context.set_alpn_protocols(["http/1.1"])
    return context


# ---------------------------------------------------------------- names and connections


async def resolve(host: str, port: int) -> list[AddressInfo]:
    """Addresses of a name as the system resolves it (hosts file, search list and policy count).

    Raises socket.gaierror, or UnicodeError for a name that cannot be put on the wire.
    """
    return await _in_daemon_thread(lambda: list[AddressInfo](socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


async def _in_daemon_thread(function: Callable[[], T]) -> T:
    """Run a blocking function and stop waiting for it when cancelled.

    A thread of its own, and a daemon: a resolver that hangs holds up neither other lookups nor the end of the process.
    """
    token, done, outcome = anyio.lowlevel.current_token(), anyio.Event(), list[Callable[[], T]]()

    def work() -> None:
        try:
            value = function()
            outcome.append(lambda: value)
        except Exception as error:  # noqa: BLE001 - carried over to the waiting task, whatever it is
            outcome.append(lambda error=error: _raise(error))  # type: ignore[misc]
        with suppress(RuntimeError):  # the loop has ended meanwhile: nobody waits any more
            anyio.from_thread.run_sync(done.set, token=token)

    threading.Thread(target=work, name="resolver", daemon=True).start()
    await done.wait()
    return outcome[0]()


def _raise(error: Exception) -> Any:  # noqa: ANN401 - it never returns, but stands where a value would
    raise error


async def connect(addresses: Sequence[AddressInfo]) -> socket.socket:
    """A connection to the first address that answers.

    The next address is tried when the one before has failed or has had its head start, so that one dead address of
    many does not make a host look dead. Raises the first address' OSError when all fail.
    """
    won: list[socket.socket] = []
    errors: list[OSError] = []

    async def attempt(info: AddressInfo, failed: anyio.Event, scope: anyio.CancelScope) -> None:
        try:
            connection = await _connect_to(info)
        except OSError as error:
            errors.append(error)
            failed.set()
        else:
            won.append(connection)
            scope.cancel()

    try:
        async with anyio.create_task_group() as group:
            for info in addresses:
                failed = anyio.Event()
                group.start_soon(attempt, info, failed, group.cancel_scope)
                with anyio.move_on_after(HEAD_START):
                    await failed.wait()
    except BaseException:
        _close(won)
        raise
    if not won:
        raise errors[0]
    _close(won[1:])
    return won[0]


def _close(sockets: Iterable[socket.socket]) -> None:
    for connection in sockets:
        connection.close()


async def _connect_to(info: AddressInfo) -> socket.socket:
    family, kind, protocol, _, address = info
    connection = socket.socket(family, kind, protocol)
    try:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        error = connection.connect_ex(address)
        if error in _UNDER_WAY:
            await anyio.wait_writable(connection)
            error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))  # noqa: TRY301 - one way out, which closes the socket
    except BaseException:
        connection.close()
        raise
    return connection


# ---------------------------------------------------------------- streams


class SocketStream(httpcore.AsyncNetworkStream):
    """A connected socket. Time-outs are the attempt's, not a single call's, so those of the interface are not used."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002, ASYNC109
        """What has arrived; raises PeerClosed at the end, which a probe never expects."""
        while True:
            await anyio.wait_readable(self._socket)
            with suppress(BlockingIOError):
                data = self._socket.recv(max_bytes)
                if not data:
                    raise PeerClosed("the connection was closed before the answer")
                return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109
        """Send all of it."""
        rest = memoryview(buffer)
        while rest:
            await anyio.wait_writable(self._socket)
            with suppress(BlockingIOError):
                rest = rest[self._socket.send(rest) :]

    async def aclose(self) -> None:
        """Close the socket."""
        self._socket.close()


class TlsStream(httpcore.AsyncNetworkStream):
    """TLS on another stream."""

    def __init__(self, below: httpcore.AsyncNetworkStream, context: ssl.SSLContext, host: str) -> None:
        self._below = below
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    async def handshake(self) -> TlsFacts:
        """Shake hands and verify. Raises ssl.SSLError, of which SSLCertVerificationError says what does not verify."""
        await self._drive(self._tls.do_handshake)
        return facts(tuple(_chain(self._tls)), self._tls.version())

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002, ASYNC109
        """What has arrived, decrypted; raises PeerClosed at the end."""
        data: bytes = b""
        with suppress(ssl.SSLZeroReturnError):
            data = await self._drive(lambda: self._tls.read(max_bytes))
        if not data:
            raise PeerClosed("the connection was closed before the answer")
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109
        """Send all of it, encrypted."""
        await self._drive(lambda: self._tls.write(buffer))

    async def aclose(self) -> None:
        """Close the stream below."""
        await self._below.aclose()

    async def _drive(self, operation: Callable[[], T]) -> T:
        """Do an operation of the TLS engine, carrying its records back and forth until it is done."""
        while True:
            try:
                value = operation()
            except ssl.SSLWantReadError:
                await self._flush()
                self._incoming.write(await self._below.read(_CHUNK))
            except ssl.SSLError:
                with suppress(OSError):  # the alert is a courtesy
                    await self._flush()
                raise
            else:
                await self._flush()
                return value

    async def _flush(self) -> None:
        if self._outgoing.pending:
            await self._below.write(self._outgoing.read())


def _chain(tls: ssl.SSLObject) -> list[bytes]:
    """The certificates that the server sent, in DER, its own first."""
    if sys.version_info >= (3, 13):
        return tls.get_unverified_chain()
    # Public from 3.13 on; the same method stands on the object beneath since 3.10, and truststore reads it there too.
    beneath = cast(Any, tls)._sslobj  # noqa: SLF001
    return [certificate.public_bytes(_DER) for certificate in beneath.get_unverified_chain() or ()]


# ---------------------------------------------------------------- one exchange


class Transport(httpx.AsyncBaseTransport):
    """Carries one request on a fresh connection, direct or through a proxy, and leaves its trail.

    The socket belongs to the transport and is closed with it, whatever happened in between.
    """

    def __init__(self, context: ssl.SSLContext, proxy: Proxy | None, trail: Trail) -> None:
        self._context = context
        self._proxy = proxy
        self._trail = trail
        self._stream: httpcore.AsyncNetworkStream | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read the head of its answer. Raises what `failure.classify` takes apart."""
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        headers = request.headers.raw
        if self._proxy is None:
            stream = await self._dial(url.origin)
        else:
            stream = await self._dial(_origin(self._proxy))
            if url.scheme == b"https":
                stream = await self._tunnel(stream, url.origin)
            else:
                headers = [*headers, *_credentials(self._proxy)]
                url = _absolute(url, _origin(self._proxy))
        if url.scheme == b"https":
            stream = await self._secure(stream, url.host.decode("ascii"))
        self._trail.enter(Phase.PROCESSING)
        connection = httpcore.AsyncHTTP11Connection(url.origin, stream)
        response = await connection.handle_async_request(httpcore.Request(request.method, url, headers=headers))
        self._trail.stop()
        self._trail.evidence["status"] = response.status
        body = cast(AsyncIterable[bytes], response.stream)
        return httpx.Response(response.status, headers=response.headers, stream=_Body(body))

    async def aclose(self) -> None:
        """Close the socket, if one was opened."""
        if self._stream is not None:
            await self._stream.aclose()

    async def _dial(self, origin: httpcore.Origin) -> httpcore.AsyncNetworkStream:
        port = origin.port
        self._trail.enter(Phase.RESOLVE)
        addresses = await resolve(origin.host.decode("ascii"), port)
        self._trail.enter(Phase.CONNECT)
        connection = await connect(addresses)
        self._stream = SocketStream(connection)
        with suppress(OSError):  # gone already: the next phase tells how
            self._trail.evidence["address"] = str(connection.getpeername()[0])
        return self._stream

    async def _tunnel(
        self, stream: httpcore.AsyncNetworkStream, origin: httpcore.Origin
    ) -> httpcore.AsyncNetworkStream:
        """The CONNECT exchange. Raises ProxyRefused on any answer but success."""
        self._trail.enter(Phase.PROXY)
        proxy = cast(Proxy, self._proxy)
        authority = _authority(origin)
        url = httpcore.URL(scheme=b"http", host=_origin(proxy).host, port=_origin(proxy).port, target=authority)
        headers = [(b"Host", authority), *_credentials(proxy)]
        connection = httpcore.AsyncHTTP11Connection(url.origin, stream)
        response = await connection.handle_async_request(httpcore.Request("CONNECT", url, headers=headers))
        if not httpx.codes.is_success(response.status):
            raise ProxyRefused(response.status)
        return cast(httpcore.AsyncNetworkStream, response.extensions["network_stream"])

    async def _secure(self, stream: httpcore.AsyncNetworkStream, host: str) -> TlsStream:
        self._trail.enter(Phase.TLS)
        secure = TlsStream(stream, self._context, host)
        try:
            self._trail.evidence["tls"] = await secure.handshake()
        except ssl.SSLError as error:
            if unknown_root(error):
                self._trail.evidence["tls"] = TlsFacts(intercepted=True)
            raise
        return secure


class _Body(httpx.AsyncByteStream):
    """A body that is read as far as somebody asks, and dropped with the connection."""

    def __init__(self, chunks: AsyncIterable[bytes]) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._chunks:
            yield chunk


def _origin(proxy: Proxy) -> httpcore.Origin:
    return httpcore.URL(proxy.url).origin


def _authority(origin: httpcore.Origin) -> bytes:
    host = b"[%b]" % origin.host if b":" in origin.host else origin.host
    return b"%b:%d" % (host, origin.port)


def _absolute(url: httpcore.URL, proxy: httpcore.Origin) -> httpcore.URL:
    """The form in which a proxy is asked for a plain http URL: all of it on the request line (RFC 9112, 3.2.2)."""
    return httpcore.URL(scheme=proxy.scheme, host=proxy.host, port=proxy.port, target=bytes(url))


def _credentials(proxy: Proxy) -> list[tuple[bytes, bytes]]:
    if proxy.username is None:
        return []
    pair = f"{proxy.username}:{proxy.password or ''}".encode()
    return [(b"Proxy-Authorization", b"Basic " + base64.b64encode(pair))]
