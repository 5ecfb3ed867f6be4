"""Whose turn it is: so much work at a time, one party after the other, and few of each wait; so many in a time."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable

import anyio

from exporter.config.web import RateLimit


class TokenBucket:
    """Lets one through an interval, and `burst` at once after a pause."""

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self._tokens = float(limit.burst)
        self._filled = anyio.current_time()

    def take(self) -> bool:
        """Whether one more may pass now."""
        now = anyio.current_time()
        self._tokens = min(float(self.limit.burst), self._tokens + (now - self._filled) / self.limit.interval)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Busy(Exception):
    """Too many wait already for this one to wait, too."""


class Turn:
    """Leave for one piece of work, or the wait for it."""

    def __init__(self, turns: Turns, party: Hashable) -> None:
        self._turns = turns
        self.party = party
        self.begun = False
        self.over = False
        self.change = anyio.Event()

    def end(self) -> None:
        """Let the next one begin; a second time, nothing."""
        if not self.over:
            self.over = True
            self._turns.ended(self)


class Turns:
    """Work of many parties: `at_once` pieces in all, `at_once_of_one` of one party, and the parties in rotation.

    Of one party `waiting_of_one` may wait, and `waiting` in all. When these are taken, who comes from a party with
    fewer takes the place of the last one of the party with most.
    """

    def __init__(self, *, at_once: int, at_once_of_one: int, waiting: int, waiting_of_one: int) -> None:
        self._at_once = at_once
        self._at_once_of_one = at_once_of_one
        self._most_waiting = waiting
        self._most_waiting_of_one = waiting_of_one
        self._under_way = Counter[Hashable]()
        self._waiting: dict[Hashable, deque[Turn]] = {}  # in the order in which the parties come next

    @property
    def waiting(self) -> int:
        """How many wait."""
        return sum(map(len, self._waiting.values()))

    @property
    def under_way(self) -> int:
        """How many work."""
        return self._under_way.total()

    async def begin(self, party: Hashable) -> Turn:
        """Wait for a turn, which the caller has to end. Raises Busy."""
        turn = Turn(self, party)
        if self._free(party):  # who waits already waits for others of its own
            self._start(turn)
            return turn
        self._enqueue(turn)
        try:
            await turn.change.wait()
        except BaseException:
            turn.end()
            raise
        if not turn.begun:
            raise Busy
        return turn

    def ended(self, turn: Turn) -> None:
        """Note that a turn is over, or waited for no more."""
        if turn.begun:
            self._under_way[turn.party] -= 1
            if not self._under_way[turn.party]:
                del self._under_way[turn.party]
        else:
            self._leave(turn)
        self._admit()

    def _enqueue(self, turn: Turn) -> None:
        own = len(self._waiting.get(turn.party, ()))
        if own >= self._most_waiting_of_one:
            raise Busy
        if self.waiting >= self._most_waiting:
            longest = max(self._waiting.values(), key=len)
            if len(longest) <= own + 1:
                raise Busy
            longest[-1].over = True
            longest[-1].change.set()
            self._leave(longest[-1])
        self._waiting.setdefault(turn.party, deque()).append(turn)

    def _leave(self, turn: Turn) -> None:
        queue = self._waiting.get(turn.party, deque())
        if turn in queue:
            queue.remove(turn)
        if not queue:
            self._waiting.pop(turn.party, None)

    def _free(self, party: Hashable) -> bool:
        return self.under_way < self._at_once and self._under_way[party] < self._at_once_of_one

    def _start(self, turn: Turn) -> None:
        self._under_way[turn.party] += 1
        turn.begun = True
        turn.change.set()

    def _admit(self) -> None:
        while (party := next(filter(self._free, self._waiting), None)) is not None:
            queue = self._waiting.pop(party)
            self._start(queue.popleft())
            if queue:
                self._waiting[party] = queue  # behind all others
