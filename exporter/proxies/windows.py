"""What Windows holds of a proxy, as WinHTTP and WinINET write it -> the ways to a target. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

from exporter.model.vocabulary import DIRECT, Target, Ways
from exporter.proxies.server import NoServer, quoted, url_of, written

LOCAL: Final = "<local>"  # every name without a dot
_EVERY: Final = ""  # the scheme of what stands without one
_CARRIED: Final = ("http", "https")  # by web proxies; Windows may name others for ftp and gopher
_SOCKS: Final = "socks"  # carries whatever no other entry does
_SEPARATORS: Final = re.compile(r"[;\s]+")
_EXCEPTION: Final = re.compile(r"(?:([a-z]+)://)?(\[[^\]]*\]|[^:/]+|[^:/]*:[^:/]*:[^/]*)(?::([0-9]+))?/?")
_NO_SOCKS: Final = "Windows names a SOCKS proxy for it, which is not supported: name an HTTP proxy there, or by `url`"


@dataclass(frozen=True, slots=True)
class Setting:
    """Proxies by the scheme of the target, and what is reached without them."""

    proxies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # URLs; the key is empty where it means all
    exceptions: tuple[str, ...] = ()  # as they are written, in lower case

    def ways(self, target: Target) -> Ways:
        """The ways to a target: proxies in their order, or direct."""
        if any(_excepts(entry, target) for entry in self.exceptions):
            return Ways((None,))
        urls = self.proxies.get(target.scheme) or self.proxies.get(_EVERY)
        if urls:
            return Ways(urls)
        return Ways((), _NO_SOCKS) if _SOCKS in self.proxies else Ways((None,))

    def __str__(self) -> str:
        """For a person: which proxies, and what is excepted."""
        if not self.proxies:
            return f"no proxy is set: {DIRECT}"
        named = (
            f"{', then '.join(map(written, urls)) or _SOCKS}{f' for {scheme}' if scheme else ''}"
            for scheme, urls in self.proxies.items()
        )
        without = f"; without it: {', '.join(self.exceptions)}" if self.exceptions else ""
        return f"{'; '.join(named)}{without}"


def setting(proxies: str | None, exceptions: str | None) -> Setting:
    """What two texts of Windows mean, such as `http=a:80;https=b:443` and `<local>;*.corp.example`. Raises NoServer."""
    found: dict[str, tuple[str, ...]] = {}
    for entry in _split(proxies):
        scheme, equals, server = entry.rpartition("=")
        scheme = scheme.lower()
        if scheme == _SOCKS or server.lower().startswith(_SOCKS):
            found.setdefault(_SOCKS, ())
        elif not equals or scheme in _CARRIED:
            found[scheme] = (*found.get(scheme, ()), _url(server))
    return Setting(found, tuple(entry.lower() for entry in _split(exceptions)))


def _split(text: str | None) -> list[str]:
    return [part for part in _SEPARATORS.split(text or "") if part]


def _url(server: str) -> str:
    """A proxy is spoken to in plain text, unless what Windows holds says otherwise."""
    scheme, separator, rest = server.rpartition("://")
    scheme = scheme.lower() if separator else "http"
    if scheme not in _CARRIED:
        raise NoServer(f"{quoted(server)}: only http:// and https:// proxies are supported")
    return url_of(scheme, rest)


def _excepts(entry: str, target: Target) -> bool:
    """Whether an entry means a target: `*.corp.example`, `10.*`, `<local>`, `https://*.corp.example`, `host:8530`."""
    host = target.host.lower().removesuffix(".")
    if entry == LOCAL:
        return "." not in host and ":" not in host
    match = _EXCEPTION.fullmatch(entry)
    if match is None:
        return False
    scheme, pattern, port = match.groups()
    if (scheme and scheme != target.scheme) or (port and int(port) != target.port):
        return False
    literally = re.sub(r"([?[])", r"[\1]", pattern.strip("[]"))  # only * means more than itself
    return fnmatchcase(host, literally)
