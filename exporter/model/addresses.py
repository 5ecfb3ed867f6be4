"""What an address can stand for, and ranges of addresses that are asked fast whether they hold one. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from enum import Enum, auto
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses, ip_network
from typing import Final

from exporter.model.patterns import address_of
from exporter.model.vocabulary import Prefix


def collapsed(prefixes: Iterable[Prefix]) -> tuple[Prefix, ...]:
    """The fewest prefixes that hold the same addresses, in order, IPv4 first."""
    found = tuple(prefixes)
    return (
        *collapse_addresses(prefix for prefix in found if isinstance(prefix, IPv4Network)),
        *collapse_addresses(prefix for prefix in found if isinstance(prefix, IPv6Network)),
    )


class AddressRanges:
    """Addresses, by the prefixes that hold them. Asking takes the logarithm of their number."""

    def __init__(self, prefixes: Iterable[Prefix] = ()) -> None:
        self.prefixes = collapsed(prefixes)
        self._of_version = {
            version: [prefix for prefix in self.prefixes if prefix.version == version] for version in (4, 6)
        }
        self._starts = {
            version: [int(prefix.network_address) for prefix in found] for version, found in self._of_version.items()
        }

    def __bool__(self) -> bool:
        return bool(self.prefixes)

    def holds(self, host: str) -> bool:
        """Whether a host is written as an address, and that lies in one of the ranges."""
        address = address_of(host)
        return address is not None and self.has(address)

    def has(self, address: IPv4Address | IPv6Address) -> bool:
        """Whether an address lies in one of the ranges."""
        return self._reaches(address, address)

    def covers(self, prefix: Prefix) -> bool:
        """Whether all addresses of a prefix lie in the ranges."""
        return self._reaches(prefix.network_address, prefix.broadcast_address)

    def _reaches(self, first: IPv4Address | IPv6Address, last: IPv4Address | IPv6Address) -> bool:
        """Whether one prefix holds both: what several hold together, `collapsed` has made one."""
        before = bisect_right(self._starts[first.version], int(first)) - 1
        return before >= 0 and int(last) <= int(self._of_version[first.version][before].broadcast_address)


# ---------------------------------------------------------------- what an address can stand for


class Whose(Enum):
    """Whose host a name is meant to be."""

    PUBLIC = auto()  # somebody's on the internet
    OWN = auto()  # the operator's
    PROXY = auto()  # the operator's proxy, which may well run on this machine


_REMEMBERED: Final = 4096  # answers about addresses: the same ones come with each probe


def _ranges(*prefixes: str) -> AddressRanges:
    return AddressRanges(map(ip_network, prefixes))


# Nobody is reached by these, whoever names them: "this network" (a packet to 0.0.0.0 goes to this machine), multicast,
# broadcast, and the prefix whose packets are discarded (RFC 6666).
_NOBODY: Final = _ranges("0.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32", "::/128", "ff00::/8", "100::/64")
# No service on the internet has one of these: this machine and this link, what is reserved (RFC 1112), and IPv4
# addresses in a form that was given up (RFC 4291, 2.5.5.1). Addresses for documents and for measurements are not among
# them: networks that stand for the internet in an exercise are made of these, and no filter is known to answer so.
_NOT_PUBLIC: Final = _ranges("127.0.0.0/8", "169.254.0.0/16", "240.0.0.0/4", "::/96", "fe80::/10")
_FILTERS_OWN: Final = _ranges("127.0.0.1/32", "::1/128")  # what filters answer, beside 0.0.0.0 and ::
_PRIVATE: Final = _ranges(  # RFC 1918, RFC 6598, RFC 4193, RFC 3879
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fec0::/10"
)
_NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address, as a resolver gives it to hosts without IPv4
# Where a DNS filter sends what it blocks, and whose it is. Source: Cisco, "Block Page IP Addresses".
_FILTERS: Final = ((IPv4Network("146.112.61.0/24"), "Cisco Umbrella"),)


@lru_cache(_REMEMBERED)
def meant(text: str) -> IPv4Address | IPv6Address | None:
    """An address as a resolver gives it, or the IPv4 address that it holds; None for what is none."""
    address = address_of(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


@lru_cache(_REMEMBERED)
def is_possible(text: str, whose: Whose, *, listed: bool = False) -> bool:
    """Whether the host that a name means can have this address.

    A host of the operator's may have a loopback address, but hardly one that filters answer, unless it is `listed` so
    in this machine's hosts file.
    """
    address = meant(text)
    if address is None or _NOBODY.has(address):
        return False
    if whose is Whose.PUBLIC:
        return not _NOT_PUBLIC.has(address) and filter_at(text) is None
    return whose is Whose.PROXY or listed or not _FILTERS_OWN.has(address)


@lru_cache(_REMEMBERED)
def is_private(text: str) -> bool:
    """Whether an address is one that everybody may use within his own network."""
    address = meant(text)
    return address is not None and _PRIVATE.has(address)


@lru_cache(_REMEMBERED)
def is_inside(text: str) -> bool:
    """Whether whoever reaches this address has reached nobody on the internet."""
    return is_private(text) or not is_possible(text, Whose.PUBLIC)


def filter_at(text: str) -> str | None:
    """The DNS filter that is known to answer this address for what it blocks."""
    address = meant(text)
    return next((product for network, product in _FILTERS if address in network), None)
