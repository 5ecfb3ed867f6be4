"""What goes wrong on the wire, as exceptions: what it means is for others to say. Pure."""

from __future__ import annotations

import ssl
from typing import Final

from exporter.model.vocabulary import Answer, Cause

_TLS_RECORDS: Final = frozenset({b"\x14", b"\x15", b"\x16", b"\x17", b"\x18"})
_QUOTED: Final = 48  # bytes
_NO_SUCCESS: Final = 300  # and any status above it


class Unfound(OSError):
    """The name does not exist, though another that the system makes of it does."""


class Unanswered(TimeoutError):
    """No name server answered, for as long as the system waits for one."""


class Sinkholed(OSError):
    """None of the addresses of a name can be its host's; the words go on after "the name"."""


class PeerClosed(ConnectionError):
    """The other side closed the connection before it had answered."""


class NotHttp(Exception):
    """What was said in place of an HTTP answer is none."""

    def __init__(self, message: str, said: bytes = b"") -> None:
        super().__init__(message)
        self.said = said  # how it begins


class NotTls(Exception):
    """What was said in place of a TLS record is none."""

    def __init__(self, said: bytes) -> None:
        super().__init__(f"what answers does not speak TLS: it begins with {quoted(said)}")
        self.said = said  # as much of it as was read


def quoted(said: bytes) -> str:
    """How something from outside begins, as a literal in ASCII.

    A word that is cut off is left out: it may be the beginning of a password, which nobody would know to conceal.
    """
    line = next(iter(said[: _QUOTED + 1].lstrip(b"\r\n").splitlines()), b"")
    shown = line if len(line) <= _QUOTED else line[:_QUOTED].rpartition(b" ")[0]
    return ascii(shown.decode("latin-1"))


def is_tls_record(said: bytes) -> bool:
    """Whether bytes begin a record of TLS (RFC 8446, 5.1)."""
    return said[:1] in _TLS_RECORDS and said[1:2] in {b"", b"\x03"}


class TlsEndless(ssl.SSLError):
    """A handshake that does not come to an end."""

    reason = "ENDLESS"

    def __init__(self) -> None:
        super().__init__(ssl.SSL_ERROR_SSL, "there is no end of the handshake")


class Unverifiable(Exception):
    """The system, which verifies certificates here, was not able to."""


class ProxyRefused(Exception):
    """The proxy answered CONNECT with something other than success, or with a page where the tunnel should be."""

    def __init__(self, answer: Answer) -> None:
        instead = " and a page in place of a tunnel" if answer.status < _NO_SUCCESS else ""
        super().__init__(f"the proxy answered CONNECT with {answer.status}{instead}")
        self.answer = answer


class SignInFailed(Exception):
    """Signing in to the proxy cannot begin or go on from here; the message says why, and holds no secret."""

    def __init__(self, message: str, *, refused: bool = False, cause: Cause | None = None) -> None:
        super().__init__(message)
        self.refused = refused  # the account is, whatever the way to sign in
        self.cause = cause


class SignInBroken(Exception):
    """Signing in was broken off, and nobody knows whether the proxy takes the account."""


class TooStrict(ssl.SSLError):
    """The handshake failed, but would not have if this client were laxer, or older: without TLS 1.3."""

    def __init__(self, error: OSError, version: str, cipher: str) -> None:
        super().__init__(ssl.SSL_ERROR_SSL, str(error))
        self.error = error
        self.version = version  # of TLS, on which a client that refuses nothing agrees
        self.cipher = cipher
