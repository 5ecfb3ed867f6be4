"""What single results mean together: readiness of each feature, role and cloud. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from exporter.model.patterns import is_wildcard
from exporter.model.vocabulary import (
    CheckKey,
    Consumer,
    EndpointReadiness,
    EndpointState,
    FeatureReadiness,
    Plan,
    Result,
    Support,
    Use,
)
from exporter.results.paths import families_of, says


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


def read_of(result: Result) -> object:
    """Everything that is read here of a result; where it stays equal, so does what follows from it."""
    failure = result.failure
    return (failure and (failure.phase, failure.reason), tuple(says(result)), families_of(result))


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
