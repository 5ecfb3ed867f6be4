"""What a stranger does to the port that is scraped: floods, half requests, slow readers, wrong passwords, odd requests.

Each attacks from an address of its own on the loopback, as another host would, and is over when it returns; those that
hold connections open do so for a block. `scrape` is what Prometheus does meanwhile.
"""

from __future__ import annotations

import random
import socket
import ssl
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Final

Address = tuple[str, int]

STRANGER: Final = "127.0.66.1"
PROMETHEUS: Final = "127.0.0.2"
AT_A_TIME: Final = 32  # connections that a flood holds
MUTATIONS: Final = (
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"HEAD /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
    b"GET http://x/metrics HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /probe?target=https://go.microsoft.com/&debug=true HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n",
    b"GET /target?url=%00%ff HTTP/1.0\r\nCookie: a=b\r\n\r\nGET /api/v1/status HTTP/1.1\r\nHost: x\r\n\r\n",
)
PIECES: Final = (
    b"\r\n",
    b"\0",
    b"\xff",
    b":",
    b" ",
    b"\t",
    b"0\r\n\r\n",
    b"%0a",
    b"Content-Length: 1\r\n",
    b"a" * 9000,
)


@dataclass(frozen=True)
class Scraped:
    """What a scrape came to: 0 where there was no answer."""

    status: int
    seconds: float
    body: bytes = b""


def connected(address: Address, source: str = STRANGER, within: float = 5.0) -> socket.socket:
    """A connection from an address on the loopback. Raises OSError."""
    return socket.create_connection(address, within, source_address=(source, 0))


def request(path: str = "/metrics", *fields: str, method: str = "GET") -> bytes:
    """A request in one piece."""
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: x", *fields, "", "")).encode("latin-1")


def basic(user: str, password: str) -> str:
    """The field that shows a password."""
    return f"Authorization: Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


def scrape(
    address: Address,
    *fields: str,
    path: str = "/metrics",
    source: str = PROMETHEUS,
    within: float = 10.0,
    tls: ssl.SSLContext | None = None,
) -> Scraped:
    """Ask once, as Prometheus does, whose timeout is ten seconds."""
    begun, answered = time.monotonic(), b""
    with suppress(OSError), ExitStack() as stack:
        connection = stack.enter_context(connected(address, source, within))
        if tls is not None:
            connection = stack.enter_context(tls.wrap_socket(connection, server_hostname="localhost"))
        connection.sendall(request(path, "Connection: close", *fields))
        while data := connection.recv(1 << 20):
            answered += data
    head, _, body = answered.partition(b"\r\n\r\n")
    return Scraped(int(head.split()[1]) if head else 0, time.monotonic() - begun, body)


# ---------------------------------------------------------------- floods


def flood(address: Address, asked: bytes, times: int, source: str = STRANGER) -> int:
    """Send so many requests and hang up without a look at the answers; how many could be sent."""
    sent, held = 0, list[socket.socket]()
    for _ in range(times):
        with suppress(OSError):
            held.append(connected(address, source))
            held[-1].sendall(asked)
            sent += 1
        if len(held) >= AT_A_TIME:
            time.sleep(0.02)  # so that they are read before they are gone
            _close(held)
    _close(held)
    return sent


def reloads(address: Address, times: int, source: str = STRANGER) -> int:
    """Ask for reloads and hang up; how many could be asked for."""
    return flood(address, request("/-/reload", method="POST"), times, source)


def wrong_passwords(address: Address, times: int, source: str = STRANGER) -> Counter[int]:
    """Try as many passwords, each another, and wait for the answers; how often each status came."""
    answers = Counter[int]()
    for number in range(0, times, AT_A_TIME):
        held = list[socket.socket]()
        for each in range(number, min(number + AT_A_TIME, times)):
            with suppress(OSError):
                held.append(connected(address, source))
                held[-1].sendall(request("/", basic("prometheus", f"wrong {each}"), "Connection: close"))
        for connection in held:
            with suppress(OSError):
                answers[int((connection.recv(100).split() or [b"", b"0"])[1])] += 1
        _close(held)
    return answers


def _close(held: list[socket.socket]) -> None:
    for each in held:
        each.close()
    held.clear()


# ---------------------------------------------------------------- connections that are held


@contextmanager
def half_requests(address: Address, times: int, sources: Sequence[str] = (STRANGER,)) -> Iterator[list[socket.socket]]:
    """Connections with the beginning of a request, from each of these addresses as many."""
    with _held(address, request()[:-2], times, sources) as held:
        yield held


@contextmanager
def slow_readers(
    address: Address, times: int, sources: Sequence[str] = (STRANGER,), *, pipelined: int = 20, path: str = "/metrics"
) -> Iterator[list[socket.socket]]:
    """Connections on which much is asked for, one request behind the other, and nothing is read."""
    with _held(address, request(path) * pipelined, times, sources) as held:
        yield held


@contextmanager
def _held(address: Address, said: bytes, times: int, sources: Sequence[str]) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        held = list[socket.socket]()
        for number in range(times * len(sources)):
            with suppress(OSError):  # refused, or ended for another
                connection = socket.socket()
                stack.callback(connection.close)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.settimeout(5)
                connection.bind((sources[number % len(sources)], 0))
                connection.connect(address)
                connection.sendall(said)
                held.append(connection)
        yield held


# ---------------------------------------------------------------- requests that are none, or another's


def mutated_requests(address: Address, times: int, seed: int, source: str = STRANGER) -> Counter[int]:
    """Send requests that were changed at random, in one to three packets; how often each status came, 0 for none."""
    drawn, answers = random.Random(seed), Counter[int]()  # noqa: S311 - the same again by the same seed
    for _ in range(times):
        said = bytearray(drawn.choice(MUTATIONS))
        for _ in range(drawn.randrange(1, 6)):
            at = drawn.randrange(len(said) + 1)
            if drawn.random() < 0.5:
                said[at:at] = drawn.choice(PIECES)
            else:
                said[at : at + drawn.randrange(1, 8)] = bytes([drawn.randrange(256)])
        answers[_status(address, bytes(said), drawn.randrange(1, 4), source, no_more=True)] += 1
    return answers


def _status(address: Address, said: bytes, packets: int = 1, source: str = STRANGER, *, no_more: bool = False) -> int:
    answered = b""
    with suppress(OSError), connected(address, source) as connection:
        length = -(-len(said) // packets)
        for start in range(0, len(said), length):
            connection.sendall(said[start : start + length])
        if no_more:  # else half a request would be waited for
            connection.shutdown(socket.SHUT_WR)
        answered = connection.recv(100)
    words = answered.split(maxsplit=2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


ANOTHER_SITE: Final = (
    ("Origin: https://evil.example",),
    ("Origin: null",),
    ("Sec-Fetch-Site: cross-site",),
    ("Sec-Fetch-Site: same-site",),
    ("Origin: https://evil.example", "Sec-Fetch-Site: cross-site"),
)


def from_another_site(address: Address, *fields: str) -> dict[str, int]:
    """What a page of another site can have a browser ask, and the status of each answer; only refusals are right."""
    found = {}
    for said in ANOTHER_SITE:
        for method, path in (("POST", "/-/reload"), ("GET", "/probe?target=x")):
            asked = request(path, *said, *fields, method=method)
            found[f"{method} {path} {' '.join(said)}"] = _status(address, asked)
    return found


def by_a_name_of_theirs(address: Address) -> dict[str, int]:
    """What a page gets whose own name was made to lead here; only refusals are right."""
    paths = ("/", "/metrics", "/api/v1/status", "/target?url=x", "/runbooks/")
    return {path: _status(address, request(path).replace(b"Host: x", b"Host: evil.example")) for path in paths}
