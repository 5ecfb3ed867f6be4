"""The status page: (Snapshot, Filters) -> what stands on it, in order. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from exporter.allowlist.down import is_of_rules
from exporter.model.vocabulary import (
    Check,
    CheckKey,
    Consumer,
    EndpointState,
    FeatureReadiness,
    Importance,
    Latest,
    Snapshot,
    Spell,
    Use,
    Verdict,
    WhyUnprobed,
)
from exporter.report.findings import counts, details, needed_by, summary, unprobed, verdict
from exporter.report.reasons import Words, all_words
from exporter.results.readiness import failures_to_come
from exporter.results.since import not_ready_since
from exporter.web.pages.availability import DAY, WEEK, Availability, availability, of_feature, of_target
from exporter.web.pages.bars import Bar, bar
from exporter.web.pages.filters import Choices, Filters, choices
from exporter.web.pages.troubles import Since, Trouble, begun, earliest, troubles

ROWS: Final = 30  # targets on one page
RECENT: Final = 15  # spells of failures


@dataclass(frozen=True, slots=True)
class RoleState:
    """A feature for one role in one cloud: its state, and how many of its endpoints are in which."""

    consumer: Consumer
    state: Verdict
    counts: tuple[tuple[EndpointState, int], ...]
    partly_open: int  # of those that are up: wildcards of which a target is down


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """A feature in one cloud: the worst of its states, and those of each role."""

    feature: str
    cloud: str
    state: Verdict
    importance: Importance
    roles: tuple[RoleState, ...]
    since: Since | None  # not ready
    day: Availability
    week: Availability


@dataclass(frozen=True, slots=True)
class Threat:
    """An endpoint that TLS inspection breaks, and where it is inspected."""

    pattern: str
    keys: tuple[CheckKey, ...]
    needed_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unprobed:
    """What is not probed for one reason."""

    why: WhyUnprobed
    words: Words
    rows: tuple[UnprobedRow, ...]


@dataclass(frozen=True, slots=True)
class UnprobedRow:
    """An endpoint that is not probed, what is said of it in particular, and who needs it."""

    pattern: str
    details: tuple[str, ...]
    needed_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TargetRow:
    """A target by one path."""

    key: CheckKey
    state: EndpointState
    latest: Latest | None
    bar: Bar | None
    day: Availability
    week: Availability


@dataclass(frozen=True, slots=True)
class Targets:
    """One page of all targets. `longest` is the time that fills a bar, in seconds."""

    rows: tuple[TargetRow, ...]
    total: int
    page: int
    pages: int
    longest: float


@dataclass(frozen=True, slots=True)
class Recovered:
    """Failures in a row of a target, which was up again afterwards."""

    key: CheckKey
    spell: Spell


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody wants to know first: what is wrong, whose it is, since when."""

    verdict: Verdict
    summary: str  # in numbers
    troubles: tuple[Trouble, ...]  # that make something not ready
    broken: int  # features
    since: Since | None  # the first of them
    first_results: int  # targets that have one
    targets: int
    requestable: bool  # whether a rule of a firewall or a proxy may bring something back


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything on the status page. The verdict is that of the whole site, whatever is filtered."""

    answer: Answer
    choices: Choices
    features: tuple[FeatureRow, ...]
    troubles: tuple[Trouble, ...]
    threats: tuple[Threat, ...]
    unprobed: tuple[Unprobed, ...]
    targets: Targets
    recovered: tuple[Recovered, ...]
    began: float | None  # Unix time: before, nothing is known


def overview(snapshot: Snapshot, filters: Filters, now: float) -> Overview:
    """What the filters leave of a moment, below the answer for all of it."""
    every = troubles(snapshot, Filters(show=filters.show))
    return Overview(
        answer=_answer(snapshot, every),
        choices=choices(snapshot),
        features=tuple(_features(snapshot, filters, now)),
        troubles=troubles(snapshot, filters) if filters.narrow else every,
        threats=tuple(_threats(snapshot, filters)),
        unprobed=tuple(_unprobed(snapshot, filters)),
        targets=_targets(snapshot, filters, now),
        recovered=_recovered(snapshot, filters),
        began=snapshot.began,
    )


def _answer(snapshot: Snapshot, every: Sequence[Trouble]) -> Answer:
    """The verdict on everything, and what stands behind it."""
    heavy = tuple(trouble for trouble in every if not trouble.cause.harmless)
    return Answer(
        verdict=verdict(snapshot),
        summary=summary(snapshot),
        troubles=heavy,
        broken=len({feature.consumer.feature for feature in snapshot.features if feature.verdict is Verdict.NOT_READY}),
        since=earliest(trouble.since for trouble in heavy) if heavy else None,
        first_results=len(snapshot.latest),
        targets=len(snapshot.plan.checks),
        requestable=any(is_of_rules(trouble.cause) for trouble in heavy),
    )


# ---------------------------------------------------------------- readiness

_WORST_FIRST: Final = (
    Verdict.NOT_READY,
    Verdict.PENDING,
    Verdict.INCOMPLETE,
    Verdict.READY,
    Verdict.NOTHING_TO_CHECK,
    Verdict.NOT_SUPPORTED,
)


_MOST_IMPORTANT_FIRST: Final = (Importance.CRITICAL, Importance.NORMAL, Importance.LOW)


def _features(snapshot: Snapshot, filters: Filters, now: float) -> Iterator[FeatureRow]:
    """A row for each feature and cloud; what is not ready comes first, and of that what is critical."""
    rows: dict[tuple[str, str], list[FeatureReadiness]] = {}
    for feature in snapshot.features:
        if _admits_feature(feature, filters):
            rows.setdefault((feature.consumer.cloud, feature.consumer.feature), []).append(feature)
    since = not_ready_since(snapshot)
    found_rows = [_feature_row(same, begun(same, since, snapshot), snapshot, now) for same in rows.values()]
    yield from sorted(
        found_rows,
        key=lambda row: (
            _WORST_FIRST.index(row.state),
            _MOST_IMPORTANT_FIRST.index(row.importance),
            row.cloud,
            row.feature,
        ),
    )


def _feature_row(same: Sequence[FeatureReadiness], since: Since | None, snapshot: Snapshot, now: float) -> FeatureRow:
    """A feature in one cloud, for all roles."""
    consumer = same[0].consumer
    seen = of_feature((endpoint for feature in same for endpoint in feature.endpoints), snapshot.latest)
    return FeatureRow(
        consumer.feature,
        consumer.cloud,
        min((feature.verdict for feature in same), key=_WORST_FIRST.index),
        snapshot.plan.importance_of.get(consumer, Importance.NORMAL),
        tuple(_role_state(feature) for feature in same),
        since,
        availability(seen, DAY, now),
        availability(seen, WEEK, now),
    )


def _role_state(feature: FeatureReadiness) -> RoleState:
    number = counts(feature)
    each_state = tuple((each, number[each]) for each in EndpointState)
    return RoleState(feature.consumer, feature.verdict, each_state, len(feature.partly_open))


def _admits_feature(feature: FeatureReadiness, filters: Filters) -> bool:
    return any(
        filters.admits_use(endpoint.use)
        and filters.admits_path(*(key.path for key in endpoint.checks))
        and filters.admits_state(endpoint.state)
        and filters.admits_text(endpoint.use.pattern, *(key.target.url for key in endpoint.checks))
        for endpoint in feature.endpoints
    )


# ---------------------------------------------------------------- what is wrong


def _threats(snapshot: Snapshot, filters: Filters) -> Iterator[Threat]:
    results = {key: latest.result for key, latest in snapshot.latest.items()}
    found: dict[str, list[tuple[CheckKey, Use]]] = {}
    for key, use in failures_to_come(snapshot.plan, results):
        if filters.admits_state(results[key].state) and filters.admits((use,), key):
            found.setdefault(use.pattern, []).append((key, use))
    for pattern, pairs in found.items():
        yield Threat(pattern, tuple(dict.fromkeys(key for key, _ in pairs)), needed_by(use for _, use in pairs))


def _unprobed(snapshot: Snapshot, filters: Filters) -> Iterator[Unprobed]:
    if not (filters.admits_state(EndpointState.UNPROBED) and filters.admits_path()):
        return
    for why, patterns in unprobed(snapshot).items():
        rows = tuple(
            UnprobedRow(pattern, details(wanted), needed_by(need.use for need in wanted))
            for pattern, needs in patterns.items()
            if (wanted := [need for need in needs if filters.admits_use(need.use)]) and filters.admits_text(pattern)
        )
        if rows:
            yield Unprobed(why, all_words().unprobed[why], rows)


# ---------------------------------------------------------------- all there is

_DOWN_FIRST: Final = (EndpointState.DOWN, EndpointState.PENDING, EndpointState.UP)


def _targets(snapshot: Snapshot, filters: Filters, now: float) -> Targets:
    """A page of the targets, those that are down first.

    The slowest of it that is up fills its bar, so that a timeout does not dwarf the rest.
    """
    shown = [
        (check, state)
        for check in snapshot.plan.checks
        if filters.admits_state(state := _state(check, snapshot)) and filters.admits(check.uses, check.key)
    ]
    shown.sort(key=lambda pair: _DOWN_FIRST.index(pair[1]))
    pages = max(ceil(len(shown) / ROWS), 1)
    page = min(filters.page, pages)
    here = shown[(page - 1) * ROWS : page * ROWS]
    found = [snapshot.latest[check.key].result for check, _ in here if check.key in snapshot.latest]
    longest = max((result.duration for result in found if result.up), default=0.0) or max(
        (result.duration for result in found), default=0.0
    )
    rows = [_target_row(check, state, snapshot.latest.get(check.key), longest, now) for check, state in here]
    return Targets(tuple(rows), len(shown), page, pages, longest)


def _target_row(check: Check, state: EndpointState, latest: Latest | None, longest: float, now: float) -> TargetRow:
    seen = of_target(latest)
    return TargetRow(
        check.key,
        state,
        latest,
        bar(latest.result, longest) if latest else None,
        availability(seen, DAY, now),
        availability(seen, WEEK, now),
    )


def _state(check: Check, snapshot: Snapshot) -> EndpointState:
    latest = snapshot.latest.get(check.key)
    return latest.result.state if latest else EndpointState.PENDING


def _recovered(snapshot: Snapshot, filters: Filters) -> tuple[Recovered, ...]:
    """The latest failures that are over, whatever the state of their targets is now."""
    found = [
        Recovered(check.key, spell)
        for check in snapshot.plan.checks
        if (latest := snapshot.latest.get(check.key))
        and latest.last_success is not None
        and filters.admits_state(_state(check, snapshot))
        and filters.admits(check.uses, check.key)
        for spell in latest.history
        if spell.reason and spell.last < latest.last_success
    ]
    return tuple(sorted(found, key=lambda each: each.spell.first, reverse=True)[:RECENT])
