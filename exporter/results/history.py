"""What is remembered of a check beyond its last result: spells of probes that came to the same. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from exporter.model.vocabulary import Result, Spell

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
