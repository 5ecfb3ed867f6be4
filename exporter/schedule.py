"""When each check is due: a fixed place in the interval (pure), and the loops that keep to it."""

from __future__ import annotations

import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, Protocol, TypeAlias

import anyio
from anyio.abc import TaskGroup

from exporter.model import CheckKey, Result
from exporter.plan import order

FIRST_ROUND: Final = 5.0  # seconds over which first probes are spread
PATIENCE: Final = (
    1.0  # seconds that a probe counts against the limit; what it waits for after that costs nobody anything
)
PAUSE: Final = (1.0, 3.0)  # seconds between two attempts: what a lost packet or a restart of a proxy may take
CONFIRMING: Final = 0.1  # what attempts to confirm failures may add to the probes of an interval
AT_LEAST: Final = 10.0  # of them, where that would be less


def offset(key: CheckKey, interval: float) -> float:
    """A check's place in the interval, in seconds: spread by hash, the same whenever it is asked."""
    return fraction(key) * interval


def fraction(key: CheckKey) -> float:
    """A number in [0, 1) that a check always has."""
    digest = blake2b(repr(order(key)).encode(), digest_size=6).digest()
    return int.from_bytes(digest) / 2**48


def next_slot(now: float, place: float, interval: float) -> int:
    """The number of the first slot that is still to come; slot n begins at `n * interval + place`."""
    slot = math.floor((now - place) / interval)
    while starts_at(slot, place, interval) <= now:  # floating point: a slot is never taken twice
        slot += 1
    return slot


def starts_at(slot: int, place: float, interval: float) -> float:
    """When a slot begins, on the clock that `next_slot` was asked with."""
    return slot * interval + place


def pause(left: float) -> float:
    """Seconds until the next attempt; a tenth at most of what is `left` until the next slot. Drawn anew each time."""
    return min(random.uniform(*PAUSE), left / 10)  # noqa: S311 - it spreads load and guards no secret


class Allowance:
    """How many attempts to confirm a failure may still be made: so many in an interval, and no more at once."""

    def __init__(self) -> None:
        self._most, self._interval = AT_LEAST, 1.0
        self._left, self._at = math.inf, 0.0

    def adopt(self, checks: int, interval: float) -> None:
        """Allow what so many checks, each due once in an interval, may cost. What was spent stays spent."""
        self._most, self._interval = max(CONFIRMING * checks, AT_LEAST), interval
        self._left = min(self._left, self._most)

    def take(self, now: float) -> bool:
        """Whether one more may be made now."""
        earned = (now - self._at) * self._most / self._interval
        self._left, self._at = min(self._left + earned, self._most), now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Observer(Protocol):
    """Who is told of probes."""

    def started(self, lag: float) -> None:
        """Tell that a probe started, `lag` seconds after it was due."""

    def finished(self, result: Result) -> None:
        """Tell what came of it."""


class Watcher(Observer, Protocol):
    """Who is told what the schedule does."""

    def missed(self, slots: int) -> None:
        """Tell that slots passed while a check was still under way, or waiting for its turn."""

    def doubted(self, result: Result) -> None:
        """Tell that an attempt failed, and that another will show whether it counts."""

    def believed(self, result: Result) -> None:
        """Tell that it counts without another, since too many fail at once."""


Probe: TypeAlias = Callable[[CheckKey], Awaitable[Result]]
Attempt: TypeAlias = Callable[[CheckKey, float], Awaitable[Result]]  # within so many seconds, or its own time-out


@dataclass(frozen=True, slots=True)
class Pace:
    """How often each check is due, in seconds, how many run at once, not counting those that hang, and its attempts."""

    interval: float
    concurrency: int
    attempts: int = 1


class Places:
    """Room for so many probes at once, each of which counts for PATIENCE at most: who hangs longer makes way.

    So a hundred targets that accept and stay silent hold up none of the others. Nothing is done about a probe's
    patience until another waits for its place: a timer for each would be 3 % of what a probe costs.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._until: dict[object, float] = {}  # when the patience with each taken place ends, the first first
        self._next = anyio.Lock()
        self._change = anyio.Event()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A place, in the order in which it was asked for."""
        place = object()
        async with self._next:
            while len(self._until) >= self._number:
                await self._wait()
            self._until[place] = anyio.current_time() + PATIENCE
        try:
            yield
        finally:
            self._until.pop(place, None)
            self._change.set()

    async def _wait(self) -> None:
        """Until a place is given back, or the longest taken one has had its time."""
        self._change = anyio.Event()
        longest, until = next(iter(self._until.items()))
        with anyio.CancelScope(deadline=until):
            await self._change.wait()
        if anyio.current_time() >= until:
            self._until.pop(longest, None)


@dataclass(frozen=True, slots=True)
class Shared:
    """What all loops have in common."""

    pace: Pace
    places: Places
    allowance: Allowance
    attempt: Attempt
    watcher: Watcher


async def probe_once(keys: Iterable[CheckKey], concurrency: int, probe: Probe, observer: Observer) -> None:
    """One round of all checks as fast as the limit allows; one that hangs gives its place to the next."""
    places = Places(concurrency)

    async def run(key: CheckKey) -> None:
        async with places.turn():
            observer.started(0.0)
            observer.finished(await probe(key))

    async with anyio.create_task_group() as group:
        for key in keys:
            group.start_soon(run, key)


async def probe_forever(key: CheckKey, shared: Shared, *, known: bool) -> None:
    """Probe in every slot; a check without a result goes first, within the first seconds.

    A slot that begins while the check is under way, or waits for its turn, is missed and not made up for.
    """
    interval, watcher = shared.pace.interval, shared.watcher
    place = offset(key, interval)
    begun = anyio.current_time()
    due = starts_at(next_slot(begun, place, interval), place, interval)
    in_place = known  # the first round comes out of turn, and a slot that it runs into is not missed
    down = False
    if not known:
        due = min(due, begun + fraction(key) * min(FIRST_ROUND, interval))
    while True:
        await anyio.sleep_until(due)
        following = next_slot(due, place, interval)
        end = starts_at(following, place, interval) if in_place else due + interval
        async with shared.places.turn():
            watcher.started(max(0.0, anyio.current_time() - due))  # uvloop wakes up to half a millisecond early
            result = await shared.attempt(key, math.inf)
        if not (result.up or down):  # what is down already needs no confirmation
            result = await _confirmed(result, shared, end)
        watcher.finished(result)
        down = not result.up
        upcoming = next_slot(max(anyio.current_time(), due), place, interval)
        if in_place:
            watcher.missed(upcoming - following)
        in_place = True
        due = starts_at(upcoming, place, interval)


async def _confirmed(failed: Result, shared: Shared, end: float) -> Result:
    """What a probe comes to whose first attempt failed: the first success, or the failure of the last attempt.

    Each is made after a pause, and all are over before `end`, so that no slot is missed for them. When so many fail at
    once that the allowance is spent, they confirm each other.
    """
    result = failed
    while not result.up and result.repeatable and result.attempts < shared.pace.attempts:
        now = anyio.current_time()
        if not shared.allowance.take(now):
            shared.watcher.believed(result)
            break
        shared.watcher.doubted(result)
        await anyio.sleep(pause(end - now))
        async with shared.places.turn():
            left = end - anyio.current_time() - shared.pace.interval / 100  # for what the loop takes to get round to it
            if left <= 0:
                break
            again = await shared.attempt(failed.key, left)
        result = again.after(result)
    return result


class Schedule:
    """The running loops, one for each check. Told what should run, it starts and ends only what differs."""

    def __init__(self, group: TaskGroup, attempt: Attempt, watcher: Watcher) -> None:
        self._group = group
        self._attempt = attempt
        self._watcher = watcher
        self._allowance = Allowance()
        self._shared: Shared | None = None
        self._running: dict[CheckKey, anyio.TaskHandle[None, Any]] = {}

    def adopt(self, known: Mapping[CheckKey, bool], pace: Pace) -> None:
        """Run exactly these checks; the value tells whether a result is there already. Does not wait."""
        shared = self._shared
        if shared is None or shared.pace != pace:
            places = Places(pace.concurrency)
            shared = self._shared = Shared(pace, places, self._allowance, self._attempt, self._watcher)
            self._end(self._running.keys())
        self._allowance.adopt(len(known), pace.interval)
        self._end(self._running.keys() - known.keys())
        for key in known.keys() - self._running.keys():
            self._running[key] = self._group.create_task(probe_forever(key, shared, known=known[key]))

    def _end(self, keys: Iterable[CheckKey]) -> None:
        for key in tuple(keys):
            self._running.pop(key).cancel()
