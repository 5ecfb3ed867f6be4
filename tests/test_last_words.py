"""What the other side said before it left is read, however it left and whatever we were saying meanwhile."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from exporter.config.fingerprints import load_marks
from exporter.model.vocabulary import Auth, Cause, CheckKey, Phase, Probing, Proxy, Reason, Result, Target
from exporter.probe.classify import Signs
from exporter.probe.runner import Network, run_check
from tests.servers import Talk, head, serving, silent

pytestmark = pytest.mark.anyio

VOCABULARY = Path(__file__).parents[1] / "config" / "catalogue" / "vocabulary"
SIGNS = Signs(load_marks(VOCABULARY / "fingerprints.yaml").fingerprints)
TIMES = 20  # each is a race, so that one probe proves little
PAGE = b"<html>You have tried to access a web page which is in violation of your internet usage policy</html>"
BLOCKED = b"HTTP/1.1 403 Forbidden\r\nServer: x\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (
    len(PAGE),
    PAGE,
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    made = ssl.create_default_context()
    authority.configure_trust(made)
    return made


def secured(authority: trustme.CA, *, client: bool = False) -> ssl.SSLContext:
    """A server's context, which may demand a certificate of the client."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(made)
    if client:
        made.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(made)
    return made


async def probe(url: str, context: ssl.SSLContext | None = None, proxy: Proxy | None = None) -> Result:
    network = Network(context or ssl.create_default_context(), {proxy.name: proxy} if proxy else {}, signs=SIGNS)
    key = CheckKey(Target(url), proxy.name if proxy else None)
    return await run_check(key, network, Probing(timeout=20.0, attempts=1))


def cut(connection: socket.socket) -> None:
    """Leave by a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def says(said: bytes, leave: Callable[[socket.socket], None], after: float = 0.0) -> Talk:
    """Say it at once, before anything is heard, and leave a moment later."""

    def talk(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or it would leave without having sent it
        connection.sendall(said)
        time.sleep(after)
        leave(connection)

    return talk


def closed(connection: socket.socket) -> None:
    """Leave in order; where something of ours is not read yet, the kernel makes a reset of it."""
    connection.close()


@pytest.mark.parametrize("leave", [cut, closed])
@pytest.mark.parametrize("after", [0.0002, 0.002])
async def test_a_page_is_read_though_a_reset_follows_at_once(
    leave: Callable[[socket.socket], None], after: float
) -> None:
    with serving(says(BLOCKED, leave, after)) as server:
        results = [await probe(server.url()) for _ in range(TIMES)]
    # A reset that comes before the first look at the socket takes nothing away either, on Linux.
    assert {result.failure and result.failure.reason for result in results} == {Reason.HTTP_BLOCKED}
    assert {result.evidence.status for result in results} == {403}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_server_that_wants_a_client_certificate_and_leaves_is_heard(
    authority: trustme.CA, trusting: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    demanding = secured(authority, client=True)
    demanding.maximum_version = version
    with serving(silent, tls=demanding) as server:
        results = [await probe(server.url("https", host="localhost"), trusting) for _ in range(TIMES)]
    failures = [result.failure for result in results if result.failure]
    assert len(failures) == TIMES
    assert {failure.reason for failure in failures} == {Reason.TLS_HANDSHAKE}
    if version is ssl.TLSVersion.TLSv1_3:
        assert {failure.cause for failure in failures} == {Cause.CLIENT_CERTIFICATE}
        assert all("certificate required" in failure.message for failure in failures)


async def test_an_answer_before_the_request_is_an_answer(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    said = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
    with serving(says(said, closed)) as plain, serving(says(said, closed), tls=secured(authority)) as secure:
        results = [await probe(plain.url()) for _ in range(TIMES)]
        results += [await probe(secure.url("https", host="localhost"), trusting) for _ in range(TIMES)]
    assert {result.evidence.status for result in results} == {404}
    assert all(result.up for result in results)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_why_a_proxy_refuses_is_read_though_it_leaves_at_once(scheme: str) -> None:
    said = b"HTTP/1.1 403 Forbidden\r\nX-Squid-Error: ERR_ACCESS_DENIED 0\r\nContent-Length: 0\r\n\r\n"
    with serving(says(said, cut, 0.001)) as server:
        results = [await probe(f"{scheme}://never.example/", proxy=Proxy("p", server.url())) for _ in range(TIMES)]
    assert {result.failure and result.failure.reason for result in results} == {Reason.PROXY_DENIED}


async def test_a_cut_without_a_word_is_a_reset() -> None:
    def talk(connection: socket.socket) -> None:
        head(connection)
        cut(connection)

    with serving(talk) as server:
        result = await probe(server.url())
    assert result.failure
    assert (result.failure.phase, result.failure.reason) == (Phase.PROCESSING, Reason.HTTP_RESET)


# ---------------------------------------------------------------- one protocol in place of another


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "'HTTP/1.1 400 Bad Request'"),
        (b"220 mail.example ESMTP\r\n", "'220 mail.example ESMTP'"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "'SSH-2.0-OpenSSH_9.2'"),
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64", "'\\x00\\x00\\x12"),  # HTTP/2
    ],
)
async def test_plain_text_in_place_of_tls_is_shown(said: bytes, shown: str) -> None:
    def talk(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(said)
        connection.recv(4096)

    with serving(talk) as server:
        result = await probe(server.url("https", host="localhost"))
    assert result.failure
    assert (result.failure.reason, result.failure.cause) == (Reason.TLS_HANDSHAKE, Cause.PLAIN_TEXT)
    assert shown in result.failure.message
    assert "ssl" not in result.failure.message.lower()
    assert result.evidence.status == (400 if said.startswith(b"HTTP") else None)


async def test_a_page_of_a_filter_in_place_of_tls_is_a_block() -> None:
    with serving(answers(BLOCKED)) as server:
        result = await probe(server.url("https", host="localhost"))
    assert result.failure
    assert (result.failure.phase, result.failure.reason) == (Phase.TLS, Reason.HTTP_BLOCKED)
    assert "FortiGuard" in result.failure.message or "FortiGate" in result.failure.message


@pytest.mark.parametrize("alert", [b"\x15\x03\x01\x00\x02\x02\x46", b"\x15\x03\x03\x00\x02\x02\x0a"])
async def test_tls_in_place_of_http_is_named(alert: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        head(connection)
        connection.sendall(alert)

    with serving(talk) as server:
        direct = await probe(server.url())
        tunnelled = await probe("https://never.example/", proxy=Proxy("p", server.url()))
        relayed = await probe("http://never.example/", proxy=Proxy("p", server.url()))
    assert direct.failure
    assert (direct.failure.reason, direct.failure.cause) == (Reason.HTTP_PROTOCOL, Cause.EXPECTS_TLS)
    for result in (tunnelled, relayed):
        assert result.failure
        assert (result.failure.reason, result.failure.cause) == (Reason.PROXY_UNREACHABLE, Cause.PROXY_SCHEME)
        assert "write https://" in result.failure.message


def answers(said: bytes) -> Talk:
    def talk(connection: socket.socket) -> None:
        if connection.recv(4096):
            connection.sendall(said)

    return talk


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_speaks_plain_http_where_its_url_says_https_is_named(scheme: str) -> None:
    with serving(answers(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")) as proxy:
        result = await probe(f"{scheme}://never.example/", proxy=Proxy("p", proxy.url("https", host="localhost")))
    assert result.failure
    assert (result.failure.reason, result.failure.cause) == (Reason.PROXY_UNREACHABLE, Cause.PROXY_SCHEME)
    assert "write http:// in its url" in result.failure.message
    assert Phase.PROXY not in result.phases


@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "405 Not Allowed", "501 Not Implemented"])
async def test_a_web_server_that_is_taken_for_a_proxy_is_named(status: str) -> None:
    said = f"HTTP/1.1 {status}\r\nServer: nginx/1.22.1\r\n"
    with serving(answers(f"{said}Content-Length: 0\r\n\r\n".encode())) as server:
        result = await probe("https://never.example/", proxy=Proxy("p", server.url()))
    with serving(answers(f"{said}Via: 1.1 proxy\r\nContent-Length: 0\r\n\r\n".encode())) as server:
        proxied = await probe("https://never.example/", proxy=Proxy("p", server.url()))
    assert result.failure
    assert (result.failure.reason, result.failure.cause) == (Reason.PROXY_ERROR, Cause.NOT_A_PROXY)
    assert proxied.failure
    assert (proxied.failure.reason, proxied.failure.cause) == (Reason.PROXY_ERROR, None)


# ---------------------------------------------------------------- what a proxy is asked


async def heard_by_a_proxy(url: str) -> bytes:
    heard: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        heard.append(head(connection))
        connection.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")

    with serving(talk) as server:
        await probe(url, proxy=Proxy("p", server.url(), auth=Auth.AUTO))
    return heard[0]


@pytest.mark.parametrize(
    ("url", "line", "host"),
    [
        ("https://a.example/x", "CONNECT a.example:443 HTTP/1.1", "a.example:443"),
        ("https://[2001:db8::1]/x", "CONNECT [2001:db8::1]:443 HTTP/1.1", "[2001:db8::1]:443"),
        ("https://xn--bcher-kva.example/", "CONNECT xn--bcher-kva.example:443 HTTP/1.1", "xn--bcher-kva.example:443"),
        ("http://xn--bcher-kva.example/", "GET http://xn--bcher-kva.example/ HTTP/1.1", "xn--bcher-kva.example"),
        ("http://a.example/x?y=1", "GET http://a.example/x?y=1 HTTP/1.1", "a.example"),
        ("http://a.example:8530/", "GET http://a.example:8530/ HTTP/1.1", "a.example:8530"),
        ("http://[2001:db8::1]/x", "GET http://[2001:db8::1]/x HTTP/1.1", "[2001:db8::1]"),
        ("http://[2001:db8::1]:8530/", "GET http://[2001:db8::1]:8530/ HTTP/1.1", "[2001:db8::1]:8530"),
    ],
)
async def test_a_proxy_is_asked_as_clients_ask(url: str, line: str, host: str) -> None:
    said = await heard_by_a_proxy(url)
    first, *headers = said.decode().split("\r\n")
    assert first == line
    assert f"Host: {host}" in headers
    assert "Proxy-Connection: keep-alive" in headers
    assert [header.startswith("User-Agent: configmgr-endpoint-exporter/") for header in headers].count(True) == 1


async def test_a_server_that_is_asked_itself_hears_nothing_of_proxies() -> None:
    heard: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        heard.append(head(connection))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with serving(talk) as server:
        assert (await probe(server.url())).up
    assert b"Proxy-" not in heard[0]
