"""Proxies on the loopback that ask who is there, and count what they are told."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import spnego

from exporter.model.vocabulary import Auth
from tests.servers import connect_proxy, head, silent

USERNAME: Final = "CORP\\svc"
PASSWORD: Final = "a-password-of-some-length"  # noqa: S105 - of a server that lives for one test
OTHER: Final = "another-password-than-that"
HANGING: Final = "dead"  # how the names begin of targets for which the proxy waits in vain

HELD: Final = "held"  # and of those whose answer waits for the test

_OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_SAID: Final = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()


@dataclass
class Try:
    """One time that the password was put to the test."""

    connection: int
    at: float
    taken: bool


@dataclass
class AskingProxy:
    """Asks for Basic or NTLM, answers 200 for each target, but for hanging ones never. One talk serves all clients."""

    scheme: Auth = Auth.BASIC
    refuses: Callable[[int], bool] = lambda _: False  # the n-th try, though its password is right
    refuses_after: float = 0.0  # seconds
    answers_after: float = 0.0
    extra: str = ""  # lines of the head of each 407
    version: str = "HTTP/1.1"
    page: str = ""  # of each 407
    page_takes: float = 0.0  # seconds
    closes: bool = False  # after each 407, whatever it says
    status: int = 200  # for a target
    tried: threading.Event = field(default_factory=threading.Event)  # whether anybody has shown a password
    release: threading.Event = field(default_factory=threading.Event)
    tries: list[Try] = field(default_factory=list)
    heard: list[tuple[int, str]] = field(default_factory=list)  # number of the connection, and what was said on it
    _numbers: count[int] = field(default_factory=count)

    def __call__(self, connection: socket.socket) -> None:
        number, context = next(self._numbers), None
        while request := head(connection).decode("latin-1"):
            said = next((line.split()[1:] for line in request.split("\r\n") if line.startswith("Proxy-Auth")), [])
            self.heard.append((number, said[0] if said else ""))
            if self.scheme is Auth.BASIC and said:
                if self._takes(number, said[-1] == _SAID):
                    return self._carry(connection, request)
            elif self.scheme is Auth.NTLM and said:
                token = base64.b64decode(said[-1])
                if token[8] == 1:
                    context = spnego.server(protocol="ntlm")
                    challenge = context.step(token) or b""
                    if not self._ask(connection, f"NTLM {base64.b64encode(challenge).decode()}"):
                        return None
                    continue
                if self._takes(number, context is not None and _knows(context, token)):
                    return self._carry(connection, request)
                context = None
            if not self._ask(connection, "NTLM" if self.scheme is Auth.NTLM else 'Basic realm="p"'):
                return None
        return None

    def _takes(self, number: int, right: bool) -> bool:
        order = len(self.tries)
        mine = Try(number, time.time(), right and not self.refuses(order))
        self.tries.append(mine)
        self.tried.set()
        if not mine.taken:
            time.sleep(self.refuses_after)
        return mine.taken

    def _ask(self, connection: socket.socket, challenge: str) -> bool:
        """Send a 407; whether the connection lives on."""
        lines = [f"{self.version} 407 No", f"Proxy-Authenticate: {challenge}", f"Content-Length: {len(self.page)}"]
        extra = [self.extra] if self.extra else []
        connection.sendall("\r\n".join([*lines, *extra, "", ""]).encode())
        for part in range(0, len(self.page), 4096):
            connection.sendall(self.page[part : part + 4096].encode())
            time.sleep(self.page_takes * 4096 / len(self.page))
        return not self.closes

    def _carry(self, connection: socket.socket, request: str) -> None:
        method, target, _ = request.split(maxsplit=2)
        host = target.removeprefix("http://")
        if host.startswith(HANGING):
            silent(connection)
        elif host.startswith(HELD):
            self.release.wait()
            connection.sendall(_OK)
        elif method == "CONNECT" and self.status == 200:
            tunnel = connect_proxy()
            tunnel(_Again(connection, request.encode("latin-1")))  # type: ignore[arg-type]
        else:
            time.sleep(self.answers_after)
            connection.sendall(f"HTTP/1.1 {self.status} Whatever\r\nContent-Length: 0\r\n\r\n".encode())


class _Again:
    """A connection whose request has been read already."""

    def __init__(self, connection: socket.socket, request: bytes) -> None:
        self._connection = connection
        self._request = request

    def recv(self, size: int) -> bytes:
        data, self._request = self._request, b""
        return data or self._connection.recv(size)

    def __getattr__(self, name: str) -> object:
        return getattr(self._connection, name)


def _knows(context: spnego.ContextProxy, token: bytes) -> bool:
    try:
        context.step(token)
    except spnego.exceptions.SpnegoError:
        return False
    return context.complete
