"""Servers that mean harm: what they send costs little, leads nowhere, and steers nothing."""

from __future__ import annotations

import encodings
import itertools
import json
import re
import socket
import ssl
import subprocess
import sys
import threading
import tracemalloc
import unicodedata
import warnings
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Final, NoReturn, cast

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from exporter.config.documents import Document
from exporter.model.addresses import Whose
from exporter.model.patterns import address_of
from exporter.model.vocabulary import (
    Answer,
    Cause,
    Certificate,
    CheckKey,
    Evidence,
    Phase,
    Probing,
    Proxy,
    Reason,
    Result,
    Target,
    TlsFacts,
)
from exporter.probe.bodies import BEGINNING, readable, unpacked
from exporter.probe.errors import NotHttp, Unanswered
from exporter.probe.evidence import LONGEST_VALUE, MOST_ANSWERS, MOST_HEADERS, kept
from exporter.probe.net import SignIn, Trace, resolver
from exporter.probe.net.authentication import Account
from exporter.probe.net.http1 import MOST_CHUNKS, Connection
from exporter.probe.net.resolver import MOST_ADDRESSES, resolve
from exporter.probe.net.streams import Resumed, Stream
from exporter.probe.net.system_names import Resolver
from exporter.probe.net.tls import unverifying
from exporter.probe.runner import Network, run_check
from exporter.report.quoted import quoted
from exporter.text.secrets import HIDDEN, Hiding
from tests.issuing import Issued, diffie_hellman, issue, presenting, rsa_key, trusting
from tests.servers import Server, answer, connect_proxy, head, serving, status

pytestmark = pytest.mark.anyio
MIB: Final = 1 << 20


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def probe(url: str, timeout: float = 5.0) -> Result:  # noqa: ASYNC109 - the probe's
    network = Network(ssl.create_default_context(), {})
    return await run_check(CheckKey(Target(url)), network, Probing(timeout=timeout, attempts=1))


# ---------------------------------------------------------------- what it costs

WINDOW_BITS: Final = {"gzip": 31, "deflate": 15}


def bomb(coding: str) -> bytes:
    """64 MiB in 64 KiB."""
    packing = zlib.compressobj(9, zlib.DEFLATED, WINDOW_BITS[coding])
    return packing.compress(bytes(64 * MIB)) + packing.flush()


@pytest.mark.parametrize("coding", WINDOW_BITS)
async def test_a_small_page_that_unpacks_to_a_large_one_takes_no_memory(coding: str) -> None:
    page = bomb(coding)
    told = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: {coding}\r\n\r\n"

    def talk(connection: socket.socket) -> None:
        head(connection)
        connection.sendall(told.encode() + page)

    with serving(talk) as server:
        await probe(server.url())  # imports and caches come first
        tracemalloc.start()
        result = await probe(server.url())
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert result.evidence.answer
    assert len(result.evidence.answer.body) == BEGINNING
    assert most < 2 * MIB


@given(st.binary(max_size=3 * BEGINNING), st.sampled_from(sorted(WINDOW_BITS)))
def test_a_page_that_was_packed_is_read_like_one_that_was_not(page: bytes, coding: str) -> None:
    packing = zlib.compressobj(9, zlib.DEFLATED, WINDOW_BITS[coding])
    packed = packing.compress(page) + packing.flush()
    assert unpacked(packed, coding.upper(), BEGINNING) == unpacked(page, "", BEGINNING) == page[:BEGINNING]


@given(st.binary(max_size=100), st.sampled_from(["gzip", "deflate", "br", "gzip, gzip", "zstd"]))
def test_what_cannot_be_unpacked_is_no_page(page: bytes, coding: str) -> None:
    assert len(unpacked(page, coding, BEGINNING)) <= BEGINNING


async def test_headers_without_end_are_no_http() -> None:
    sent = 0

    def talk(connection: socket.socket) -> None:
        nonlocal sent
        head(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            sent += connection.send(b"X: " + b"y" * 4000 + b"\r\n")

    with serving(talk) as server:
        result = await probe(server.url())

    assert result.failure
    assert result.failure.reason is Reason.HTTP_PROTOCOL
    assert sent < 8 * MIB  # what the two kernels buffer, no more


async def test_preliminary_answers_without_end_are_no_answer() -> None:
    sent = 0

    def talk(connection: socket.socket) -> None:
        nonlocal sent
        head(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        while True:
            sent += connection.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)

    with serving(talk) as server:
        result = await probe(server.url())

    assert result.failure
    assert result.failure.reason is Reason.HTTP_PROTOCOL
    assert sent < 8 * MIB  # what the two kernels buffer, no more


@pytest.mark.parametrize("header", ["X: y", "Set-Cookie: a=b", "ab:1", f"X-Long: {'y' * 4000}"])
async def test_of_many_headers_few_are_kept(header: str) -> None:
    text = f"{header}\n" * (90_000 // (len(header) + 2))
    with serving(answer(f"HTTP/1.1 200 OK\nContent-Length: 0\n{text}\n")) as server:
        await probe(server.url())  # imports and caches come first
        tracemalloc.start()
        results = [await probe(server.url()) for _ in range(20)]
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    for result in results:
        assert result.up
        assert result.evidence.answer
        assert len(result.evidence.answer.headers) <= MOST_HEADERS + 1
        assert re.fullmatch(r"\d+ more headers?", result.evidence.answer.headers[-1][1])
    assert held < len(results) * 50_000  # of two megabytes each


async def test_a_proxy_that_refuses_with_many_headers_fills_nothing() -> None:
    text = "".join(f"x{number}: y\n" for number in range(8000))
    refusal = f"HTTP/1.1 403 No\nContent-Type: text/html\n{text}\n<html>{'no ' * 10_000}"
    with serving(connect_proxy(refusal)) as server:
        key = CheckKey(Target("https://a.example/"), "p")
        network = Network(ssl.create_default_context(), {"p": Proxy("p", server.url())})
        result = await run_check(key, network, Probing(timeout=10, attempts=1))
    assert result.failure
    assert result.failure.reason is Reason.PROXY_DENIED
    (said,) = result.evidence.dialogue
    assert sum(map(len, (*itertools.chain(*said.headers), said.body))) < 16 * 1024


def test_what_is_kept_of_a_secret_is_not_half_of_it() -> None:
    given = "a-long-password"
    value = "x" * (LONGEST_VALUE - 5) + given
    seen = Evidence(answer=Answer(200, (("A", value),), value), dialogue=(Answer(407, ((value, "B"),)),) * 10)
    found = kept(seen, lambda text: text.replace(given, "***"))
    assert found.answer
    assert found.answer.headers == (("A", "x" * (LONGEST_VALUE - 5) + "***"),)
    assert len(found.dialogue) == MOST_ANSWERS
    assert "a-lo" not in repr(found)


XN: Final = f"xn--{'a9' * 29} "  # takes long to read: it may hold something in any of several codes


def test_of_what_a_proxy_says_little_is_looked_through_for_a_password() -> None:
    long = Answer(407, tuple((f"X{number}", XN * 130) for number in range(12)), XN * 64)
    looked_at = 0

    def count(text: str) -> str:
        nonlocal looked_at
        looked_at += len(text)
        return text

    kept(Evidence(answer=long, dialogue=(long,) * 10), count)
    assert looked_at < 128 * 1024  # of a megabyte


async def test_a_password_is_looked_for_where_it_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    looking = set[int]()

    def concealing(_: Account) -> Callable[[str], str]:
        def conceal(text: str) -> str:
            looking.add(threading.get_ident())
            return text

        return conceal

    monkeypatch.setattr(Account, "concealing", concealing)
    with serving(connect_proxy(f"HTTP/1.1 403 No\nX: {XN}\n\n")) as server:
        proxy = Proxy("p", server.url(), "svc", "zQ9hunter2")
        network = Network(ssl.create_default_context(), {"p": proxy}, {"p": SignIn(Account(proxy))})
        await run_check(CheckKey(Target("https://a.example/"), "p"), network, Probing(timeout=10, attempts=1))
    assert looking
    assert threading.get_ident() not in looking


def test_a_password_in_the_names_of_a_certificate_is_not_kept() -> None:
    conceal = Hiding("svc", "zQ9hunter2")
    given = Certificate("O=zQ9hunter2", f"CN={'x' * 290}zQ9hun...", 0, 1, "00", ca_issuers="http://a/zQ9hunter2")
    facts = TlsFacts("TLSv1.3", (given,), path=(given,), missing="CN=zQ9hunter2")
    found = kept(Evidence(tls=facts, proxy_tls=facts), conceal)
    assert found.tls
    assert found.tls == found.proxy_tls
    assert found.tls.chain[0].subject == f"O={HIDDEN}"
    assert "zQ9h" not in repr(found)

    honest = replace(facts, chain=(), path=(), missing="CN=Honest")
    assert kept(Evidence(tls=honest), conceal).tls is honest  # which many targets share


async def turns(work: Callable[[], Awaitable[object]]) -> int:
    """How often others have their turn while something goes on."""
    count = 0

    async def others() -> None:
        nonlocal count
        while True:
            await checkpoint()
            count += 1

    async with anyio.create_task_group() as group:
        group.start_soon(others)
        await work()
        group.cancel_scope.cancel()
    return count


async def drained(connection: Connection) -> None:
    """Read a body that is refused after so many chunks."""
    read = 0
    with pytest.raises(NotHttp):  # noqa: PT012 - that is what reading means
        async for part in connection.body():
            read += len(part)
    assert read <= MOST_CHUNKS + 10


async def test_a_page_in_chunks_of_one_byte_takes_neither_long_nor_the_loop() -> None:
    said = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 100_000
    connection = Connection(Resumed(said, cast(Stream, None)))  # at once, so that nobody waits for anything
    await connection.hear("GET")
    assert await turns(lambda: drained(connection)) >= 10


@pytest.mark.parametrize(
    "said", [b"0\r\n" + b"a: b\r\n" * 1000, b"1" + b" " * 10_000, b"0\r\n" + b"a" * 10_000, b"1;" + b"x" * 10_000]
)
async def test_what_stands_around_the_chunks_of_a_page_has_an_end(said: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection = Connection(Resumed(head + said, cast(Stream, None)))
    await connection.hear("GET")
    await drained(connection)


async def test_labels_of_encodings_that_nobody_knows_are_not_remembered() -> None:
    known = len(encodings._cache)  # noqa: SLF001
    for number in range(100):
        label = f"x{number}" * 2000
        page = Answer(200, (("Content-Type", f"text/html; charset={label}"),))
        assert readable(page, b"<html><meta charset=" + f"y{number}".encode() + b">hello")
    assert len(encodings._cache) <= known + 2  # noqa: SLF001


def test_hosts_that_strangers_name_are_not_remembered_at_length() -> None:
    for number in range(10):
        assert address_of(f"{number}." + "x" * 2000) is None
    tracemalloc.start()
    for number in range(1000):
        assert address_of(f"{number}." + "x" * 2000) is None
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 100_000


async def test_a_resolver_that_hangs_for_ever_leaves_few_threads_behind_and_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over = threading.Event()
    host = f"hangs{id(over)}.example"  # of its own, as what hangs outlasts a test

    ask, hanging = socket.getaddrinfo, threading.Semaphore(0)

    def hang(*args: Any, flags: int = 0, **options: Any) -> object:
        if flags & socket.AI_NUMERICHOST:  # an address, which is no question to a resolver
            return ask(args[0], args[1], flags=flags, **options)
        hanging.release()
        over.wait(600)
        raise socket.gaierror(socket.EAI_NONAME, "none")

    async def give_up() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(resolve, host, 443, Trace(), Whose.PUBLIC)
            await anyio.to_thread.run_sync(hanging.acquire)
            group.cancel_scope.cancel()

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    monkeypatch.setattr(resolver, "PAUSE", 600.0)
    try:
        for _ in range(resolver.HANGING):
            await give_up()
        with pytest.raises(Unanswered, match="2 earlier questions"):
            await resolve(host, 443, Trace(), Whose.PUBLIC)
        monkeypatch.setattr(resolver, "PAUSE", 0.0)  # it is over
        await give_up()
        monkeypatch.setattr(resolver, "PAUSE", 600.0)
        with pytest.raises(Unanswered, match="3 earlier questions"):
            await resolve(host, 443, Trace(), Whose.PUBLIC)
    finally:
        over.set()


async def test_a_search_list_whose_names_hang_leaves_few_threads_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = 0
    over = threading.Event()

    def answer(name: str, *_args: object, **_options: object) -> NoReturn:
        nonlocal hanging
        if not name.endswith("."):  # as the search list completes it
            hanging += 1
            over.wait(600)
        raise socket.gaierror(socket.EAI_NONAME, "none")

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    monkeypatch.setattr(resolver, "_ELSE", 0.001)
    monkeypatch.setattr(resolver, "resolver_in_force", lambda: Resolver(search=("corp.example",)))
    try:
        for number in range(50):
            with pytest.raises(socket.gaierror):
                await resolve(f"name{number}.example", 443, Trace(), Whose.PUBLIC)
    finally:
        over.set()
    assert 0 < hanging < 20


def test_of_thousands_of_addresses_a_few_of_each_family_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> tuple[str, ...]:
        trace = Trace()
        await resolve("a.example", 443, trace, Whose.PROXY)
        return tuple(str(info[4][0]) for info in await resolve("a.example", 443, trace, Whose.PROXY))

    kinds = ((socket.AF_INET6, "2001:db8::{:x}"), (socket.AF_INET, "192.0.{}.1"), (socket.AF_INET, "198.51.{}.1"))
    many = [(kind, socket.SOCK_STREAM, 6, "", (text.format(n % 256), 443)) for n in range(2000) for kind, text in kinds]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: many)
    found = anyio.run(play)
    assert len(found) == 2 * MOST_ADDRESSES
    assert found[:3] == ("2001:db8::0", "192.0.0.1", "198.51.0.1")


# ---------------------------------------------------------------- what TLS says


@pytest.fixture(scope="module")
def root() -> Issued:
    return issue("Corp Root", ca=True)


@pytest.fixture(scope="module")
def certificate(root: Issued) -> Issued:
    return issue("localhost", root, key=rsa_key(2048))


@pytest.fixture
def client(root: Issued, tmp_path: Path) -> ssl.SSLContext:
    return trusting(tmp_path, root)


async def ask(server: Server, client: ssl.SSLContext, timeout: float = 20.0) -> Result:  # noqa: ASYNC109 - the probe's
    key = CheckKey(Target(server.url("https", host="localhost")))
    return await run_check(key, Network(client), Probing(timeout=timeout, attempts=1))


async def test_an_answer_in_records_of_one_byte_is_read_and_others_have_their_turn(
    certificate: Issued, client: ssl.SSLContext
) -> None:
    text = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: " + "y" * 2000 + "\r\n\r\n"

    def talk(connection: socket.socket) -> None:
        head(connection)
        for byte in text.encode():
            connection.send(bytes([byte]))

    with serving(talk, tls=presenting(certificate)) as server:
        assert (await ask(server, client)).up


async def test_records_of_one_byte_without_end_are_no_answer(certificate: Issued, client: ssl.SSLContext) -> None:
    def talk(connection: socket.socket) -> None:
        head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            connection.send(b"y")

    with serving(talk, tls=presenting(certificate)) as server:
        result = await ask(server, client)
    assert result.failure
    assert result.failure.reason is Reason.HTTP_PROTOCOL
    assert "no end of what TLS says" in result.failure.message


async def test_session_tickets_without_end_are_no_answer(certificate: Issued, client: ssl.SSLContext) -> None:
    context = presenting(certificate)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 20_000

    with serving(status(200), tls=context) as server:
        result = await ask(server, client)
    assert result.failure
    assert result.failure.reason is Reason.HTTP_PROTOCOL
    assert "no end of what TLS says" in result.failure.message


@pytest.mark.parametrize(
    "said",
    [b"\x16\x03\x03\x00\x04\x00\x00\x00\x00", b"\x16\x03\x03\x00\x01\x02", b"\x14\x03\x03\x00\x01\x01"],
    ids=["hello requests", "a byte of a hello each", "changes of the cipher"],
)
async def test_a_handshake_without_end_is_none(said: bytes, client: ssl.SSLContext) -> None:
    sent = 0

    def talk(connection: socket.socket) -> None:
        nonlocal sent
        connection.recv(4096)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        while True:
            sent += connection.send(said * 100)

    with serving(talk) as server:
        result = await ask(server, client)
    assert result.failure
    assert result.failure.reason is Reason.TLS_HANDSHAKE
    assert sent < 8 * MIB


class Elsewhere(ssl.SSLObject):
    """Notes in which threads it shakes hands once the server has spoken."""

    threads: ClassVar[set[int]] = set()
    begun: ClassVar[set[int]] = set()

    def do_handshake(self) -> None:
        if id(self) in self.begun:
            self.threads.add(threading.get_ident())
        self.begun.add(id(self))
        super().do_handshake()


@pytest.mark.parametrize(
    ("suite", "group", "here"),
    [("DHE-RSA-AES128-GCM-SHA256", "modp_8192", False), ("ECDHE-RSA-AES128-GCM-SHA256", "ffdhe2048", True)],
)
async def test_large_numbers_are_reckoned_with_in_another_thread(
    suite: str, group: str, here: bool, certificate: Issued, client: ssl.SSLContext, tmp_path: Path
) -> None:
    context = presenting(certificate, ciphers=f"{suite}:@SECLEVEL=0")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_dh_params(diffie_hellman(tmp_path, group))
    client.sslobject_class = Elsewhere
    Elsewhere.threads.clear()
    Elsewhere.begun.clear()
    with serving(status(200), tls=context) as server:
        assert (await ask(server, client)).up
    assert Elsewhere.threads
    assert (threading.get_ident() in Elsewhere.threads) is here


async def test_what_is_only_looked_at_is_shaken_hands_with_in_another_thread(
    certificate: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unverifying(), "sslobject_class", Elsewhere)
    Elsewhere.threads.clear()
    Elsewhere.begun.clear()
    old = presenting(certificate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version, old.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, ssl.TLSVersion.TLSv1_1
    with serving(status(200), tls=old) as server:
        result = await ask(server, ssl.create_default_context())
    assert result.failure
    assert result.failure.cause is Cause.OLD_TLS
    assert threading.get_ident() not in Elsewhere.threads


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_a_server_that_wants_to_shake_hands_again_and_again_gets_no_answer_out_of_it(
    version: str, certificate: Issued, client: ssl.SSLContext, tmp_path: Path
) -> None:
    """By TLS 1.2 it asks for a new handshake, by 1.3 for new keys."""
    path = tmp_path / "server.pem"
    path.write_bytes(certificate.secret + certificate.pem)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with s_server(port, version, path) as process:
        assert process.stdin
        assert process.stdout
        assert any(b"ACCEPT" in line for line in process.stdout)
        pressing = threading.Thread(target=_press, args=(process, b"R\n" if version == "-tls1_2" else b"K\n"))
        pressing.start()
        try:
            result = await ask(Server("127.0.0.1", port), client, 3.0)
        finally:
            process.kill()
            pressing.join()
    assert result.failure
    assert result.failure.phase in {Phase.TLS, Phase.PROCESSING}
    assert result.failure.reason is not Reason.INTERNAL_ERROR


def s_server(port: int, version: str, certificate: Path) -> subprocess.Popen[bytes]:
    argv = ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", version, "-cert", str(certificate), "-naccept", "1"]
    return subprocess.Popen(argv, 0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _press(process: subprocess.Popen[bytes], key: bytes) -> None:
    """Press a key of s_server over and over, once somebody has connected."""
    assert process.stdin
    assert process.stdout
    with suppress(OSError, ValueError):
        for line in process.stdout:
            if b"CIPHER" in line:
                break
        while process.poll() is None:
            process.stdin.write(key)
            process.stdin.flush()


# ---------------------------------------------------------------- where it leads


@pytest.mark.parametrize("location", ["http://{inside}/", "file:///etc/passwd", "//{inside}/", "https://{inside}/"])
@pytest.mark.parametrize("code", [301, 307])
async def test_nobody_is_led_to_a_place_inside(location: str, code: int) -> None:
    visitors: list[bytes] = []
    with serving(status(200, heard=visitors)) as inside:
        to = location.format(inside=f"{inside.host}:{inside.port}")
        with serving(answer(f"HTTP/1.1 {code} Moved\nLocation: {to}\nContent-Length: 0\n\n")) as server:
            result = await probe(server.url())

    assert result.evidence.status == code
    assert visitors == []


async def test_a_page_that_leads_elsewhere_is_not_followed() -> None:
    visitors: list[bytes] = []
    with serving(status(200, heard=visitors)) as inside:
        page = f'<meta http-equiv="refresh" content="0;url={inside.url()}"><img src="{inside.url()}">'
        with serving(answer(f"HTTP/1.1 200 OK\nContent-Type: text/html\n\n{page}")) as server:
            result = await probe(server.url())

    assert result.evidence.answer
    assert page in result.evidence.answer.body
    assert visitors == []


# ---------------------------------------------------------------- what it steers

UNPRINTABLE: Final = [
    character
    for character in map(chr, range(sys.maxunicode + 1))
    if unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp"}
]
LOGGING: Final = """
import json, sys, structlog
from exporter.system.log import LogFormat, LogLevel, configure
for form in LogFormat:
    configure(LogLevel.INFO, form)
    structlog.get_logger("exporter").warning("down", **json.loads(sys.argv[1]))
"""


def test_what_a_server_says_is_one_line_of_the_log_and_steers_no_terminal() -> None:
    said = {"bare": "\x1b[2J", "message": f'"\n level=error {"".join(UNPRINTABLE)}\r\n'.replace("\0", "")}
    done = subprocess.run(
        [sys.executable, "-c", LOGGING, json.dumps(said)], capture_output=True, check=True, encoding="utf-8"
    )
    logfmt, in_json, rest = done.stderr.split("\n")
    assert logfmt.isprintable()
    assert in_json.isprintable()
    assert rest == ""
    assert json.loads(in_json)["message"] == said["message"]


LOCATIONS: Final = [
    "http://ev\x9b31mil.example/",
    "http://\xe2\x80\xaeevil.example/",
    "http://[v1.\x9b\x1b]/",
    f"http://{'x' * 60_000}/",
]


@pytest.mark.parametrize("location", LOCATIONS, ids=range(len(LOCATIONS)))
async def test_what_a_failure_quotes_prints_and_has_an_end(location: str) -> None:
    with serving(answer(f"HTTP/1.1 302 Found\nLocation: {location}\nContent-Length: 0\n\n")) as server:
        result = await probe(server.url())
    message = result.failure.message if result.failure else ""
    assert message.isprintable()
    assert len(message) < 1100
    assert result.failure or "[" in location


def test_names_of_headers_print_as_their_values_do() -> None:
    said = Answer(200, (("\x1b[2JX-\x9bName", "\x1b[2Jvalue"),), "\x1b[2Jpage\u202e")
    assert all(text.isprintable() for line in quoted(said) for text in line)


# ---------------------------------------------------------------- what is read


def test_no_yaml_makes_an_object_or_runs_anything(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    document = Document(f"a: !!python/object/apply:os.system ['touch {mark}']\nb: !!python/name:os.system ''\n", "f")
    assert document.value == {"a": [f"touch {mark}"], "b": ""}
    assert len(document.mistakes) == 2
    assert not mark.exists()
