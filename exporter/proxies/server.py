"""`HOST:PORT`, as Windows and PAC files write it -> the URL of a proxy, and back. Pure."""

from __future__ import annotations

import re
from typing import Final

from exporter.model.patterns import address_of
from exporter.model.vocabulary import DEFAULT_PORTS
from exporter.text.printable import short
from exporter.text.secrets import without_user

_SERVER: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:/?#@\[\]]+)(?::([0-9]{1,5}))?/?", re.IGNORECASE)
_NAME: Final = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?", re.IGNORECASE)
_LONGEST: Final = 254  # RFC 1035, with the root's dot
_LAST_PORT: Final = 65535


class NoServer(ValueError):
    """A text that names no server; the message quotes it without what may be a password."""


def url_of(scheme: str, text: str) -> str:
    """The URL of a proxy that is spoken to by a scheme; without a port, it is that scheme's. Raises NoServer."""
    match = _SERVER.fullmatch(text)
    if match is None or not _is_host(match[1]):
        raise NoServer(f"{quoted(text)} is no HOST:PORT")
    port = int(match[2] or DEFAULT_PORTS[scheme])
    if not 1 <= port <= _LAST_PORT:
        raise NoServer(f"{quoted(text)}: expected a port from 1 to {_LAST_PORT}")
    return f"{scheme}://{match[1]}:{port}"


def _is_host(text: str) -> bool:
    if text.startswith("["):
        return address_of(text[1:-1]) is not None
    numeric = text.removesuffix(".").rpartition(".")[2].isdecimal()
    return len(text) <= _LONGEST and (address_of(text) is not None if numeric else _NAME.fullmatch(text) is not None)


def written(url: str | None) -> str:
    """A way for a person: the address of a proxy, with its scheme only where that is TLS; or `direct`."""
    return "direct" if url is None else url.removeprefix("http://")


def quoted(text: str) -> str:
    """A text from outside as a literal in ASCII: short, and without what stands before an `@`."""
    return ascii(short(without_user(text)))
