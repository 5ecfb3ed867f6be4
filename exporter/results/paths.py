"""What results say of the paths that they share: `dns`, `direct`, `proxy:NAME`. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Final, NamedTuple

from exporter.model.addresses import is_inside, meant
from exporter.model.patterns import address_of
from exporter.model.vocabulary import DIRECT, Cause, Contact, Phase, Reason, Result

_RESOLVER = frozenset({Reason.DNS_TIMEOUT, Reason.DNS_ERROR})
_DNS = _RESOLVER | {Reason.DNS_NOT_FOUND}
_DIRECT = frozenset({Reason.CONNECT_TIMEOUT, Reason.CONNECT_REFUSED, Reason.CONNECT_UNREACHABLE})
_PROXY: frozenset[Reason | Cause] = frozenset({Reason.PROXY_UNREACHABLE, Reason.PROXY_AUTH_REQUIRED, Cause.NOT_A_PROXY})
_HOSTS_AT_LEAST: Final = {"dns": 2, "direct": 2}  # one dead host is itself the likelier cause; a proxy names itself
_FAMILY: Final = {4: "ipv4", 6: "ipv6"}


class Say(NamedTuple):
    """What one result says of a path."""

    host: str  # who was asked for
    blames: bool  # what came of it points at the path
    inside: bool = False  # it may go well where nothing else does: who answered is in the operator's own network


def paths(results: Collection[Result]) -> dict[str, bool]:
    """Whether each shared dependency works: `dns`, `direct`, `proxy:NAME`; absent where nothing used it yet.

    A path is down only if nothing through it works and every failure points at it; without a proxy in the way, the
    failures of two hosts at least. `dns` and `direct` are judged by the hosts of the internet, as the operator's own
    may be reached, and their names be known, where nothing else is; by all where fewer than two others were asked.
    """
    said: dict[str, set[Say]] = {}
    for result in results:
        for path, say in says(result):
            said.setdefault(path, set()).add(say)
    return {path: not is_down(path, seen) for path, seen in said.items()}


def says(result: Result) -> Iterator[tuple[str, Say]]:
    """What a result says, and of which paths."""
    key, by_dns = result.key, result.evidence.by_dns
    host, own = key.target.host, key.target.own
    if key.proxy is not None:
        if by_dns:  # else the proxy is given as an address, which vouches for no name
            yield "dns", Say(host, _points_at(result, _RESOLVER), inside=True)
        if result.through_proxy:
            yield key.path, Say(host, _points_at(result, _PROXY))
        return
    if by_dns is not False and address_of(host) is None:
        yield "dns", Say(host, _points_at(result, _DNS), inside=own)
    if Phase.CONNECT in result.phases:
        yield DIRECT, Say(host, _points_at(result, _DIRECT), inside=own or _led_inside(result))


def path_blamed(result: Result) -> str | None:
    """The path that a failure points at, if it does: `dns`, `direct` or `proxy:NAME`."""
    return next((path for path, say in says(result) if say.blames), None)


def _led_inside(result: Result) -> bool:
    """Whether the addresses are those of an inner network; also where a connection opened and nobody knows to whom."""
    seen, host = result.evidence, result.key.target.host
    addresses = (host,) if address_of(host) else (seen.address,) if seen.address else seen.addresses
    if addresses:
        return all(map(is_inside, addresses))
    return result.failure is None or result.failure.phase is not Phase.CONNECT


def is_down(path: str, said: Collection[Say]) -> bool:
    """Whether nothing works by what is said of a path, and whoever has a say in that blames it."""
    judges = said if all_judge(path, said) else [say for say in said if not say.inside]
    return all(say.blames for say in judges) and len({say.host for say in judges}) >= _HOSTS_AT_LEAST.get(path, 1)


def all_judge(path: str, said: Iterable[Say]) -> bool:
    """Whether also those inside have a say in whether a path is down: too few others were asked."""
    outside = set[str]()
    for say in said:
        if not say.inside:
            outside.add(say.host)
            if len(outside) >= _HOSTS_AT_LEAST.get(path, 1):
                return False
    return True


def families(results: Iterable[Result]) -> dict[tuple[str, str], bool]:
    """Whether each family of addresses opens connections, by path and `ipv4` or `ipv6`, in order.

    Absent where a family was not tried, or where neither opened any: that is no matter of the family.
    """
    tried: dict[tuple[str, str], bool] = {}
    for result in results:
        for family, opened in families_of(result):
            tried[result.key.path, family] = tried.get((result.key.path, family), False) or opened
    working = {path for (path, _), opened in tried.items() if opened}
    return {(path, family): opened for (path, family), opened in sorted(tried.items()) if path in working}


def families_of(result: Result) -> frozenset[tuple[str, bool]]:
    """The families of the addresses that were tried, and whether one of them opened."""
    return frozenset(
        (_FAMILY[address.version], one.contact is Contact.OPENED)
        for one in result.evidence.tried
        if (address := meant(one.address)) is not None
    )


def _points_at(result: Result, culprits: Collection[Reason | Cause]) -> bool:
    return result.failure is not None and not {result.failure.reason, result.failure.cause}.isdisjoint(culprits)
