"""Which changes are worth a line in the log: each one, but not the hundredth of a target that flaps."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from exporter.model.vocabulary import CheckKey

MOST: Final = 6  # lines of one check within WINDOW
WINDOW: Final = 600.0  # seconds


@dataclass(slots=True)
class _Lines:
    written: deque[float] = field(default_factory=lambda: deque(maxlen=MOST))  # when, on the caller's clock
    unwritten: int = 0


class ChangeLog:
    """Remembers when each check was written about."""

    def __init__(self) -> None:
        self._lines: dict[CheckKey, _Lines] = {}

    def admits(self, key: CheckKey, now: float) -> int | None:
        """How many changes before this one went unwritten; None where this one does too."""
        lines = self._lines.setdefault(key, _Lines())
        if len(lines.written) == MOST and now - lines.written[0] < WINDOW:
            lines.unwritten += 1
            return None
        unwritten, lines.unwritten = lines.unwritten, 0
        lines.written.append(now)
        return unwritten

    def keep(self, keys: Collection[CheckKey]) -> None:
        """Forget all other checks."""
        self._lines = {key: lines for key, lines in self._lines.items() if key in keys}
