"""How much of a day and a week was up: what is counted of each hour, now -> bars of segments, and words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from typing import Final

from exporter.model.patterns import is_wildcard
from exporter.model.vocabulary import CheckKey, EndpointReadiness, EndpointState, Latest
from exporter.report.evidence import moment
from exporter.results.history import HOUR, unpacked

Counted = Mapping[int, tuple[int, int]]  # hour since 1970 -> probes that found it up, probes
_RANGES: Final = 3  # of troubled times that are named


class Seen(StrEnum):
    """What the probes of a segment came to."""

    NOTHING = "nothing"  # there were none
    UP = "up"
    PARTLY = "partly"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Span:
    """A time up to now, in segments of some hours."""

    title: str
    segments: int
    hours: int  # of one segment


DAY: Final = Span("24 h", 24, 1)
WEEK: Final = Span("7 days", 28, 6)


@dataclass(frozen=True, slots=True)
class Segment:
    """Some hours, and what the probes in them came to."""

    first: int  # hour since 1970
    up: int
    probes: int

    @property
    def seen(self) -> Seen:
        """The same as a word."""
        if not self.probes:
            return Seen.NOTHING
        if self.up == self.probes:
            return Seen.UP
        return Seen.PARTLY if self.up else Seen.DOWN


@dataclass(frozen=True, slots=True)
class Availability:
    """The segments of a span, the latest last; it ends with the hour that is now."""

    span: Span
    segments: tuple[Segment, ...]

    @property
    def ratio(self) -> float | None:
        """The share of probes that found it up; None where there were none."""
        up, probes = self._sums
        return up / probes if probes else None

    @property
    def share(self) -> str | None:
        """The same in words, never rounded up."""
        up, probes = self._sums
        tenths = 1000 * up // probes if probes else 0
        return f"{tenths // 10}.{tenths % 10} %".replace(".0 ", " ") if probes else None

    @property
    def _sums(self) -> tuple[int, int]:
        return sum(segment.up for segment in self.segments), sum(segment.probes for segment in self.segments)

    @property
    def runs(self) -> dict[Seen, tuple[tuple[int, int], ...]]:
        """Where segments with probes that came to the same begin, and how many they are."""
        found: dict[Seen, list[tuple[int, int]]] = {}
        for seen, run in self._runs():
            if seen is not Seen.NOTHING:
                found.setdefault(seen, []).append((run.start, len(run)))
        return {seen: tuple(runs) for seen, runs in found.items()}

    @property
    def words(self) -> str:
        """What a bar shows, for who does not see it: `24 h: up in 98.3 % of probes; failures (UTC) 17:00 to 19:00`."""
        share = self.share
        if share is None:
            return f"{self.span.title}: no probes"
        said = [f"{self.span.title}: up in {share} of probes"]
        troubled = [self._range(run) for bad, run in self._runs(troubles_alike=True) if bad is Seen.DOWN]
        if troubled:
            shown = troubled[-_RANGES:]
            said.append(f"{'latest failures' if len(troubled) > _RANGES else 'failures'} (UTC) {', '.join(shown)}")
        if missing := sum(not segment.probes for segment in self.segments):
            said.append(f"no data for {missing * self.span.hours} of {self.span.segments * self.span.hours} h")
        return "; ".join(said)

    def _runs(self, *, troubles_alike: bool = False) -> Iterable[tuple[Seen, range]]:
        at = 0
        merged = {Seen.PARTLY: Seen.DOWN} if troubles_alike else {}
        for seen, run in groupby(merged.get(segment.seen, segment.seen) for segment in self.segments):
            length = sum(1 for _ in run)
            yield seen, range(at, at + length)
            at += length

    def _range(self, run: range) -> str:
        form = "%H:%M" if self.span.hours == 1 else "%b %d %H:%M"
        first, after = (moment((self.segments[0].first + at * self.span.hours) * HOUR) for at in (run.start, run.stop))
        return f"{first:{form}} to {'now' if run.stop == len(self.segments) else format(after, form)}"


def availability(counted: Counted, span: Span, now: float) -> Availability:
    """What was counted, as the segments of a span that ends with the hour of `now`, in Unix seconds.

    Laws: no probe of the span is in two segments or in none; a segment without probes is not up.
    """
    last = int(now // HOUR)
    starts = range(last - span.segments * span.hours + 1, last + 1, span.hours)
    return Availability(span, tuple(_segment(counted, first, span.hours) for first in starts))


def _segment(counted: Counted, first: int, hours: int) -> Segment:
    here = [counted[hour] for hour in range(first, first + hours) if hour in counted]
    return Segment(first, sum(up for up, _ in here), sum(probes for _, probes in here))


def of_target(latest: Latest | None) -> Counted:
    """What is counted of a check."""
    return unpacked(latest.hours) if latest else {}


def of_feature(endpoints: Iterable[EndpointReadiness], latest: Mapping[CheckKey, Latest]) -> Counted:
    """The probes of the endpoint that was worst in each hour, of those that decide: less was the feature never up.

    Of a wildcard, those of its target that was best.
    """
    found: dict[int, tuple[int, int]] = {}
    for endpoint in endpoints:
        if endpoint.state is EndpointState.REFERENCE:
            continue
        best = is_wildcard(endpoint.use.pattern)
        for hour, pair in _merged((of_target(latest.get(key)) for key in endpoint.checks), best=best).items():
            found[hour] = min(found.get(hour, pair), pair, key=_rank)
    return found


def _merged(counts: Iterable[Counted], *, best: bool) -> Counted:
    found: dict[int, tuple[int, int]] = {}
    for counted in counts:
        for hour, pair in counted.items():
            found[hour] = (max if best else min)(found.get(hour, pair), pair, key=_rank)
    return found


def _rank(pair: tuple[int, int]) -> tuple[float, int]:
    up, probes = pair
    return up / probes, probes
