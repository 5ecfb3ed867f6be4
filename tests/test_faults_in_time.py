"""The whole exporter in virtual time, while a machine stands still, targets hang by the hundred, and plans change.

Its schedule, its store, its metrics and its log are real, and so is what guards a probe; only the network is not.
"""

from __future__ import annotations

import math
import random
import ssl
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import Final
from unittest.mock import patch

import anyio
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import Phase as Step
from hypothesis import strategies as st
from structlog.testing import capture_logs
from trio.testing import MockClock

from exporter.model.vocabulary import (
    Check,
    CheckKey,
    Consumer,
    Failure,
    Phase,
    Plan,
    Probing,
    Proxy,
    Reason,
    Result,
    Settings,
    Target,
    Use,
)
from exporter.probe import http
from exporter.probe.classify import Signs
from exporter.probe.net import Route, Trace
from exporter.probe.runner import Network
from exporter.service.exporter import Exporter
from exporter.service.load import Deployment, Source
from exporter.system import lag

INTERVAL: Final = 20.0
PROBING: Final = Probing(interval=INTERVAL, timeout=8.0, attempts=2, concurrency=2)
WELL: Final = [f"https://well{number}.example/" for number in range(12)]
HANGING: Final = [f"http://hangs{number}.example/" for number in range(60)]
BROKEN: Final = "http://broken.example/"
PROXIES: Final = (None, "corp", "renamed")
EVENTS: Final = 1000
EXAMPLES: Final = 40
USE: Final = (Use(Consumer("mine", "client", "public"), "*.example"),)


@dataclass(frozen=True)
class Event:
    """What happens, after so many seconds."""

    after: float
    kind: str
    number: int


@cache
def network(proxy: str | None) -> Network:
    proxies = {} if proxy is None else {proxy: Proxy(proxy, "http://proxy.example:3128")}
    return Network(_context(), proxies)


@cache
def _context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def deployment(proxy: str | None, well: int, hanging: int, attempts: int) -> Deployment:
    """So many of each kind, all by one path."""
    urls = [*WELL[:well], *HANGING[:hanging], BROKEN]
    checks = tuple(Check(CheckKey(Target(url), proxy), USE) for url in urls)
    probing = Probing(INTERVAL, PROBING.timeout, attempts, PROBING.concurrency)
    return Deployment(Settings(probing=probing, proxies=network(proxy).proxies), Plan(checks), frozenset())


class Watched(Exporter):
    """The exporter, and all that it was told of results."""

    def __init__(self, first: Deployment) -> None:
        super().__init__(Source(), first, network(None))
        self.results: list[Result] = []

    def finished(self, result: Result) -> None:
        self.results.append(result)
        super().finished(result)

    def finished_out_of_turn(self, result: Result) -> None:
        self.results.append(result)
        super().finished_out_of_turn(result)


@dataclass
class Day:
    """The exporter under way, and what befalls it."""

    exporter: Watched
    reloads: int = 0
    asked: dict[str, float] = field(default_factory=dict)  # when each target was asked last
    on_demand: list[Result] = field(default_factory=list)

    async def live(self, events: list[Event]) -> None:
        """Through all of it, and three calm intervals at the end."""
        while events:
            events = await self._until_restart(events)
        async with anyio.create_task_group() as group:
            self.exporter.start(group)
            self._reload(None, len(WELL), 0, 2)
            await anyio.sleep(3 * INTERVAL)
            group.cancel_scope.cancel()

    async def _until_restart(self, events: list[Event]) -> list[Event]:
        """All events up to one that cancels everything; gives those after it."""
        async with anyio.create_task_group() as group:
            self.exporter.start(group)
            for place, event in enumerate(events):
                await anyio.sleep(event.after)
                if event.kind == "cancelled":
                    group.cancel_scope.cancel()
                    return events[place + 1 :]
                self._befall(event, group)
            group.cancel_scope.cancel()
        return []

    def _befall(self, event: Event, group: anyio.abc.TaskGroup) -> None:
        number = event.number
        match event.kind:
            case "stands still":
                clock = trio.lowlevel.current_clock()
                assert isinstance(clock, MockClock)
                clock.jump(number)
            case "overloaded":
                self._reload(PROXIES[number % 3], len(WELL), len(HANGING), 1 + number % 2)
            case "reloaded":
                self._reload(PROXIES[number % 3], number % (1 + len(WELL)), number % 5, 1 + number % 3)
            case "asked":
                group.start_soon(self._ask, number)

    def _reload(self, proxy: str | None, well: int, hanging: int, attempts: int) -> None:
        self.exporter.adopt(deployment(proxy, well, hanging, attempts), network(proxy), {})
        self.reloads += 1

    async def _ask(self, number: int) -> None:
        """A probe on demand, whose asker may lose patience."""
        keys = [key for key in self.exporter.store.known() if key.target.url in WELL][:2]
        with anyio.move_on_after(number / 4):
            self.on_demand += (await self.exporter.probe(keys)).values()

    async def answered(self, target: Target, route: Route, signs: Signs, trace: Trace) -> Failure | None:  # noqa: ARG002
        """A network where the well answer within seconds, the others never, and one finds a defect."""
        self.asked[target.url] = anyio.current_time()
        trace.enter(Phase.CONNECT)
        if target.url == BROKEN:
            raise ZeroDivisionError("as in a bug")
        await anyio.sleep(math.inf if target.url in HANGING else random.uniform(0.01, 5.0))  # noqa: S311 - chance
        return None


suffered = Counter[str]()

events = st.builds(
    Event,
    st.floats(0.001, 8.0),
    st.sampled_from(["stands still", "overloaded", "reloaded", "asked", "cancelled"]),
    st.integers(1, 60),
)


@settings(max_examples=EXAMPLES, phases=[Step.generate], suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(events, min_size=EVENTS // EXAMPLES, max_size=EVENTS // EXAMPLES))
def suffer(drawn: list[Event]) -> None:
    day = Day(Watched(deployment(None, len(WELL), 0, 2)))
    with capture_logs() as logs, patch.object(http, "probe", day.answered), patch.object(lag, "GOING_ON", ()):
        end = in_virtual_time(day, drawn)
    suffered.update(event.kind for event in drawn)
    told = [log for log in logs if log.get("target") == BROKEN]
    assert [
        result for result in [*day.exporter.results, *day.on_demand] if result.key.target.url in WELL and not result.up
    ] == []
    assert {
        result.failure and result.failure.reason for result in day.exporter.results if result.key.target.url == BROKEN
    } == {Reason.INTERNAL_ERROR}
    assert {log["message"].partition(" (")[0] for log in told} == {"ZeroDivisionError: as in a bug"}
    assert len(told) <= 1 + day.reloads
    assert [log for log in logs if "exc_info" in log] == []
    assert min(day.asked[url] for url in WELL) > end - 2 * INTERVAL
    assert day.exporter.store.complete


def in_virtual_time(day: Day, drawn: list[Event]) -> float:
    """Live through these events; gives the time at their end."""

    async def play() -> float:
        await day.live(drawn)
        return anyio.current_time()

    return anyio.run(play, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})


@pytest.mark.no_cover  # others take the same branches, and counting them takes more time than the test
def test_a_thousand_drawn_faults_let_no_exception_out_of_a_probe_and_call_nobody_down_for_anothers_sake() -> None:
    suffered.clear()
    suffer()
    assert sum(suffered.values()) >= EVENTS
    assert len(suffered) == 5
