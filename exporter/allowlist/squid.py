"""The allow list as an include file for Squid: Rules -> acl and http_access lines. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from exporter.allowlist.openings import Opening, heading, not_for_a_web_proxy, openings, uninspected
from exporter.allowlist.rules import Rule
from exporter.model.patterns import address_of, is_wildcard

_ADVICE: Final = (
    "Include it before the rules that deny more, `http_access deny all` first of all: the example that Squid ships",
    "denies CONNECT to ports other than 443. Before rules that ask for a login, too: not every endpoint supports that.",
    "Put the addresses of your servers and clients in the place of `all` in the first line.",
    "Wildcards are regular expressions, for `dstdomain .x` means x itself as well.",
)
_ACLS: Final = """\
acl configmgr_from src all
acl configmgr_connect method CONNECT
acl configmgr_url_http proto HTTP
acl configmgr_url_https proto HTTPS"""


def squid(rules: Iterable[Rule]) -> str:
    """Lines that Squid loads (tried with version 5.7). They allow what is listed and deny nothing."""
    needed = tuple(rules)
    chosen = openings(needed, not_for_a_web_proxy)
    lines = [f"# {line}" for line in heading("Rules for Squid", needed, _ADVICE, chosen.left_out)]
    lines += ["", *_ACLS.splitlines()]
    for opening in chosen.by_protocol():
        lines += ["", *_acls(opening), *_accesses(opening)]
    lines += _splicing(uninspected(chosen.written))
    return "\n".join(lines)


def _acls(opening: Opening) -> Iterator[str]:
    """What to compare, each kind by itself. `-n`: what an address is called by its owner does not count."""
    name = f"configmgr_{opening.name}"
    kinds = {
        f"{name}_hosts dstdomain -n": [_literal(host) for host in opening.hosts if not is_wildcard(host)],
        f"{name}_below dstdom_regex -n -i": [_regex(host) for host in opening.hosts if is_wildcard(host)],
    }
    used = {kind: values for kind, values in kinds.items() if values}
    yield f"acl {name}_ports port {opening.ports}"
    for kind, values in used.items():
        yield from (f"acl {kind} {value}" for value in values)
    yield f"acl {name} any-of {' '.join(kind.split()[0] for kind in used)}"


def _accesses(opening: Opening) -> Iterator[str]:
    """CONNECT for https, and, where Squid opens the tunnel (ssl_bump), the requests for https URLs within it."""
    where = f"configmgr_{opening.name}_ports configmgr_{opening.name}"
    if opening.protocol == "https":
        yield f"http_access allow configmgr_from configmgr_connect {where}"
    yield f"http_access allow configmgr_from !configmgr_connect configmgr_url_{opening.protocol} {where}"


def _splicing(hosts: Iterable[str]) -> Iterator[str]:
    """Comments, for only a Squid that was built to open tunnels knows these lines."""
    found = tuple(hosts)
    if found:
        yield ""
        yield "# The documents do not support TLS inspection of these hosts. Where this Squid inspects, take the # away"
        yield "# and put these lines before your other ssl_bump rules, behind the one that peeks at the server's name."
        yield from (f"#acl configmgr_uninspected ssl::server_name_regex -i {_regex(host)}" for host in found)
        yield "#ssl_bump splice configmgr_uninspected"


def _literal(host: str) -> str:
    address = address_of(host)
    return f"[{host}]" if address is not None and address.version == 6 else host  # noqa: PLR2004 - IPv6


def _regex(host: str) -> str:
    """An extended regular expression of POSIX for a host or a wildcard."""
    literal = host.replace(".", "[.]") if address_of(host) is None else re.escape(_literal(host))
    return f"^{literal.replace('*', '.+')}$"
