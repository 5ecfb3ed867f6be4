"""What was measured, as values: a figure of ours beside theirs, and the points of a plot."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """One figure, measured on both sides where both have it."""

    part: str
    name: str
    unit: str
    ours: float | None
    theirs: float | None = None
    note: str = ""
    taken: str = ""  # on which day

    @property
    def ratio(self) -> float | None:
        """Ours by theirs; the less the better."""
        return self.ours / self.theirs if self.ours is not None and self.theirs else None


@dataclass
class Measured:
    """All figures that are kept, and of what."""

    versions: dict[str, str] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)

    def of(self, part: str) -> list[Figure]:
        """The figures of one part."""
        return [figure for figure in self.figures if figure.part == part]

    def over(self, before: Measured) -> Measured:
        """This run's figures, and those of earlier runs for the parts that it left out."""
        parts = {figure.part for figure in self.figures}
        kept = [figure for figure in before.figures if figure.part not in parts]
        return Measured(self.versions, kept + self.figures)

    def write(self, path: Path) -> None:
        """Keep them as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1, allow_nan=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Measured:
        """What `write` kept."""
        kept = json.loads(path.read_text(encoding="utf-8"))
        return cls(kept["versions"], [Figure(**figure) for figure in kept["figures"]])


def p99(values: Iterable[float]) -> float:
    """The smallest value that 99 of 100 do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[math.ceil(0.99 * len(ordered)) - 1]


def median(values: Iterable[float]) -> float:
    """The middle one."""
    return statistics.median(values)
