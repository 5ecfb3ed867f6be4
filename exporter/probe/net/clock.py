"""When what a socket receives has arrived: by the kernel's stamp where it makes one, else by the clock of who reads it.

The kernel's stamp is that of the last segment of what is read at once, and the order of arrival is not the order of
the bytes: both matter only to a reader who is behind, and the time says where it may be wrong.
"""

from __future__ import annotations

import atexit
import socket
import struct
import sys
import time
from contextlib import suppress
from functools import cache
from typing import ClassVar, Final, NamedTuple, TypeAlias

from exporter.model.vocabulary import ClockSource

now = time.perf_counter

CLOSE: Final = 0.001  # seconds: nearer than this is at the same time


class Arrival(NamedTuple):
    """When something arrived, on the clock of `now`."""

    at: float
    exact: bool = True  # False: that is when it was noticed
    alone: bool = True  # False: a part of it may have arrived long before, and waited to be read


class LoopClock:
    """The time on one socket by the clock of who reads it: as true as the event loop is punctual."""

    source: ClassVar = ClockSource.LOOP

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.asked = now()  # when we last sent something, or began to connect

    def ask(self) -> None:
        """Note that something is about to be sent."""
        self.asked = now()

    def connected(self) -> Arrival:
        """When the connection opened that has just been found open."""
        return Arrival(now())

    def receive(self, size: int) -> tuple[bytes, Arrival]:
        """What has arrived, and when. Raises BlockingIOError."""
        data = self.socket.recv(size)
        return data, Arrival(now())

    def gap(self) -> bool:
        """Whether the end of something has arrived, and not what stands before. False: not as far as is known."""
        return False


Clock: TypeAlias = type[LoopClock]

_TIMESTAMPNS: Final = 35  # SO_TIMESTAMPNS and SCM_TIMESTAMPNS, <asm-generic/socket.h>
_TIMESPEC: Final = struct.Struct("@ll")
_TCP_INFO: Final = struct.Struct("=68xI12xI12xI48xI68xI")  # the fields of `TcpInfo` in struct tcp_info, <linux/tcp.h>


class TcpInfo(NamedTuple):
    """What the kernel knows of a connection; 0 where it is too old to know."""

    rtt: int  # microseconds
    segment_size: int  # bytes of data that the other side may send in one segment
    sent_again: int  # segments
    segments: int  # with data, received so far
    out_of_order: int  # segments that arrived before one that they follow


def together(size: int, segments: int, segment_size: int) -> bool:
    """Whether so many bytes in so many segments were sent at once: all but the last segment are full then."""
    return segments <= 1 or size > (segments - 1) * segment_size


if sys.platform == "linux":

    class KernelClock(LoopClock):
        """The time on one socket as the kernel stamps it, which does not depend on when it is read."""

        source: ClassVar = ClockSource.KERNEL

        def __init__(self, connection: socket.socket) -> None:
            super().__init__(connection)
            connection.setsockopt(socket.SOL_SOCKET, _TIMESTAMPNS, 1)
            self._ahead = _ahead()
            self._read = self.asked
            self._info = TcpInfo(0, 0, 0, 0, 0)

        def ask(self) -> None:
            """Note that something is about to be sent."""
            self._ahead = _ahead()
            self.asked = now()

        def connected(self) -> Arrival:
            """When the connection opened: a round trip after it was asked for, unless that was lost and sent again."""
            noticed, info = now(), tcp_info(self.socket)
            at = self.asked + info.rtt / 1e6
            if info.rtt and not info.sent_again and at <= noticed:
                return Arrival(at)
            return Arrival(noticed, exact=False)

        def receive(self, size: int) -> tuple[bytes, Arrival]:
            """What has arrived, and when. Raises BlockingIOError."""
            data, ancillary, _, _ = self.socket.recvmsg(size, socket.CMSG_SPACE(_TIMESPEC.size))
            noticed, ahead, info = now(), _ahead(), tcp_info(self.socket)
            before, self._info = self._info, info
            since, self._read = max(self.asked, self._read), noticed
            stepped = abs(ahead - self._ahead) > CLOSE  # somebody set the clock
            at = _stamp(ancillary) - ahead
            if stepped or info.out_of_order != before.out_of_order or not self.asked <= at <= noticed:
                return data, Arrival(noticed, exact=False)
            segments = info.segments - before.segments
            alone = noticed - since < CLOSE or together(len(data), segments, info.segment_size)
            return data, Arrival(at, alone=alone)

        def gap(self) -> bool:
            """Whether segments have arrived since the last `receive`, and none in order."""
            return tcp_info(self.socket).out_of_order > self._info.out_of_order

    def tcp_info(connection: socket.socket) -> TcpInfo:
        """What the kernel knows of a connection."""
        found = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        return TcpInfo(*_TCP_INFO.unpack(found.ljust(_TCP_INFO.size, b"\0")))


@cache
def clock_in_force() -> Clock:
    """The best clock that this system has."""
    if sys.platform == "linux":
        with suppress(OSError):
            _keep_stamping()
            return KernelClock
    return LoopClock


@cache
def _keep_stamping() -> socket.socket:
    """An idle socket that wants stamps: the kernel stamps while any does, and begins a moment after the first asked."""
    idle = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    idle.setsockopt(socket.SOL_SOCKET, _TIMESTAMPNS, 1)
    atexit.register(idle.close)
    return idle


def _ahead() -> float:
    """Seconds that the clock of the stamps, which people set, is ahead of `now`. Costs a ten-millionth of a second."""
    return time.time() - now()


def _stamp(ancillary: list[tuple[int, int, bytes]]) -> float:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == _TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack(data)
            return float(seconds + nanoseconds / 1e9)
    return 0.0
