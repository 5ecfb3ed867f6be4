"""Find endpoints in a text as an article prints it: text -> hosts, wildcards, templates and URLs. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from exporter.model.vocabulary import DEFAULT_PORTS


@dataclass(frozen=True, slots=True)
class Printed:
    """An endpoint as it is printed, and what it is: a host, a path beyond `/`, a scheme and a port if there are any."""

    text: str
    host: str  # in lower case; wildcards and <placeholders> are part of it
    path: str  # with its query, in lower case; empty for `/`
    scheme: str | None
    port: int | None

    @property
    def place(self) -> tuple[str, str]:
        """What makes two of them the same but for scheme and port."""
        return self.host, self.path

    @property
    def ports(self) -> frozenset[int]:
        """The port that the text itself says; empty where it says none."""
        port = self.port or DEFAULT_PORTS.get(self.scheme or "")
        return frozenset((port,) if port else ())


def printed(text: str, *, marked: bool) -> Iterator[Printed]:
    """The endpoints in a text; `marked`: it is set as code, where also a host of two labels is no accident of prose."""
    plain = _STRAY.sub("", _ESCAPED.sub("", text))
    for match in _TOKEN.finditer(plain):
        scheme, host = match["scheme"], match["host"].strip("-").lower()
        if _is_host(host, scheme, marked=marked):
            port = int(match["port"]) if match["port"] else None
            path = (match["path"] or "").rstrip(".").lower()
            end = match.end() - (len(match["path"] or "") - len(path))
            yield Printed(
                plain[match.start() : end], host, "" if path == "/" else path, scheme and scheme.lower(), port
            )


_ESCAPED: Final = re.compile(r"\\(?=[*:/._<-])")  # what Markdown needs, and some authors write within code, too
_STRAY: Final = re.compile(r"<(?![^<>]{1,100}>)")  # one row of Intune's list has a < within a host
_LABEL: Final = r"(?:[a-z0-9_*-]|<[^<>]{1,100}>)++"
_TOKEN: Final = re.compile(
    r"(?<![\w@./\\%$*-])(?:(?P<scheme>[a-z][a-z0-9+]{1,9})://)?"
    rf"(?P<host>{_LABEL}(?:\.{_LABEL})*+)(?::(?P<port>[0-9]{{1,5}})(?![0-9]))?(?P<path>/[^\s`'\"<>,;)|]*+)?",
    re.IGNORECASE,
)
_LAST: Final = re.compile(r"[a-z]{2,24}|xn--[a-z0-9-]{1,59}")
# what looks like a host, but is the name of a file or of a product
_FILE: Final = re.compile(
    r"aspx|bat|cab|cer|cmd|config|crl|crt|css|csv|dll|dmg|docx|exe|full|gif|htm|html|ico|ini|jpg|js|json|"
    r"log|md|mof|msi|msix|pdf|pem|pkg|png|ps1|psd1|psm1|py|sms|sql|svc|svg|tmp|txt|vbs|xlsx|xml|yaml|yml|"
    r"zip"
)
_WEB: Final = frozenset(("http", "https"))


def _is_host(host: str, scheme: str | None, *, marked: bool) -> bool:
    labels = host.split(".")
    if scheme is not None:
        return scheme.lower() in _WEB and (len(labels) > 1 or "<" in host)
    if len(labels) < 2 or not _LAST.fullmatch(labels[-1]) or _FILE.fullmatch(labels[-1]):  # noqa: PLR2004 - host and domain
        return False
    return marked or "*" in host or "<" in host or len(labels) > 2  # noqa: PLR2004 - as in `github.com`
