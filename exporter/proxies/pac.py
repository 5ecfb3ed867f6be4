"""What a PAC file is asked and what it answers: a target -> the question; `PROXY a:80; DIRECT` -> ways. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from exporter.model.vocabulary import Target, Ways
from exporter.proxies.server import NoServer, quoted, url_of

MOST_WAYS: Final = 16
_SCHEMES: Final[Mapping[str, str]] = MappingProxyType({"PROXY": "http", "HTTP": "http", "HTTPS": "https"})
_DIRECT: Final = "DIRECT"
_SOCKS: Final = frozenset({"SOCKS", "SOCKS4", "SOCKS5"})
_NO_SOCKS: Final = "the PAC file names only SOCKS proxies for it, which are not supported: let it name an HTTP proxy"


class Rubbish(ValueError):
    """An answer that names no way."""


def question(target: Target) -> tuple[str, str]:
    """URL and host as browsers hand them on: of https without path and query, which may be secret."""
    url = target.url
    if target.scheme == "https":
        url = f"https://{url.partition('://')[2].partition('/')[0].partition('?')[0]}/"
    return url, target.host


def ways(answer: str) -> Ways:
    """The ways that an answer names, in its order; SOCKS is passed over. Raises Rubbish."""
    urls: list[str | None] = []
    socks = False
    for part in filter(None, map(str.strip, answer.split(";"))):
        kind, _, server = part.partition(" ")
        kind = kind.upper()
        if kind in _SOCKS:
            socks = True
        elif kind == _DIRECT and not server:
            urls.append(None)
        elif kind in _SCHEMES:
            try:
                urls.append(url_of(_SCHEMES[kind], server.strip()))
            except NoServer as error:
                raise Rubbish(str(error)) from None
        else:
            raise Rubbish(f"{quoted(part)} is neither DIRECT nor PROXY HOST:PORT")
    found = tuple(dict.fromkeys(urls))
    if len(found) > MOST_WAYS:
        raise Rubbish(f"it names {len(found)} ways; {MOST_WAYS} are more than anybody tries")
    if not found and not socks:
        raise Rubbish("it names nothing")
    return Ways(found, None if found else _NO_SOCKS)
