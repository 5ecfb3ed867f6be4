"""A stopwatch that knows the phases, and the evidence that gathers on the way."""

from __future__ import annotations

import time
from typing import Any

from exporter.model import Phase


class Trail:
    """How far an attempt came: a lap for each phase, and what was seen. Entering a phase ends the one before."""

    def __init__(self) -> None:
        self.phase = Phase.RESOLVE
        self.laps: dict[Phase, float] = {}
        self.evidence: dict[str, Any] = {}
        self._entered: float | None = None

    def enter(self, phase: Phase) -> None:
        """End the phase before and begin this one."""
        now = time.perf_counter()
        self._end_lap(now)
        self.phase, self._entered = phase, now

    def stop(self) -> None:
        """End the phase under way, if any; it stays the one where the attempt stood."""
        self._end_lap(time.perf_counter())
        self._entered = None

    def _end_lap(self, now: float) -> None:
        if self._entered is not None:
            self.laps[self.phase] = self.laps.get(self.phase, 0.0) + now - self._entered
