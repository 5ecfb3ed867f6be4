"""The plan in force and the latest results, kept by one Board and shown as frozen Snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from exporter import rollup
from exporter.history import Room, extended, kept
from exporter.model import Check, CheckKey, Latest, Plan, Result, Snapshot


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


class Board:
    """Where results are pinned. Only the event loop's thread writes; any thread may take a snapshot."""

    def __init__(self, plan: Plan | None = None) -> None:
        self._plan = Plan()
        self._checks: Mapping[CheckKey, Check] = {}
        self._latest: dict[CheckKey, Latest] = {}
        self.adopt(plan or Plan())

    @property
    def plan(self) -> Plan:
        """The plan in force."""
        return self._plan

    def adopt(self, plan: Plan) -> None:
        """Put a plan in force; results of checks that stay are kept, the others go."""
        self._plan = plan
        self._checks = {check.key: check for check in plan.checks}
        self._room = Room.for_each_of(len(plan.checks))
        self._latest = {
            key: replace(latest, history=kept(latest.history, self._room))
            for key, latest in self._latest.items()
            if key in self._checks
        }

    def record(self, result: Result) -> Recorded | None:
        """Pin a result; None where its check has left the plan meanwhile."""
        check = self._checks.get(result.key)
        if check is None:
            return None
        recorded = Recorded(check, result, self._latest.get(result.key))
        self._latest[result.key] = _after(recorded, self._room)
        return recorded

    def known(self) -> dict[CheckKey, bool]:
        """Every check of the plan, and whether it has a result."""
        return {key: key in self._latest for key in self._checks}

    def find(self, url: str) -> tuple[Check, ...]:
        """The checks of a target, one for each path to it."""
        return tuple(check for check in self._plan.checks if check.key.target.url == url)

    @property
    def complete(self) -> bool:
        """Whether every check of the plan has had its first result."""
        return len(self._latest) == len(self._checks)

    def status(self) -> str:
        """What it has come to, in one line."""
        up = sum(latest.result.up for latest in self._latest.values())
        pending = len(self._checks) - len(self._latest)
        return f"{up} of {len(self._checks)} targets up" + (f", {pending} not yet probed" if pending else "")

    def snapshot(self) -> Snapshot:
        """All of this moment, frozen."""
        plan, pinned = self._plan, self._latest.copy()
        latest = {check.key: pinned[check.key] for check in plan.checks if check.key in pinned}
        results = {key: found.result for key, found in latest.items()}
        return Snapshot(
            plan=plan,
            latest=MappingProxyType(latest),
            features=rollup.features(plan, results),
            paths=rollup.paths(results.values()),
        )


def _after(recorded: Recorded, room: Room) -> Latest:
    result, before = recorded.result, recorded.before
    since = result.finished if before is None or recorded.changed else before.since
    last_success = before.last_success if before else None
    history = extended(before.history if before else (), result, room, changed=recorded.changed)
    return Latest(result, since, result.finished if result.up else last_success, history)


def _reason(result: Result) -> str | None:
    return result.failure.reason if result.failure else None
