"""The status page: (Snapshot, Filters) -> what stands on it, in order. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import Final

from exporter.model.vocabulary import (
    Check,
    CheckKey,
    Consumer,
    EndpointState,
    FeatureReadiness,
    Importance,
    Latest,
    Reason,
    Snapshot,
    Spell,
    Use,
    Verdict,
    WhyUnprobed,
)
from exporter.report.findings import (
    NARROWER,
    Down,
    alike,
    blamed,
    counts,
    details,
    down,
    needed_by,
    summary,
    unprobed,
    verdict,
)
from exporter.report.reasons import Words, all_words, words_of
from exporter.results.readiness import failures_to_come
from exporter.web.pages.bars import Bar, bar
from exporter.web.pages.filters import Choices, Filters, choices

ROWS: Final = 50  # targets on one page
DOWN_ROWS: Final = 20  # of one reason; the others are found by the filter
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


@dataclass(frozen=True, slots=True)
class Fault:
    """What fails for one reason."""

    reason: Reason
    words: Words
    rows: tuple[DownRow, ...]
    total: int


@dataclass(frozen=True, slots=True)
class DownRow:
    """A target that is down, whom that concerns, and since when."""

    key: CheckKey
    message: str
    latest: Latest
    breaks: tuple[str, ...]
    breaks_nothing: str  # why, where it breaks nothing


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


@dataclass(frozen=True, slots=True)
class Targets:
    """One page of all targets. `longest` is the time that fills a bar, in seconds."""

    rows: tuple[TargetRow, ...]
    total: int
    page: int
    pages: int
    longest: float


@dataclass(frozen=True, slots=True)
class Failed:
    """Failures in a row of a target, now or before."""

    key: CheckKey
    spell: Spell
    over: bool


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything on the status page. The verdict is that of the whole site, whatever is filtered."""

    verdict: Verdict
    summary: str
    blamed: tuple[str, ...]
    choices: Choices
    features: tuple[FeatureRow, ...]
    faults: tuple[Fault, ...]
    threats: tuple[Threat, ...]
    unprobed: tuple[Unprobed, ...]
    targets: Targets
    failed: tuple[Failed, ...]


def overview(snapshot: Snapshot, filters: Filters) -> Overview:
    """What the filters leave of a moment, below the verdict on all of it."""
    return Overview(
        verdict=verdict(snapshot),
        summary=summary(snapshot),
        blamed=blamed(snapshot),
        choices=choices(snapshot),
        features=tuple(_features(snapshot, filters)),
        faults=tuple(_faults(snapshot, filters)),
        threats=tuple(_threats(snapshot, filters)),
        unprobed=tuple(_unprobed(snapshot, filters)),
        targets=_targets(snapshot, filters),
        failed=_failed(snapshot, filters),
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


def _features(snapshot: Snapshot, filters: Filters) -> Iterator[FeatureRow]:
    """A row for each feature and cloud; what is not ready comes first, and of that what is critical."""
    importance_of = snapshot.plan.importance_of
    rows: dict[tuple[str, str], list[RoleState]] = {}
    for feature in snapshot.features:
        if _admits_feature(feature, filters):
            number = counts(feature)
            each_state = tuple((each, number[each]) for each in EndpointState)
            found = RoleState(feature.consumer, feature.verdict, each_state, len(feature.partly_open))
            rows.setdefault((feature.consumer.cloud, feature.consumer.feature), []).append(found)
    found_rows = [
        FeatureRow(
            name,
            cloud,
            min((role.state for role in roles), key=_WORST_FIRST.index),
            importance_of.get(roles[0].consumer, Importance.NORMAL),
            tuple(roles),
        )
        for (cloud, name), roles in rows.items()
    ]
    yield from sorted(
        found_rows,
        key=lambda row: (
            _WORST_FIRST.index(row.state),
            _MOST_IMPORTANT_FIRST.index(row.importance),
            row.cloud,
            row.feature,
        ),
    )


def _admits_feature(feature: FeatureReadiness, filters: Filters) -> bool:
    return any(
        filters.admits_use(endpoint.use)
        and filters.admits_path(*(key.path for key in endpoint.checks))
        and filters.admits_state(endpoint.state)
        and filters.admits_text(endpoint.use.pattern, *(key.target.url for key in endpoint.checks))
        for endpoint in feature.endpoints
    )


# ---------------------------------------------------------------- what is wrong


def _faults(snapshot: Snapshot, filters: Filters) -> Iterator[Fault]:
    """What is down, by reason; within one, what breaks a feature comes first."""
    if filters.state not in {"", EndpointState.DOWN, EndpointState.REFERENCE}:
        return
    shown = [fault for fault in down(snapshot) if _admits(fault.uses, fault.key, filters)]
    for failure, group in alike(shown):
        rows = [_down_row(fault, snapshot) for fault in sorted(group, key=lambda fault: not fault.broken)[:DOWN_ROWS]]
        yield Fault(failure.reason, words_of(failure), tuple(rows), len(group))


def _down_row(fault: Down, snapshot: Snapshot) -> DownRow:
    if fault.covered:
        why = f"another target of the wildcard is up, which is partly open. {NARROWER}"
    elif fault.awaited:
        why = "another target of the wildcard is pending"
    else:
        why = "it is listed for reference only"
    return DownRow(fault.key, fault.failure.message, snapshot.latest[fault.key], needed_by(fault.broken), why)


def _threats(snapshot: Snapshot, filters: Filters) -> Iterator[Threat]:
    results = {key: latest.result for key, latest in snapshot.latest.items()}
    found: dict[str, list[tuple[CheckKey, Use]]] = {}
    for key, use in failures_to_come(snapshot.plan, results):
        if filters.admits_state(results[key].state) and _admits((use,), key, filters):
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


def _targets(snapshot: Snapshot, filters: Filters) -> Targets:
    """A page of the targets, those that are down first.

    The slowest of it that is up fills its bar, so that a timeout does not dwarf the rest.
    """
    shown = [
        (check, state)
        for check in snapshot.plan.checks
        if filters.admits_state(state := _state(check, snapshot)) and _admits(check.uses, check.key, filters)
    ]
    shown.sort(key=lambda pair: _DOWN_FIRST.index(pair[1]))
    pages = max(ceil(len(shown) / ROWS), 1)
    page = min(filters.page, pages)
    here = shown[(page - 1) * ROWS : page * ROWS]
    found = [snapshot.latest[check.key].result for check, _ in here if check.key in snapshot.latest]
    longest = max((result.duration for result in found if result.up), default=0.0) or max(
        (result.duration for result in found), default=0.0
    )
    rows = [
        TargetRow(check.key, state, latest, bar(latest.result, longest) if latest else None)
        for check, state in here
        for latest in [snapshot.latest.get(check.key)]
    ]
    return Targets(tuple(rows), len(shown), page, pages, longest)


def _state(check: Check, snapshot: Snapshot) -> EndpointState:
    latest = snapshot.latest.get(check.key)
    return latest.result.state if latest else EndpointState.PENDING


def _failed(snapshot: Snapshot, filters: Filters) -> tuple[Failed, ...]:
    """The latest failures of all targets, whatever their state is now."""
    found = [
        Failed(check.key, spell, spell is not latest.history[-1])
        for check in snapshot.plan.checks
        if (latest := snapshot.latest.get(check.key))
        and filters.admits_state(_state(check, snapshot))
        and _admits(check.uses, check.key, filters)
        for spell in latest.history
        if spell.reason
    ]
    return tuple(sorted(found, key=lambda failed: failed.spell.last, reverse=True)[:RECENT])


def _admits(uses: Iterable[Use], key: CheckKey, filters: Filters) -> bool:
    return filters.admits_path(key.path) and any(
        filters.admits_use(use) and filters.admits_text(use.pattern, key.target.url) for use in uses
    )
