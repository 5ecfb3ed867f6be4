"""Small real servers on the loopback: each connection is handed to a function that talks as the test wants."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

Talk = Callable[[socket.socket], None]
HOST = "127.0.0.1"


@dataclass
class Server:
    """A listening server: where it is, and what it heard."""

    host: str
    port: int
    heard: list[bytes] = field(default_factory=list)

    def url(self, scheme: str = "http", path: str = "/", host: str | None = None) -> str:
        name = host or (f"[{self.host}]" if ":" in self.host else self.host)
        return f"{scheme}://{name}:{self.port}{path}"


@contextmanager
def serving(talk: Talk, *, tls: ssl.SSLContext | None = None, host: str = HOST) -> Iterator[Server]:
    """Accept connections and let `talk` have each, in a thread of its own, until the block ends."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family) as listening:
        server = Server(host, listening.getsockname()[1])
        accepting = threading.Thread(target=_accept, args=(listening, talk, tls), daemon=True)
        accepting.start()
        try:
            yield server
        finally:
            with suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            listening.close()
            accepting.join()


def _accept(listening: socket.socket, talk: Talk, tls: ssl.SSLContext | None) -> None:
    threads = []
    connections = []
    with suppress(OSError):
        while True:
            connection, _ = listening.accept()
            connections.append(connection)
            thread = threading.Thread(target=_converse, args=(connection, talk, tls), daemon=True)
            thread.start()
            threads.append(thread)
    for connection in connections:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()


def _converse(connection: socket.socket, talk: Talk, tls: ssl.SSLContext | None) -> None:
    with connection, suppress(OSError):
        if tls is None:
            talk(connection)
        else:
            with tls.wrap_socket(connection, server_side=True) as secure:
                talk(secure)


def head(connection: socket.socket) -> bytes:
    """Read up to the end of a request's head."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(4096)
        if not more:
            break
        data += more
    return data


def answer(text: str, *, heard: list[bytes] | None = None) -> Talk:
    """Answer each request with `text`, lines ending as HTTP wants them."""

    def talk(connection: socket.socket) -> None:
        request = head(connection)
        if heard is not None:
            heard.append(request)
        connection.sendall(text.replace("\n", "\r\n").encode("latin-1"))

    return talk


def status(code: int, *, heard: list[bytes] | None = None) -> Talk:
    """Answer with a status and an empty body."""
    return answer(f"HTTP/1.1 {code} Whatever\nContent-Length: 0\n\n", heard=heard)


def silent(connection: socket.socket) -> None:
    """Say nothing until the other side leaves."""
    while connection.recv(4096):
        pass


def connect_proxy(refusal: str | None = None, *, heard: list[bytes] | None = None) -> Talk:
    """A proxy that carries CONNECT, or answers everything with `refusal`."""

    def talk(connection: socket.socket) -> None:
        request = head(connection)
        if heard is not None:
            heard.append(request)
        if not request:  # who only wanted to see the certificate
            return
        if refusal is not None:
            connection.sendall(refusal.replace("\n", "\r\n").encode())
            return
        host, _, port = request.split()[1].decode().rpartition(":")
        with socket.create_connection((HOST if host == "localhost" else host, int(port))) as origin:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=_pump, args=(origin, connection), daemon=True)
            back.start()
            _pump(connection, origin)
            back.join()

    return talk


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
