"""Names to addresses, addresses to connections. The only module that opens sockets to targets."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias, TypeVar

import anyio
import anyio.from_thread
import anyio.lowlevel
import httpcore

from exporter.failure import PeerClosed

T = TypeVar("T")
AddressInfo: TypeAlias = tuple[int, int, int, str, Any]  # as socket.getaddrinfo gives it

HEAD_START: Final = 0.25  # seconds that an address has before the next is tried beside it (RFC 8305, section 5)
SILENCE: Final = 4.5  # seconds: "try again" means a failing server if it comes sooner, else one that never answered
_UNDER_WAY: Final = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN})


async def resolve(host: str, port: int) -> list[AddressInfo]:
    """Addresses of a name as the system resolves it (hosts file, search list and policy count).

    Raises socket.gaierror, UnicodeError for a name that cannot be put on the wire, or TimeoutError where the system's
    resolver lost its patience before we did.
    """
    begun = time.monotonic()
    try:
        return await in_daemon_thread(
            lambda: list[AddressInfo](socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        )
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN and time.monotonic() - begun > SILENCE:
            raise TimeoutError("the resolver did not answer") from error
        raise


async def in_daemon_thread(function: Callable[[], T]) -> T:
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
