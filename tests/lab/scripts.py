"""What a scripted host does, step by step: the words of which a script is made. Past its last step a host hangs up."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from .network import RESPONDER, Network

Step: TypeAlias = tuple[Any, ...]  # a verb and what belongs to it, as JSON takes them
Script: TypeAlias = Sequence[Step]

READ: Final[Step] = ("read",)  # whatever comes first, such as the ClientHello
READ_HEAD: Final[Step] = ("read_head",)  # a request, or CONNECT, up to its empty line
HOLD: Final[Step] = ("hold",)  # say no more, until the client goes
HANG_UP: Final[Step] = ("hang_up",)  # at once; what was not read makes a reset of it
RESET: Final[Step] = ("reset",)
GOODBYE: Final[Step] = ("goodbye",)  # of TLS: wait until the client says it, too


def send(text: str, times: int = 1) -> Step:
    """Send this, each character a byte."""
    return "send", text, times


def drip(text: str, seconds: float) -> Step:
    """Send this again and again, with such pauses, until the client goes."""
    return "drip", text, seconds


def sleep(seconds: float) -> Step:
    """Wait."""
    return "sleep", seconds


def tls(
    newest: str = "TLSv1_3",
    ciphers: str = "DEFAULT",
    *,
    client_certificate: bool = False,
    alpn: Sequence[str] = (),
    patient: bool = True,
) -> Step:
    """Shake hands with the host's certificate; the names are those of Python's ssl.TLSVersion and of OpenSSL.

    A handshake that fails ends with an alert, and then with an orderly close, or, impatient, with a reset at once.
    """
    options = {"newest": newest, "ciphers": ciphers, "client_certificate": client_certificate, "alpn": list(alpn)}
    return "tls", {**options, "patient": patient}


def relay(host: str, port: int, *, said: bool = False) -> Step:
    """Carry everything there and back; also, before that, what was read last."""
    return "relay", host, port, said


def when_said(text: str, then: Script, otherwise: Script = ()) -> Step:
    """Go on with one or the other, by whether this was in what was read last; upper and lower case are alike."""
    return "when_said", text, list(then), list(otherwise)


def repeat(*steps: Step) -> Step:
    """Do this again and again, until the client goes."""
    return "repeat", list(steps)


def reply(code: int, *addresses: str, aliases: Sequence[str] = ()) -> Step:
    """Answer a DNS question with this code, the aliases, and under the last of them those addresses it asks for."""
    return "reply", code, addresses, list(aliases)


def asked_for(kind: Literal["A", "AAAA"], *steps: Step) -> Step:
    """Do this where a DNS question asks for addresses of this kind."""
    return "asked_for", kind, list(steps)


class Responder:
    """Plays scripts, each on a port of its own."""

    def __init__(self, network: Network) -> None:
        self._orders = network.directory / "responder.sock"
        script = Path(__file__).with_name("responder.py")
        self._server = network.serve("responder", [sys.executable, "-I", "-S", script, self._orders, *RESPONDER])

    def wait(self) -> None:
        """Return when orders are taken."""
        self._server.wait_until("taking orders", lambda: "ready" in self._server.said())

    @contextmanager
    def playing(
        self, script: Script, *, protocol: Literal["tcp", "udp"] = "tcp", certificate: Path | None = None
    ) -> Iterator[int]:
        """Give the port, at RESPONDER, where this is played."""
        order = {"protocol": protocol, "script": script, "certificate": os.fspath(certificate) if certificate else None}
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(os.fspath(self._orders))
            connection.sendall(json.dumps(order).encode() + b"\n")
            yield int(connection.makefile().readline())
