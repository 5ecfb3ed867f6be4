"""Play scripts to whoever connects or asks; runs inside the laboratory, ordered over a Unix socket.

usage: responder.py SOCKET IPV4 IPV6, with the addresses from which it speaks itself

An order is a connection to the socket: one line of JSON in, the number of the port that plays it out. The port is there
for as long as the connection is. What the steps of a script mean is said in scripts.py.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

QR, RD, RA, POINTER_TO_NAME, A, IN = 0x80, 0x01, 0x80, 0xC00C, 1, 1
HEADER = 12  # bytes of a DNS message before its question
CHUNK = 64 * 1024


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


def accept(port: socket.socket, script: Sequence[Sequence[Any]], certificate: str | None) -> None:
    with suppress(OSError):  # the port has been closed
        while True:
            in_thread(play, port.accept()[0], script, certificate)


def play(connection: socket.socket, script: Sequence[Sequence[Any]], certificate: str | None) -> None:
    with suppress(OSError):  # the client went away, or refused the handshake
        for verb, *arguments in script:
            if verb == "tls":
                connection = shake_hands(connection, certificate, *arguments)
            else:
                STEPS[verb](connection, *arguments)
    connection.close()


def shake_hands(connection: socket.socket, certificate: str | None, options: dict[str, Any]) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(options.get("ciphers", "DEFAULT") + ":@SECLEVEL=0")  # TLS 1.1 and older need that level
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion[options.get("newest", "TLSv1_3")]
    context.load_cert_chain(str(certificate))
    if options.get("client_certificate"):
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificate)
    secure = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
    try:
        secure.do_handshake()
    except OSError:
        # The alert has been sent. What has not been read would turn the close into a reset, which may overtake it.
        secure.shutdown(socket.SHUT_WR)
        hold(secure)
        raise
    return secure


def read(connection: socket.socket) -> None:
    connection.recv(CHUNK)


def read_head(connection: socket.socket) -> None:
    head = b""
    while b"\r\n\r\n" not in head:
        data = connection.recv(CHUNK)
        if not data:
            raise ConnectionAbortedError
        head += data


def send(connection: socket.socket, text: str, times: int) -> None:
    connection.sendall(text.encode("latin-1") * times)


def drip(connection: socket.socket, text: str, seconds: float) -> None:
    while True:
        connection.sendall(text.encode("latin-1"))
        time.sleep(seconds)


def hold(connection: socket.socket) -> None:
    while connection.recv(CHUNK):
        pass


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def relay(connection: socket.socket, host: str, port: int) -> None:
    own = sys.argv[3 if ":" in host else 2]
    with socket.create_connection((host, port), source_address=(own, 0)) as onward:
        in_thread(pump, connection, onward)
        pump(onward, connection)


def pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


STEPS: dict[str, Callable[..., None]] = {
    "read": read,
    "read_head": read_head,
    "send": send,
    "drip": drip,
    "sleep": lambda _, seconds: time.sleep(seconds),
    "hold": hold,
    "reset": reset,
    "relay": relay,
}


# ---------------------------------------------------------------- DNS


def datagrams() -> socket.socket:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((sys.argv[2], 0))
    return server


def answer(port: socket.socket, script: Sequence[Sequence[Any]], _certificate: str | None) -> None:
    with suppress(OSError):  # the port has been closed
        while True:
            question, client = port.recvfrom(CHUNK)
            if not question:
                return
            in_thread(reply, port, question, client, script)


def reply(port: socket.socket, question: bytes, client: Any, script: Sequence[Sequence[Any]]) -> None:
    with suppress(OSError):
        for verb, *arguments in script:
            if verb == "sleep":
                time.sleep(*arguments)
            else:
                port.sendto(message(question, *arguments), client)


def message(question: bytes, code: int, addresses: Sequence[str]) -> bytes:
    """What answers a question: a code, and the addresses if it asks for addresses of that kind."""
    end = question.index(b"\0", HEADER) + 5  # the name, its type and its class
    wanted = int.from_bytes(question[end - 4 : end - 2], "big")
    records = [
        struct.pack("!HHHIH", POINTER_TO_NAME, A, IN, 0, 4) + socket.inet_aton(address)
        for address in addresses
        if wanted == A
    ]
    flags = bytes([QR | question[2] & RD, RA | code])
    return question[:2] + flags + struct.pack("!HHHH", 1, len(records), 0, 0) + question[HEADER:end] + b"".join(records)


PROTOCOLS = {"tcp": (listener, accept), "udp": (datagrams, answer)}

if __name__ == "__main__":
    main()
