"""What a scanner tries: requests that two parsers read in two ways, and connections that only hold on."""

from __future__ import annotations

import logging
import re
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import pairwise
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import Final

import anyio
import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from exporter.service.exporter import Exporter
from exporter.service.load import Source, deploy, network_of
from exporter.system.loop import UVLOOP
from exporter.web import connections, server
from exporter.web.access import LONGEST_BODY, LONGEST_HEAD, PROBES_AT_ONCE
from exporter.web.connections import ConnectionLimiter, origin_of
from exporter.web.routes import create_app
from tests.lab.pki import Shape, authority, leaf
from tests.running import eventually
from tests.web_server import Serving, read, serving

HIDDEN: Final = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"


class Recorder:
    """An application that notes what it was asked, and answers when it is told to."""

    def __init__(self, size: int = 2) -> None:
        self.asked: list[str] = []
        self.answering = anyio.Event()
        self.answering.set()
        self._answer = Response(b"x" * size)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope["path"])
        await self.answering.wait()
        await self._answer(scope, receive, send)


def statuses(answered: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", answered)]


def request(*fields: str, path: str = "/", method: str = "POST") -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: x", *fields, "", "")).encode("latin-1")


@pytest.fixture(scope="module")
def app() -> Recorder:
    return Recorder()


@pytest.fixture(scope="module")
def found(app: Recorder) -> Iterator[Serving]:
    with serving(app) as found:
        yield found


@pytest.fixture(scope="module")
def complaints() -> Iterator[list[logging.LogRecord]]:
    """Errors and tracebacks of the server and of the loop that it runs in."""
    handler = BufferingHandler(1000)
    handler.setLevel(logging.ERROR)
    logging.getLogger().addHandler(handler)
    yield handler.buffer
    logging.getLogger().removeHandler(handler)


# ---------------------------------------------------------------- requests within requests


@pytest.mark.parametrize(
    ("first", "status"),
    [
        (request("Content-Length: 6", "Transfer-Encoding: chunked") + b"0\r\n\r\n", 411),
        (request("Transfer-Encoding: chunked", "Content-Length: 4") + b"0\r\n\r\n", 411),
        (request("Transfer-Encoding: chunked") + b"0\r\n\r\n", 411),
        (request("Transfer-Encoding:\r\n chunked") + b"0\r\n\r\n", 411),
        (request("Transfer-Encoding: chunked") + b"1;a=\n0\r\nx\r\n0\r\n\r\n", 400),
        (request("Transfer-Encoding: chunked") + b"ffffffffffffffff1\r\n", 411),
        (request("Transfer-Encoding: chunked", "Transfer-Encoding: identity") + b"0\r\n\r\n", 400),
        (request("Transfer-Encoding: chunked, identity") + b"0\r\n\r\n", 400),
        (request("Transfer-Encoding: xchunked") + b"0\r\n\r\n", 400),
        (request("Transfer-Encoding: \x0bchunked") + b"0\r\n\r\n", 400),
        (request("Transfer-Encoding : chunked") + b"0\r\n\r\n", 400),
        (request("X: y\rTransfer-Encoding: chunked") + b"0\r\n\r\n", 400),
        (request("Content-Length: 0", f"Content-Length: {len(HIDDEN)}"), 400),
        (request(f"Content-Length: 0, {len(HIDDEN)}"), 400),
        (request("Content-Length : 0"), 400),
        (request("Content-Length: +0"), 400),
        (request("Content-Length: 0x0"), 400),
        (request("Content-Length:\r\n 0\r\n 0"), 400),
        (request("Content-Length: " + "0" * 5000), 400),
        (request(f"Content-Length: {LONGEST_BODY + 1}"), 413),
        (request(f"Content-Length: {len(HIDDEN)}"), 200),
        (request(f"X: y\nContent-Length: {len(HIDDEN)}"), 200),
        (request(f"Content-Length: {len(HIDDEN)}", "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings"), 200),
        (request(f"Content-Length: {len(HIDDEN)}", "Upgrade: websocket", "Connection: Upgrade"), 200),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    ],
)
def test_no_request_hides_in_another(first: bytes, status: int, app: Recorder, found: Serving) -> None:
    answered = found.said(first + HIDDEN)
    assert statuses(answered) == [status]
    assert "/hidden" not in app.asked


PACKETS: Final = (
    HIDDEN,
    HIDDEN[:9],
    HIDDEN[9:],
    request("Content-Length: 9"),
    request("Transfer-Encoding: chunked"),
    request("Transfer-Encoding: chunked", method="HEAD"),
    request("Expect: 100-continue", "Content-Length: 9"),
    request("Connection: close"),
    b"0\r\n\r\n",
    b"zz\r\n\r\n",
    b"\0\r\n\r\n",
    b"\r\n",
)


@given(st.lists(st.sampled_from(PACKETS), min_size=1, max_size=4))
def test_no_packets_make_a_traceback_or_more_than_one_refusal(
    found: Serving, complaints: list[logging.LogRecord], packets: list[bytes]
) -> None:
    codes = statuses(found.said(*packets))
    eventually("nobody is there", lambda: found.open() == 0)
    assert not complaints
    assert codes.count(400) <= 1
    assert not any(earlier >= 400 for earlier, _ in pairwise(codes))


@pytest.mark.parametrize("uvloop", [False, UVLOOP])
@pytest.mark.parametrize("method", ["HEAD", "CONNECT", "OPTIONS"])
def test_broken_chunks_behind_a_method_that_has_no_body_make_no_traceback(
    method: str, uvloop: bool, app: Recorder, complaints: list[logging.LogRecord]
) -> None:
    asked = request("Transfer-Encoding: chunked", method=method)
    with serving(app, uvloop=uvloop) as found:
        for broken in (b"zz\r\n\r\n", b"-1\r\n", b"\0\r\n\r\n"):
            found.said(asked + broken)
            found.said(asked, broken)
        eventually("nobody is there", lambda: found.open() == 0)
    assert not complaints


# ---------------------------------------------------------------- too long, too odd


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (request(path="/" + "a" * LONGEST_HEAD), 431),
        (request(path="/?" + "a" * LONGEST_HEAD), 431),
        (request(*(f"X-{number}: {'a' * 1000}" for number in range(17))), 431),
        (request("X: " + "a" * LONGEST_HEAD), 431),
        (request("a" * LONGEST_HEAD + ": b"), 431),
        (b"A" * (LONGEST_HEAD + 1), 400),
        (request(path="/" + "a" * (LONGEST_HEAD // 2)), 200),
    ],
)
def test_a_head_has_its_limit(asked: bytes, status: int, found: Serving) -> None:
    assert statuses(found.said(asked)) == [status]


@pytest.fixture(scope="module")
def whole() -> Iterator[Serving]:
    """The real application, that probes nothing; what can be switched off is."""
    source = Source()
    deployment = deploy(source)
    exporter = Exporter(source, deployment, network_of(deployment))
    with serving(create_app(exporter), switched_off={"/probe", "/-/reload"}) as found:
        yield found


@pytest.mark.parametrize("method", ["PUT", "DELETE", "TRACE", "PATCH", "OPTIONS", "PROPFIND", "BREW", "PRI"])
@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/api/v1/status"])
def test_a_method_that_a_path_has_not_is_refused(method: str, path: str, whole: Serving) -> None:
    assert statuses(whole.said(request(method=method, path=path))) == [405]


@pytest.mark.parametrize(
    "path",
    ["*", "x:80", "http://x/metrics", "//metrics", "/../metrics", "/metrics%00", "/metrics%0a", "/.git/config", "/%ff"],
)
def test_a_path_that_is_not_there_is_not_found(path: str, whole: Serving) -> None:
    assert statuses(whole.said(request(method="GET", path=path))) == [404]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT"])
@pytest.mark.parametrize(
    "name", ["probe", "%70robe", "probe%0a", "probe?target=x", "-/reload", "-/reload%0A", "-%2freload"]
)
def test_what_is_switched_off_is_not_found_in_any_spelling(method: str, name: str, whole: Serving) -> None:
    assert statuses(whole.said(request(method=method, path=f"/{name}"))) == [404]


# ---------------------------------------------------------------- those who keep us waiting


def test_a_head_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_WITHIN", 0.3)
    app = Recorder()
    with serving(app) as found, found.connect() as connection:
        for packet in (b"GET / HTTP/1.1\r\n", b"Host: x\r\n"):
            connection.sendall(packet)
            found.heard()
        assert read(connection) == b""
        assert found.open() == 0
    assert app.asked == []


def test_a_second_head_is_waited_for_no_longer_than_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_WITHIN", 0.3)
    app = Recorder()
    with serving(app) as found, found.connect() as connection:
        connection.sendall(request() + b"GET / HT")
        assert statuses(read(connection)) == [200]
    assert app.asked == ["/"]


def test_a_body_that_does_not_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_WITHIN", 0.3)
    with serving(Recorder()) as found, found.connect() as connection:
        connection.sendall(request("Content-Length: 9") + b"x")
        assert statuses(read(connection)) == [200]


def test_an_answer_that_nobody_takes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "ANSWER_WITHIN", 0.5)
    size = 32 << 20  # more than the system's buffers hold
    with serving(Recorder(size)) as found, found.connect() as connection:
        connection.sendall(request() * 3)
        eventually("it has come", lambda: found.open() == 1)
        eventually("it is given up", lambda: found.open() == 0)
        assert len(read(connection)) < size


def test_an_answer_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "ANSWER_WITHIN", 0.3)
    app = Recorder()
    app.answering = anyio.Event()
    with serving(app) as found, found.connect() as connection:
        connection.sendall(request())
        assert read(connection) == b""
        found.portal.call(app.answering.set)


def test_an_answer_that_the_end_of_the_exporter_cuts_off_is_no_traceback(
    complaints: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "GRACE", 0)
    app = Recorder()
    app.answering = anyio.Event()
    with serving(app) as found, found.connect() as connection:
        connection.sendall(request())
        eventually("it is asked", lambda: app.asked)
        found.portal.call(found.server.stop)
        assert read(connection) == b""
    assert not [record for record in complaints if record.exc_info]
    complaints.clear()


def test_a_handshake_that_does_not_end_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HANDSHAKE_WITHIN", 0.3)
    with serving(Recorder(), locked(tmp_path)) as found, found.connect() as silent, found.connect() as odd:
        odd.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert read(silent) + read(odd) == b""
        eventually("their places are free", lambda: found.open() == 0)


def test_garbage_within_tls_makes_no_traceback(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with serving(Recorder(), locked(tmp_path)) as found, caplog.at_level("ERROR"):
        trusting = ssl.create_default_context(cafile=str(tmp_path / "root.pem"))
        for packets in ((b"\0\r\n\r\n",) * 3, (request("Transfer-Encoding: chunked"), b"zz\r\n", b"zz\r\n")):
            with found.connect() as plain, trusting.wrap_socket(plain, server_hostname="localhost") as connection:
                for packet in packets:
                    connection.sendall(packet)
                assert len(statuses(read(connection))) == 1
    assert not caplog.records


def locked(directory: Path) -> Path:
    """A web-config file that asks for TLS."""
    root = authority("Root")
    (directory / "root.pem").write_bytes(root.pem)
    (directory / "a.pem").write_bytes(leaf("localhost", root))
    file = directory / "web.yaml"
    file.write_text("tls_server_config: {cert_file: a.pem, key_file: a.pem}\n")
    return file


def certified(directory: Path, name: str) -> ssl.SSLContext:
    """A client that shows a certificate for this name."""
    context = ssl.create_default_context(cafile=str(directory / "root.pem"))
    context.load_cert_chain(directory / f"{name}.pem")
    return context


@pytest.mark.parametrize("uvloop", [False, UVLOOP])
@pytest.mark.parametrize(("name", "status"), [("prometheus.example", [200]), ("other.example", [])])
def test_no_request_is_served_before_its_certificate_is_judged(
    name: str, status: list[int], uvloop: bool, tmp_path: Path
) -> None:
    root = authority("Clients")
    (tmp_path / "clients.pem").write_bytes(root.pem)
    (tmp_path / f"{name}.pem").write_bytes(leaf(name, root, shape=Shape(usage=ExtendedKeyUsageOID.CLIENT_AUTH)))
    locked(tmp_path).write_text(
        "tls_server_config: {cert_file: a.pem, key_file: a.pem, client_auth_type: RequireAndVerifyClientCert, "
        "client_ca_file: clients.pem, client_allowed_sans: [prometheus.example]}\n"
    )
    app, received, sent = Recorder(), ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = certified(tmp_path, name).wrap_bio(received, sent, server_hostname="localhost")
    with serving(app, tmp_path / "web.yaml", uvloop=uvloop) as found, found.connect() as connection:
        shaking = True
        while shaking:
            try:
                tls.do_handshake()
                shaking = False
            except ssl.SSLWantReadError:
                connection.sendall(sent.read())
                received.write(connection.recv(65536) or pytest.fail("no handshake"))
        tls.write(request("Connection: close"))
        connection.sendall(sent.read())  # the end of the handshake and the request at once
        answered = b""
        while not answered and (data := connection.recv(65536)):
            received.write(data)
            with suppress(ssl.SSLWantReadError):
                answered = tls.read(65536)
    assert statuses(answered) == status
    assert app.asked == ["/"] * len(status)


# ---------------------------------------------------------------- how many


def test_only_so_many_probes_on_demand_run_at_once_and_all_else_goes_on() -> None:
    app = Recorder()
    app.answering = anyio.Event()
    with serving(app) as found, ExitStack() as stack:
        waiting = [stack.enter_context(found.connect()) for _ in range(PROBES_AT_ONCE)]
        for connection in waiting:
            connection.sendall(request("Connection: close", path="/probe?target=x", method="GET"))
        eventually("all are asked", lambda: len(app.asked) == PROBES_AT_ONCE)
        refused = found.said(request(path="/probe"))
        found.portal.call(app.answering.set)
        assert statuses(refused) == [503]
        assert b"\r\nretry-after: 5\r\n" in refused.lower()
        assert [statuses(read(connection)) for connection in waiting] == [[200]] * PROBES_AT_ONCE
        assert statuses(found.said(request(path="/probe"))) == [200]


def test_all_addresses_of_a_host_are_one_origin() -> None:
    assert origin_of("2001:db8:1:2::3") == origin_of("2001:db8:1:2:ffff::") == "2001:db8:1:2::/64"
    assert origin_of("2001:db8:1:3::3") != origin_of("2001:db8:1:2::3")
    assert origin_of("::ffff:192.0.2.1") == origin_of("192.0.2.1") != origin_of("::ffff:192.0.2.2")
    assert origin_of("fe80::1%eth0") != origin_of("fe80::2%eth0")


@dataclass(eq=False)
class Held:
    """What the limiter knows of a connection."""

    origin: str
    busy: bool
    accepted: bool = True
    aborted: bool = False

    def abort(self) -> None:
        self.aborted = True


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=60))
def test_who_takes_most_makes_room_for_who_has_less_but_answers_are_finished(arrivals: list[tuple[str, bool]]) -> None:
    limiter, held = ConnectionLimiter(most=8, most_of_one=4), list[Held]()
    for origin, busy in arrivals:
        before = Counter(each.origin for each in held)
        arrived = Held(origin, busy)
        admitted = limiter.admit(arrived)
        gone = [each for each in held if each.aborted]
        held = [each for each in held if each not in gone]
        assert admitted or before[origin] == 4 or all(before[h.origin] <= before[origin] or h.busy for h in held)
        assert len(gone) <= (len(held) == 7)
        assert all(before[each.origin] > before[origin] and not each.busy for each in gone)
        held += [arrived] * admitted
        assert len(limiter) == len(held)
