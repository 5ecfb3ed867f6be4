"""What is down, for a person: (Snapshot, Filters) -> causes, the worst first, each with its targets. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final
from zlib import crc32

from exporter.model.vocabulary import CheckKey, Consumer, EndpointState, FeatureReadiness, Latest, Snapshot
from exporter.report.causes import Cause, causes
from exporter.report.findings import NARROWER, Down, needed_by
from exporter.results.history import down_since
from exporter.web.pages.filters import Filters

ROWS: Final = 10  # targets of one cause; the filter leads to the others
MOST: Final = 12  # causes
PATH_RUNBOOK: Final = "ConfigMgrPathDown"


@dataclass(frozen=True, slots=True)
class Since:
    """Unix time at which something began, as far as is known: `seen` where it was well before."""

    at: float
    seen: bool


@dataclass(frozen=True, slots=True)
class DownRow:
    """A target that is down, and since when."""

    key: CheckKey
    message: str
    since: Since
    breaks_nothing: str  # why, where it breaks nothing


@dataclass(frozen=True, slots=True)
class Trouble:
    """A cause, and the first of the targets that are down by it."""

    id: str  # the same as long as it is this cause
    cause: Cause
    runbook: str
    since: Since
    needed_by: tuple[str, ...]  # who is not ready by it
    rows: tuple[DownRow, ...]

    @property
    def total(self) -> int:
        """How many targets are down by it."""
        return len(self.cause.targets)


def troubles(snapshot: Snapshot, filters: Filters) -> tuple[Trouble, ...]:
    """What is down and is to be seen, by cause."""
    if filters.state not in {"", EndpointState.DOWN, EndpointState.REFERENCE}:
        return ()
    found = []
    for cause in causes(snapshot):
        faults = tuple(fault for fault in cause.faults if filters.admits(fault.uses, fault.key))
        if faults:
            here = replace(cause, faults=faults, result=snapshot.latest[faults[0].key].result)
            found.append(_trouble(here, snapshot, whole=bool(filters.show)))
    return tuple(found)


def _trouble(cause: Cause, snapshot: Snapshot, *, whole: bool) -> Trouble:
    kind = (cause.path, *(() if cause.whole_path else (cause.reason, cause.failure.cause or "", cause.origin)))
    shown = cause.faults if whole else cause.faults[:ROWS]
    return Trouble(
        f"cause-{crc32(repr(tuple(map(str, kind))).encode()):08x}",
        cause,
        PATH_RUNBOOK if cause.whole_path else cause.reason,
        earliest(_since(snapshot.latest[key]) for key in cause.targets),
        needed_by(cause.uses),
        tuple(_row(fault, snapshot.latest[fault.key]) for fault in shown),
    )


def _row(fault: Down, latest: Latest) -> DownRow:
    return DownRow(fault.key, fault.failure.message, _since(latest), "" if fault.broken else _why_harmless(fault))


def _why_harmless(fault: Down) -> str:
    if fault.covered:
        return f"another target of the wildcard is up, which is partly open. {NARROWER}"
    return "another target of the wildcard is pending" if fault.awaited else "it is listed for reference only"


def _since(latest: Latest) -> Since:
    fell = down_since(latest)
    return Since(latest.since if fell is None else fell, latest.last_success is not None)


def earliest(found: Iterable[Since]) -> Since:
    """The first of several; at one time, the one before which nothing is known."""
    return min(found, key=lambda since: (since.at, since.seen))


def begun(features: Iterable[FeatureReadiness], since: Mapping[Consumer, float], snapshot: Snapshot) -> Since | None:
    """When the first of these was not ready any more; None where none is so. `since` has the time of each."""
    broken = [feature for feature in features if feature.consumer in since]
    if not broken:
        return None
    first = min(since[feature.consumer] for feature in broken)
    keys = {key for feature in broken for endpoint in feature.endpoints for key in endpoint.checks}
    known = (snapshot.latest[key] for key in keys if key in snapshot.latest)
    return Since(first, not any(one.last_success is None and down_since(one) == first for one in known))
