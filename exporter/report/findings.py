"""What a report says whatever its form: a Snapshot -> verdicts, what is down, whom it concerns. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Final

from exporter.model.vocabulary import (
    NO_PATTERN,
    CheckKey,
    Consumer,
    EndpointState,
    Failure,
    FeatureReadiness,
    Phase,
    Plan,
    Requirement,
    Snapshot,
    Use,
    Verdict,
    WhyUnprobed,
)
from exporter.report.counting import counted
from exporter.results.readiness import overall
from exporter.text.numbers import plural
from exporter.text.printable import one_line


@dataclass(frozen=True, slots=True)
class Down:
    """A target that is not usable, and the endpoints it is probed for."""

    key: CheckKey
    failure: Failure
    broken: tuple[Use, ...]  # endpoints that are down
    covered: tuple[Use, ...]  # wildcards that another of their targets keeps up
    awaited: tuple[Use, ...] = ()  # wildcards that another of their targets may yet keep up
    reference: tuple[Use, ...] = ()  # endpoints that decide nothing

    @property
    def uses(self) -> tuple[Use, ...]:
        """Everything that it is probed for."""
        return (*self.broken, *self.covered, *self.awaited, *self.reference)


def down(snapshot: Snapshot) -> tuple[Down, ...]:
    """Each target that is down, once for each path to it, in the plan's order."""
    state_of = states(snapshot)
    found = []
    for check in snapshot.plan.checks:
        latest = snapshot.latest.get(check.key)
        if latest is None or latest.result.failure is None:
            continue
        uses_in: dict[EndpointState, list[Use]] = {}
        for use in check.uses:
            uses_in.setdefault(state_of[use], []).append(use)
        found.append(
            Down(
                check.key,
                latest.result.failure,
                broken=tuple(uses_in.get(EndpointState.DOWN, ())),
                covered=tuple(uses_in.get(EndpointState.UP, ())),
                awaited=tuple(uses_in.get(EndpointState.PENDING, ())),
                reference=tuple(uses_in.get(EndpointState.REFERENCE, ())),
            )
        )
    return tuple(found)


def states(snapshot: Snapshot) -> dict[Use, EndpointState]:
    """The state of every documented endpoint of the plan."""
    return {endpoint.use: endpoint.state for feature in snapshot.features for endpoint in feature.endpoints}


def broken(faults: Iterable[Down]) -> list[Down]:
    """Those that make something unusable."""
    return [fault for fault in faults if fault.broken]


def harmless(faults: Iterable[Down]) -> tuple[tuple[str, list[Down]], ...]:
    """Those that do not, nor show that a wildcard is partly open, by what is said of them."""
    others = [fault for fault in faults if not fault.broken and not fault.covered]
    kinds = (
        ("Down, but another target of the wildcard is pending", [fault for fault in others if fault.awaited]),
        ("Down, but for reference only: it decides nothing", [fault for fault in others if not fault.awaited]),
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


def amount(why_unprobed: WhyUnprobed, patterns: Mapping[str, Iterable[Requirement]]) -> str:
    """How much is not probed for a reason: endpoints, or features that a cloud does not have."""
    if why_unprobed is not WhyUnprobed.NOT_SUPPORTED:
        return plural(len(patterns), "endpoint")
    return plural(len({need.use.consumer.feature for needs in patterns.values() for need in needs}), "feature")


def details(requirements: Iterable[Requirement]) -> tuple[str, ...]:
    """What is said of them in particular, each text once, most frequent first."""
    said = Counter(requirement.detail for requirement in requirements if requirement.detail)
    return tuple(detail for detail, _ in said.most_common())


# ---------------------------------------------------------------- in words


def verdict(snapshot: Snapshot) -> Verdict:
    """What the whole comes to."""
    return overall(snapshot.features)


def headline(snapshot: Snapshot) -> str:
    """The whole in one line, which begins with the overall verdict."""
    site = f" ({one_line(snapshot.plan.site)})" if snapshot.plan.site else ""
    return f"{verdict(snapshot).words.upper()}: {summary(snapshot)}{site}"


def summary(snapshot: Snapshot) -> str:
    """How many features, targets and endpoints are in which state, and what to do where there is no verdict yet."""
    whole, because = verdict(snapshot), why(snapshot)
    parts = () if whole is Verdict.NOTHING_TO_CHECK else _numbers(snapshot)
    return "; ".join((*parts, *because))


def _numbers(snapshot: Snapshot) -> Iterator[str]:
    number = counted(snapshot.plan)
    verdicts = Counter(feature.verdict for feature in snapshot.features)
    first = Verdict.NOT_READY if verdicts[Verdict.NOT_READY] else Verdict.READY
    parts = [f"{verdicts[first]} of {plural(len(snapshot.features), 'feature')} {number.unit} {first.words}"]
    parts += [f"{verdicts[one]} {one.words}" for one in Verdict if verdicts[one] and one not in _DECIDED]
    yield ", ".join(parts)
    faults = down(snapshot)
    idle = sum(not (fault.broken or fault.covered or fault.awaited) for fault in faults)
    yield f"{len(faults) - idle} of {plural(number.targets, 'target')} down"
    if idle:
        yield f"{idle} more down, for reference only"
    if narrow := sum(len(wildcard.patterns) for wildcard in partly_open(snapshot)):
        yield f"{plural(narrow, 'wildcard')} partly open"
    if number.unprobed:
        yield f"{number.unprobed} of {plural(number.endpoints, 'endpoint')} not probed"


_DECIDED: Final = frozenset({Verdict.READY, Verdict.NOT_READY})


def why(snapshot: Snapshot) -> tuple[str, ...]:
    """Why there is no verdict on everything, and what to set; nothing where there is one, or where it is to come."""
    match verdict(snapshot):
        case Verdict.NOTHING_TO_CHECK:
            return _why_nothing(snapshot.plan)
        case Verdict.INCOMPLETE:
            return tuple(_without_target(snapshot.plan))
        case _:
            return ()


def nothing_to_check(plan: Plan) -> str:
    """The same of a plan before anything is probed; empty where there is something to check."""
    if any(need.targets and need.endpoint.decides for need in plan.requirements):
        return ""
    return f"{Verdict.NOTHING_TO_CHECK.words}: {'; '.join(_why_nothing(plan))}"


def _why_nothing(plan: Plan) -> tuple[str, ...]:
    if not plan.requirements:
        return (plan.why_nothing or "nothing is selected",)
    if plan.checks:
        return ("everything that is probed is listed for reference only, so it decides nothing",)
    return tuple(_without_target(plan))


def _without_target(plan: Plan) -> Iterator[str]:
    """What could not be checked and what to set: names first, then features without any target.

    What a cloud does not have is missed only where there is nothing else.
    """
    missing: dict[WhyUnprobed | None, list[Requirement]] = {}
    probed = {need.use.consumer for need in plan.requirements if need.targets and need.endpoint.decides}
    for need in plan.unprobed:
        if need.endpoint.decides and (
            need.why_unprobed is WhyUnprobed.MISSING_PARAMETER or need.use.consumer not in probed
        ):
            missing.setdefault(need.why_unprobed, []).append(need)
    for kind in WhyUnprobed:
        needs = missing.get(kind, [])
        if needs and kind is WhyUnprobed.MISSING_PARAMETER:
            patterns = plural(len({need.use.pattern for need in needs}), "more endpoint")
            yield f"{set_keys(needs)} to check {patterns}"
        elif needs and kind is WhyUnprobed.NOT_SUPPORTED:
            if probed:
                continue
            clouds = {need.use.consumer.cloud: None for need in needs}
            features = {need.use.consumer.feature: None for need in needs}
            yield f"{', '.join(features)}: not supported in {', '.join(clouds)}"
        elif needs:
            yield f"{' and '.join(needed_by(need.use for need in needs))}: {_NO_TARGET[kind]}"


_NO_TARGET: Final = {
    WhyUnprobed.NO_REPRESENTATIVE: "no document names a host to probe; give `probe` URLs in a group of your own",
    WhyUnprobed.NOT_HTTP: "nothing of it speaks HTTP; test it by other means",
}


def set_keys(requirements: Iterable[Requirement]) -> str:
    """What to set, each key once: `set site.parameters.azure_region, site.parameters.cloud_service_name`."""
    said = (key for detail in details(requirements) for key in detail.removeprefix("set ").split(", "))
    return f"set {', '.join(sorted(set(said)))}"


# ---------------------------------------------------------------- wildcards of which a part is open


@dataclass(frozen=True, slots=True)
class PartlyOpen:
    """A wildcard of which some hosts are up and some down, in each spelling for which the same targets stand."""

    patterns: tuple[str, ...]
    refused: tuple[Down, ...]
    probed: int  # targets

    @property
    def headline(self) -> str:
        """`*.manage.microsoft.com is partly open: 1 of 8 targets down`."""
        name = f"{' and '.join(self.patterns)} {'is' if len(self.patterns) == 1 else 'are'} partly open"
        return f"{name}: {len(self.refused)} of {plural(self.probed, 'target')} down"

    @property
    def advice(self) -> str:
        """What that shows."""
        if all(fault.failure.phase is Phase.RESOLVE for fault in self.refused):
            return "The name servers do not know every host of it; a filter there may be narrower than the wildcard."
        return NARROWER


NARROWER: Final = "The rule in the firewall or proxy is probably narrower than the wildcard."


def partly_open(snapshot: Snapshot) -> tuple[PartlyOpen, ...]:
    """Every wildcard of which some hosts are up and some down, in order."""
    fault_of = {fault.key: fault for fault in down(snapshot)}
    refused: dict[str, dict[CheckKey, None]] = {}
    probed: dict[str, set[CheckKey]] = {}
    for feature in snapshot.features:
        for endpoint in feature.partly_open:
            refused.setdefault(endpoint.use.pattern, {}).update(dict.fromkeys(endpoint.refused))
            probed.setdefault(endpoint.use.pattern, set()).update(endpoint.checks)
    spelled: dict[tuple[frozenset[CheckKey], frozenset[CheckKey]], list[str]] = {}
    for pattern in sorted(refused):
        spelled.setdefault((frozenset(refused[pattern]), frozenset(probed[pattern])), []).append(pattern)
    return tuple(
        PartlyOpen(tuple(patterns), tuple(fault_of[key] for key in refused[patterns[0]]), len(every))
        for (_, every), patterns in spelled.items()
    )


def feature_words(feature: FeatureReadiness) -> str:
    """What a feature comes to, as one among many, of which those stand out that need somebody."""
    words = feature.verdict.words
    if feature.verdict is Verdict.NOT_READY:
        return words.upper()
    return f"{words}, partly open" if feature.partly_open else words


def counts(feature: FeatureReadiness) -> Counter[EndpointState]:
    """How many of its endpoints are in each state."""
    return Counter(endpoint.state for endpoint in feature.endpoints if endpoint.use.pattern != NO_PATTERN)


def occurring(snapshot: Snapshot) -> tuple[EndpointState, ...]:
    """The states that any endpoint is in: columns worth showing."""
    found = {state for use, state in states(snapshot).items() if use.pattern != NO_PATTERN}
    return tuple(state for state in EndpointState if state in found)


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
