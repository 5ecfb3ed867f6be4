"""The plan in force and the latest results, kept by one ResultStore and shown as frozen Snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from exporter.model.vocabulary import Check, CheckKey, FeatureReadiness, Hours, Latest, Plan, Result, Snapshot
from exporter.results.history import Room, counted, extended, kept
from exporter.results.paths import families, paths
from exporter.results.readiness import features, overall, read_of
from exporter.text.numbers import plural


@dataclass(frozen=True, slots=True)
class Recorded:
    """A result that belongs to the plan, and what was known before."""

    check: Check
    result: Result
    before: Latest | None

    @property
    def changed(self) -> bool:
        """Whether state or reason differ from the last ones; the first result is a change too."""
        return self.before is None or _reason(self.before.result) != _reason(self.result)


@dataclass(frozen=True, slots=True)
class _RolledUp:
    """What follows from the results of one version of the store."""

    version: int
    features: tuple[FeatureReadiness, ...]
    paths: Mapping[str, bool]
    families: Mapping[tuple[str, str], bool] = field(default_factory=dict)


class ResultStore:
    """Where results are pinned. Only the event loop's thread writes; any thread may take a snapshot."""

    def __init__(self, plan: Plan | None = None) -> None:
        self._plan = Plan()
        self._checks: Mapping[CheckKey, Check] = {}
        self._latest: dict[CheckKey, Latest | None] = {}  # in the plan's order
        self._version = 0
        self._rolled_up = _RolledUp(0, (), {})
        self._began: float | None = None
        self.adopt(plan or Plan())

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        return self._plan

    @property
    def version(self) -> int:
        """Another number whenever features or paths may have changed."""
        return self._version

    def adopt(self, plan: Plan) -> None:
        """Put a plan in force; results of checks that stay are kept, the others go."""
        self._plan = plan
        self._checks = {check.key: check for check in plan.checks}
        self._room = Room.for_each_of(len(plan.checks))
        self._latest = {key: self._moved(self._latest.get(key)) for key in self._checks}
        self._version += 1

    def _moved(self, latest: Latest | None) -> Latest | None:
        """The same with as much history as there is room for now."""
        return replace(latest, history=kept(latest.history, self._room)) if latest else None

    def record(self, result: Result, *, in_turn: bool = True) -> Recorded | None:
        """Pin a result; None where its check has left the plan meanwhile. What is not in turn counts for no hour."""
        check = self._checks.get(result.key)
        if check is None:
            return None
        if self._began is None:
            self._began = result.finished
        recorded = Recorded(check, result, self._latest[result.key])
        self._latest[result.key] = _after(recorded, self._room, in_turn=in_turn)
        if recorded.before is None or read_of(recorded.before.result) != read_of(result):
            self._version += 1
        return recorded

    def mark_unconfirmed(self, failed: Result) -> None:
        """Show a failed attempt beside the last probe until the next one has finished; nothing before the first."""
        if latest := self._latest.get(failed.key):
            self._latest[failed.key] = replace(latest, unconfirmed=failed.failure)

    def known(self) -> dict[CheckKey, bool]:
        """Every check of the plan, and whether it has a result."""
        return {key: latest is not None for key, latest in self._latest.items()}

    def latest(self, key: CheckKey) -> Latest | None:
        """The latest result of a check, if there is one."""
        return self._latest.get(key)

    def check(self, key: CheckKey) -> Check | None:
        """The check of the plan that has this key, if there is one."""
        return self._checks.get(key)

    def find(self, url: str) -> tuple[Check, ...]:
        """The checks of a target, one for each path to it."""
        return tuple(check for check in self._plan.checks if check.key.target.url == url)

    @property
    def complete(self) -> bool:
        """Whether every check of the plan has had its first result."""
        return None not in self._latest.values()

    def pinned(self) -> list[tuple[Check, Latest | None]]:
        """Every check of the plan in its order, with its latest result. In the event loop's thread only."""
        return list(zip(self._plan.checks, self._latest.values(), strict=True))

    def status(self) -> str:
        """The verdict and what it rests on, in one line."""
        verdict = overall(self.snapshot().features).words.upper()
        seen = [latest.result.up for latest in self._latest.values() if latest is not None]
        pending = len(self._checks) - len(seen)
        return f"{verdict}: {sum(seen)} of {plural(len(self._checks), 'target')} up" + (
            f", {pending} not yet probed" if pending else ""
        )

    def snapshot(self) -> Snapshot:
        """All of this moment, frozen."""
        version, plan, pinned = self._version, self._plan, self._latest.copy()
        latest = {check.key: found for check in plan.checks if (found := pinned.get(check.key)) is not None}
        rolled_up = self._rolled_up
        if rolled_up.version != version:
            results = {key: found.result for key, found in latest.items()}
            rolled_up = _RolledUp(
                version,
                features(plan, results),
                paths(results.values()),
                families(results.values()),
            )
            self._rolled_up = rolled_up
        return Snapshot(
            plan, MappingProxyType(latest), rolled_up.features, rolled_up.paths, rolled_up.families, self._began
        )


def _after(recorded: Recorded, room: Room, *, in_turn: bool) -> Latest:
    result, before = recorded.result, recorded.before
    since = result.finished if before is None or recorded.changed else before.since
    last_success = before.last_success if before else None
    history = extended(before.history if before else (), result, room, changed=recorded.changed)
    hours = before.hours if before else Hours()
    if in_turn:
        hours = counted(hours, result)
    return Latest(result, since, result.finished if result.up else last_success, history, result.recovered_from, hours)


def _reason(result: Result) -> str | None:
    return result.failure.reason if result.failure else None
