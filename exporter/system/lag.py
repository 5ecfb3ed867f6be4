"""How late the exporter itself is: sleepers that look at the clock when they are woken."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

import anyio

PERIOD: Final = 0.5  # seconds; finer would show more and cost more
NOTICED: Final = 0.2  # seconds; less than that no busy machine is ever late
SHARE: Final = 0.1  # of an attempt's time


async def watch(observe: Callable[[float], None]) -> NoReturn:
    """Report over and over how many seconds late the loop is, by a clock of its own: the loop's may stand still."""
    while True:
        due = time.perf_counter() + PERIOD
        await anyio.sleep(PERIOD)
        observe(max(0.0, time.perf_counter() - due))


class Felt:
    """What an attempt felt of the exporter's own lateness."""

    interrupted = 0.0  # share of its time in which the exporter stood still; 0 where that is not worth a word


class Pulse:
    """Beats while attempts are under way, so that each knows whether the exporter stood still meanwhile.

    It does so when the machine is suspended, a container is paused, or something holds up the event loop. What was
    waited for then may have come in time, or may have been lost for want of an answer.
    """

    def __init__(self) -> None:
        self._attempts = 0
        self._wanted = anyio.Event()
        self._since: tuple[float, ...] = ()
        self._late = 0.0  # seconds in all beats so far

    async def beat(self) -> NoReturn:
        """Beat for ever."""
        while True:
            if not self._attempts:
                self._wanted = anyio.Event()
                await self._wanted.wait()
            await anyio.sleep(PERIOD)
            self._late, self._since = self._late_so_far(), _clocks()

    @contextmanager
    def felt(self) -> Iterator[Felt]:
        """What the block feels of it; to be looked at when the block has ended."""
        felt, begun = Felt(), _clocks()
        if not self._attempts:
            self._since = begun
            self._wanted.set()
        self._attempts += 1
        late = self._late_so_far()
        try:
            yield felt
        finally:
            late = self._late_so_far() - late
            self._attempts -= 1
            gone = _gone(begun)
            felt.interrupted = late / gone if late > max(NOTICED, SHARE * gone) else 0.0

    def _late_so_far(self) -> float:
        return self._late + max(0.0, _gone(self._since) - PERIOD)


def _gone(since: tuple[float, ...]) -> float:
    """Seconds that have gone by on the clock that went furthest."""
    return max(now - then for now, then in zip(_clocks(), since, strict=True))


def _clocks() -> tuple[float, ...]:
    """The loop's own clock, and those that go on."""
    return (anyio.current_time(), *(clock() for clock in GOING_ON))


# While something holds up the loop, and while the machine is suspended, which only on Linux needs another clock.
GOING_ON: tuple[Callable[[], float], ...]

if sys.platform == "linux":

    def _suspended() -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    GOING_ON = (time.perf_counter, _suspended)
else:
    GOING_ON = (time.perf_counter,)
