"""Who asks: the host that an address belongs to, by which name it asks, and whether another site had it ask."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import IPv4Address, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from exporter.probe.net.system_names import resolver_in_force

# Names in these cannot be had on the internet, so nobody can have one lead here: RFC 6761, 6762, 8375, ICANN's
# resolution on .internal, and what Kubernetes' services are called within their cluster.
_NOT_PUBLIC: Final = ("localhost", "local", "internal", "home.arpa", "svc")
ANY: Final = "*"


def origin_of(address: str) -> str:
    """The host that an address belongs to: all of a /64 of IPv6 is one host, but link-local addresses are not."""
    ip = ip_address(address)
    if isinstance(ip, IPv4Address) or ip.is_link_local:
        return address
    return str(ip.ipv4_mapped or ip_network((int(ip), 64), strict=False))


# ---------------------------------------------------------------- names


class Names:
    """By which names this machine may be asked, so that no page of another site reads what is served here.

    Such a page may have its own name lead to this machine's address ("DNS rebinding"), and its script then asks us as
    if we were that site. So a name has to be one that strangers cannot have: an address, a name without a dot, this
    machine's own, one in a domain of this machine or in none of the internet, or one that is allowed.
    """

    def __init__(self, allowed: Iterable[str] = (), own: Iterable[str] = (), domains: Iterable[str] = ()) -> None:
        """`allowed`: names, `*.DOMAIN` for all in a domain, or `*` for every name."""
        given = [name.lower().rstrip(".") for name in allowed]
        self._any = ANY in given
        self._allowed = frozenset(given)
        self._allowed_domains = tuple(name[1:] for name in given if name.startswith("*."))
        self._own = frozenset(name.lower().rstrip(".") for name in own)
        self._own_domains = tuple(f".{domain.lower().strip('.')}" for domain in (*_NOT_PUBLIC, *domains))

    def hold(self, host: str) -> bool:
        """Whether what stands in a Host header, with or without a port, is one of them. A missing one is no name."""
        name = _name_of(host)
        if not name or "." not in name or _is_address(name):
            return True
        return self.allow(name) or name in self._own or name.endswith(self._own_domains)

    def allow(self, name: str) -> bool:
        """Whether a name is one of those that are allowed beside this machine's own."""
        return self._any or name in self._allowed or name.endswith(self._allowed_domains)


def names_of_this_machine(allowed: Iterable[str] = ()) -> Names:
    """What this machine calls itself, the domains that it looks names up in, and what is allowed beside."""
    own = [socket.gethostname()]
    if sys.platform == "win32":
        own.append(_whole_name())
    own_domains = (name.partition(".")[2] for name in own)
    search = (domain for domain in resolver_in_force().search if "." in domain.strip("."))
    # A whole domain only where it is somebody's: who shares `example` with us may be anybody.
    return Names(allowed, own, [*search, *(domain for domain in own_domains if "." in domain)])


if sys.platform == "win32":
    import ctypes

    _COMPUTER_NAME_DNS_FULLY_QUALIFIED: Final = 3  # <sysinfoapi.h>

    def _whole_name() -> str:
        """The name of this machine with its domain; empty where Windows does not say it."""
        size = ctypes.c_ulong(256)
        name = ctypes.create_unicode_buffer(size.value)
        found = ctypes.windll.kernel32.GetComputerNameExW(_COMPUTER_NAME_DNS_FULLY_QUALIFIED, name, ctypes.byref(size))
        return name.value if found else os.environ.get("COMPUTERNAME", "")


def _name_of(host: str) -> str:
    """The name in `NAME`, `NAME:PORT` or `[ADDRESS]:PORT`."""
    host = host.strip().lower()
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.rstrip(".")


def _is_address(name: str) -> bool:
    with suppress(ValueError):
        return bool(ip_address(name))
    return False


# ---------------------------------------------------------------- sites


def sent_by_another_site(fetch_site: str | None, origin: str | None, host: str, names: Names) -> bool:
    """Whether a page of another site had a browser send this request: what Sec-Fetch-Site, Origin and Host say.

    Scripts cannot set Sec-Fetch-Site, and whoever is no browser sends neither of them.
    """
    if fetch_site is not None:
        return fetch_site not in {"same-origin", "none"}
    if origin is None:
        return False
    try:
        site = urlsplit(origin)
        name = site.hostname or ""
    except ValueError:
        return True
    if not name:
        return True  # "null"
    return site.netloc.lower() != host.strip().lower() and not names.allow(name)
