"""Names to addresses, addresses to connections. The only module that opens sockets to targets."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeAlias, TypeVar, cast

import anyio
import anyio.lowlevel

from exporter.failure import PeerClosed
from exporter.net.clock import Arrival, Clock, LoopClock, now
from exporter.net.descriptors import leave_reserve
from exporter.net.trail import Trail

T = TypeVar("T")
AddressInfo: TypeAlias = tuple[int, int, int, str, Any]  # as socket.getaddrinfo gives it
Outcome: TypeAlias = list[Callable[[], Any]]  # of a function in a thread; empty until it ends, then gives its value

HEAD_START: Final = 0.25  # seconds that an address has before the next is tried beside it (RFC 8305, section 5)
SILENCE: Final = 4.5  # seconds: "try again" means a failing server if it comes sooner, else one that never answered
HANGING: Final = 2  # look-ups of one name that may hang at a time
_given_up: Final[dict[str, list[Outcome]]] = {}
_LINGERING: Final = 10.0  # seconds that a thread waits for the next look-up
_idle: Final[list[SimpleQueue[Callable[[], None]]]] = []  # what waiting threads wait for
# A connection that was opened and cut before we looked; one that is refused has another number. What was said before it
# was cut can still be read.
_CUT: Final = frozenset({errno.ECONNRESET, errno.EPIPE})
_UNDER_WAY: Final = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN})


@dataclass(frozen=True, slots=True)
class _LookUp:
    """What a resolver said, and between which moments it was thinking."""

    addresses: list[AddressInfo]
    begun: float
    ended: float


async def resolve(host: str, port: int, trail: Trail) -> list[AddressInfo]:
    """Addresses of a name as the system resolves it (hosts file, search list and policy count).

    Raises socket.gaierror, UnicodeError for a name that cannot be put on the wire, or TimeoutError where the system's
    resolver lost its patience before we did.
    """
    asked = now()
    try:
        leave_reserve()
        found = await in_daemon_thread(lambda: _look_up(host, port), _still_hanging(host))
    except BaseException as error:
        trail.waited(asked, Arrival(now()))
        if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN and now() - asked > SILENCE:
            raise TimeoutError("the resolver did not answer") from error
        raise
    trail.waited(found.begun, Arrival(found.ended))
    return found.addresses


def _look_up(host: str, port: int) -> _LookUp:
    begun = now()
    addresses = list[AddressInfo](socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    return _LookUp(addresses, begun, now())


def _still_hanging(host: str) -> list[Outcome]:
    """The look-ups of a name that were given up and still hang. Raises TimeoutError where they are too many already.

    A resolver that hangs for minutes would otherwise get a thread for each probe.
    """
    hanging = _given_up.setdefault(host, [])
    hanging[:] = [outcome for outcome in hanging if not outcome]
    if len(hanging) >= HANGING:
        raise TimeoutError(f"the resolver has not answered {HANGING} earlier questions for this name")
    return hanging


async def in_daemon_thread(function: Callable[[], T], given_up: list[Outcome] | None = None) -> T:
    """Run a blocking function and stop waiting for it when cancelled; its outcome to come is then added to `given_up`.

    In a daemon thread that does nothing else meanwhile: a resolver that hangs holds up neither other lookups nor the
    end of the process. A thread that is done waits for more, since to start one costs more than what most of them do.
    """
    token, done, outcome = anyio.lowlevel.current_token(), anyio.Event(), Outcome()
    jobs = _waiting_thread()

    def work() -> None:
        try:
            value = function()
            outcome.append(lambda: value)
        except Exception as error:  # noqa: BLE001 - carried over to the waiting task, whatever it is
            outcome.append(lambda error=error: _raise(error))  # type: ignore[misc]
        _idle.append(jobs)
        with suppress(anyio.RunFinishedError):  # meanwhile: nobody waits any more
            # Not by `anyio.from_thread`, which waits until that is done.
            token.backend_class.run_sync_soon(done.set, (), token.native_token)

    jobs.put(work)
    try:
        await done.wait()
    finally:
        if given_up is not None and not outcome:
            given_up.append(outcome)
    return cast(T, outcome[0]())


def _waiting_thread() -> SimpleQueue[Callable[[], None]]:
    """Where to put what an idle thread shall do; a new thread's, if none is."""
    with suppress(IndexError):
        return _idle.pop()
    jobs = SimpleQueue[Callable[[], None]]()
    threading.Thread(target=_work, args=(jobs,), name="resolver", daemon=True).start()
    return jobs


def _work(jobs: SimpleQueue[Callable[[], None]]) -> None:
    """Do what comes, until nothing has come for a while."""
    while True:
        try:
            jobs.get(timeout=_LINGERING)()
        except Empty:
            with suppress(ValueError):  # somebody has just taken us from the idle, to give us something
                _idle.remove(jobs)
                return


def _raise(error: Exception) -> Any:  # noqa: ANN401 - it never returns, but stands where a value would
    raise error


async def connect(addresses: Sequence[AddressInfo], trail: Trail, clock: Clock) -> SocketStream:
    """A connection to the first address that answers.

    The next address is tried when the one before has failed or has had its head start, so that one dead address of
    many does not make a host look dead. Raises the first address' OSError when all fail.
    """
    first, *others = attempts = [_Attempt(info, clock) for info in addresses]
    winner: _Attempt | None = None
    try:
        with anyio.move_on_after(HEAD_START):  # alone: most need no race, whose tasks cost as much as all else here
            await first.go_on()
        if first.opened is None:
            await _race(first, others)
        winner = next((attempt for attempt in attempts if attempt.opened), None)
        if winner is None:
            raise cast(OSError, first.error)  # noqa: TRY301 - one way out, which notes the time
        trail.waited(first.asked, cast(Arrival, winner.opened))
        return SocketStream(cast(LoopClock, winner.clock), trail)
    except BaseException:
        trail.waited(first.asked, Arrival(now()))
        raise
    finally:
        for attempt in attempts:
            if attempt is not winner:
                attempt.close()


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
                raise OSError(self._status, os.strerror(self._status))  # noqa: TRY301 - kept, as any other
            self.opened = clock.connected()
        except OSError as error:
            self.error = error

    def _begin(self) -> LoopClock:
        family, kind, protocol, _, address = self._info
        self._socket = connection = socket.socket(family, kind, protocol)
        leave_reserve(connection.fileno())
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.clock = clock = self._kind(connection)
        clock.ask()
        self.asked = clock.asked
        self._status = connection.connect_ex(address)
        return clock

    def close(self) -> None:
        """Close the socket, if there is one."""
        if self._socket is not None:
            self._socket.close()


class SocketStream:
    """A connected socket."""

    pending = 0  # what has come, only the kernel knows

    def __init__(self, clock: LoopClock, trail: Trail) -> None:
        self.socket = clock.socket
        self._clock = clock
        self._trail = trail
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
            self._trail.waited(self._clock.asked, Arrival(now()))
            raise
        self._trail.waited(self._clock.asked, arrival)
        return data

    async def write(self, data: bytes) -> None:
        """Send all of it, at once if there is room for it: to wait for room would be to wait for one's turn.

        Where the other side has cut the connection, `read` raises that, after all that was said before: a server that
        wants a client certificate, or a filter with its page, says so and leaves without having heard us.
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

    async def aclose(self) -> None:
        """Close the socket."""
        self.socket.close()
