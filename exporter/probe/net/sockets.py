"""Addresses to connections. The only module that opens sockets to targets."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain, zip_longest
from typing import Final, cast

import anyio

from exporter.model.vocabulary import Contact, SocketAddress, Tried
from exporter.probe.connecting import contact_of, telling_most
from exporter.probe.errors import PeerClosed
from exporter.probe.net.clock import Arrival, Clock, LoopClock, now
from exporter.probe.net.local import local_end
from exporter.probe.net.resolver import AddressInfo
from exporter.probe.net.trace import Trace
from exporter.system.descriptors import leave_reserve
from exporter.system.words import error_of

HEAD_START: Final = 0.25  # seconds that an address has before the next is tried beside it (RFC 8305, section 5)
# A connection that was opened and cut before we looked; one that is refused has another number. What was said before it
# was cut can still be read.
_CUT: Final = frozenset({errno.ECONNRESET, errno.EPIPE})
_UNDER_WAY: Final = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN})


async def connect(addresses: Sequence[AddressInfo], trace: Trace, clock: Clock) -> SocketStream:
    """A connection to the first address that answers.

    The next address is tried when the one before has failed or has had its head start, and is one of the other family
    as long as there are any (RFC 8305, section 4), so that neither a dead address nor a dead family makes a host look
    dead. What each address came to is kept. Raises the most informative OSError when all fail.
    """
    first, *others = attempts = [_Attempt(info, clock) for info in interleaved(addresses)]
    winner: _Attempt | None = None
    try:
        with anyio.move_on_after(HEAD_START):  # alone: most need no race, whose tasks cost as much as all else here
            await first.go_on()
        if first.opened is None:
            await _race(first, others)
        winner = next((attempt for attempt in attempts if attempt.opened), None)
        if winner is None:
            raise telling_most(filter(None, (attempt.error for attempt in attempts)))  # noqa: TRY301 - one way out, which notes the time
        trace.waited(first.asked, cast(Arrival, winner.opened))
        return SocketStream(cast(LoopClock, winner.clock), trace)
    except BaseException:
        trace.waited(first.asked, Arrival(now()))
        raise
    finally:
        tried = tuple(attempt.tried() for attempt in attempts if attempt.begun)
        trace.seen = replace(trace.seen, tried=tried)
        for attempt in attempts:
            if attempt is not winner:
                attempt.close()


def interleaved(addresses: Sequence[AddressInfo]) -> list[AddressInfo]:
    """The addresses by turns of one family and of the other, beginning as the system does and keeping its order."""
    families: dict[int, list[AddressInfo]] = {}
    for info in addresses:
        families.setdefault(info[0], []).append(info)
    return [info for info in chain.from_iterable(zip_longest(*families.values())) if info is not None]


async def _race(first: _Attempt, others: Sequence[_Attempt]) -> None:
    """Until one is open or all have failed: the others begin one after the other, beside the first if it goes on."""

    async def run(attempt: _Attempt, failed: anyio.Event) -> None:
        await attempt.go_on()
        if attempt.opened:
            group.cancel_scope.cancel()
        failed.set()

    async with anyio.create_task_group() as group:
        if first.error is None:
            group.start_soon(run, first, anyio.Event())
        for attempt in others:
            failed = anyio.Event()
            group.start_soon(run, attempt, failed)
            with anyio.move_on_after(HEAD_START):
                await failed.wait()


class _Attempt:
    """A connection to one address, on its way."""

    def __init__(self, info: AddressInfo, kind: Clock) -> None:
        self._info = info
        self._kind = kind
        self._socket: socket.socket | None = None
        self._status = 0  # errno's
        self._ended = 0.0
        self._local: SocketAddress | None = None
        self._at = 0.0  # Unix time
        self.begun = False
        self.asked = now()
        self.clock: LoopClock | None = None
        self.opened: Arrival | None = None
        self.error: OSError | None = None

    async def go_on(self) -> None:
        """Until it is open or has failed; once broken off, from there."""
        try:
            clock = self.clock or self._begin()
            if self._status in _UNDER_WAY:
                await anyio.wait_writable(clock.socket)
                self._status = clock.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if self._status in _CUT:
                self._status = 0
            if self._status:
                raise error_of(self._status)
            self.opened = clock.connected()
            self._ended = self.opened.at
        except OSError as error:
            self.error = error
            self._ended = now()

    def tried(self) -> Tried:
        """What has come of it so far."""
        seconds = max(0.0, (self._ended or now()) - self.asked)
        address, port = str(self._info[4][0]), int(self._info[4][1])
        error = None if self.error is None else self.error.strerror or str(self.error)
        if self.error is not None:
            contact = contact_of(self.error)
        else:
            contact = Contact.OPENED if self.opened else Contact.SILENT
        return Tried(address, contact, seconds, error, port, self._local, self._at)

    def _begin(self) -> LoopClock:
        family, kind, protocol, _, address = self._info
        self.begun = True
        self.asked = now()
        self._socket = connection = socket.socket(family, kind, protocol)
        leave_reserve(connection.fileno())
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.clock = clock = self._kind(connection)
        clock.ask()
        self.asked, self._at = clock.asked, time.time()
        self._status = connection.connect_ex(address)
        self._local = local_end(connection, str(address[0]), int(address[1]))
        return clock

    def close(self) -> None:
        """Close the socket, if there is one."""
        if self._socket is not None:
            self._socket.close()


class SocketStream:
    """A connected socket."""

    pending = 0  # what has come, only the kernel knows

    def __init__(self, clock: LoopClock, trace: Trace) -> None:
        self.socket = clock.socket
        self._clock = clock
        self._trace = trace
        self._cut: OSError | None = None  # what a write has met

    async def read(self, most: int) -> bytes:
        """What has arrived; raises PeerClosed at the end, which a probe never expects."""
        try:
            while True:
                await anyio.wait_readable(self.socket)
                with suppress(BlockingIOError):
                    data, arrival = self._clock.receive(most)
                    break
            if not data:
                raise self._cut or PeerClosed("the connection was closed before the answer")  # noqa: TRY301 - as above
        except BaseException:
            self._trace.waited(self._clock.asked, Arrival(now()), gap=self._clock.gap())
            raise
        self._trace.waited(self._clock.asked, arrival)
        return data

    async def write(self, data: bytes) -> None:
        """Send all of it, at once if there is room for it: to wait for room would be to wait for one's turn.

        Where the other side has cut the connection, `read` raises that, after everything that was said before: a
        server that wants a client certificate, or a filter with its page, says so and leaves without having heard us.
        """
        rest = memoryview(data)
        if rest:
            self._clock.ask()
        while rest and self._cut is None:
            try:
                rest = rest[self.socket.send(rest) :]
            except BlockingIOError:
                await anyio.wait_writable(self.socket)
            except ConnectionError as error:
                self._cut = error
