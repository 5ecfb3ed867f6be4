"""What a report says whatever its form: a Snapshot -> verdicts, what is down, whom it concerns. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from operator import attrgetter
from typing import Final

from exporter.model.vocabulary import (
    NO_PATTERN,
    Cause,
    CheckKey,
    Consumer,
    EndpointState,
    Failure,
    FeatureReadiness,
    Phase,
    Reason,
    Requirement,
    Snapshot,
    Use,
    WhyUnprobed,
)
from exporter.report.reasons import words_of
from exporter.text.printable import one_line


@dataclass(frozen=True, slots=True)
class Down:
    """A target that is not usable, and the endpoints it is probed for."""

    key: CheckKey
    failure: Failure
    broken: tuple[Use, ...]  # endpoints that are down
    covered: tuple[Use, ...]  # wildcards that another of their targets keeps up, or may yet
    reference: tuple[Use, ...] = ()  # endpoints that decide nothing

    @property
    def uses(self) -> tuple[Use, ...]:
        """Everything that it is probed for."""
        return (*self.broken, *self.covered, *self.reference)


def all_ready(snapshot: Snapshot) -> bool:
    """Whether nothing that is needed is known to be unusable: what exit status 0 means.

    A feature without a verdict (pending, or nothing probed) does not count against it, so that an endpoint which
    cannot be probed fails nobody's pipeline; a snapshot without any verdict is therefore all ready. The reports for
    people say so.
    """
    states = (endpoint.state for feature in snapshot.features for endpoint in feature.endpoints)
    return EndpointState.DOWN not in states


def down(snapshot: Snapshot) -> tuple[Down, ...]:
    """Each target that is down, once for each path to it, in the plan's order."""
    state_of = states(snapshot)
    found = []
    for check in snapshot.plan.checks:
        latest = snapshot.latest.get(check.key)
        if latest is None or latest.result.failure is None:
            continue
        broken = tuple(use for use in check.uses if state_of[use] is EndpointState.DOWN)
        covered = tuple(use for use in check.uses if state_of[use] not in {EndpointState.DOWN, EndpointState.REFERENCE})
        reference = tuple(use for use in check.uses if state_of[use] is EndpointState.REFERENCE)
        found.append(Down(check.key, latest.result.failure, broken, covered, reference))
    return tuple(found)


def states(snapshot: Snapshot) -> dict[Use, EndpointState]:
    """The state of every documented endpoint of the plan."""
    return {endpoint.use: endpoint.state for feature in snapshot.features for endpoint in feature.endpoints}


def alike(faults: Iterable[Down]) -> list[tuple[Failure, list[Down]]]:
    """What has the same reason and cause together, in the order of the phases; the first failure stands for all."""
    found: dict[tuple[Reason, Cause | None], list[Down]] = {}
    for fault in faults:
        found.setdefault((fault.failure.reason, fault.failure.cause), []).append(fault)
    in_order = sorted(found, key=lambda kind: (list(Reason).index(kind[0]), kind[1] or ""))
    return [(found[kind][0].failure, found[kind]) for kind in in_order]


def broken(faults: Iterable[Down]) -> list[Down]:
    """Those that make something unusable."""
    return [fault for fault in faults if fault.broken]


def harmless(faults: Iterable[Down]) -> tuple[tuple[str, list[Down]], ...]:
    """Those that do not, by what is said of them."""
    others = [fault for fault in faults if not fault.broken]
    kinds = (
        ("Down, but another target of the wildcard is up or pending", [fault for fault in others if fault.covered]),
        ("Down, but for reference only: it decides nothing", [fault for fault in others if not fault.covered]),
    )
    return tuple((said, group) for said, group in kinds if group)


def unprobed(snapshot: Snapshot) -> dict[WhyUnprobed, dict[str, list[Requirement]]]:
    """Endpoints without a target: why -> pattern -> those who need it."""
    found: dict[WhyUnprobed, dict[str, list[Requirement]]] = {}
    for why in WhyUnprobed:
        for requirement in snapshot.plan.unprobed:
            if requirement.why_unprobed is why:
                found.setdefault(why, {}).setdefault(requirement.use.pattern, []).append(requirement)
    return found


def details(requirements: Iterable[Requirement]) -> tuple[str, ...]:
    """What is said of them in particular, each text once, most frequent first."""
    said = Counter(requirement.detail for requirement in requirements if requirement.detail)
    return tuple(detail for detail, _ in said.most_common())


# ---------------------------------------------------------------- in words


class Verdict(StrEnum):
    """What a feature or a whole site comes to; a feature without a verdict says why."""

    READY = "ready"
    NOT_READY = "not ready"
    NO_VERDICT = "no verdict"
    PENDING = "pending"
    UNPROBED = "unprobed"
    NOT_SUPPORTED = "not supported in this cloud"


def overall(snapshot: Snapshot) -> Verdict:
    """What the whole comes to."""
    if not all_ready(snapshot):
        return Verdict.NOT_READY
    return Verdict.READY if any(feature.ready for feature in snapshot.features) else Verdict.NO_VERDICT


def headline(snapshot: Snapshot) -> str:
    """The whole in one line, which begins with the overall verdict."""
    return f"{overall(snapshot).upper()}: {summary(snapshot)}"


def summary(snapshot: Snapshot) -> str:
    """How many features, targets and endpoints are in which state."""
    verdicts = Counter(feature.ready for feature in snapshot.features)
    found, state = (verdicts[False], "not ready") if verdicts[False] else (verdicts[True], "ready")
    parts = [f"{found} of {plural(len(snapshot.features), 'feature')} (by role and cloud) {state}"]
    parts += [f"{verdicts[None]} without a verdict"] if verdicts[None] else []
    faults = down(snapshot)
    idle = sum(not (fault.broken or fault.covered) for fault in faults)
    parts += [f"{len(faults) - idle} of {plural(len(snapshot.plan.checks), 'target')} down"]
    parts += [f"{idle} more down, for reference only"] if idle else []
    missing = sum(len(patterns) for patterns in unprobed(snapshot).values())
    parts += [f"{plural(missing, 'endpoint')} not probed"] if missing else []
    return "; ".join(parts)


def verdict(feature: FeatureReadiness) -> Verdict:
    """What a feature comes to."""
    if feature.ready is not None:
        return Verdict.READY if feature.ready else Verdict.NOT_READY
    if all(endpoint.use.pattern == NO_PATTERN for endpoint in feature.endpoints):
        return Verdict.NOT_SUPPORTED
    return Verdict.PENDING if counts(feature)[EndpointState.PENDING] else Verdict.UNPROBED


def emphasised(found: Verdict) -> str:
    """A verdict as one among many, of which those stand out that need somebody."""
    return found.upper() if found is Verdict.NOT_READY else found


def counts(feature: FeatureReadiness) -> Counter[EndpointState]:
    """How many of its endpoints are in each state."""
    return Counter(endpoint.state for endpoint in feature.endpoints)


def occurring(snapshot: Snapshot) -> tuple[EndpointState, ...]:
    """The states that any endpoint is in: columns worth showing."""
    found = set(states(snapshot).values())
    return tuple(state for state in EndpointState if state in found)


def blamed(snapshot: Snapshot) -> tuple[str, ...]:
    """For each path that is down: by which reason, how many targets fail by it, and who can change it."""
    return tuple(_blamed(path, down(snapshot)) for path, up in snapshot.paths.items() if not up)


def _blamed(path: str, faults: Iterable[Down]) -> str:
    failing = [fault for fault in faults if path in {fault.key.path, _PATH_OF.get(fault.failure.phase)}]
    if not failing:
        return f"The path {one_line(path)} is down. Fix it first."
    failure, _ = max(alike(failing), key=lambda kind: len(kind[1]))
    hit = f"{plural(len(failing), 'target')} {'fails' if len(failing) == 1 else 'fail'} because of it"
    return f"The path {one_line(path)} is down ({failure.reason}): {hit}. Fix it first ({words_of(failure).who})."


_PATH_OF: Final = {Phase.RESOLVE: "dns"}  # whatever fails in that phase fails by it, wherever it goes


def needed_by(uses: Iterable[Use]) -> tuple[str, ...]:
    """Who needs it, feature by feature: `co-management: client, management-point (azure-public)`."""
    consumers = sorted({use.consumer for use in uses})
    return tuple(
        f"{feature}: {place}"
        for feature, group in groupby(consumers, key=attrgetter("feature"))
        for place in places(group)
    )


def places(consumers: Iterable[Consumer]) -> tuple[str, ...]:
    """Roles and clouds, clouds with the same roles together: `client, management-point (azure-public)`."""
    roles_in: dict[str, list[str]] = {}
    for consumer in sorted(consumers):
        roles_in.setdefault(consumer.cloud, []).append(consumer.role)
    clouds_with: dict[tuple[str, ...], list[str]] = {}
    for cloud, roles in roles_in.items():
        clouds_with.setdefault(tuple(roles), []).append(cloud)
    return tuple(f"{', '.join(roles)} ({', '.join(clouds)})" for roles, clouds in clouds_with.items())


def plural(number: int, noun: str) -> str:
    """`1 target`, `2 targets`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
