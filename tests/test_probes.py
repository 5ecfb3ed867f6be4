"""Probes against real servers on the loopback: verdicts, reasons, phases, manners."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NoReturn

import anyio
import anyio.to_thread
import pytest
import trustme

from exporter.model.vocabulary import (
    Auth,
    Cause,
    CheckKey,
    Contact,
    Phase,
    Probing,
    Proxy,
    Reason,
    Result,
    Target,
    TlsSettings,
    Trust,
)
from exporter.probe.classify import REFUSED
from exporter.probe.net import SignIn, Trace, clock_in_force, verifying
from exporter.probe.net.authentication import Account
from exporter.probe.net.sockets import connect, interleaved
from exporter.probe.runner import Network, run_check
from tests.issuing import issue, presenting
from tests.servers import HOST, Server, Talk, answer, connect_proxy, head, serving, silent, status

pytestmark = pytest.mark.anyio

ONCE = Probing(timeout=20.0, attempts=1)
SOON = Probing(timeout=2.0, attempts=1)  # where the end of the time is what is looked for
HASTY = Probing(timeout=0.3, attempts=1)
PATIENT = Probing(timeout=3600.0, attempts=1)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def context(authority: trustme.CA) -> ssl.SSLContext:
    """The exporter's own context, which trusts the test's authority beside the system's."""
    made = ssl.create_default_context()
    authority.configure_trust(made)
    return made


def certified(authority: trustme.CA, *names: str, expired: bool = False) -> ssl.SSLContext:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ends = datetime.now(UTC) + timedelta(days=-1 if expired else 30)
    authority.issue_cert(*names, not_after=ends, not_before=ends - timedelta(days=60)).configure_cert(server)
    return server


async def probe(
    url: str,
    context: ssl.SSLContext | None = None,
    *,
    probing: Probing = ONCE,
    proxy: Proxy | None = None,
    method: str = "GET",
    accept: frozenset[int] | None = None,
) -> Result:
    proxies = {proxy.name: proxy} if proxy else {}
    network = Network(context or ssl.create_default_context(), proxies)
    key = CheckKey(Target(url, method, accept), proxy.name if proxy else None)
    return await run_check(key, network, probing)


def reason_of(result: Result) -> Reason | None:
    return result.failure.reason if result.failure else None


# ---------------------------------------------------------------- the verdict on an answer


@pytest.mark.parametrize("code", [200, 204, 301, 302, 400, 401, 403, 404, 405, 500, 503])
async def test_any_other_answer_is_usable(code: int) -> None:
    with serving(status(code)) as server:
        result = await probe(server.url())
    assert result.up
    assert result.evidence.status == code


@pytest.mark.parametrize("code", sorted(REFUSED))
async def test_statuses_that_configuration_manager_refuses_are_down(code: int) -> None:
    with serving(status(code)) as server:
        result = await probe(server.url())
    assert reason_of(result) == (Reason.HTTP_BLOCKED if code in {451, 511} else Reason.HTTP_STATUS)
    assert result.evidence.status == code


async def test_an_endpoint_may_name_its_own_statuses() -> None:
    with serving(status(404)) as server:
        assert reason_of(await probe(server.url(), accept=frozenset({200}))) == Reason.HTTP_STATUS
        assert (await probe(server.url(), accept=frozenset({404}))).up


async def test_a_redirect_is_an_answer_and_not_followed() -> None:
    heard: list[bytes] = []
    with serving(answer("HTTP/1.1 302 Found\nLocation: /else\nContent-Length: 0\n\n", heard=heard)) as server:
        assert (await probe(server.url())).up
    assert len(heard) == 1


async def test_a_location_that_nobody_can_read_is_an_answer_all_the_same() -> None:
    with serving(answer("HTTP/1.1 302 Found\nLocation: http://[::1\nContent-Length: 0\n\n")) as server:
        assert (await probe(server.url())).up


# ---------------------------------------------------------------- what is sent


async def test_the_request_is_the_one_that_was_asked_for() -> None:
    heard: list[bytes] = []
    with serving(status(200, heard=heard)) as server:
        await probe(server.url(path="/fwlink/?LinkID=619849"), method="HEAD")
    line, *headers = heard[0].decode().split("\r\n")
    assert line == "HEAD /fwlink/?LinkID=619849 HTTP/1.1"
    assert f"Host: {HOST}:{server.port}" in headers
    assert any(header.startswith("User-Agent: configmgr-endpoint-exporter/") for header in headers)


async def test_each_probe_has_a_connection_of_its_own() -> None:
    arrivals: list[int] = []

    def talk(connection: socket.socket) -> None:
        arrivals.append(connection.getpeername()[1])
        while head(connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with serving(talk) as server:
        for _ in range(3):
            assert (await probe(server.url())).up
    assert len(set(arrivals)) == 3


async def test_a_body_without_end_is_not_read() -> None:
    sent = 0

    def flood(connection: socket.socket) -> None:
        nonlocal sent
        head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        while True:
            sent += connection.send(b"x" * 4096)

    with serving(flood) as server:
        assert (await probe(server.url())).up
    assert sent < 8 * 1024 * 1024  # what the two kernels buffer, no more


async def test_a_host_is_reached_over_ipv6() -> None:
    with serving(status(200), host="::1") as server:
        result = await probe(server.url())
    assert result.up
    assert result.evidence.address == "::1"


async def test_a_dead_address_does_not_hide_a_living_one() -> None:
    with socket.create_server((HOST, 0)) as closed:
        dead = closed.getsockname()
    with serving(status(200)) as server:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 0, "")
        stream = await connect([(*kind, dead), (*kind, (server.host, server.port))], Trace(), clock_in_force())
        with stream.socket as connection:
            assert connection.getpeername()[1] == server.port


async def test_an_address_of_the_other_family_is_asked_second_however_many_of_the_first_are_dead() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as closed:
        dead = closed.getsockname()
    trace = Trace()
    with serving(status(200)) as server:
        addresses = [(socket.AF_INET6, socket.SOCK_STREAM, 0, "", dead)] * 40
        addresses.append((socket.AF_INET, socket.SOCK_STREAM, 0, "", (server.host, server.port)))
        stream = await connect(addresses, trace, clock_in_force())
        stream.socket.close()
    assert [(tried.address, tried.contact) for tried in trace.seen.tried] == [
        ("::1", Contact.REFUSED),
        (HOST, Contact.OPENED),
    ]


async def test_the_order_of_the_system_is_kept_within_each_family_and_begins() -> None:
    six, four = (
        [(socket.AF_INET6, 0, 0, str(n), None) for n in range(3)],
        [(socket.AF_INET, 0, 0, str(n), None) for n in range(2)],
    )
    assert interleaved([*six, *four]) == [six[0], four[0], six[1], four[1], six[2]]
    assert interleaved([*four, *six]) == [four[0], six[0], four[1], six[1], six[2]]
    assert interleaved(six) == six


async def test_what_each_address_came_to_is_kept_when_all_fail() -> None:
    with socket.create_server((HOST, 0)) as closed:
        port = closed.getsockname()[1]
    result = await probe(f"http://{HOST}:{port}/")
    (tried,) = result.evidence.tried
    assert (tried.address, tried.contact, tried.error) == (HOST, Contact.REFUSED, "Connection refused")
    assert tried.seconds >= 0


# ---------------------------------------------------------------- phases


async def test_phases_of_plain_http() -> None:
    with serving(status(200)) as server:
        result = await probe(server.url())
    assert list(result.phases) == [Phase.RESOLVE, Phase.CONNECT, Phase.PROCESSING]


async def test_phases_of_https_through_a_proxy(authority: trustme.CA, context: ssl.SSLContext) -> None:
    with (
        serving(status(200), tls=certified(authority, "localhost")) as server,
        serving(connect_proxy()) as proxy,
    ):
        result = await probe(server.url("https", host="localhost"), context, proxy=Proxy("p", proxy.url()))
    assert result.up
    assert list(result.phases) == list(Phase)


async def test_phases_add_up_to_the_whole() -> None:
    def slow(connection: socket.socket) -> None:
        head(connection)
        time.sleep(0.1)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    network = Network(ssl.create_default_context(), {})
    with serving(slow) as server:
        begun = time.perf_counter()
        result = await run_check(CheckKey(Target(server.url())), network, ONCE)
        took = time.perf_counter() - begun
    assert 0.1 <= result.phases[Phase.PROCESSING] <= result.duration <= took


async def test_time_up_to_the_failure_belongs_to_the_phase_that_failed() -> None:
    with serving(silent) as server:
        result = await probe(server.url(), probing=SOON)
    assert result.failure
    assert result.failure.phase == Phase.PROCESSING
    assert result.phases[Phase.PROCESSING] == max(result.phases.values())


# ---------------------------------------------------------------- reasons


async def test_a_closed_port_is_refused() -> None:
    with socket.create_server((HOST, 0)) as closed:
        port = closed.getsockname()[1]
    assert reason_of(await probe(f"http://{HOST}:{port}/")) == Reason.CONNECT_REFUSED


async def test_a_name_that_no_system_can_ask_for_is_not_found() -> None:
    assert reason_of(await probe(f"http://{'a' * 64}.example/")) == Reason.DNS_NOT_FOUND


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("", Reason.HTTP_RESET),
        ("HTTP/1.1 20", Reason.HTTP_RESET),
        ("SSH-2.0-OpenSSH_9.2\n\n", Reason.HTTP_PROTOCOL),
        ("HTTP/1.1 200 OK\n" + "X-Filler: y\n" * 30_000, Reason.HTTP_PROTOCOL),
    ],
    ids=["nothing", "half a status line", "another protocol", "headers without end"],
)
async def test_a_bad_answer_is_named(said: str, reason: Reason) -> None:
    with serving(answer(said)) as server:
        assert reason_of(await probe(server.url())) == reason


async def test_tls_to_a_server_that_speaks_plain_http(context: ssl.SSLContext) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with serving(talk) as server:
        result = await probe(server.url("https", host="localhost"), context)
    assert reason_of(result) == Reason.TLS_HANDSHAKE


async def test_a_server_that_hangs_up_in_the_handshake(context: ssl.SSLContext) -> None:
    with serving(lambda connection: connection.close()) as server:
        result = await probe(server.url("https", host="localhost"), context)
    assert reason_of(result) == Reason.TLS_HANDSHAKE


@pytest.mark.parametrize(
    ("name", "expired", "reason"),
    [
        ("localhost", False, None),
        ("localhost", True, Reason.TLS_EXPIRED),
        ("elsewhere.example", False, Reason.TLS_HOSTNAME_MISMATCH),
    ],
)
async def test_a_certificate_is_verified(
    authority: trustme.CA, context: ssl.SSLContext, name: str, expired: bool, reason: Reason | None
) -> None:
    with serving(status(200), tls=certified(authority, name, expired=expired)) as server:
        result = await probe(server.url("https", host="localhost"), context)
    assert reason_of(result) == reason


async def test_a_chain_to_an_unknown_root_is_untrusted_and_intercepted(context: ssl.SSLContext) -> None:
    unknown = issue("Unknown Root", ca=True)
    with serving(status(200), tls=presenting(issue("localhost", unknown), unknown)) as server:
        result = await probe(server.url("https", host="localhost"), context)
    assert reason_of(result) == Reason.TLS_UNTRUSTED
    assert result.evidence.tls
    assert result.evidence.tls.intercepted(Trust.PUBLIC)
    assert result.evidence.tls.chain


async def test_a_verified_chain_tells_its_facts(authority: trustme.CA, context: ssl.SSLContext) -> None:
    with serving(status(200), tls=certified(authority, "localhost")) as server:
        tls = (await probe(server.url("https", host="localhost"), context)).evidence.tls
    assert tls
    assert tls.not_after == pytest.approx(time.time() + 30 * 86400, abs=300)
    assert "trustme" in str(tls.chain[0].issuer)
    assert tls.intercepted(Trust.PUBLIC)  # trusted here, and public nowhere
    assert tls.protocol == "TLSv1.3"


async def test_the_operators_own_authority_is_trusted(authority: trustme.CA, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    with serving(status(200), tls=certified(authority, "localhost")) as server:
        assert (await probe(server.url("https", host="localhost"), verifying(TlsSettings(str(file))))).up


# ---------------------------------------------------------------- through a proxy


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (407, Reason.PROXY_AUTH_REQUIRED),
        (403, Reason.PROXY_DENIED),
        (502, Reason.PROXY_ERROR),
        (503, Reason.PROXY_ERROR),
        (504, Reason.PROXY_ERROR),
    ],
)
async def test_what_a_proxy_answers_to_connect(code: int, reason: Reason) -> None:
    with serving(connect_proxy(f"HTTP/1.1 {code} No\nContent-Length: 0\n\n")) as proxy:
        result = await probe("https://never.example/", proxy=Proxy("p", proxy.url()))
    assert reason_of(result) == reason
    assert result.failure
    assert result.failure.phase == Phase.PROXY


@pytest.mark.parametrize("said", ["", "what?\n\n"], ids=["nothing", "garbage"])
async def test_a_proxy_that_makes_no_sense_is_a_proxy_error(said: str) -> None:
    with serving(answer(said)) as proxy:
        result = await probe("https://never.example/", proxy=Proxy("p", proxy.url()))
    assert reason_of(result) == Reason.PROXY_ERROR


async def test_a_dead_proxy_is_unreachable() -> None:
    with socket.create_server((HOST, 0)) as closed:
        port = closed.getsockname()[1]
    for url in ("http://never.example/", "https://never.example/"):
        result = await probe(url, proxy=Proxy("p", f"http://{HOST}:{port}"))
        assert reason_of(result) == Reason.PROXY_UNREACHABLE


async def test_a_proxy_is_asked_for_a_plain_url_as_a_whole() -> None:
    heard: list[bytes] = []
    with serving(status(200, heard=heard)) as proxy:
        result = await probe("http://never.example/path?q=1", proxy=Proxy("p", proxy.url()))
    assert result.up
    assert heard[0].startswith(b"GET http://never.example/path?q=1 HTTP/1.1\r\n")
    assert b"\r\nHost: never.example\r\n" in heard[0]


@pytest.mark.parametrize("url", ["http://never.example/", "https://never.example/"])
async def test_a_proxy_is_given_the_credentials_and_nothing_else_is(url: str) -> None:
    heard: list[bytes] = []
    with serving(status(407, heard=heard)) as proxy:
        result = await probe(url, proxy=Proxy("p", proxy.url(), "svc", "gehéim", auth=Auth.BASIC))
    assert reason_of(result) == Reason.PROXY_AUTH_REQUIRED
    assert b"Proxy-Authorization: Basic c3ZjOmdlaMOpaW0=\r\n" in heard[0]


async def test_a_proxy_may_be_spoken_to_by_tls(authority: trustme.CA, context: ssl.SSLContext) -> None:
    with (
        serving(status(200), tls=certified(authority, "localhost")) as server,
        serving(connect_proxy(), tls=certified(authority, "localhost")) as proxy,
    ):
        url = server.url("https", host="localhost")
        result = await probe(url, context, proxy=Proxy("p", proxy.url("https", host="localhost")))
    assert result.up
    assert list(result.phases) == list(Phase)


async def test_a_proxy_whose_certificate_does_not_verify_is_not_reached(context: ssl.SSLContext) -> None:
    with serving(connect_proxy(), tls=certified(trustme.CA(), "localhost")) as proxy:
        result = await probe("https://never.example/", context, proxy=Proxy("p", proxy.url("https", host="localhost")))
    assert reason_of(result) == Reason.PROXY_UNREACHABLE
    assert result.failure
    assert result.failure.phase == Phase.CONNECT
    assert result.failure.cause is Cause.PROXY_CERTIFICATE
    assert result.failure.message.startswith("the proxy's own certificate: ")
    assert result.evidence.proxy_tls
    assert result.evidence.proxy_tls.chain
    assert result.evidence.tls is None


async def test_what_the_proxy_refused_with_is_kept() -> None:
    page = "<html>The category is blocked</html>"
    said = f"HTTP/1.1 403 No\nVia: 1.1 proxy\nX-Squid-Error: ERR_ACCESS_DENIED 0\nContent-Length: {len(page)}\n\n{page}"
    with serving(connect_proxy(said)) as proxy:
        result = await probe("https://never.example/", proxy=Proxy("p", proxy.url()))
    (answer,) = result.evidence.dialogue
    assert (answer.status, answer.body) == (403, page)
    assert answer.values("x-squid-error") == ("ERR_ACCESS_DENIED 0",)


async def test_the_origin_never_sees_the_proxys_password(authority: trustme.CA, context: ssl.SSLContext) -> None:
    heard: list[bytes] = []
    with (
        serving(status(200, heard=heard), tls=certified(authority, "localhost")) as server,
        serving(connect_proxy()) as proxy,
    ):
        await probe(
            server.url("https", host="localhost"),
            context,
            proxy=Proxy("p", proxy.url(), "svc", "secret", auth=Auth.BASIC),
        )
    assert heard
    assert b"roxy-Authorization" not in heard[0]


# ---------------------------------------------------------------- time and sockets


@pytest.fixture
def no_socket_left() -> Iterator[None]:
    """The number of open files is the same afterwards."""
    if not sys.platform.startswith("linux"):
        pytest.skip("counts open files under /proc")
    before = open_files()
    yield
    assert open_files() <= before


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("by_proxy", [False, True], ids=["direct", "proxy"])
async def test_no_probe_outlives_its_timeout(context: ssl.SSLContext, scheme: str, by_proxy: bool) -> None:
    with serving(silent) as server:
        proxy = Proxy("p", server.url()) if by_proxy else None
        url = server.url(scheme, host="localhost")
        async with anyio.create_task_group() as patient:
            patient.start_soon(partial(probe, url, context, probing=PATIENT, proxy=proxy))
            result = await probe(url, context, probing=HASTY, proxy=proxy)
            patient.cancel_scope.cancel()  # or this would go on for an hour
    assert not result.up


@pytest.mark.usefixtures("no_socket_left")
async def test_no_socket_is_left_open(context: ssl.SSLContext) -> None:
    with serving(silent) as quiet, serving(status(200)) as plain, serving(connect_proxy("no\n\n")) as proxy:
        await probe(quiet.url(), probing=HASTY)
        await probe(quiet.url("https", host="localhost"), context, probing=HASTY)
        await probe(plain.url())
        await probe(plain.url("https", host="localhost"), context, probing=SOON)
        await probe("https://never.example/", proxy=Proxy("p", proxy.url()))
        with anyio.move_on_after(0.05):
            await probe(quiet.url())


@pytest.mark.parametrize("auth", [Auth.BASIC, Auth.AUTO])
async def test_a_refused_account_is_tried_once_however_many_targets_hang_on_it(auth: Auth) -> None:
    heard: list[bytes] = []
    refusal = 'HTTP/1.1 407 No\nProxy-Authenticate: Basic realm="p"\nContent-Length: 0\n\n'

    def talk(connection: socket.socket) -> None:
        for _ in range(2):
            time.sleep(0.01)
            answer(refusal, heard=heard)(connection)

    with serving(talk) as server:
        proxy = Proxy("p", server.url(), "svc", "outdated", auth=auth)
        network = Network(ssl.create_default_context(), {"p": proxy}, {"p": SignIn(Account(proxy))})
        results = []

        async def one(number: int) -> None:
            url = f"{'https' if number % 2 else 'http'}://host{number}.example/"
            results.append(await run_check(CheckKey(Target(url), "p"), network, Probing(timeout=2.0, attempts=3)))

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(one, number)
    assert {reason_of(result) for result in results} == {Reason.PROXY_AUTH_REQUIRED}
    assert sum(b"Proxy-Authorization: Basic" in request for request in heard) == 1


async def test_an_account_that_is_taken_signs_in_for_all_at_once() -> None:
    waiting: list[int] = []

    def talk(connection: socket.socket) -> None:
        head(connection)
        waiting.append(1)
        time.sleep(0.2)
        most.append(len(waiting))
        waiting.pop()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    most: list[int] = []
    with serving(talk) as server:
        proxy = Proxy("p", server.url(), "svc", "secret", auth=Auth.BASIC)
        network = Network(ssl.create_default_context(), {"p": proxy}, {"p": SignIn(Account(proxy))})
        for together in (1, 5):
            async with anyio.create_task_group() as group:
                for number in range(together):
                    key = CheckKey(Target(f"http://host{number}.example/"), "p")
                    group.start_soon(run_check, key, network, ONCE)
    assert max(most) > 1


async def test_a_refused_sign_in_is_not_tried_again() -> None:
    heard: list[bytes] = []
    with serving(status(407, heard=heard)) as proxy:
        account = Proxy("p", proxy.url(), "svc", "secret", auth=Auth.BASIC)
        result = await probe("https://never.example/", proxy=account, probing=Probing(timeout=1.0, attempts=3))
    assert reason_of(result) == Reason.PROXY_AUTH_REQUIRED
    assert len(heard) == 1


async def test_a_failed_attempt_is_tried_again() -> None:
    visits: list[Server] = []

    def talk(connection: socket.socket) -> None:
        visits.append(server)
        if len(visits) > 1:
            status(200)(connection)

    with serving(talk) as server:
        result = await probe(server.url(), probing=Probing(timeout=1.0, attempts=3))
    assert result.up
    assert result.attempts == len(visits) == 2


# ---------------------------------------------------------------- defects, and the end


@pytest.mark.parametrize("where", ["routes", "probe", "words", "evidence", "ranges", "phases"])
async def test_a_defect_anywhere_in_a_probe_is_its_result_with_the_cause(
    monkeypatch: pytest.MonkeyPatch, context: ssl.SSLContext, where: str
) -> None:
    def broken(*_: object, **__: object) -> NoReturn:
        raise ZeroDivisionError("as in a bug")

    places = {
        "routes": "exporter.probe.runner.Network.routes",
        "probe": "exporter.probe.http.way_of",
        "words": "exporter.probe.runner.classify",
        "evidence": "exporter.probe.runner._fit_to_keep",
        "ranges": "exporter.probe.runner.Network.in_range",
        "phases": "exporter.probe.net.Trace.late",
    }
    monkeypatch.setattr(places[where], property(broken) if where == "phases" else broken)
    with serving(silent if where == "words" else status(200)) as server:
        result = await probe(server.url(), context, probing=HASTY)
    assert reason_of(result) is Reason.INTERNAL_ERROR
    assert result.failure
    assert result.failure.message.startswith("ZeroDivisionError: as in a bug (test_probes.py:")


async def test_a_proxy_that_has_left_the_configuration_is_the_result_of_one_probe(context: ssl.SSLContext) -> None:
    result = await run_check(CheckKey(Target("https://a.example/"), "corp"), Network(context), ONCE)
    assert reason_of(result) is Reason.INTERNAL_ERROR
    assert result.failure
    assert "KeyError: 'corp'" in result.failure.message


def looked_at_twice(second: threading.Event) -> Talk:
    """A handshake without a suite in common on the first connection, silence on all others."""
    first = threading.Lock()
    server_context = presenting(issue(HOST), ciphers="AES128-SHA")  # for RSA keys, which it has not
    server_context.maximum_version = ssl.TLSVersion.TLSv1_2

    def talk(connection: socket.socket) -> None:
        if first.acquire(blocking=False):
            server_context.wrap_socket(connection, server_side=True)
        else:
            second.set()
            silent(connection)

    return talk


async def test_a_second_look_at_a_handshake_ends_with_the_exporter() -> None:
    """The probe has ten minutes: were they waited for, this would not end."""
    second = threading.Event()
    with serving(looked_at_twice(second)) as server:
        async with anyio.create_task_group() as group:
            handle = group.create_task(probe(server.url("https"), probing=Probing(timeout=600.0, attempts=1)))
            await anyio.to_thread.run_sync(second.wait)
            group.cancel_scope.cancel()
    assert reason_of(handle.return_value) is Reason.TLS_HANDSHAKE


async def test_a_second_look_that_takes_all_time_does_not_change_the_verdict() -> None:
    with serving(looked_at_twice(threading.Event())) as server:
        result = await probe(server.url("https"), probing=ONCE)
    assert reason_of(result) is Reason.TLS_HANDSHAKE


async def test_a_loop_that_was_held_up_during_a_second_look_does_not_change_the_verdict() -> None:
    """The deadline of the look and that of the whole attempt have then both passed at once."""
    second = threading.Event()

    async def hold_up() -> None:
        await anyio.to_thread.run_sync(second.wait)
        time.sleep(2 * SOON.timeout)  # noqa: ASYNC251 - what is looked for

    with serving(looked_at_twice(second)) as server:
        async with anyio.create_task_group() as group:
            group.start_soon(hold_up)
            result = await probe(server.url("https"), probing=SOON)
    assert reason_of(result) is Reason.TLS_HANDSHAKE
