"""What is remembered of a check beyond its last result: spells of probes that came to the same, and hours. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final, Self

from exporter.model.vocabulary import Hours, Latest, Result, Spell

# Of one check, and of all together: about ten megabytes at most, however many checks there are.
FAILURES: Final = 10
SUCCESSES: Final = 3
ALL_FAILURES: Final = 20_000
ALL_SUCCESSES: Final = 6_000
LONGEST_MESSAGE: Final = 200  # characters; a server may have written it


@dataclass(frozen=True, slots=True)
class Room:
    """How many spells of one check are kept: failures longer than successes, for they are what somebody looks for."""

    failures: int
    successes: int

    @classmethod
    def for_each_of(cls, checks: int) -> Self:
        """The room of each of so many checks, so that all together have room enough."""
        share = max(checks, 1)
        return cls(min(FAILURES, ALL_FAILURES // share), min(SUCCESSES, ALL_SUCCESSES // share))


def extended(history: tuple[Spell, ...], result: Result, room: Room, *, changed: bool) -> tuple[Spell, ...]:
    """The history with one more result: it prolongs the last spell, or begins one where state or reason changed."""
    failure, at = result.failure, result.finished
    reason, message = (failure.reason, failure.message[:LONGEST_MESSAGE]) if failure else (None, "")
    if history and not changed and history[-1].reason == reason:  # where there is no room, the last is another one
        last = history[-1]
        return (*history[:-1], Spell(reason, last.first, at, last.probes + 1, message))
    return kept((*history, Spell(reason, at, at, 1, message)), room)


def kept(history: tuple[Spell, ...], room: Room) -> tuple[Spell, ...]:
    """The latest failures and the latest successes that there is room for, in their order."""
    left = {True: room.failures, False: room.successes}
    found = []
    for spell in reversed(history):
        failed = spell.reason is not None
        if left[failed]:
            left[failed] -= 1
            found.append(spell)
    return tuple(reversed(found))


# ---------------------------------------------------------------- hours

HOUR: Final = 3600.0
KEPT: Final = 7 * 24  # hours of each check, the latest one included: 900 bytes at most, the object and all
_PAIR: Final = Struct("<HH")
_MOST: Final = 0xFFFF  # probes in an hour; nobody probes so often


def counted(hours: Hours, result: Result) -> Hours:
    """The hours with one more result. Hours without probes count none, whatever was seen before and after.

    Where the clock was set back by more than an hour, what was counted is of a time that nobody knows: it goes.
    """
    hour, up = int(result.finished // HOUR), int(result.up)
    if not hours.probes or hour < hours.hour - 1:
        return Hours(hour, up, 1)
    if hour <= hours.hour:
        return Hours(hours.hour, min(hours.up + up, _MOST), min(hours.probes + 1, _MOST), hours.before)
    passed = min(hour - hours.hour - 1, KEPT)
    before = hours.before + _PAIR.pack(hours.up, hours.probes) + bytes(_PAIR.size * passed)
    return Hours(hour, up, 1, before[-_PAIR.size * (KEPT - 1) :])


def unpacked(hours: Hours) -> dict[int, tuple[int, int]]:
    """Hour since 1970 -> how many of its probes found the check up, and how many there were; only where there were."""
    known = (*_PAIR.iter_unpack(hours.before), (hours.up, hours.probes))
    first = hours.hour - len(known) + 1
    return {hour: (up, probes) for hour, (up, probes) in enumerate(known, first) if probes}


def down_since(latest: Latest) -> float | None:
    """Unix time of the first failure since the last success, whatever the reasons were; None while it is up."""
    if latest.result.up:
        return None
    before = latest.last_success
    failing = (spell.first for spell in latest.history if spell.reason and (before is None or spell.first > before))
    return min(failing, default=latest.since)
