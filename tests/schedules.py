"""A network in virtual time, probed by the real schedule: a day takes as long as its events take to compute."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import anyio
import trio
from trio.testing import MockClock

from exporter.model.vocabulary import CheckKey, Evidence, Failure, OutOfTurn, Phase, Reason, Result
from exporter.service.schedule import Pace, Schedule

SEEN: Final = Evidence(("192.0.2.1",), "192.0.2.1", by_dns=True)
FAILURE: Final = Failure(Phase.PROCESSING, Reason.HTTP_STATUS, "")  # that points at no path
STILL: Final = 300.0  # seconds, some intervals


@dataclass
class World:
    """A network in virtual time, and all that the schedule tells of it."""

    takes: Callable[[CheckKey], float] = lambda _: 0.2
    fails: Callable[[CheckKey, float], bool] = lambda _key, _now: False  # whether an attempt that begins now will
    timeout: float = math.inf
    failure: Failure = FAILURE
    starts: dict[CheckKey, list[float]] = field(default_factory=lambda: defaultdict(list))
    lags: list[float] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    unconfirmed_results: list[Result] = field(default_factory=list)
    accepted_results: list[Result] = field(default_factory=list)
    out_of_turn: list[tuple[float, OutOfTurn]] = field(default_factory=list)
    missed_slots: int = 0
    under_way: int = 0
    most_under_way: int = 0

    async def attempt(self, key: CheckKey, within: float = math.inf) -> Result:
        begun = anyio.current_time()
        self.starts[key].append(begun)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            with anyio.move_on_after(min(self.timeout, within)) as time_left:
                await anyio.sleep(self.takes(key))
        finally:
            self.under_way -= 1
        failed = self.fails(key, begun) or time_left.cancelled_caught
        return Result(
            key, begun, {Phase.CONNECT: anyio.current_time() - begun}, SEEN, failure=self.failure if failed else None
        )

    def started(self, lag: float) -> None:
        self.lags.append(lag)

    def started_out_of_turn(self, why: OutOfTurn) -> None:
        self.out_of_turn.append((anyio.current_time(), why))

    def missed(self, slots: int) -> None:
        self.missed_slots += slots

    def finished(self, result: Result) -> None:
        self.results.append(result)

    def finished_out_of_turn(self, result: Result) -> None:
        self.results.append(result)

    def unconfirmed(self, result: Result) -> None:
        self.unconfirmed_results.append(result)

    def accepted(self, result: Result) -> None:
        self.accepted_results.append(result)


def simulate(play: Callable[[], Awaitable[None]]) -> None:
    """Run in virtual time: a day takes as long as its events take to compute."""
    anyio.run(play, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})


async def run_in_time(world: World, seconds: float, pace: Pace, known: dict[CheckKey, bool]) -> None:
    async with anyio.create_task_group() as group:
        Schedule(group, world.attempt, world).adopt(known, pace)
        await anyio.sleep(seconds)
        group.cancel_scope.cancel()


def run_for(world: World, seconds: float, pace: Pace, known: dict[CheckKey, bool]) -> None:
    async def play() -> None:
        await run_in_time(world, seconds, pace, known)

    simulate(play)


async def live_through(world: World, pace: Pace, known: dict[CheckKey, bool], *moments: float) -> None:
    """Stand still at these moments for a while each, and live on for as long."""
    clock = trio.lowlevel.current_clock()
    assert isinstance(clock, MockClock)
    async with anyio.create_task_group() as group:
        Schedule(group, world.attempt, world).adopt(known, pace)
        for moment in moments:
            await anyio.sleep_until(moment)
            clock.jump(STILL)
        await anyio.sleep(STILL)
        group.cancel_scope.cancel()
