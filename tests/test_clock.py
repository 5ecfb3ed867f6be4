"""A phase is as long as the others took, whatever else the exporter has to do, and what is in doubt is marked."""

from __future__ import annotations

import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

import anyio
import anyio.to_thread
import pytest
import trustme
from prometheus_client import CollectorRegistry

from exporter.model.vocabulary import CheckKey, ClockSource, Phase, Plan, Probing, Proxy, Result, Settings, Target
from exporter.probe.net import Clock, clock, clock_in_force
from exporter.probe.net.clock import KernelClock, LoopClock, together
from exporter.probe.runner import Network, run_check
from exporter.service.exporter import Exporter
from exporter.service.load import Deployment, Source
from exporter.system import lag
from tests.lab import Lab
from tests.lab.scripts import READ, READ_HEAD, RESET, send, sleep
from tests.running import command, eventually, in_a_quiet_moment, in_a_quiet_moment_of_the_loop
from tests.servers import HOST, connect_proxy, head, serving, status

pytestmark = [pytest.mark.anyio, pytest.mark.timing]
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's stamps are read on Linux only")

CLOCKS = [pytest.param(KernelClock, marks=on_linux, id="kernel"), pytest.param(LoopClock, id="loop")]
STALL = 0.1  # seconds
PATIENCE = 10.0
HEAD, BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", b"body"


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(scope="module")
def certified(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture(scope="module", autouse=True)
def _stamping() -> None:
    """The kernel begins to stamp a moment after somebody wants it."""
    if clock_in_force() is KernelClock:
        eventually("stamps", stamped)


def stamped() -> bool:
    """Whether what comes at once on a new connection is stamped."""
    with socket.create_server((HOST, 0)) as server, socket.create_connection(server.getsockname()) as client:
        timed = KernelClock(client)
        with server.accept()[0] as there:
            there.send(b"x")
        return timed.receive(1)[1].exact


async def probe(url: str, trust: ssl.SSLContext, clock: Clock, proxy: Proxy | None = None) -> Result:
    network = Network(trust, {proxy.name: proxy} if proxy else {}, clock=clock)
    key = CheckKey(Target(url), proxy.name if proxy else None)
    result = await run_check(key, network, Probing(timeout=PATIENCE, attempts=1))
    assert result.up, result.failure
    return result


@asynccontextmanager
async def busy_loop() -> AsyncIterator[None]:
    """Nothing is done in the block without waiting for something else first."""

    async def hog() -> None:
        while True:
            time.sleep(STALL)  # noqa: ASYNC251 - it is to hold up the loop
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(hog)
        yield
        group.cancel_scope.cancel()


# ---------------------------------------------------------------- the other side's time, and no other


@pytest.mark.parametrize("clock", CLOCKS)
async def test_a_phase_is_as_long_as_the_other_side_took(
    trusting: ssl.SSLContext, certified: ssl.SSLContext, clock: Clock
) -> None:
    def slow(connection: socket.socket) -> None:
        connection.recv(1, socket.MSG_PEEK)
        time.sleep(0.1)
        with certified.wrap_socket(connection, server_side=True) as secure:
            head(secure)
            time.sleep(0.3)
            secure.sendall(HEAD + BODY)

    def is_true(seen: Result) -> bool:
        return seen.phases[Phase.TLS] < 0.25 and seen.phases[Phase.PROCESSING] < 0.45

    with serving(slow) as server:
        url = server.url("https", host="localhost")
        result = await in_a_quiet_moment_of_the_loop(lambda: probe(url, trusting, clock), is_true)
    assert list(result.phases) == [Phase.RESOLVE, Phase.CONNECT, Phase.TLS, Phase.PROCESSING]
    assert 0.1 <= result.phases[Phase.TLS] < 0.25
    assert 0.3 <= result.phases[Phase.PROCESSING] < 0.45
    assert result.duration == sum(result.phases.values())


@on_linux
async def test_what_keeps_the_loop_busy_is_in_no_phase(trusting: ssl.SSLContext, certified: ssl.SSLContext) -> None:
    with serving(status(200), tls=certified) as server, serving(connect_proxy()) as proxy:
        begun = time.perf_counter()
        async with busy_loop():
            url = server.url("https", host="localhost")
            result = await probe(url, trusting, KernelClock, Proxy("proxy", proxy.url()))
        took = time.perf_counter() - begun
    assert list(result.phases) == list(Phase)
    assert took > 5 * STALL
    assert result.duration < took / 4
    assert not result.late


async def test_by_the_loops_clock_what_keeps_it_busy_is_in_the_phases(
    trusting: ssl.SSLContext, certified: ssl.SSLContext
) -> None:
    with serving(status(200), tls=certified) as server:
        async with busy_loop():
            result = await probe(server.url("https", host="localhost"), trusting, LoopClock)
    assert result.duration >= STALL
    assert result.phases[Phase.RESOLVE] < STALL  # timed in its thread
    assert not result.late  # nobody knows


# ---------------------------------------------------------------- what the kernel cannot tell


@dataclass
class Said:
    """What a server says to a request while the loop is blocked, so that nothing is read before all is said."""

    parts: tuple[bytes, ...]
    asked: Event = field(default_factory=Event)
    blocked: Event = field(default_factory=Event)
    over: Event = field(default_factory=Event)

    def talk(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else each part waits for a late ACK
        head(connection)
        self.asked.set()
        self.blocked.wait(PATIENCE)
        for part in self.parts:
            connection.sendall(part)
            time.sleep(0.1)
        self.over.set()
        connection.recv(1)

    async def block(self) -> None:
        await anyio.to_thread.run_sync(self.asked.wait, PATIENCE)
        self.blocked.set()
        self.over.wait(PATIENCE)


@on_linux
@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize(("parts", "late"), [((HEAD + BODY,), set()), ((HEAD, BODY), {Phase.PROCESSING})])
async def test_a_head_that_its_body_overtakes_unread_is_late(
    trusting: ssl.SSLContext, certified: ssl.SSLContext, parts: tuple[bytes, ...], late: set[Phase], *, secure: bool
) -> None:
    said = Said(parts)
    with serving(said.talk, tls=certified if secure else None) as server:
        async with anyio.create_task_group() as group:
            group.start_soon(said.block)
            result = await probe(server.url("https" if secure else "http", host="localhost"), trusting, KernelClock)
    assert result.late == late


@on_linux
async def test_a_body_that_waits_unread_within_the_tls_of_a_proxy_is_seen(
    trusting: ssl.SSLContext, certified: ssl.SSLContext
) -> None:
    said = Said((HEAD, BODY))
    with serving(said.talk, tls=certified) as server, serving(connect_proxy(), tls=certified) as way:
        proxy = Proxy("proxy", way.url("https", host="localhost"))
        async with anyio.create_task_group() as group:
            group.start_soon(said.block)
            result = await probe(server.url("https", host="localhost"), trusting, KernelClock, proxy)
    assert result.late == {Phase.PROCESSING}


@on_linux
async def test_a_head_that_is_read_before_its_body_comes_is_not_late(trusting: ssl.SSLContext) -> None:
    read = Event()

    def talk(connection: socket.socket) -> None:
        head(connection)
        connection.sendall(HEAD)
        read.wait(PATIENCE)
        connection.sendall(BODY)

    with serving(talk) as server:
        result = await probe(server.url(), trusting, KernelClock)
        read.set()
    assert not result.late


@contextmanager
def clock_set(monkeypatch: pytest.MonkeyPatch, seconds: float) -> Iterator[Callable[[socket.socket], None]]:
    """A server that sees the system's clock set by so many seconds between the request and its answer."""
    ahead, step = clock._ahead, [0.0]  # noqa: SLF001 - the system's own clock is not ours to set
    monkeypatch.setattr(clock, "_ahead", lambda: ahead() + step[0])

    def talk(connection: socket.socket) -> None:
        head(connection)
        step[0] = seconds
        time.sleep(0.1)
        connection.sendall(HEAD + BODY)

    yield talk


@on_linux
@pytest.mark.parametrize("seconds", [3600.0, -3600.0, 0.05, -0.05])
async def test_a_clock_that_was_set_spoils_no_time(
    trusting: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    with clock_set(monkeypatch, seconds) as talk, serving(talk) as server:
        begun = time.perf_counter()
        result = await probe(server.url(), trusting, KernelClock)
        took = time.perf_counter() - begun
    assert 0.1 <= result.phases[Phase.PROCESSING] <= took
    assert result.late == {Phase.PROCESSING}


@on_linux
async def test_without_stamps_every_answer_is_late(
    trusting: ssl.SSLContext, certified: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "_TIMESTAMPNS", socket.SO_KEEPALIVE)  # which is taken, and stamps nothing
    with serving(status(200), tls=certified) as server:
        result = await probe(server.url("https", host="localhost"), trusting, KernelClock)
    assert result.late == {Phase.TLS, Phase.PROCESSING}


@pytest.mark.parametrize(
    ("size", "segments", "whole"),
    [(1, 1, True), (1461, 2, True), (1460, 2, False), (300, 2, False), (5000, 4, True), (4300, 4, False)],
)
def test_segments_that_are_full_but_for_the_last_were_sent_at_once(size: int, segments: int, *, whole: bool) -> None:
    assert together(size, segments, 1460) is whole


def test_the_clock_in_force_is_the_best_there_is() -> None:
    assert clock_in_force() is (KernelClock if sys.platform == "linux" else LoopClock)


# ---------------------------------------------------------------- in a network that loses packets

GROUP = "site: {features: [portal], roles: [client]}\ngroups: [{feature: portal, endpoints: [{pattern: '%s'}]}]\n"
ONCE = "probe: {timeout: 5s, attempts: 1}\n"
BY_PROXY = "proxies: {scripted: {url: http://portal.corp.example:3128}}\nvia: {client: scripted}\n"
PORTAL = "portal.corp.example"


def explained(lab: Lab, directory: Path, url: str, more: str = "") -> dict[str, tuple[float, bool]]:
    """Seconds of each phase as `explain` tells them, and whether that is the most it can have been."""
    config = directory / "exporter.yaml"
    config.write_text(ONCE + GROUP % url + more)
    text = command(lab, "explain", url, "--config.file", config).stdout
    words = [line.split() for line in text.splitlines()]
    return {word[0]: (float(word[1]) / 1000, word[-2:] == ["at", "most"]) for word in words if word[2:3] == ["ms"]}


@pytest.mark.lab
def test_a_lost_syn_is_in_the_connect_phase_and_late(lab: Lab, tmp_path: Path) -> None:
    with lab.delay_connect(PORTAL):
        phases = in_a_quiet_moment(
            lambda: explained(lab, tmp_path, f"http://{PORTAL}/"),
            lambda seen: seen["connect"][0] == pytest.approx(1.0, abs=0.15),
        )
    assert phases["connect"][0] == pytest.approx(1.0, abs=0.15)
    assert {phase for phase, (_, late) in phases.items() if late} == {"connect"}


@pytest.mark.lab
def test_an_answer_whose_beginning_comes_last_is_late(lab: Lab, tmp_path: Path) -> None:
    """Its end is stamped earlier, and has to wait until the beginning is sent again."""
    opened = (READ_HEAD, send("HTTP/1.1 200 OK\r\n"), sleep(0.05), send("\r\n"), READ, RESET)
    with lab.script(PORTAL, 3128, opened), lab.drop_one_answer():
        phases = explained(lab, tmp_path, "https://sup1.corp.example/", BY_PROXY)
    assert phases["proxy"][0] >= 0.05
    assert {phase for phase, (_, late) in phases.items() if late} == {"proxy"}


# ---------------------------------------------------------------- what is told of it


def samples(registry: CollectorRegistry) -> dict[tuple[str, ...], float]:
    found = [sample for family in registry.collect() for sample in family.samples]
    return {(sample.name, *sample.labels.values()): sample.value for sample in found}


@pytest.mark.parametrize("clock", [KernelClock, LoopClock])
def test_late_phases_are_counted_from_zero_and_the_clock_is_named(clock: Clock) -> None:
    network = Network(ssl.create_default_context(), clock=clock)
    exporter = Exporter(Source(), Deployment(Settings(), Plan(), frozenset()), network)
    before = samples(exporter.registry)
    key = CheckKey(Target(f"http://{HOST}/"))
    exporter.finished(Result(key, 0.0, dict.fromkeys(Phase, 1.0), late=frozenset({Phase.PROCESSING})))
    after = samples(exporter.registry)
    late = "configmgr_exporter_late_samples_total"
    assert [before[late, phase] for phase in Phase] == [0, 0, 0, 0, 0]
    assert [after[late, phase] for phase in Phase] == [0, 0, 0, 0, 1]
    assert {source for source in ClockSource if after["configmgr_exporter_clock_source", source]} == {clock.source}


async def test_a_busy_loop_is_seen_to_be_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lag, "PERIOD", 0.01)
    seen: list[float] = []
    async with anyio.create_task_group() as group:
        group.start_soon(lag.watch, seen.append)
        async with busy_loop():
            while not seen:
                await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    assert seen[0] >= STALL / 2
