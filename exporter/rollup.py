"""What single results mean together: readiness of each feature, role and cloud, and shared causes. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from exporter.model import (
    Cause,
    CheckKey,
    Consumer,
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
from exporter.patterns import address_of, is_wildcard

_RESOLVER = frozenset({Reason.DNS_TIMEOUT, Reason.DNS_ERROR})
_DNS = _RESOLVER | {Reason.DNS_NOT_FOUND}
_DIRECT = frozenset({Reason.CONNECT_TIMEOUT, Reason.CONNECT_REFUSED, Reason.CONNECT_UNREACHABLE})
_PROXY: frozenset[Reason | Cause] = frozenset({Reason.PROXY_UNREACHABLE, Reason.PROXY_AUTH_REQUIRED, Cause.NOT_A_PROXY})
_HOSTS_AT_LEAST = {"dns": 2, "direct": 2}  # one dead host is itself the likelier cause; a proxy names itself


def features(plan: Plan, results: Mapping[CheckKey, Result]) -> tuple[FeatureReadiness, ...]:
    """Readiness of every consumer of the plan, in order.

    Law: when one result turns from down to up, no endpoint gets worse, and what was ready stays ready.
    """
    endpoints: dict[Consumer, list[EndpointReadiness]] = {}
    for use, keys in plan.checks_of.items():
        endpoints.setdefault(use.consumer, []).append(EndpointReadiness(use, _state(use, keys, results), keys))
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


def paths(results: Collection[Result]) -> dict[str, bool]:
    """Whether each shared dependency works: `dns`, `direct`, `proxy:NAME`; absent where nothing used it yet.

    A path is down only if nothing through it works and every failure points at it; without a proxy in the way, the
    failures of two hosts at least.
    """
    used: dict[str, set[tuple[str, bool]]] = {}  # the hosts asked by a path, and whether what came of it points at it
    for result in results:
        host = result.key.target.host
        if result.key.proxy is None:
            if address_of(host) is None:
                used.setdefault("dns", set()).add((host, _points_at(result, _DNS)))
            if Phase.CONNECT in result.phases:
                used.setdefault("direct", set()).add((host, _points_at(result, _DIRECT)))
        else:
            used.setdefault("dns", set()).add((host, _points_at(result, _RESOLVER)))
            used.setdefault(result.key.path, set()).add((host, _points_at(result, _PROXY)))
    return {path: not _is_down(path, seen) for path, seen in used.items()}


def _is_down(path: str, seen: Collection[tuple[str, bool]]) -> bool:
    return all(blames for _, blames in seen) and len(seen) >= _HOSTS_AT_LEAST.get(path, 1)


def _points_at(result: Result, culprits: Collection[Reason | Cause]) -> bool:
    return result.failure is not None and not {result.failure.reason, result.failure.cause}.isdisjoint(culprits)


def _state(use: Use, keys: Iterable[CheckKey], results: Mapping[CheckKey, Result]) -> EndpointState:
    """Usable when every target is; a wildcard when at least one is."""
    states = [result.up if (result := results.get(key)) else None for key in keys]
    if not states:
        return EndpointState.UNPROBED
    if is_wildcard(use.pattern):
        decisive, verdict, otherwise = True, EndpointState.UP, EndpointState.DOWN
    else:
        decisive, verdict, otherwise = False, EndpointState.DOWN, EndpointState.UP
    if decisive in states:
        return verdict
    return EndpointState.PENDING if None in states else otherwise


def _ready(states: Collection[EndpointState]) -> bool | None:
    """Not known while a first result is pending or nothing is probed; else whether nothing needed is down."""
    if EndpointState.PENDING in states or not {EndpointState.UP, EndpointState.DOWN} & set(states):
        return None
    return EndpointState.DOWN not in states
