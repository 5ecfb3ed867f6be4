"""Ranges of addresses, asked fast whether they hold one: (prefixes) -> AddressRanges. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses

from exporter.model import Prefix
from exporter.patterns import address_of


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
        return address is not None and self._reaches(address, address)

    def covers(self, prefix: Prefix) -> bool:
        """Whether all addresses of a prefix lie in the ranges."""
        return self._reaches(prefix.network_address, prefix.broadcast_address)

    def _reaches(self, first: IPv4Address | IPv6Address, last: IPv4Address | IPv6Address) -> bool:
        """Whether one prefix holds both: what several hold together, `collapsed` has made one."""
        before = bisect_right(self._starts[first.version], int(first)) - 1
        return before >= 0 and int(last) <= int(self._of_version[first.version][before].broadcast_address)
