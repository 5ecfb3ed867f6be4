"""When each check is due: a fixed place in the interval (pure), and the loops that keep to it."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Protocol, TypeAlias

import anyio
from anyio.abc import TaskGroup

from exporter.model import CheckKey, Result
from exporter.plan import order

FIRST_ROUND: Final = 5.0  # seconds over which first probes are spread
PATIENCE: Final = (
    1.0  # seconds that a probe counts against the limit; what it waits for after that costs nobody anything
)


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


class Observer(Protocol):
    """Who is told what the schedule does."""

    def started(self, lag: float) -> None:
        """Tell that a probe started, `lag` seconds after it was due."""

    def finished(self, result: Result) -> None:
        """Tell what came of it."""

    def missed(self, slots: int) -> None:
        """Tell that slots passed while a check was still under way, or waiting for its turn."""


Probe: TypeAlias = Callable[[CheckKey], Awaitable[Result]]


@dataclass(frozen=True, slots=True)
class Pace:
    """How often each check is due, in seconds, and how many run at once, not counting those that hang."""

    interval: float
    concurrency: int


async def probe_once(keys: Iterable[CheckKey], concurrency: int, probe: Probe, observer: Observer) -> None:
    """One round of all checks as fast as the limit allows; one that hangs gives its place to the next."""
    limiter = anyio.Semaphore(concurrency)

    async def run(key: CheckKey) -> None:
        async with _turn(limiter):
            observer.started(0.0)
            observer.finished(await probe(key))

    async with anyio.create_task_group() as group:
        for key in keys:
            group.start_soon(run, key)


async def probe_forever(
    key: CheckKey, interval: float, limiter: anyio.Semaphore, probe: Probe, observer: Observer, *, known: bool
) -> None:
    """Probe in every slot; a check without a result goes first, within the first seconds.

    A slot that begins while the check is under way, or waits for its turn, is missed and not made up for.
    """
    place = offset(key, interval)
    begun = anyio.current_time()
    due = starts_at(next_slot(begun, place, interval), place, interval)
    in_place = known  # the first round comes out of turn, and a slot that it runs into is not missed
    if not known:
        due = min(due, begun + fraction(key) * min(FIRST_ROUND, interval))
    while True:
        await anyio.sleep_until(due)
        async with _turn(limiter):
            observer.started(anyio.current_time() - due)
            observer.finished(await probe(key))
        following = next_slot(due, place, interval)
        upcoming = next_slot(max(anyio.current_time(), due), place, interval)
        if in_place:
            observer.missed(upcoming - following)
        in_place = True
        due = starts_at(upcoming, place, interval)


@asynccontextmanager
async def _turn(limiter: anyio.Semaphore) -> AsyncIterator[None]:
    """A place among those that run at once, for PATIENCE at most: who hangs longer gives it to the next.

    So a hundred targets that accept and stay silent hold up none of the others.
    """
    await limiter.acquire()
    places = [limiter]

    def give_back() -> None:
        while places:
            places.pop().release()

    async def lose_patience() -> None:
        await anyio.sleep(PATIENCE)
        give_back()

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(lose_patience)
            yield
            group.cancel_scope.cancel()
    finally:
        give_back()


class Schedule:
    """The running loops, one for each check. Told what should run, it starts and ends only what differs."""

    def __init__(self, group: TaskGroup, probe: Probe, observer: Observer) -> None:
        self._group = group
        self._probe = probe
        self._observer = observer
        self._pace: Pace | None = None
        self._limiter = anyio.Semaphore(1)
        self._running: dict[CheckKey, anyio.CancelScope] = {}

    def adopt(self, known: Mapping[CheckKey, bool], pace: Pace) -> None:
        """Run exactly these checks; the value tells whether a result is there already. Does not wait."""
        if pace != self._pace:
            self._pace, self._limiter = pace, anyio.Semaphore(pace.concurrency)
            self._end(self._running.keys())
        self._end(self._running.keys() - known.keys())
        for key in known.keys() - self._running.keys():
            scope = self._running[key] = anyio.CancelScope()
            self._group.start_soon(self._run, key, pace.interval, scope, self._limiter, known[key])

    def _end(self, keys: Iterable[CheckKey]) -> None:
        for key in tuple(keys):
            self._running.pop(key).cancel()

    async def _run(
        self, key: CheckKey, interval: float, scope: anyio.CancelScope, limiter: anyio.Semaphore, known: bool
    ) -> None:
        with scope:
            await probe_forever(key, interval, limiter, self._probe, self._observer, known=known)
