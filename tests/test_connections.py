"""What a scanner tries: requests that two parsers read in two ways, and connections that only hold on."""

from __future__ import annotations

import logging
import re
import select
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from logging.handlers import BufferingHandler
from pathlib import Path
from typing import Final

import anyio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from exporter.service.exporter import Exporter
from exporter.service.load import Source, deploy, network_of
from exporter.web import connections, server
from exporter.web.access import (
    ANSWERS_OF_ONE,
    ANSWERS_WAITING_OF_ONE,
    LONGEST_BODY,
    LONGEST_HEAD,
    PROBE,
    PROBES_OF_ONE,
    RELOAD,
    Policy,
)
from exporter.web.connections import CONNECTIONS_OF_ONE_ORIGIN, ConnectionLimiter
from exporter.web.routes import create_app
from tests.attacks.web import (
    PROMETHEUS,
    connected,
    half_requests,
    mutated_requests,
    scrape,
    slow_readers,
)
from tests.lab.pki import Authority, Shape, authority, leaf
from tests.running import eventually
from tests.web_server import LOOPS, Serving, read, serving

PATIENCE: Final = 60.0  # seconds that a busy machine may take for what takes a moment
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
    HIDDEN.replace(b"GET", b"HEAD"),
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


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("method", ["HEAD", "CONNECT", "OPTIONS"])
def test_broken_chunks_behind_a_method_that_has_no_body_make_no_traceback(
    method: str, loop: str, app: Recorder, complaints: list[logging.LogRecord]
) -> None:
    asked = request("Transfer-Encoding: chunked", method=method)
    with serving(app, loop=loop) as found:
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
def whole_app() -> Starlette:
    """The real application, that probes nothing."""
    source = Source()
    deployment = deploy(source)
    return create_app(Exporter(source, deployment, network_of(deployment)))


@pytest.fixture(scope="module")
def whole(whole_app: Starlette) -> Iterator[Serving]:
    """The same; what can be switched off is."""
    with serving(whole_app, policy=Policy(switched_off=frozenset({PROBE, RELOAD}))) as found:
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


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(("name", "status"), [("prometheus.example", [200]), ("other.example", [])])
def test_no_request_is_served_before_its_certificate_is_judged(
    name: str, status: list[int], loop: str, tmp_path: Path
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
    with serving(app, tmp_path / "web.yaml", loop=loop) as found, found.connect() as connection:
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


# ---------------------------------------------------------------- odd certificates


def der(tag: int, content: bytes) -> bytes:
    return bytes([tag, len(content)]) + content


ODD_NAMES: Final = {
    "a name that is no text": der(0x82, b"a\xff\xfe.example"),
    "a name with a NUL": der(0x82, b"prometheus.example\0.evil"),
    "a URI that is no text": der(0x86, b"http://\xff"),
    "an address of e-mail that is no text": der(0x81, b"\xff@x"),
    "an address of three bytes": der(0x87, b"\x01\x02\x03"),
    "none": b"",
    "one of another kind": der(0xA0, b"\x06\x03\x2a\x03\x04\xa0\x03\x0c\x01a"),
}


def client(root: Authority, names: bytes) -> bytes:
    """A client's certificate whose alternative names are these bytes, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    odd = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, der(0x30, names))
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")]))
        .issuer_name(root.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(odd, critical=False)
    )
    certificate = builder.sign(root.key, hashes.SHA256()).public_bytes(Encoding.PEM)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate


@pytest.mark.parametrize("allowed", ["", ", client_allowed_sans: [prometheus.example]"])
@pytest.mark.parametrize("loop", LOOPS)
def test_odd_names_in_a_certificate_end_nothing_and_open_nothing(
    allowed: str, loop: str, tmp_path: Path, complaints: list[logging.LogRecord]
) -> None:
    root = authority("Clients")
    (tmp_path / "clients.pem").write_bytes(root.pem)
    good = Shape(usage=ExtendedKeyUsageOID.CLIENT_AUTH)
    (tmp_path / "prometheus.example.pem").write_bytes(leaf("prometheus.example", root, shape=good))
    for number, names in enumerate(ODD_NAMES.values()):
        (tmp_path / f"{number}.pem").write_bytes(client(root, names))
    locked(tmp_path).write_text(
        "tls_server_config: {cert_file: a.pem, key_file: a.pem, client_auth_type: RequireAndVerifyClientCert, "
        f"client_ca_file: clients.pem{allowed}}}\n"
    )
    app = Recorder()
    complaints.clear()  # of servers that ended while somebody did not read
    with serving(app, tmp_path / "web.yaml", loop=loop) as found:

        def asked(name: str) -> list[int]:
            with suppress(OSError), found.secure(certified(tmp_path, name)) as connection:
                connection.sendall(request("Connection: close"))
                return statuses(read(connection))
            return []

        odd = [asked(str(number)) for number in range(len(ODD_NAMES))]
        assert asked("prometheus.example") == [200]
    assert not (allowed and any(odd))
    assert not complaints


def test_an_address_in_a_certificate_is_allowed_however_it_is_written(tmp_path: Path) -> None:
    root = authority("Clients")
    (tmp_path / "clients.pem").write_bytes(root.pem)
    address = der(0x87, b"\x20\x01\x0d\xb8" + b"\0" * 11 + b"\x01")
    (tmp_path / "ip.pem").write_bytes(client(root, address))
    locked(tmp_path).write_text(
        "tls_server_config: {cert_file: a.pem, key_file: a.pem, client_auth_type: RequireAndVerifyClientCert, "
        'client_ca_file: clients.pem, client_allowed_sans: ["2001:db8::1"]}\n'
    )
    with serving(Recorder(), tmp_path / "web.yaml") as found, found.secure(certified(tmp_path, "ip")) as connection:
        connection.sendall(request("Connection: close"))
        assert statuses(read(connection)) == [200]


# ---------------------------------------------------------------- work ends with its connection


class Working:
    """An application whose answers are never ready, and that notes which of them it is left with."""

    def __init__(self) -> None:
        self.under_way = 0
        self.begun = 0

    async def __call__(self, *_: object) -> None:
        self.under_way += 1
        self.begun += 1
        try:
            await anyio.sleep_forever()
        finally:
            self.under_way -= 1


@pytest.mark.parametrize("path", ["/", "/-/reload", "/probe"])
@pytest.mark.parametrize("loop", LOOPS)
def test_work_ends_with_its_connection(path: str, loop: str) -> None:
    app = Working()
    with serving(app, loop=loop) as found:
        with ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(found.connect()).sendall(request(path=path))
            eventually("work is under way", lambda: app.under_way)
        eventually("nobody is there", lambda: found.open() == 0)
        eventually("nothing is under way", lambda: app.under_way == 0)
        assert statuses(found.said(request(path="/\0"))) == [400]
    assert 0 < app.begun <= 20


@pytest.mark.parametrize("loop", LOOPS)
def test_a_stranger_has_one_answer_made_at_a_time_and_few_wait(loop: str) -> None:
    app = Working()
    with serving(app, loop=loop) as found, ExitStack() as stack:
        held = [stack.enter_context(found.connect()) for _ in range(ANSWERS_OF_ONE + ANSWERS_WAITING_OF_ONE + 3)]
        for connection in held:
            connection.sendall(request("Connection: close"))
        eventually("some are refused", lambda: len(select.select(held, [], [], 0)[0]) == 3)
        refused = [read(connection) for connection in select.select(held, [], [], 0)[0]]
        assert [statuses(each) for each in refused] == [[503]] * 3
        assert all(b"\r\nretry-after: 1\r\n" in each.lower() for each in refused)
        assert app.under_way == ANSWERS_OF_ONE
        other = stack.enter_context(connected(found.address, PROMETHEUS))
        other.sendall(request())
        eventually("another host is not kept waiting", lambda: app.under_way == ANSWERS_OF_ONE + 1)


@pytest.mark.parametrize("loop", LOOPS)
def test_nothing_more_is_made_for_who_does_not_take_what_was_made(loop: str) -> None:
    app = Recorder(16 << 20)  # more than the system's buffers hold
    with serving(app, loop=loop) as found, slow_readers(found.address, 5, pipelined=20):
        eventually("all have begun to ask", lambda: len(app.asked) == 5)
        eventually("answers wait to be taken", lambda: found.server.connections.unsent)
        for _ in range(20):
            found.heard()
        assert len(app.asked) == 5
        assert found.server.connections.unsent <= 16 << 20


@pytest.mark.parametrize("loop", LOOPS)
def test_what_waits_to_be_taken_is_bounded_for_each_host_and_in_all(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 16 << 20  # more than the system's buffers hold
    monkeypatch.setattr(server, "ConnectionLimiter", lambda: ConnectionLimiter(unsent=5 * size, unsent_of_one=2 * size))
    app = Recorder(size)
    hosts = [f"127.0.66.{number}" for number in range(1, 9)]
    with serving(app, loop=loop) as found, slow_readers(found.address, 4, hosts, pipelined=1):
        eventually("all have asked", lambda: len(app.asked) == 32)
        eventually("few are left", lambda: found.open() <= 6)
        assert found.server.connections.unsent <= 5 * size
        assert scrape(found.address, within=PATIENCE).status == 200


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12)), max_size=40))
def test_bytes_that_wait_are_bounded_and_the_oldest_of_who_has_most_goes(arrivals: list[tuple[str, int]]) -> None:
    limiter, held = ConnectionLimiter(most=100, most_of_one=100, unsent=20, unsent_of_one=10), list[Held]()
    for origin, size in arrivals:
        arrived = Held(origin, busy=True)
        limiter.admit(arrived)
        before = Counter[str]()
        for each in held:
            before[each.origin] += each.unsent
        limiter.make_room(arrived, size)
        arrived.unsent = size
        gone = [each for each in held if each.aborted]
        held = [each for each in held if not each.aborted] + [arrived]
        sums = Counter[str]()
        for each in held:
            sums[each.origin] += each.unsent
        assert not arrived.aborted
        assert sums[origin] <= max(10, size)
        assert sums.total() <= max(20, size)
        assert not gone or before.total() + size > 20 or before[origin] + size > 10


# ---------------------------------------------------------------- half requests


@pytest.mark.parametrize("loop", LOOPS)
def test_half_requests_from_the_address_of_prometheus_keep_it_out_at_no_time(loop: str) -> None:
    app = Recorder()
    with serving(app, loop=loop) as found, half_requests(found.address, CONNECTIONS_OF_ONE_ORIGIN, [PROMETHEUS]):
        eventually("all places are taken", lambda: found.open() == CONNECTIONS_OF_ONE_ORIGIN)
        assert [scrape(found.address, within=PATIENCE).status for _ in range(20)] == [200] * 20
        assert found.open() <= CONNECTIONS_OF_ONE_ORIGIN


@pytest.mark.parametrize("loop", LOOPS)
def test_a_connection_of_who_may_ask_outlasts_those_that_only_hold_on(loop: str) -> None:
    with serving(Recorder(), loop=loop) as found, found.connect() as kept:
        kept.sendall(request())
        assert statuses(kept.recv(1000)) == [200]
        with half_requests(found.address, 2 * CONNECTIONS_OF_ONE_ORIGIN, ["127.0.0.1"]):
            kept.sendall(request("Connection: close"))
            assert statuses(read(kept)) == [200]


@pytest.mark.parametrize("loop", LOOPS)
def test_who_takes_nothing_of_an_answer_keeps_no_place(loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STALLED_AFTER", 0.1)
    app = Recorder(16 << 20)
    monkeypatch.setattr(server, "ConnectionLimiter", lambda: ConnectionLimiter(most_of_one=3, unsent_of_one=1 << 30))
    with serving(app, loop=loop) as found, slow_readers(found.address, 3, [PROMETHEUS], pipelined=1):
        eventually("answers wait to be taken", lambda: found.server.connections.unsent)
        assert eventually("a scrape", lambda: scrape(found.address, within=PATIENCE).status == 200)


# ---------------------------------------------------------------- what is no request


@pytest.mark.parametrize("loop", LOOPS)
def test_no_mutated_request_ends_anything_or_is_a_traceback(
    loop: str, whole_app: Starlette, complaints: list[logging.LogRecord]
) -> None:
    complaints.clear()  # of servers that ended while somebody did not read
    with serving(whole_app, loop=loop) as found:
        answers = mutated_requests(found.address, 300, seed=1)
        assert scrape(found.address, within=PATIENCE).status == 200
        eventually("nobody is there", lambda: found.open() == 0)
    assert [record.getMessage() for record in complaints] == []
    assert answers.total() == 300
    assert not answers[500]


# ---------------------------------------------------------------- how many


def test_only_so_many_probes_on_demand_run_at_once_and_all_else_goes_on() -> None:
    app = Recorder()
    app.answering = anyio.Event()
    with serving(app) as found, ExitStack() as stack:
        waiting = [stack.enter_context(found.connect()) for _ in range(PROBES_OF_ONE)]
        for connection in waiting:
            connection.sendall(request("Connection: close", path="/probe?target=x", method="GET"))
        eventually("all are asked", lambda: len(app.asked) == PROBES_OF_ONE)
        refused = found.said(request(path="/probe"))
        found.portal.call(app.answering.set)
        assert statuses(refused) == [503]
        assert b"\r\nretry-after: 5\r\n" in refused.lower()
        assert [statuses(read(connection)) for connection in waiting] == [[200]] * PROBES_OF_ONE
        assert statuses(found.said(request(path="/probe"))) == [200]


@dataclass(eq=False)
class Held:
    """What the limiter knows of a connection."""

    origin: str
    busy: bool
    proven: bool = True
    unsent: int = 0
    accepted: bool = True
    aborted: bool = False

    def abort(self) -> None:
        self.aborted = True


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=60))
def test_who_takes_most_makes_room_and_answers_are_finished(arrivals: list[tuple[str, bool]]) -> None:
    limiter, held = ConnectionLimiter(most=8, most_of_one=4), list[Held]()
    for origin, busy in arrivals:
        before = Counter(each.origin for each in held)
        arrived = Held(origin, busy)
        admitted = limiter.admit(arrived)
        gone = [each for each in held if each.aborted]
        held = [each for each in held if each not in gone]
        full = before[origin] == 4
        others = [each for each in held if (each.origin == origin if full else before[each.origin] > before[origin])]
        assert admitted or all(each.busy for each in others)
        assert len(gone) <= 1
        assert all(not each.busy for each in gone)
        assert all(each.origin == origin if full else before[each.origin] > before[origin] for each in gone)
        held += [arrived] * admitted
        assert len(limiter) == len(held)
