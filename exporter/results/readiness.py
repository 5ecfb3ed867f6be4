"""What single results mean together: readiness of each feature, role and cloud, and shared causes. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from exporter.model.addresses import is_inside, meant
from exporter.model.patterns import address_of, is_wildcard
from exporter.model.vocabulary import (
    DIRECT,
    Cause,
    CheckKey,
    Consumer,
    Contact,
    EndpointReadiness,
    EndpointState,
    FeatureReadiness,
    Phase,
    Plan,
    Reason,
    Result,
    Support,
    Use,
)

_RESOLVER = frozenset({Reason.DNS_TIMEOUT, Reason.DNS_ERROR})
_DNS = _RESOLVER | {Reason.DNS_NOT_FOUND}
_DIRECT = frozenset({Reason.CONNECT_TIMEOUT, Reason.CONNECT_REFUSED, Reason.CONNECT_UNREACHABLE})
_PROXY: frozenset[Reason | Cause] = frozenset({Reason.PROXY_UNREACHABLE, Reason.PROXY_AUTH_REQUIRED, Cause.NOT_A_PROXY})
_HOSTS_AT_LEAST: Final = {"dns": 2, "direct": 2}  # one dead host is itself the likelier cause; a proxy names itself
_FAMILY: Final = {4: "ipv4", 6: "ipv6"}


def features(plan: Plan, results: Mapping[CheckKey, Result]) -> tuple[FeatureReadiness, ...]:
    """Readiness of every consumer of the plan, in order.

    Law: when one result turns from down to up, no endpoint gets worse, and what was ready stays ready.
    """
    endpoints: dict[Consumer, list[EndpointReadiness]] = {}
    for use, keys in plan.checks_of.items():
        endpoints.setdefault(use.consumer, []).append(_endpoint(use, keys, results, plan))
    return tuple(
        FeatureReadiness(consumer, _ready([endpoint.state for endpoint in found]), tuple(found))
        for consumer, found in endpoints.items()
    )


def failures_to_come(plan: Plan, results: Mapping[CheckKey, Result]) -> tuple[tuple[CheckKey, Use], ...]:
    """Where TLS is inspected though the documents say that this breaks the endpoint, whatever the probe came to."""
    return tuple(
        (check.key, use)
        for check in plan.checks
        if check.key in results and (tls := results[check.key].evidence.tls)
        for use in check.uses
        if (endpoint := plan.requirement_of[use].endpoint).tls_inspection is Support.UNSUPPORTED
        and tls.intercepted(endpoint.trust)
    )


class _Say(NamedTuple):
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
    said: dict[str, set[_Say]] = {}
    for result in results:
        for path, say in _says(result):
            said.setdefault(path, set()).add(say)
    return {path: not _is_down(path, seen) for path, seen in said.items()}


def _says(result: Result) -> Iterator[tuple[str, _Say]]:
    """What a result says, and of which paths."""
    key, by_dns = result.key, result.evidence.by_dns
    host, own = key.target.host, key.target.own
    if key.proxy is not None:
        if by_dns:  # else the proxy is given as an address, which vouches for no name
            yield "dns", _Say(host, _points_at(result, _RESOLVER), inside=True)
        if result.through_proxy:
            yield key.path, _Say(host, _points_at(result, _PROXY))
        return
    if by_dns is not False and address_of(host) is None:
        yield "dns", _Say(host, _points_at(result, _DNS), inside=own)
    if Phase.CONNECT in result.phases:
        yield DIRECT, _Say(host, _points_at(result, _DIRECT), inside=own or _led_inside(result))


def path_blamed(result: Result) -> str | None:
    """The path that a failure points at, if it does: `dns`, `direct` or `proxy:NAME`."""
    return next((path for path, say in _says(result) if say.blames), None)


def _led_inside(result: Result) -> bool:
    """Whether the addresses are those of an inner network; also where a connection opened and nobody knows to whom."""
    seen, host = result.evidence, result.key.target.host
    addresses = (host,) if address_of(host) else (seen.address,) if seen.address else seen.addresses
    if addresses:
        return all(map(is_inside, addresses))
    return result.failure is None or result.failure.phase is not Phase.CONNECT


def _is_down(path: str, said: Collection[_Say]) -> bool:
    least = _HOSTS_AT_LEAST.get(path, 1)
    outside = [say for say in said if not say.inside]
    judges = outside if len({say.host for say in outside}) >= least else said
    return all(say.blames for say in judges) and len({say.host for say in judges}) >= least


def families(results: Iterable[Result]) -> dict[tuple[str, str], bool]:
    """Whether each family of addresses opens connections, by path and `ipv4` or `ipv6`, in order.

    Absent where a family was not tried, or where neither opened any: that is no matter of the family.
    """
    tried: dict[tuple[str, str], bool] = {}
    for result in results:
        for family, opened in _families(result):
            tried[result.key.path, family] = tried.get((result.key.path, family), False) or opened
    working = {path for (path, _), opened in tried.items() if opened}
    return {(path, family): opened for (path, family), opened in sorted(tried.items()) if path in working}


def _families(result: Result) -> frozenset[tuple[str, bool]]:
    """The families of the addresses that were tried, and whether one of them opened."""
    return frozenset(
        (_FAMILY[address.version], one.contact is Contact.OPENED)
        for one in result.evidence.tried
        if (address := meant(one.address)) is not None
    )


def read_of(result: Result) -> object:
    """Everything that is read here of a result; where it stays equal, so does what follows from it."""
    failure = result.failure
    return (failure and (failure.phase, failure.reason), tuple(_says(result)), _families(result))


def _points_at(result: Result, culprits: Collection[Reason | Cause]) -> bool:
    return result.failure is not None and not {result.failure.reason, result.failure.cause}.isdisjoint(culprits)


def _endpoint(
    use: Use, keys: tuple[CheckKey, ...], results: Mapping[CheckKey, Result], plan: Plan
) -> EndpointReadiness:
    """An endpoint; one that decides nothing keeps what its probes came to beside that."""
    state = _state(use, keys, results)
    if keys and use in plan.reference:
        return EndpointReadiness(use, EndpointState.REFERENCE, keys, outcome=state)
    return EndpointReadiness(use, state, keys)


def _state(use: Use, keys: Iterable[CheckKey], results: Mapping[CheckKey, Result]) -> EndpointState:
    """Usable when every target is; a wildcard when at least one is."""
    states = [result.up if (result := results.get(key)) else None for key in keys]
    if not states:
        return EndpointState.UNPROBED
    enough = any if is_wildcard(use.pattern) else all
    if enough(up is True for up in states):
        return EndpointState.UP
    return EndpointState.PENDING if enough(up is not False for up in states) else EndpointState.DOWN


def _ready(states: Collection[EndpointState]) -> bool | None:
    """Not known while a first result is pending or nothing is probed; else whether nothing needed is down."""
    if EndpointState.PENDING in states or not {EndpointState.UP, EndpointState.DOWN} & set(states):
        return None
    return EndpointState.DOWN not in states
