"""Turn requirements into the fewest checks: (requirements, proxies, role -> proxy) -> Plan. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_network

from exporter.model.patterns import address_of
from exporter.model.vocabulary import Check, CheckKey, Plan, Proxy, Requirement, Target, Use


def plan(requirements: Iterable[Requirement], proxies: Mapping[str, Proxy], via: Mapping[str, str]) -> Plan:
    """The fewest probes that answer every requirement: one for each target and path.

    Laws: no key twice; the same whatever the order of the requirements; every requirement ends in checks or unprobed.
    """
    needed = tuple(sorted(requirements, key=lambda requirement: requirement.use))
    merged: dict[Target, Target] = {}
    for target in (target for requirement in needed for target in requirement.targets):
        merged[target] = merged[target].also(target) if target in merged else target
    uses: dict[CheckKey, set[Use]] = {}
    reference = frozenset(requirement.use for requirement in needed if not requirement.endpoint.decides)
    for requirement in needed:
        for target in requirement.targets:
            key = CheckKey(merged[target], _proxy_for(target, proxies, via.get(requirement.use.consumer.role)))
            uses.setdefault(key, set()).add(requirement.use)
    checks = (Check(key, tuple(sorted(users)), reference & users) for key, users in uses.items())
    return Plan(tuple(sorted(checks, key=lambda check: order(check.key))), needed)


def order(key: CheckKey) -> tuple[str, str, str, tuple[int, ...]]:
    """Where a check stands in any listing."""
    target = key.target
    return (target.url, key.path, target.method, tuple(sorted(target.accept or ())))


def _proxy_for(target: Target, proxies: Mapping[str, Proxy], name: str | None) -> str | None:
    """The name of the proxy that carries it, or None where the role or the proxy's exceptions say direct."""
    if name is None or bypasses(proxies[name].no_proxy, target.host):
        return None
    return name


def bypasses(no_proxy: Iterable[str], host: str) -> bool:
    """Whether a host is reached without the proxy.

    An entry is a host name, a suffix (`.corp.example`, which also means the name itself), an address, or a network
    in CIDR notation; networks and addresses are compared with hosts that are written as addresses, never resolved. A
    final dot, of the host or of an entry, makes no other name of it.
    """
    name = host.lower().removesuffix(".")
    return any(_covers(entry.lower().removesuffix("."), name, address_of(host)) for entry in no_proxy)


def _covers(entry: str, host: str, address: IPv4Address | IPv6Address | None) -> bool:
    if entry == "*":
        return True
    if address is not None:
        try:
            return address in ip_network(entry, strict=False)
        except ValueError:
            return False
    bare = entry.removeprefix("*").removeprefix(".")
    return host == bare or (entry != bare and host.endswith(f".{bare}"))
