"""Play scripts to whoever connects or asks; runs inside the laboratory, ordered over a Unix socket.

usage: responder.py SOCKET IPV4 IPV6, with the addresses from which it speaks itself

An order is a connection to the socket: one line of JSON in, the number of the port that plays it out. The port is there
for as long as the connection is. What the steps of a script mean is said in scripts.py.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import struct
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

QR, RD, RA, POINTER_TO_NAME, IN = 0x80, 0x01, 0x80, 0xC00C, 1
TYPES = {"A": 1, "CNAME": 5, "AAAA": 28}
HEADER = 12  # bytes of a DNS message before its question
CHUNK = 64 * 1024

Script = Sequence[Sequence[Any]]


def main() -> None:
    # Old protocol versions are asked for on purpose.
    warnings.simplefilter("ignore", DeprecationWarning)
    with socket.socket(socket.AF_UNIX) as orders:
        orders.bind(sys.argv[1])
        orders.listen()
        sys.stderr.write("ready\n")
        while True:
            in_thread(perform, orders.accept()[0])


def in_thread(function: Callable[..., None], *arguments: Any) -> None:
    threading.Thread(target=function, args=arguments, daemon=True).start()


def perform(order: socket.socket) -> None:
    with order:
        told = json.loads(order.makefile().readline())
        make_port, serve = PROTOCOLS[told["protocol"]]
        with make_port() as port:
            in_thread(serve, port, told["script"], told["certificate"])
            order.sendall(b"%d\n" % port.getsockname()[1])
            order.recv(1)  # until the other side lets go
            with suppress(OSError):
                port.shutdown(socket.SHUT_RDWR)  # closing alone would not wake the thread that waits on it


# ---------------------------------------------------------------- TCP


def listener() -> socket.socket:
    return socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=128)


def accept(port: socket.socket, script: Script, certificate: str | None) -> None:
    with suppress(OSError):  # the port has been closed
        while True:
            in_thread(Connection(port.accept()[0], certificate).play, script)


class Connection:
    """One connection, and what its client has said so far."""

    def __init__(self, connection: socket.socket, certificate: str | None) -> None:
        self.socket = connection
        self.certificate = certificate
        self.said = b""

    def play(self, script: Script) -> None:
        with suppress(OSError):  # the client went away, or refused the handshake
            self.steps(script)
        self.socket.close()

    def steps(self, script: Script) -> None:
        for verb, *arguments in script:
            getattr(self, f"do_{verb}")(*arguments)

    def do_tls(self, options: dict[str, Any]) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers(options["ciphers"] + ":@SECLEVEL=0")  # TLS 1.1 and older need that level
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion[options["newest"]]
        context.load_cert_chain(str(self.certificate))
        if options["alpn"]:
            context.set_alpn_protocols(options["alpn"])
        if options["client_certificate"]:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.certificate)
        secure = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.socket = secure
        try:
            secure.do_handshake()
        except OSError:
            # The alert has been sent. What has not been read would turn the close into a reset, which may overtake it.
            if options["patient"]:
                secure.shutdown(socket.SHUT_WR)
                self.do_hold()
            else:
                self.do_reset()
            raise

    def do_read(self) -> None:
        self.said = self.socket.recv(CHUNK)

    def do_read_head(self) -> None:
        self.said = b""
        while b"\r\n\r\n" not in self.said:
            data = self.socket.recv(CHUNK)
            if not data:
                raise ConnectionAbortedError
            self.said += data

    def do_when_said(self, text: str, then: Script, otherwise: Script) -> None:
        self.steps(then if text.lower().encode("latin-1") in self.said.lower() else otherwise)

    def do_repeat(self, script: Script) -> None:
        while True:
            self.steps(script)

    def do_send(self, text: str, times: int) -> None:
        self.socket.sendall(text.encode("latin-1") * times)

    def do_drip(self, text: str, seconds: float) -> None:
        while True:
            self.socket.sendall(text.encode("latin-1"))
            time.sleep(seconds)

    def do_sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def do_hold(self) -> None:
        while self.socket.recv(CHUNK):
            pass

    def do_hang_up(self) -> None:
        raise ConnectionAbortedError

    def do_reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # A TLS socket has another under it, which would not be reset.
        socket.close(self.socket.detach())

    def do_goodbye(self) -> None:
        assert isinstance(self.socket, ssl.SSLSocket)
        self.socket.unwrap()

    def do_relay(self, host: str, port: int, said: bool) -> None:
        own = sys.argv[3 if ":" in host else 2]
        with socket.create_connection((host, port), source_address=(own, 0)) as onward:
            if said:
                onward.sendall(self.said)
            both = {self.socket: onward, onward: self.socket}
            while both:
                for source in readable(list(both)):
                    data = source.recv(CHUNK)
                    if data:
                        both[source].sendall(data)
                    else:
                        half_close(both.pop(source))


def readable(sockets: list[socket.socket]) -> list[socket.socket]:
    """Those that have something to read; TLS may hold it back where `poll` does not see it."""
    held: list[socket.socket] = [found for found in sockets if isinstance(found, ssl.SSLSocket) and found.pending()]
    if held:
        return held
    poll, by_descriptor = select.poll(), {found.fileno(): found for found in sockets}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLIN)
    return [by_descriptor[descriptor] for descriptor, _ in poll.poll()]


def half_close(sink: socket.socket) -> None:
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


# ---------------------------------------------------------------- DNS


def datagrams() -> socket.socket:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((sys.argv[2], 0))
    return server


def answer(port: socket.socket, script: Script, _certificate: str | None) -> None:
    with suppress(OSError):  # the port has been closed
        while True:
            question, client = port.recvfrom(CHUNK)
            if not question:
                return
            in_thread(reply, port, question, client, script)


def reply(port: socket.socket, question: bytes, client: Any, script: Script) -> None:
    with suppress(OSError):
        for verb, *arguments in steps_for(question, script):
            if verb == "sleep":
                time.sleep(*arguments)
            else:
                port.sendto(message(question, *arguments), client)


def steps_for(question: bytes, script: Script) -> Iterator[Sequence[Any]]:
    for step in script:
        if step[0] == "asked_for":
            if wanted(question) == TYPES[step[1]]:
                yield from step[2]
        else:
            yield step


def end_of(question: bytes) -> int:
    return question.index(b"\0", HEADER) + 5  # the name, its type and its class


def wanted(question: bytes) -> int:
    return int.from_bytes(question[end_of(question) - 4 : end_of(question) - 2], "big")


def message(question: bytes, code: int, addresses: Sequence[str], aliases: Sequence[str]) -> bytes:
    """What answers a question: a code, the aliases, and under the last of them those addresses that it asks for."""
    owner, records = struct.pack("!H", POINTER_TO_NAME), []
    for alias in aliases:
        records.append(record(owner, "CNAME", encoded(alias)))
        owner = encoded(alias)
    for address in addresses:
        kind, family = ("AAAA", socket.AF_INET6) if ":" in address else ("A", socket.AF_INET)
        if wanted(question) == TYPES[kind]:
            records.append(record(owner, kind, socket.inet_pton(family, address)))
    flags = bytes([QR | question[2] & RD, RA | code])
    counts = struct.pack("!HHHH", 1, len(records), 0, 0)
    return question[:2] + flags + counts + question[HEADER : end_of(question)] + b"".join(records)


def record(owner: bytes, kind: str, data: bytes) -> bytes:
    return owner + struct.pack("!HHIH", TYPES[kind], IN, 0, len(data)) + data


def encoded(name: str) -> bytes:
    labels = name.encode("ascii").split(b".")
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


PROTOCOLS = {"tcp": (listener, accept), "udp": (datagrams, answer)}

if __name__ == "__main__":
    main()
