"""Phases as small bars: a Result -> where each phase begins and how long it is. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from exporter.model.vocabulary import Phase, Result

FULL: Final = 100.0  # units of the longest bar


@dataclass(frozen=True, slots=True)
class Piece:
    """A phase within a bar, in units."""

    phase: Phase
    seconds: float
    begins: float
    width: float
    failed: bool
    late: bool  # it took at most so long


@dataclass(frozen=True, slots=True)
class Bar:
    """The phases of a probe side by side. `cut`: it took longer than a full bar shows."""

    pieces: tuple[Piece, ...]
    cut: bool


def bar(result: Result, longest: float) -> Bar:
    """The bar of a probe, where so many seconds fill it."""
    scale = FULL / longest if longest else 0.0
    failed = result.failure.phase if result.failure else None
    pieces, at = [], 0.0
    for phase, seconds in result.phases.items():
        width = min(seconds * scale, FULL - at)
        pieces.append(Piece(phase, seconds, at, width, phase is failed, phase in result.late))
        at += width
    return Bar(tuple(pieces), cut=result.duration > longest)
