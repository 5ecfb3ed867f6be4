"""One rule says which attempts are followed by another, whoever makes them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import anyio
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from exporter.model.vocabulary import Cause, CheckKey, Failure, OutOfTurn, Phase, Reason, Result, Target
from exporter.probe.retry import LATE, STILL, Attempts, Next, at_once, noticing
from exporter.service.schedule import Pace, Schedule, probe_once
from exporter.system.lag import Pulse

KEY = CheckKey(Target("https://a.example/"))
UP = Result(KEY, 0.0)
DOWN = replace(UP, failure=Failure(Phase.CONNECT, Reason.CONNECT_TIMEOUT, ""))
REFUSED = replace(UP, failure=Failure(Phase.PROXY, Reason.PROXY_AUTH_REQUIRED, ""))
LAPSED = replace(UP, failure=Failure(Phase.PROXY, Reason.PROXY_AUTH_REQUIRED, "", cause=Cause.ACCOUNT_LAPSED))
STOPPED = replace(DOWN, interrupted=0.9)
DELAYED = replace(DOWN, interrupted=0.1)

attempts = st.lists(st.sampled_from([UP, DOWN, REFUSED, LAPSED]), max_size=4)


@pytest.fixture(autouse=True)
def _virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.system.lag.GOING_ON", ())


@dataclass
class Told:
    """Who is told of probes, and the attempts that come to what is listed; after that, each fails."""

    script: Iterator[Result]
    results: list[Result] = field(default_factory=list)
    made: int = 0

    async def attempt(self, _key: CheckKey = KEY, _within: float = math.inf) -> Result:
        self.made += 1
        return next(self.script, DOWN)

    def started(self, lag: float) -> None:
        pass

    def started_out_of_turn(self, why: OutOfTurn) -> None:
        pass

    def missed(self, slots: int) -> None:
        pass

    def unconfirmed(self, result: Result) -> None:
        pass

    def accepted(self, result: Result) -> None:
        pass

    def finished(self, result: Result) -> None:
        self.results.append(result)

    def finished_out_of_turn(self, result: Result) -> None:
        self.results.append(result)


async def scheduled(told: Told, number: int) -> None:
    """The probe of one slot, as `serve` makes it."""
    async with anyio.create_task_group() as group:
        Schedule(group, told.attempt, told).adopt({KEY: True}, Pace(600.0, 4, number))
        await anyio.sleep(600.0)
        group.cancel_scope.cancel()


async def in_one_round(told: Told, number: int) -> None:
    """The probe of one round, as `check` makes it."""
    pulse = Pulse()
    await probe_once([KEY], 4, lambda _: at_once(lambda: noticing(pulse, told.attempt()), number), told, pulse)


@given(attempts, st.integers(1, 5))
def test_serve_and_check_make_the_same_attempts_of_the_same_outcomes(script: list[Result], number: int) -> None:
    served, checked = Told(iter(script)), Told(iter(script))
    for play, told in ((scheduled, served), (in_one_round, checked)):
        anyio.run(play, told, number, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})
    assert served.made == checked.made <= number
    assert served.results[0] == checked.results[0]
    assert served.results[0].attempts == served.made


@given(st.integers(1, 10), st.lists(st.sampled_from([STOPPED, DELAYED]), max_size=LATE))
def test_so_many_failures_count_and_those_while_the_exporter_stood_still_do_not(
    number: int, uncounted: list[Result]
) -> None:
    probe = Attempts(number)
    following = [probe.next(result) for result in [*uncounted, *[DOWN] * number]]
    assert following == [*[Next.REPEAT] * len(uncounted), *[Next.CONFIRM] * (number - 1), Next.NONE]


@pytest.mark.parametrize(("failed", "most"), [(STOPPED, STILL), (DELAYED, LATE)])
def test_an_exporter_that_is_late_all_the_time_ends_its_probes_all_the_same(failed: Result, most: int) -> None:
    told = Told(iter([failed] * 100))
    result = anyio.run(at_once, told.attempt, 2)
    assert (told.made, result.attempts) == (most + 2, most + 2)


@pytest.mark.parametrize("failed", [REFUSED, replace(REFUSED, interrupted=0.9)])
def test_a_refused_account_is_never_tried_again(failed: Result) -> None:
    assert Attempts(10).next(failed) is Next.NONE


def test_an_attempt_of_check_during_which_the_exporter_stood_still_does_not_count() -> None:
    """It takes three seconds of ten; during the first attempt, the machine stands still for minutes."""
    pulse, begun, results = Pulse(), list[float](), list[Result]()

    async def attempt() -> Result:
        begun.append(anyio.current_time())
        with anyio.move_on_after(10.0) as left:
            await anyio.sleep(3.0)
        return DOWN if left.cancelled_caught else UP

    async def play() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(pulse.beat)
            group.start_soon(stand_still)
            results.append(await at_once(lambda: noticing(pulse, attempt()), 1))
            group.cancel_scope.cancel()

    async def stand_still() -> None:
        await anyio.sleep(1.0)
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, MockClock)
        clock.jump(300.0)

    anyio.run(play, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})
    assert [(result.up, result.attempts) for result in results] == [(True, 2)]
