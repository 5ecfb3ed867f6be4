"""A stopwatch that knows the phases, and the evidence that gathers on the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from exporter.model.vocabulary import Cause, Evidence, Phase
from exporter.probe.net.clock import Arrival, now
from exporter.probe.net.limit import Limit


class Trace:
    """How far an attempt came: how long others were waited for in each phase, and what was seen.

    What the exporter does itself between an answer and its next question belongs to no phase: it says nothing about
    the network, and grows with all else that the exporter has to do.
    """

    def __init__(self, limit: Limit | None = None) -> None:
        self.limit = limit or Limit()
        self.phase = Phase.RESOLVE
        self.cause: Cause | None = None  # of a failure to come, where the answer alone does not show it
        self.seen = Evidence()
        self._reached: dict[Phase, None] = {}
        self._waits: dict[tuple[Phase, float], Arrival] = {}
        self._over = False

    def enter(self, phase: Phase) -> None:
        """Begin a phase; waits belong to it from now on."""
        self.phase = phase
        self._reached[phase] = None

    def waited(self, since: float, until: Arrival, *, gap: bool = False) -> None:
        """Note when somebody was asked, and when something came; if more comes of it, the last counts.

        `gap`: only the end of it came, and not what stands before.
        """
        if not self._over:
            self._waits[self.phase, since] = until
            if gap:
                self.seen = replace(self.seen, gap=True)

    def complete(self) -> None:
        """Note that what came last ended what was waited for: nothing arrived behind it."""
        if not self._over:
            last = next(reversed(self._waits))
            self._waits[last] = self._waits[last]._replace(alone=True)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Note how long the block takes."""
        since = now()
        try:
            yield
        finally:
            self.waited(since, Arrival(now()))

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Note nothing of what the block waits for: it belongs to no phase."""
        before, self._over = self._over, True
        try:
            yield
        finally:
            self._over = before

    def stop(self) -> None:
        """Note no more: what comes now belongs to no phase. The phase stays the one where the attempt stood."""
        self._over = True

    def begin_again(self) -> None:
        """Forget what was seen, but not how long it took: another way is gone."""
        self._over = False
        self.cause = None
        self.seen = Evidence()

    @property
    def phase_durations(self) -> Mapping[Phase, float]:
        """Seconds of each phase that was reached, in order."""
        laps = dict.fromkeys(self._reached, 0.0)
        for (phase, since), until in self._waits.items():
            laps[phase] += until.at - since
        return laps

    @property
    def late(self) -> frozenset[Phase]:
        """The phases that may have ended before the exporter noticed.

        Only the head of an answer is followed by more, its body, without a further question.
        """
        return frozenset(
            phase
            for (phase, _), until in self._waits.items()
            if not until.exact or (phase is Phase.PROCESSING and not until.alone)
        )
