"""What single results mean together: readiness of each feature, role and cloud. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

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
    Verdict,
    WhyUnprobed,
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
        FeatureReadiness(consumer, _ready([endpoint.state for endpoint in found]), tuple(found), _verdict(found, plan))
        for consumer, found in endpoints.items()
    )


def overall(found: Iterable[FeatureReadiness]) -> Verdict:
    """What the features come to together."""
    every = tuple(found)
    if not any(endpoint.state in _DECIDED for feature in every for endpoint in feature.endpoints):
        return Verdict.NOTHING_TO_CHECK
    verdicts = {feature.verdict for feature in every}
    return next((one for one in _WORST_FIRST if one in verdicts), Verdict.READY)


_DECIDED: Final = frozenset({EndpointState.UP, EndpointState.DOWN, EndpointState.PENDING})  # or will be
_WORST_FIRST: Final = (Verdict.NOT_READY, Verdict.PENDING, Verdict.INCOMPLETE)


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
    """Everything that is read of a result for what results mean together; where it stays equal, so does that."""
    return (_read_of_failure(result), tuple(says(result)), families_of(result))


def _read_of_failure(result: Result) -> object:
    """What distinguishes causes, and which connection stands for one; of that not what differs with each probe."""
    failure, seen = result.failure, result.evidence
    if failure is None:
        return None
    issuers = [certificate.issuer for certificate in seen.tls.chain[:1]] if seen.tls else []
    ends = [(one.address, one.port, one.local and one.local.address) for one in seen.tried]
    return failure.phase, failure.reason, failure.cause, failure.answered_by, issuers, ends, seen.servers


def _endpoint(
    use: Use, keys: tuple[CheckKey, ...], results: Mapping[CheckKey, Result], plan: Plan
) -> EndpointReadiness:
    """An endpoint; one that decides nothing keeps what its probes came to beside that."""
    state = _state(use, keys, results)
    if keys and use in plan.reference:
        return EndpointReadiness(use, EndpointState.REFERENCE, keys, outcome=state)
    refused = _down(keys, results) if state is EndpointState.UP and is_wildcard(use.pattern) else ()
    return EndpointReadiness(use, state, keys, refused=refused)


def _down(keys: Iterable[CheckKey], results: Mapping[CheckKey, Result]) -> tuple[CheckKey, ...]:
    return tuple(key for key in keys if (result := results.get(key)) is not None and not result.up)


def _state(use: Use, keys: Iterable[CheckKey], results: Mapping[CheckKey, Result]) -> EndpointState:
    """Usable when every target is; a wildcard when at least one is."""
    states = [result.up if (result := results.get(key)) else None for key in keys]
    if not states:
        return EndpointState.UNPROBED
    enough = any if is_wildcard(use.pattern) else all
    if enough(up is True for up in states):
        return EndpointState.UP
    return EndpointState.PENDING if enough(up is not False for up in states) else EndpointState.DOWN


def _verdict(endpoints: Iterable[EndpointReadiness], plan: Plan) -> Verdict:
    """What a feature comes to: it is incomplete without any target that decides, and where the operator can give one.

    An endpoint for which nobody knows a host makes nothing incomplete beside others that are probed.
    """
    states = {endpoint.state for endpoint in endpoints}
    if EndpointState.DOWN in states:
        return Verdict.NOT_READY
    if EndpointState.PENDING in states:
        return Verdict.PENDING
    unprobed = [plan.requirement_of[one.use] for one in endpoints if one.state is EndpointState.UNPROBED]
    missing = {need.why_unprobed for need in unprobed if need.endpoint.decides}
    if missing == {WhyUnprobed.NOT_SUPPORTED} and states == {EndpointState.UNPROBED}:
        return Verdict.NOT_SUPPORTED
    if WhyUnprobed.MISSING_PARAMETER in missing or (missing and EndpointState.UP not in states):
        return Verdict.INCOMPLETE
    return Verdict.READY if EndpointState.UP in states else Verdict.NOTHING_TO_CHECK


def _ready(states: Collection[EndpointState]) -> bool | None:
    """Not known while a first result is pending or nothing is probed; else whether nothing needed is down."""
    if EndpointState.PENDING in states or not {EndpointState.UP, EndpointState.DOWN} & set(states):
        return None
    return EndpointState.DOWN not in states
