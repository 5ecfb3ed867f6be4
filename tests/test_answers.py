"""What stands in the place of an answer, as it comes over the wire: however it is labelled, and however late."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import anyio
import pytest
from trio.testing import MockClock

from exporter.catalogue import load, shipped
from exporter.failure import Signs
from exporter.fingerprints import load_fingerprints
from exporter.interference import domains_of
from exporter.loop import run_on_loop
from exporter.model import CheckKey, Probing, Proxy, Reason, Result, Target
from exporter.net import beginning
from exporter.probes import Network, run_check
from tests.servers import Talk, head, serving

FINGERPRINTS = load_fingerprints(shipped() / "vocabulary" / "fingerprints.yaml")
DOCUMENTED = domains_of(endpoint.pattern for group in load().groups for endpoint in group.endpoints)
SIGNS = Signs(FINGERPRINTS, DOCUMENTED)
ONCE = Probing(timeout=10.0, attempts=1)
FOR_EVER = 3600.0


def result_of(talk: Talk, url: str = "", *, through: bool = False, probing: Probing = ONCE) -> Result:
    """What a probe makes of somebody who talks like this, as the target or as the proxy."""
    with serving(talk) as server:
        proxies = {"p": Proxy("p", server.url())} if through else {}
        network = Network(ssl.create_default_context(), proxies, signs=SIGNS)
        key = CheckKey(Target(url or server.url()), "p" if through else None)
        return run_on_loop(run_check, key, network, probing)


def reason_of(result: Result) -> Reason | None:
    return result.failure.reason if result.failure else None


# ---------------------------------------------------------------- a head decides, however late its page is


def dripping(head_of_answer: str, first: bytes = b"", rest: bytes = b"<") -> Talk:
    """The head and the first of the body at once, the rest byte by byte until the other side leaves."""

    def talk(connection: socket.socket) -> None:
        head(connection)
        connection.sendall(head_of_answer.replace("\n", "\r\n").encode() + first)
        with suppress(OSError):
            while True:
                connection.sendall(rest)
                time.sleep(0.05)

    return talk


@pytest.fixture
def patient_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page may take longer than an attempt."""
    monkeypatch.setattr("exporter.probes.http._PAGE_TIME", FOR_EVER)
    monkeypatch.setattr("exporter.net.transport._PAGE_TIME", FOR_EVER)


OK = "HTTP/1.1 200 OK\nContent-Type: text/html\n"
TARGET, PLAIN = "https://never.example/", "http://never.example/"


@pytest.mark.usefixtures("patient_page")
@pytest.mark.parametrize(
    ("talk", "url", "reason"),
    [
        (dripping(OK + "Content-Length: 4000\n\n"), "", None),
        (dripping(OK + "Content-Length: 4000\n\n"), PLAIN, None),
        (dripping(OK + "Transfer-Encoding: chunked\n\n", rest=b"0"), "", None),
        (dripping("HTTP/1.1 451 No\nContent-Type: text/html\n\n"), "", Reason.HTTP_BLOCKED),
        (dripping("HTTP/1.1 502 No\nContent-Type: text/html\n\n"), PLAIN, Reason.HTTP_STATUS),
        (dripping("HTTP/1.1 403 No\nContent-Type: text/html\nContent-Length: 4000\n\n"), TARGET, Reason.PROXY_DENIED),
        (dripping("HTTP/1.1 407 No\nContent-Type: text/html\n\n"), TARGET, Reason.PROXY_AUTH_REQUIRED),
        (dripping("HTTP/1.1 407 No\nContent-Type: text/html\n\n"), PLAIN, Reason.PROXY_AUTH_REQUIRED),
        (dripping("HTTP/1.1 503 No\nContent-Type: text/html\n\n"), TARGET, Reason.PROXY_ERROR),
        (dripping(OK + "\n", first=b"<title>SonicWALL - Web Site Blocked</title>"), "", Reason.HTTP_BLOCKED),
    ],
)
def test_a_late_page_changes_no_verdict_of_the_head(talk: Talk, url: str, reason: Reason | None) -> None:
    result = result_of(talk, url, through=bool(url), probing=Probing(timeout=1.5, attempts=1))
    assert reason_of(result) == reason


def in_virtual_time(function: Callable[[], Awaitable[tuple[int, float]]]) -> tuple[int, float]:
    """What an async function gives where time passes only when all wait."""
    return anyio.run(function, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"<"
        await anyio.sleep(0.1)


@pytest.mark.parametrize("passed", [0.0, 0.7, 0.95, 0.9999, 1.0])
def test_a_page_leaves_an_attempt_the_time_for_its_verdict(passed: float) -> None:
    async def attempt() -> tuple[int, float]:
        with anyio.fail_after(1.0) as scope:
            scope.deadline = anyio.current_time() + 1.0 - passed
            body = await beginning(endless(), 4096, 0.5)
            return len(body), anyio.current_effective_deadline() - anyio.current_time()

    length, left = in_virtual_time(attempt)
    assert left >= 0
    assert length <= 6


def test_a_page_under_no_deadline_has_its_own_time() -> None:
    async def attempt() -> tuple[int, float]:
        begun = anyio.current_time()
        return len(await beginning(endless(), 4096, 0.5)), anyio.current_time() - begun

    assert in_virtual_time(attempt) == (5, pytest.approx(0.5))


def test_a_loop_that_is_late_in_a_page_does_not_lose_the_verdict() -> None:
    async def stalls() -> AsyncIterator[bytes]:
        yield b"<html>"
        time.sleep(0.3)  # noqa: ASYNC251 - somebody else's work, past both deadlines
        await anyio.sleep(FOR_EVER)

    async def attempt() -> bytes:
        with anyio.fail_after(0.2):
            return await beginning(stalls(), 4096, 0.5)

    assert anyio.run(attempt) == b"<html>"
