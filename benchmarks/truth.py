"""A server that knows the truth: known delays in each phase, and what they came to, as the kernel saw it arrive.

`python -m benchmarks.truth` serves TLS and plain HTTP on the loopback and writes one line of JSON a connection: the
request's path, and the seconds from the kernel's receipt of what began a phase to the write that ended it. The client's
phase is that and the way there and back, which on the loopback takes some hundredths of a millisecond.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import json
import selectors
import signal
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

_CHUNK: Final = 65536
_STAMP: Final = struct.Struct("@ll")  # seconds and nanoseconds, as the kernel has them
_SO_TIMESTAMPNS: Final = 35  # asm-generic/socket.h; the socket module has no name for it
_SPACE: Final = socket.CMSG_SPACE(_STAMP.size)


def stamped(connection: socket.socket) -> tuple[bytes, float]:
    """What has arrived, and when by the kernel: Unix time of the last segment in it."""
    data, ancillary, _, _ = connection.recvmsg(_CHUNK, _SPACE)
    for level, kind, value in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
            seconds, nanoseconds = _STAMP.unpack(value)
            return data, seconds + nanoseconds / 1e9
    return data, time.time()


@dataclass(frozen=True)
class Delays:
    """Seconds that pass before each step."""

    tls: float = 0.0  # from the client's hello to the server's flight
    answer: float = 0.0  # from the request to the head of the answer
    body: float = 0.0  # from the head to the body; 0: both in one write


class Loop:
    """Readiness and timers: enough of an event loop to say when exactly something was written."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._running = True

    def readable(self, connection: socket.socket, call: Callable[[], None]) -> None:
        """Call when there is something to read."""
        self._selector.register(connection, selectors.EVENT_READ, call)

    def forget(self, connection: socket.socket) -> None:
        """Call no more."""
        self._selector.unregister(connection)

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        """Call after so many seconds, or at once."""
        if seconds <= 0:
            call()
        else:
            heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), call))

    def stop(self) -> None:
        """Return from `run`."""
        self._running = False

    def run(self, idle: Callable[[], None]) -> None:
        """Serve until stopped; `idle` is called when there is nothing to do for a moment."""
        while self._running:
            wait = 0.2 if not self._timers else max(0.0, self._timers[0][0] - time.monotonic())
            ready = self._selector.select(min(wait, 0.2))
            if not ready and not self._timers:
                idle()
            for key, _ in ready:
                key.data()
            while self._timers and self._timers[0][0] <= time.monotonic():
                heapq.heappop(self._timers)[2]()


@dataclass
class Conversation:
    """One connection, from the client's hello to the end of the answer."""

    loop: Loop
    connection: socket.socket
    delays: Delays
    log: IO[str]
    context: ssl.SSLContext | None
    _request: bytes = b""
    _truth: dict[str, float | str] = field(default_factory=dict)
    _answering: bool = False
    _sealed: bool = False  # the server's flight is out

    def __post_init__(self) -> None:
        self.connection.setblocking(False)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        if self.context is not None:
            self._tls = self.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.loop.readable(self.connection, self._read)

    def _read(self) -> None:
        try:
            data, arrived = stamped(self.connection)
        except BlockingIOError:
            return
        except OSError:
            data, arrived = b"", 0.0
        if not data:
            self._close()
            return
        if self.context is None:
            self._heard(data, arrived)
        else:
            self._incoming.write(data)
            self._decrypt(arrived)

    def _decrypt(self, arrived: float) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            if self._outgoing.pending and not self._sealed:
                self._sealed = True
                self.loop.later(self.delays.tls, lambda: self._flight(arrived))
            return
        except ssl.SSLError:
            self._close()
            return
        self._send(self._outgoing.read())
        with suppress(ssl.SSLWantReadError):
            while data := self._tls.read(_CHUNK):
                self._heard(data, arrived)

    def _flight(self, hello: float) -> None:
        self._truth["tls"] = self._send(self._outgoing.read()) - hello

    def _heard(self, data: bytes, arrived: float) -> None:
        self._request += data
        if b"\r\n\r\n" in self._request and not self._answering:
            self._answering = True
            self.loop.later(self.delays.answer, lambda: self._answer(arrived))

    def _answer(self, asked: float) -> None:
        head, body = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 256\r\n\r\n", b"x" * 256
        answered = self._say(head if self.delays.body else head + body)
        self._truth["path"] = self._request.split(b" ", 2)[1].decode("latin-1")
        self._truth |= {"processing": answered - asked, "time": answered}
        self.log.write(json.dumps(self._truth) + "\n")
        if self.delays.body:
            self.loop.later(self.delays.body, lambda: self._say(body))

    def _say(self, data: bytes) -> float:
        if self.context is not None:
            with suppress(ssl.SSLError):
                self._tls.write(data)
            data = self._outgoing.read()
        return self._send(data)

    def _send(self, data: bytes) -> float:
        """Send it, and say when that was, Unix time."""
        sent = time.time()
        with suppress(OSError):  # a small answer fits the buffer of a connection that is still there
            self.connection.send(data)
        return sent

    def _close(self) -> None:
        self.loop.forget(self.connection)
        self.connection.close()


def listen(loop: Loop, port: int, converse: Callable[[socket.socket], object]) -> None:
    """Have a conversation with each that connects."""
    listening = socket.create_server(("127.0.0.1", port), backlog=4096)
    listening.setblocking(False)

    def accept() -> None:
        with suppress(BlockingIOError):
            while True:
                converse(listening.accept()[0])

    loop.readable(listening, accept)


def main() -> int:
    """Serve until asked to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="for TLS; the next one is for plain HTTP")
    parser.add_argument("--certificate", type=Path, required=True, help="with the chain and the key, PEM")
    parser.add_argument("--log", type=Path, required=True)
    for delay in ("tls", "answer", "body"):
        parser.add_argument(f"--{delay}", type=float, default=0.0, help="seconds")
    options = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate)
    context.set_alpn_protocols(["http/1.1"])
    delays = Delays(options.tls, options.answer, options.body)
    loop = Loop()
    with options.log.open("w", encoding="utf-8") as log:
        listen(loop, options.port, lambda taken: Conversation(loop, taken, delays, log, context))
        listen(loop, options.port + 1, lambda taken: Conversation(loop, taken, delays, log, None))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: loop.stop())
        loop.run(log.flush)
    return 0


if __name__ == "__main__":
    sys.exit(main())
