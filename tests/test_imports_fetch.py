"""A source is fetched whole, in time and from where it should come, or not at all: real servers on the loopback."""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import pytest
import trustme

from exporter.model.vocabulary import Proxy
from exporter.probe.net import Route
from exporter.published import Unusable, from_file, from_web
from exporter.published.fetch import MOST_REDIRECTS, identified
from tests.servers import HOST, Talk, answer, connect_proxy, head, serving, silent, status

pytestmark = pytest.mark.anyio

ROUTE = Route(ssl.create_default_context())


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # as the command runs


async def fetched(url: str, *, route: Route = ROUTE, seconds: float = 5.0, limit: int = 1000) -> bytes:
    return await from_web(url, lambda _: route, seconds, limit)


async def refusal(url: str, **options: float) -> str:
    with pytest.raises(Unusable) as refused:
        await fetched(url, **options)  # type: ignore[arg-type]
    return str(refused.value)


def said(text: str) -> Talk:
    """Answers with a text as it is, and hangs up."""
    return answer(text)


def redirecting(*locations: str, finally_: str = "HTTP/1.1 200 OK\nContent-Length: 4\n\nlist") -> Talk:
    """Leads from one place to the next, the last of which holds the list."""
    left = list(locations)

    def talk(connection: socket.socket) -> None:
        text = f"HTTP/1.1 302 Found\nLocation: {left.pop(0)}\nContent-Length: 0\n\n" if left else finally_
        answer(text)(connection)

    return talk


# ---------------------------------------------------------------- bodies


@pytest.mark.parametrize(
    "text",
    [
        "HTTP/1.1 200 OK\nContent-Length: 8\n\n[1, 2, 3",
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n3\n[1,\n5\n 2, 3\n0\n\n",
        "HTTP/1.1 200 OK\nConnection: close\n\n[1, 2, 3",
        "HTTP/1.0 200 OK\n\n[1, 2, 3",
    ],
    ids=["length", "chunks", "until it closes", "HTTP/1.0"],
)
async def test_a_body_is_read_to_its_end(text: str) -> None:
    with serving(said(text)) as server:
        assert await fetched(server.url()) == b"[1, 2, 3"


async def test_a_body_that_was_cut_off_is_none() -> None:
    with serving(said("HTTP/1.1 200 OK\nContent-Length: 9\n\n[1, 2, 3")) as server:
        assert (await refusal(server.url())).startswith("cannot be fetched: http_reset: ")


@pytest.mark.parametrize("framing", ["Content-Length: 2000", "Connection: close"])
async def test_a_body_beyond_the_limit_is_left_where_it_is(framing: str) -> None:
    with serving(said(f"HTTP/1.1 200 OK\n{framing}\n\n{'x' * 2000}")) as server:
        assert await refusal(server.url(), limit=1999) == "cannot be fetched: it holds more than 1999 bytes"
        assert len(await fetched(server.url(), limit=2000)) == 2000


async def test_nothing_compressed_is_asked_for() -> None:
    heard: list[bytes] = []
    with serving(answer("HTTP/1.1 200 OK\nContent-Length: 0\n\n", heard=heard)) as server:
        await fetched(server.url())
    assert b"\r\nAccept-Encoding: identity\r\n" in heard[0]


@pytest.mark.parametrize("code", [204, 206, 301, 304, 403, 404, 407, 500, 503])
async def test_any_other_status_is_no_list(code: int) -> None:
    with serving(status(code)) as server:
        assert (await refusal(server.url())).startswith(f"cannot be fetched: status {code}; ")


async def test_whoever_asks_too_often_is_told_to_wait() -> None:
    with serving(status(429)) as server:
        assert "wait for an hour" in await refusal(server.url())


async def test_what_is_no_http_is_named() -> None:
    with serving(said("SSH-2.0-x\n")) as server:
        assert (await refusal(server.url())).startswith("cannot be fetched: http_protocol: ")


# ---------------------------------------------------------------- time


def dripping(connection: socket.socket) -> None:
    head(connection)
    with suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n")
        while True:
            connection.sendall(b"x")
            time.sleep(0.02)


@pytest.mark.parametrize("talk", [silent, dripping])
async def test_the_time_is_for_the_fetch_as_a_whole(talk: Talk) -> None:
    with serving(talk) as server:
        assert (await refusal(server.url(), seconds=0.2)).startswith("cannot be fetched: http_timeout: ")


async def test_redirects_get_no_time_of_their_own() -> None:
    def slow(connection: socket.socket) -> None:
        head(connection)
        time.sleep(0.15)
        with suppress(OSError):
            connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: /on\r\nContent-Length: 0\r\n\r\n")

    with serving(slow) as server:
        assert (await refusal(server.url(), seconds=0.4)).startswith("cannot be fetched: ")


# ---------------------------------------------------------------- redirects


@pytest.mark.parametrize("location", ["/list", "list?a=b#part", "//HOST:PORT/list", "http://HOST:PORT/list"])
async def test_a_redirect_is_followed(location: str) -> None:
    heard: list[bytes] = []
    with serving(answer("HTTP/1.1 200 OK\nContent-Length: 4\n\nlist", heard=heard)) as there:
        location = location.replace("HOST", HOST).replace("PORT", str(there.port))
        with serving(redirecting(location)) as server:
            assert await fetched(server.url()) == b"list"


async def test_redirects_come_to_an_end() -> None:
    with serving(redirecting(*["/on"] * MOST_REDIRECTS)) as server:
        assert await fetched(server.url()) == b"list"
    with serving(redirecting(*["/on"] * 50)) as server:
        assert await refusal(server.url()) == f"leads on and on: {MOST_REDIRECTS} redirects were followed"


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("file:///etc/passwd", "expected a URL that begins with http:// or https://"),
        ("http://u:p@a.example/", "a URL holds no user name or password; remove what stands before the @"),
        ("http://[::1", "leads to what is no URL"),
        ("http://a.example:99999/", "expected a port from 1 to 65535"),
        ("/caf\xe9", "a URL holds no space and nothing beyond ASCII; percent-encode it"),
    ],
)
async def test_a_redirect_to_what_is_no_web_page_is_refused(location: str, message: str) -> None:
    with serving(redirecting(location)) as server:
        assert await refusal(server.url()) == message


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA) -> Route:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return Route(context)


@pytest.fixture
def secure(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    return context


async def test_https_leads_to_https_and_never_down(trusting: Route, secure: ssl.SSLContext) -> None:
    with serving(said("HTTP/1.1 200 OK\nContent-Length: 4\n\nlist")) as plain:
        with serving(redirecting("/list"), tls=secure) as server:
            assert await fetched(server.url("https"), route=trusting) == b"list"
        with (
            serving(redirecting(plain.url()), tls=secure) as server,
            pytest.raises(Unusable, match="from https to a conn"),
        ):
            await fetched(server.url("https"), route=trusting)
    assert plain.heard == []


async def test_a_certificate_that_does_not_verify_is_refused(secure: ssl.SSLContext) -> None:
    with serving(status(200), tls=secure) as server:
        assert (await refusal(server.url("https"))).startswith("cannot be fetched: tls_untrusted: ")


# ---------------------------------------------------------------- proxies and files


@pytest.fixture
def proxied() -> Iterator[tuple[list[bytes], Route]]:
    """What a proxy hears, and the route through it."""
    heard: list[bytes] = []
    with serving(connect_proxy(heard=heard)) as proxy:
        yield heard, Route(ROUTE.context, Proxy("corporate", proxy.url(path="")))


async def test_a_source_is_fetched_through_a_proxy(
    proxied: tuple[list[bytes], Route], trusting: Route, secure: ssl.SSLContext
) -> None:
    heard, through = proxied
    route = Route(trusting.context, through.proxy)
    with serving(said("HTTP/1.1 200 OK\nContent-Length: 4\n\nlist"), tls=secure) as server:
        assert await fetched(server.url("https"), route=route) == b"list"
    assert heard[0].startswith(b"CONNECT ")


async def test_a_proxy_that_is_not_there_is_named() -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
    route = Route(ROUTE.context, Proxy("corporate", f"http://{HOST}:{port}"))
    with pytest.raises(Unusable, match=r"cannot be fetched: proxy_unreachable: "):
        await fetched("https://a.example/", route=route)


async def test_each_redirect_takes_the_route_to_its_own_host() -> None:
    asked: list[str] = []

    def route_to(url: str) -> Route:
        asked.append(url)
        return ROUTE

    with serving(redirecting("/list")) as server:
        await from_web(server.url(), route_to, 5.0)
    assert asked == [server.url(), server.url(path="/list")]


def test_a_file_beyond_the_limit_is_left_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_bytes(b"x" * 11)
    assert len(from_file(path, 11)) == 11
    with pytest.raises(Unusable, match=re.escape("cannot be read: it holds more than 10 bytes")):
        from_file(path, 10)


# ---------------------------------------------------------------- who asks

SERVICE = "https://endpoints.office.com/endpoints/worldwide"


@pytest.mark.parametrize("query", ["", "?ServiceAreas=Common&NoIPv6=true"])
def test_microsoft_365_is_told_a_guid_that_is_new_each_time(query: str) -> None:
    asked = [dict(parse_qsl(urlsplit(identified(f"{SERVICE}{query}")).query)) for _ in range(2)]
    guids = [UUID(parameters.pop("ClientRequestId")) for parameters in asked]
    assert asked == [dict(parse_qsl(query[1:]))] * 2
    assert guids[0] != guids[1]
    assert guids[0].version == 4


@pytest.mark.parametrize(
    "url", [f"{SERVICE}?clientrequestid=b10c5ed1-bad1-445f-b386-b919946339a7", "https://a.example/endpoints.office.com"]
)
def test_a_guid_is_neither_given_twice_nor_to_others(url: str) -> None:
    assert identified(url) == url
