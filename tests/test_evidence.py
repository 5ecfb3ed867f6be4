"""What the log of a firewall or a proxy shows of a probe: from where to where, by which name, and when."""

from __future__ import annotations

import socket
import ssl
import sys
import time
from contextlib import ExitStack
from dataclasses import replace

import pytest
from hypothesis import given

from exporter.model.vocabulary import (
    CheckKey,
    Contact,
    Evidence,
    Failure,
    NameServer,
    Phase,
    Plan,
    Probing,
    Proxy,
    Reason,
    Result,
    SocketAddress,
    Target,
    Tried,
    WayTaken,
)
from exporter.probe.net.local import local_address_towards, local_end
from exporter.probe.runner import Network, run_check
from exporter.report.evidence import Connection, common_name, connections, decisive
from tests.servers import HOST, answer, connect_proxy, serving, status
from tests.strategies import plans_with_results

pytestmark = pytest.mark.anyio

BEGUN = 1_700_000_000.0  # 2023-11-14 22:13:20 UTC
SILENT = Tried("198.18.0.45", Contact.SILENT, 9.98, None, 443, SocketAddress("10.1.2.3", 50122), BEGUN)
KEY = CheckKey(Target("https://go.microsoft.com/"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def probe(url: str, *, proxy: Proxy | None = None, within: float = 10.0) -> Result:
    network = Network(ssl.create_default_context(), {proxy.name: proxy} if proxy else {})
    key = CheckKey(Target(url), proxy.name if proxy else None)
    return await run_check(key, network, Probing(timeout=within, attempts=1))


async def connected(url: str, *, proxy: Proxy | None = None, within: float = 10.0) -> tuple[Result, Connection]:
    result = await probe(url, proxy=proxy, within=within)
    found = decisive(result)
    assert found is not None
    return result, found


# ---------------------------------------------------------------- as it is on the wire


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_both_ends_of_a_connection_are_those_that_the_server_sees(host: str) -> None:
    peers: list[tuple[str, int]] = []

    def talk(connection: socket.socket) -> None:
        peers.append(connection.getpeername()[:2])
        status(200)(connection)

    with serving(talk, host=host) as server:
        before = time.time()
        _, found = await connected(server.url())
        after = time.time()
    assert found.source is not None
    assert [(found.source.address, found.source.port)] == peers
    assert found.destination == SocketAddress(host, server.port)
    assert before <= found.at <= after


async def test_a_refused_connection_says_from_where_to_where() -> None:
    with socket.create_server((HOST, 0)) as closed:
        port = closed.getsockname()[1]
    result, found = await connected(f"http://{HOST}:{port}/")
    assert result.failure is not None
    assert result.failure.message.endswith(f"({HOST} port {port})")
    assert found.source is not None
    assert found.line.startswith(f"from {HOST}:{found.source.port} to {HOST}:{port}/tcp, ")


@pytest.mark.skipif(sys.platform != "linux", reason="another system refuses what finds a full queue")
async def test_a_connection_that_nobody_answers_has_a_source_and_a_time_all_the_same() -> None:
    with ExitStack() as open_ones:
        full = open_ones.enter_context(socket.create_server((HOST, 0), backlog=0))
        port = full.getsockname()[1]
        open_ones.enter_context(socket.create_connection((HOST, port)))
        result, found = await connected(f"https://{HOST}:{port}/", within=0.5)
    assert result.failure is not None
    assert result.failure.reason is Reason.CONNECT_TIMEOUT
    assert result.failure.message.startswith(f"no answer from {HOST} port {port} within 0.")
    assert found.source is not None
    assert found.source.address == HOST
    assert found.source.port not in {0, port}
    assert found.outcome.startswith("no answer within ")


async def test_behind_a_proxy_its_address_is_the_other_end_and_the_request_stands_in_its_log() -> None:
    with serving(connect_proxy("HTTP/1.1 403 Forbidden\nContent-Length: 0\n\n")) as server:
        proxy = Proxy("corporate", server.url())
        _, found = await connected("https://a.example/", proxy=proxy)
        _, plain = await connected("http://a.example/b", proxy=proxy)
    assert f"to {HOST}:{server.port}/tcp (the proxy corporate, CONNECT a.example:443, SNI a.example), " in found.line
    assert f"to {HOST}:{server.port}/tcp (the proxy corporate, GET http://a.example/b), " in plain.line


async def test_the_name_of_who_answers_has_an_end() -> None:
    host = ".".join(["long"] * 100)
    with serving(answer(f"HTTP/1.1 302 Found\nLocation: http://{host}.test/\nContent-Length: 0\n\n")) as server:
        result = await probe(server.url())
    assert result.failure is not None
    assert result.failure.reason is Reason.HTTP_BLOCKED
    assert result.failure.answered_by == f"{host[:253]}..."
    assert len(common_name(f"CN={host}")) < 120


def test_where_the_system_has_not_chosen_an_address_yet_the_routes_say_it() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        assert local_end(one, HOST, 80) is None  # no port yet: nothing has begun
        one.bind(("0.0.0.0", 0))  # noqa: S104 - as Windows has it between the call and the connection
        assert local_end(one, HOST, 80) == SocketAddress(HOST, one.getsockname()[1])
    assert local_address_towards("::1", 53) == "::1"
    assert local_address_towards("no address", 53) is None


# ---------------------------------------------------------------- in words


def test_the_line_is_what_a_firewall_engineer_searches_for() -> None:
    (found,) = connections(Result(KEY, BEGUN, evidence=Evidence(tried=(SILENT,))))
    assert found.line == (
        "from 10.1.2.3:50122 to 198.18.0.45:443/tcp (SNI go.microsoft.com), 22:13:20 UTC, no answer within 9.98 s"
    )


def test_every_address_that_was_tried_is_there_and_ipv6_in_brackets() -> None:
    other = replace(SILENT, address="2001:db8::7", local=None, contact=Contact.NO_WAY, error="no way", seconds=0.0001)
    result = Result(KEY, BEGUN, evidence=Evidence(tried=(other, SILENT)))
    assert [found.line.partition(" (")[0] for found in connections(result)] == [
        "to [2001:db8::7]:443/tcp",
        "from 10.1.2.3:50122 to 198.18.0.45:443/tcp",
    ]
    assert decisive(result) == connections(result)[1]


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("https://go.microsoft.com./", "SNI go.microsoft.com)"),
        ("http://go.microsoft.com/", None),
        ("https://192.0.2.1/", None),
    ],
)
def test_only_a_name_over_tls_is_sent_in_the_open(url: str, named: str | None) -> None:
    (found,) = connections(Result(CheckKey(Target(url)), BEGUN, evidence=Evidence(tried=(SILENT,))))
    assert ("SNI" in found.line) == (named is not None)
    assert named is None or named in found.line


def test_a_name_that_came_to_nothing_was_asked_for_by_udp() -> None:
    seen = Evidence(servers=(NameServer("10.0.0.53", "10.1.2.3"), NameServer("fd00::53")))
    failure = Failure(Phase.RESOLVE, Reason.DNS_TIMEOUT, "silence")
    result = Result(KEY, BEGUN, {Phase.RESOLVE: 5.0}, seen, failure)
    assert [found.line for found in connections(result)] == [
        "from 10.1.2.3 to 10.0.0.53:53/udp, 22:13:20 UTC, asked for go.microsoft.com",
        "to [fd00::53]:53/udp, 22:13:20 UTC, asked for go.microsoft.com",
    ]
    assert connections(replace(result, failure=None)) == ()


def test_what_a_pac_file_sends_direct_names_no_proxy() -> None:
    seen = Evidence(tried=(SILENT,), way=WayTaken(1, 1, direct=True))
    (found,) = connections(Result(replace(KEY, proxy="corporate"), BEGUN, evidence=seen))
    assert (found.proxy, found.request) == (None, None)


@given(plans_with_results())
def test_the_connection_on_which_it_failed_is_one_of_those_that_were_tried(
    drawn: tuple[Plan, dict[CheckKey, Result]],
) -> None:
    for result in drawn[1].values():
        found = connections(result)
        assert len(found) == len(result.evidence.tried)
        assert (decisive(result) in found) == bool(found)


def test_what_was_not_said_any_more_is_not_in_the_log() -> None:
    refused = Failure(Phase.CONNECT, Reason.PROXY_UNREACHABLE, "in words")
    (silent,) = connections(Result(replace(KEY, proxy="corporate"), BEGUN, {}, Evidence(tried=(SILENT,)), refused))
    assert "(the proxy corporate), " in silent.line
    opened = replace(SILENT, contact=Contact.OPENED, seconds=0.0125)
    failure = Failure(Phase.TLS, Reason.TLS_UNTRUSTED, "in words")
    (later,) = connections(Result(KEY, BEGUN, {}, Evidence(tried=(opened,)), failure))
    assert later.line.endswith(" UTC, opened after 12.5 ms, then tls_untrusted")
