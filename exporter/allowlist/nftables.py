"""The allow list for nftables: Rules and the addresses that their names have now -> a script for `nft -f`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from exporter.allowlist.hosts import can_be_written
from exporter.allowlist.openings import Opening, heading, openings
from exporter.allowlist.rules import Rule
from exporter.model.patterns import address_of, is_wildcard

_ADVICE: Final = (
    "WARNING: these are the addresses of this moment, as this machine resolves the names. Content delivery networks",
    "change theirs within minutes and give others elsewhere: write and load the file anew at short intervals, on the",
    "firewall itself. A device that knows names does better.",
    "It fills the chain `configmgr` of the table `inet filter`; jump there from your own:",
    "nft add rule inet filter output jump configmgr. Loaded anew, it replaces what it has put there before.",
)
_TABLE: Final = "inet filter"
_FAMILIES: Final = {4: ("ipv4_addr", "ip"), 6: ("ipv6_addr", "ip6")}


def names_to_resolve(rules: Iterable[Rule]) -> tuple[str, ...]:
    """The names whose addresses `nftables` needs."""
    return tuple(sorted({rule.host for rule in openings(rules, _why_not).written if address_of(rule.host) is None}))


def nftables(rules: Iterable[Rule], addresses_of: Mapping[str, tuple[str, ...]]) -> str:
    """Sets of addresses, and a chain that accepts what goes there."""
    needed = tuple(rules)

    def why_not(rule: Rule) -> str | None:
        return _why_not(rule) or (None if _addresses(rule.host, addresses_of) else "the name has no address now")

    chosen = openings(needed, why_not)
    lines = [f"# {line}" for line in heading("Rules for nftables", needed, _ADVICE, chosen.left_out)]
    lines += ["", f"add table {_TABLE}", f"add chain {_TABLE} configmgr", f"flush chain {_TABLE} configmgr"]
    for opening in chosen.by_transport():
        hosts_of = _hosts_of(opening, addresses_of)
        for version, (kind, protocol) in _FAMILIES.items():
            found = {address: hosts for address, hosts in hosts_of.items() if _version(address) == version}
            lines += _set(f"configmgr_{opening.name}_{kind}", kind, found)
            if found:
                where = f"{protocol} daddr @configmgr_{opening.name}_{kind} {opening.protocol} dport {opening.ports}"
                lines.append(f"add rule {_TABLE} configmgr {where} accept")
    return "\n".join(lines)


def _why_not(rule: Rule) -> str | None:
    return "a wildcard has no addresses" if is_wildcard(rule.host) else None


def _addresses(host: str, addresses_of: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return (host,) if address_of(host) is not None else tuple(filter(can_be_written, addresses_of.get(host, ())))


def _hosts_of(opening: Opening, addresses_of: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    """Each address once, with those who have it."""
    hosts_of: dict[str, list[str]] = {}
    for host in opening.hosts:
        for address in _addresses(host, addresses_of):
            hosts_of.setdefault(address, []).append(host)
    return hosts_of


def _set(name: str, kind: str, hosts_of: Mapping[str, list[str]]) -> Iterator[str]:
    """Also where there is no address: what the set held before must go."""
    yield ""
    yield f"add set {_TABLE} {name} {{ type {kind}; }}"
    yield f"flush set {_TABLE} {name}"
    if hosts_of:
        yield f"add element {_TABLE} {name} {{"
        yield from (f"    {address},  # {', '.join(hosts)}" for address, hosts in hosts_of.items())
        yield "}"


def _version(address: str) -> int | None:
    found = address_of(address)
    return found.version if found else None
