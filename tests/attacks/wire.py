"""What hostile servers and proxies do to whoever asks them, and strangers to a port that speaks TLS.

`python -m tests.attacks.wire DIRECTORY` serves all of it until its stdin ends, in a process of its own: it says on
stdout, as JSON, which kind is at which port. Servers are friendly until the file `hostile` is in the directory.
"""

from __future__ import annotations

import json
import random
import socket
import ssl
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from functools import cache, partial
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from tests.attacks.web import STRANGER, Address, connected, request
from tests.issuing import Issued, diffie_hellman, field, issue, presenting, rsa_key
from tests.lab.pki import der as tlv
from tests.servers import Talk, head, serving

OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
PAGE: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
_chance: Final = random.SystemRandom()

# ---------------------------------------------------------------- what an HTTP server says


def _said(*parts: bytes, over_and_over: bytes = b"") -> Talk:
    """Say some things, and then another one without end."""

    def talk(connection: socket.socket) -> None:
        head(connection)
        connection.sendall(b"".join(parts))
        while over_and_over:
            connection.sendall(over_and_over)

    return talk


def _random_word(length: int) -> bytes:
    return bytes(_chance.choices(b"abcdefghijklmnop", k=length))


def _each_time(said: Callable[[], bytes]) -> Talk:
    """Say another thing to each."""

    def talk(connection: socket.socket) -> None:
        head(connection)
        connection.sendall(said())

    return talk


def _drip(connection: socket.socket) -> None:
    head(connection)
    for byte in OK * 100:
        connection.send(bytes([byte]))
        time.sleep(0.2)


def _cut(connection: socket.socket) -> None:
    head(connection)
    connection.sendall(b"HTTP/1.1 2")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _many(line: Callable[[int], bytes], number: int) -> bytes:
    return b"".join(line(each) + b"\r\n" for each in range(number))


@cache
def _bomb() -> bytes:
    packing = zlib.compressobj(9, zlib.DEFLATED, 31)
    return packing.compress(bytes(64 << 20)) + packing.flush()


def _mutated_answer() -> bytes:
    said = bytearray(PAGE + b"Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    for _ in range(_chance.randrange(1, 6)):
        at = _chance.randrange(len(said))
        said[at : at + _chance.randrange(4)] = _chance.randbytes(_chance.randrange(4))
    return bytes(said)


HTTP: Final[Mapping[str, Talk]] = {
    "interim answers": _said(over_and_over=b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "chunks of one byte": _said(PAGE, b"Transfer-Encoding: chunked\r\n\r\n", over_and_over=b"1\r\na\r\n" * 1000),
    "trailers": _said(PAGE, b"Transfer-Encoding: chunked\r\n\r\n0\r\n", over_and_over=b"a: b\r\n" * 1000),
    "a page": _said(PAGE, b"\r\n", over_and_over=b"<p>" * 1000),
    "a head": _said(PAGE, over_and_over=b"X: y\r\n" * 1000),
    "headers": _each_time(
        lambda: OK[:-2] + _many(lambda _: _random_word(2) + b":" + _random_word(2), 12_000) + b"\r\n"
    ),
    "cookies": _each_time(
        lambda: OK[:-2] + _many(lambda n: b"Set-Cookie: c%d=%s" % (n, _random_word(6)), 4000) + b"\r\n"
    ),
    "folded lines": _each_time(lambda: OK[:-2] + b"X: y\r\n" + _many(lambda _: b" " + _random_word(8), 9000) + b"\r\n"),
    "a packed page": _each_time(lambda: PAGE + b"Content-Encoding: gzip\r\n\r\n" + _bomb()),
    "a page packed for nobody": _each_time(
        lambda: PAGE + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08" + _random_word(9000)
    ),
    "an encoding": _each_time(lambda: b"%s; charset=%s\r\n\r\n<html>" % (PAGE[:-2], _random_word(50_000))),
    "a host": _each_time(lambda: b"HTTP/1.1 302 Go\r\nLocation: http://%s/\r\n\r\n" % _random_word(50_000)),
    "a byte now and then": _drip,
    "half a status": _cut,
    "what is mutated": _each_time(_mutated_answer),
    "rubbish": _each_time(lambda: _chance.randbytes(2000)),
}

# ---------------------------------------------------------------- what a proxy says to CONNECT


def _challenge() -> bytes:
    scheme = _chance.choice(
        [b"Basic realm=x", b"NTLM TlRMTVNTUAAC" + _random_word(400), b"Negotiate " + _random_word(60_000)]
    )
    return b"HTTP/1.1 407 No\r\nProxy-Authenticate: %s\r\nContent-Length: 0\r\n\r\n" % scheme


def _dialogue(connection: socket.socket) -> None:
    """Want another login after each."""
    while head(connection):
        connection.sendall(_challenge())


_DENIED: Final = b"HTTP/1.1 403 No\r\nContent-Type: text/html\r\n"
PROXY: Final[Mapping[str, Talk]] = {
    "many headers": _each_time(lambda: _DENIED + _many(lambda _: _random_word(2) + b":1", 12_000) + b"\r\n"),
    "chunks of one byte": _said(_DENIED, b"Transfer-Encoding: chunked\r\n\r\n", over_and_over=b"1\r\na\r\n" * 1000),
    "interim answers": HTTP["interim answers"],
    "one dialogue after the other": _dialogue,
    "a tunnel into nothing": _said(b"HTTP/1.1 200 OK\r\n\r\n", b"\x16\x03\x03", over_and_over=b"\x00" * 1000),
    "a tunnel to hello requests": _said(
        b"HTTP/1.1 200 OK\r\n\r\n", over_and_over=b"\x16\x03\x03\x00\x04\x00\x00\x00\x00" * 99
    ),
    "a page": _each_time(lambda: _DENIED + b"\r\n" + _random_word(60_000)),
    "what is mutated": _each_time(_mutated_answer),
    "half a status": _cut,
}


def _any_proxy(connection: socket.socket) -> None:
    PROXY[_chance.choice(sorted(PROXY))](connection)


# ---------------------------------------------------------------- what a server says by TLS


class Authority:
    """Whom the exporter trusts, and what it has issued for `localhost`."""

    def __init__(self) -> None:
        self.root = issue("Hostile Root", ca=True)
        self.leaf = issue("localhost", self.root, key=rsa_key(2048))
        leaf = issue("localhost", self.root, key=_ec())
        self._namesakes = [leaf, *(issue("a", self.root, ca=True, key=_ec()) for _ in range(76))]

    def context(self, *above: Issued, **options: str) -> ssl.SSLContext:
        """A server's."""
        return presenting(self.leaf, *above, **options)

    def namesakes(self) -> ssl.SSLContext:
        """Of a chain of 77 certificates that bear one name, each time in another order."""
        leaf, *above = self._namesakes
        return presenting(leaf, *_chance.sample(above, len(above)))

    def odd(self) -> list[bytes]:
        """A chain whose certificates are mutated, or have long names."""
        name = "\U0001f600\x1b[31m".encode() * 8
        long = tlv(0x31, tlv(0x30, b"\x06\x03\x55\x04\x0b" + tlv(0x0C, name)))
        subject = b"".join([long] * _chance.randrange(1, 200))
        chain = [issue("localhost", self.root, edit=field(5, lambda tag, _: tlv(tag, subject))).der, self.leaf.der]
        chain += [self.root.der] * _chance.randrange(3)
        return [mutated(one) if _chance.random() < 0.7 else one for one in chain]


def _ec() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def mutated(der: bytes, chance: random.Random = _chance) -> bytes:
    """The same with some bytes changed; its length stays."""
    data = bytearray(der)
    for _ in range(chance.randrange(1, 4)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


def _message(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + len(content).to_bytes(3, "big") + content


def _records(said: bytes) -> bytes:
    parts = (said[at : at + 16_000] for at in range(0, len(said), 16_000))
    return b"".join(b"\x16\x03\x03" + len(part).to_bytes(2, "big") + part for part in parts)


def plain_certificates(chain: list[bytes]) -> bytes:
    """The beginning of a handshake of TLS 1.2, whose certificates anybody may read, and write."""
    hello = b"\x03\x03" + _chance.randbytes(32) + b"\x00\xc0\x2f\x00"
    listed = b"".join(len(one).to_bytes(3, "big") + one for one in chain)
    return _records(_message(2, hello) + _message(11, len(listed).to_bytes(3, "big") + listed))


def _over(context: ssl.SSLContext, talk: Talk) -> Talk:
    def secure(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as wrapped:
            talk(wrapped)

    return secure


def _bytewise(connection: socket.socket) -> None:
    head(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        connection.send(b"y")


def tls_servers(authority: Authority, directory: Path) -> dict[str, Talk]:
    """What they say, by what it is."""
    usual, tickets, large = authority.context(), authority.context(), authority.context(ciphers="DHE:@SECLEVEL=0")
    tickets.minimum_version, tickets.num_tickets = ssl.TLSVersion.TLSv1_3, 5000
    large.maximum_version = ssl.TLSVersion.TLSv1_2
    large.load_dh_params(diffie_hellman(directory, "modp_8192"))

    def raw(said: Callable[[], bytes]) -> Talk:
        def talk(connection: socket.socket) -> None:
            connection.recv(4096)
            connection.sendall(said())
            connection.recv(4096)

        return talk

    def namesakes(connection: socket.socket) -> None:
        _over(authority.namesakes(), _said(OK))(connection)

    def hello_requests(connection: socket.socket) -> None:
        connection.recv(4096)
        while True:
            connection.sendall(b"\x16\x03\x03\x00\x04\x00\x00\x00\x00" * 100)

    return {
        "77 certificates of one name": namesakes,
        "odd certificates": raw(lambda: plain_certificates(authority.odd())),
        "records of one byte": _over(usual, _bytewise),
        "session tickets": _over(tickets, _said(OK)),
        "hello requests": hello_requests,
        "large numbers": _over(large, _said(OK)),
        "interim answers by TLS": _over(usual, HTTP["interim answers"]),
        "rubbish in TLS": raw(lambda: b"\x16\x03\x03\x40\x00" + _chance.randbytes(30_000)),
    }


# ---------------------------------------------------------------- the servers' process


def _until_hostile(friendly: Talk, hostile: Talk, sign: Path) -> Talk:
    def talk(connection: socket.socket) -> None:
        connection.settimeout(20)
        (hostile if sign.exists() else friendly)(connection)

    return talk


def _closing(talk: Talk, connection: socket.socket) -> None:
    with suppress(ssl.SSLError, ValueError):
        talk(connection)


def main() -> None:
    """Serve until stdin ends."""
    directory = Path(sys.argv[1])
    authority, sign = Authority(), directory / "hostile"
    (directory / "root.pem").write_bytes(authority.root.pem)
    (directory / "server.pem").write_bytes(authority.leaf.secret + authority.leaf.pem)
    friendly = _over(authority.context(), _said(OK))
    refusing = _said(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    ports: dict[str, dict[str, int]] = {"http": {}, "https": {}, "proxy": {}, "good": {}}
    with ExitStack() as stack:
        for scheme, talks, usual in (
            ("http", HTTP, _said(OK)),
            ("https", tls_servers(authority, directory), friendly),
            ("proxy", {"any": _any_proxy}, refusing),
            ("good", {"good": _said(OK)}, _said(OK)),
        ):
            for kind, talk in talks.items():
                served = partial(_closing, _until_hostile(usual, talk, sign))
                ports[scheme][kind] = stack.enter_context(serving(served)).port
        sys.stdout.write(json.dumps(ports) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


# ---------------------------------------------------------------- strangers on a port that speaks TLS


def mutated_handshakes(address: Address, times: int, seed: int, source: str = STRANGER) -> Counter[str]:
    """Begin handshakes, change or cut some of what is sent, and ask where it goes well; what came of each."""
    drawn, found = random.Random(seed), Counter[str]()  # noqa: S311 - the same again by the same seed
    for _ in range(times):
        try:
            with connected(address, source) as connection:
                connection.settimeout(0.5)
                found[_one_handshake(connection, drawn)] += 1
        except OSError as error:
            found[type(error).__name__] += 1
    return found


def _one_handshake(connection: socket.socket, drawn: random.Random) -> str:
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    if drawn.random() < 0.5:
        client.maximum_version = ssl.TLSVersion.TLSv1_2
    heard, said = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client.wrap_bio(heard, said, server_hostname="localhost")
    strange = drawn.randrange(4)
    for step in range(6):
        try:
            tls.do_handshake()
            tls.write(request("/-/healthy"))
        except ssl.SSLWantReadError:
            pass
        data = said.read()
        if step == strange and data:
            data = _strange(data, drawn)
        connection.sendall(data)
        if not (answer := connection.recv(65_536)):
            return "closed"
        heard.write(answer)
    return "went on"


def _strange(data: bytes, drawn: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(drawn.randrange(1, 5)):
        at = drawn.randrange(len(changed) + 1)
        match drawn.randrange(4):
            case 0:
                changed[at : at + 1] = drawn.randbytes(1)
            case 1:
                del changed[at : at + drawn.randrange(1, 20)]
            case 2:
                changed[at:at] = drawn.randbytes(drawn.randrange(1, 40))
            case _:
                del changed[at:]
    return bytes(changed)


if __name__ == "__main__":
    main()
