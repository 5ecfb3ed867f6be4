"""Which attempts are followed by another: the one rule for the probes of `serve`, `check`, `explain` and `/probe`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from enum import Enum, auto
from typing import Final

from exporter.model.vocabulary import Result
from exporter.system.lag import Pulse

LATE: Final = 3  # attempts of one probe that do not count because the exporter was late,
STILL: Final = 20  # or rather stood still
STOOD: Final = 0.25  # of an attempt's time, from which on it stood still


class Next(Enum):
    """What follows an attempt."""

    NONE = auto()  # its outcome is the outcome of the probe
    CONFIRM = auto()  # another, since fewer failed in a row than must fail
    REPEAT = auto()  # the same again: it failed while the exporter stood still, and counts for nothing


class Attempts:
    """The attempts of one probe, of which so many must fail in a row before its target is down."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._failed = 0
        self._uncounted = 0

    def next(self, result: Result) -> Next:
        """What follows this attempt. To be asked once for each."""
        if result.up or not result.repeatable:
            return Next.NONE
        if result.interrupted and self._uncounted < (STILL if result.interrupted > STOOD else LATE):
            self._uncounted += 1
            return Next.REPEAT
        self._failed += 1
        return Next.CONFIRM if self._failed < self._number else Next.NONE


async def at_once(attempt: Callable[[], Awaitable[Result]], number: int) -> Result:
    """What a probe comes to whose attempts follow each other without a pause."""
    attempts, result = Attempts(number), await attempt()
    while attempts.next(result) is not Next.NONE:
        result = (await attempt()).after(result)
    return result


async def noticing(pulse: Pulse, attempt: Awaitable[Result]) -> Result:
    """What comes of an attempt; of one that failed, also whether the exporter itself stood still meanwhile."""
    with pulse.felt() as felt:
        result = await attempt
    return replace(result, interrupted=felt.interrupted) if felt.interrupted and not result.up else result
