"""When probes happen: laws of places and slots, and whole days in virtual time."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from heapq import heappop
from itertools import pairwise
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from trio.testing import MockClock

from exporter.model.vocabulary import CheckKey, Failure, Phase, Reason, Result, Target
from exporter.probe.retry import LATE
from exporter.service.path_watch import WITNESSES
from exporter.service.schedule import (
    AT_LEAST,
    CONFIRMING,
    FIRST_RATE,
    FIRST_ROUND,
    PATIENCE,
    PAUSE,
    RESTART,
    Allowance,
    Pace,
    Schedule,
    next_slot,
    offset,
    pause,
    probe_once,
    starts_at,
)
from exporter.system.lag import Pulse
from exporter.system.loop import run_on_loop
from tests.schedules import STILL, World, live_through, run_for, run_in_time, simulate

DAY = 86_400.0
KEYS = [CheckKey(Target(f"https://host{number}.example/")) for number in range(50)]

keys = st.builds(
    CheckKey,
    st.builds(Target, st.text("abc", min_size=1).map(lambda host: f"https://{host}.example/")),
    st.sampled_from([None, "corporate"]),
)
intervals = st.floats(0.1, 86_400, allow_nan=False)


@pytest.fixture(autouse=True)
def _virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine holds up the tests, which is not to be noticed where time is virtual."""
    monkeypatch.setattr("exporter.system.lag.GOING_ON", ())


@given(keys, intervals)
def test_a_place_lies_in_the_interval_and_never_moves(key: CheckKey, interval: float) -> None:
    same = CheckKey(Target(key.target.url), key.proxy)
    assert 0 <= offset(key, interval) < interval
    assert offset(same, interval) == offset(key, interval)


def test_places_are_spread() -> None:
    tenths = Counter(int(offset(CheckKey(Target(f"https://{n}.example/")), 10.0)) for n in range(1000))
    assert min(tenths[tenth] for tenth in range(10)) > 60


@given(st.floats(0, 1e9), keys, intervals)
def test_the_next_slot_is_the_first_one_to_come(now: float, key: CheckKey, interval: float) -> None:
    place = offset(key, interval)
    slot = next_slot(now, place, interval)
    assert starts_at(slot, place, interval) > now
    assert starts_at(slot - 2, place, interval) <= now  # one slot of tolerance for floating point
    assert next_slot(starts_at(slot, place, interval), place, interval) > slot


# ---------------------------------------------------------------- virtual time


@pytest.mark.no_cover  # others take the same branches, and counting them takes more time than the test
def test_a_day_has_one_probe_for_each_interval_and_no_drift() -> None:
    world = World()
    run_for(world, DAY, Pace(60.0, 64), dict.fromkeys(KEYS[:20], False))
    for key in KEYS[:20]:
        first, *others = world.starts[key]
        assert len(others) == 1440
        assert first <= FIRST_ROUND
        for begun in others:
            assert begun % 60 == pytest.approx(offset(key, 60.0), abs=1e-6)
    assert world.missed_slots == 0
    assert max(world.lags) < 1e-6


def test_first_results_come_at_once_and_spread() -> None:
    world = World()
    run_for(world, FIRST_ROUND + 1, Pace(3600.0, 64), dict.fromkeys(KEYS, False))
    firsts = [world.starts[key][0] for key in KEYS]
    assert max(firsts) <= FIRST_ROUND
    assert max(Counter(int(first) for first in firsts).values()) <= len(KEYS) / 2


@pytest.mark.no_cover  # others take the same branches, and counting them takes more time than the test
@pytest.mark.parametrize("number", [1000, 10_000])
def test_first_probes_of_many_come_no_faster_than_can_be_made(number: int) -> None:
    many = [CheckKey(Target(f"https://host{number}.example/")) for number in range(number)]
    world = World(takes=lambda _: 0.004)
    run_for(world, 60.0, Pace(60.0, 64), dict.fromkeys(many, False))
    firsts = sorted(world.starts[key][0] for key in many)
    last = max(FIRST_ROUND, number / FIRST_RATE) if number < 60 * FIRST_RATE else 60.0
    assert last * 0.9 < firsts[-1] <= last
    for later, earlier in zip(firsts[200:], firsts, strict=False):  # two hundred in a row take what they may
        assert later - earlier > 0.75 * 200 * last / number


def test_a_check_with_a_result_waits_for_its_place() -> None:
    world = World()
    run_for(world, 60.0, Pace(60.0, 64), dict.fromkeys(KEYS, True))
    assert {key: len(starts) for key, starts in world.starts.items()} == dict.fromkeys(KEYS, 1)
    assert all(world.starts[key][0] == pytest.approx(offset(key, 60.0)) for key in KEYS)


def test_no_more_probes_run_at_once_than_allowed() -> None:
    world = World(takes=lambda _: 0.9)
    run_for(world, 600.0, Pace(10.0, 4), dict.fromkeys(KEYS, False))
    assert world.most_under_way == 4


def test_many_that_hang_delay_no_other() -> None:
    hanging = [CheckKey(Target(f"https://hangs{number}.example/")) for number in range(200)]
    world = World(takes=lambda key: 20.0 if key in hanging else 0.1)
    run_for(world, 600.0, Pace(60.0, 64), dict.fromkeys([*hanging, *KEYS], False))
    assert max(world.lags) < PATIENCE
    assert all(len(world.starts[key]) == 11 for key in KEYS)


def test_slots_that_pass_during_a_probe_are_counted_and_not_made_up_for() -> None:
    slow = KEYS[0]
    world = World(takes=lambda _: 25.0)
    run_for(world, 600.0, Pace(10.0, 4), {slow: True})
    starts = world.starts[slow]
    gaps = {round(later - earlier, 6) for earlier, later in pairwise(starts)}
    assert gaps == {30.0}
    assert world.missed_slots == 2 * len(world.results)


def test_one_that_hangs_delays_no_other() -> None:
    world = World(takes=lambda key: 9.0 if key is KEYS[0] else 0.1)
    run_for(world, 600.0, Pace(10.0, 8), dict.fromkeys(KEYS[:20], True))
    assert world.missed_slots == 0
    assert max(world.lags) < 1e-6


def test_no_probe_is_told_to_start_before_it_is_due() -> None:
    world = World(takes=lambda _: 0.0)
    run_on_loop(run_in_time, world, 0.5, Pace(0.02, 50), dict.fromkeys(KEYS[:5], True))
    assert len(world.lags) > 20
    assert min(world.lags) >= 0


def test_a_change_of_plan_disturbs_nobody_who_stays() -> None:
    world = World()
    stays, leaves, comes = KEYS[:3]

    async def play() -> None:
        async with anyio.create_task_group() as group:
            schedule = Schedule(group, world.attempt, world)
            schedule.adopt({stays: False, leaves: False}, Pace(10.0, 8))
            await anyio.sleep(100)
            schedule.adopt({stays: True, comes: False}, Pace(10.0, 8))
            await anyio.sleep(100)
            group.cancel_scope.cancel()

    simulate(play)
    assert len(world.starts[stays]) == 21
    assert max(world.starts[leaves]) < 100
    assert 100 <= min(world.starts[comes]) <= 100 + FIRST_ROUND


def test_a_new_pace_holds_for_all() -> None:
    world = World()

    async def play() -> None:
        async with anyio.create_task_group() as group:
            schedule = Schedule(group, world.attempt, world)
            schedule.adopt(dict.fromkeys(KEYS, True), Pace(10.0, 8))
            await anyio.sleep(100)
            schedule.adopt(dict.fromkeys(KEYS, True), Pace(50.0, 8))
            await anyio.sleep(100)
            group.cancel_scope.cancel()

    simulate(play)
    assert {len(starts) for starts in world.starts.values()} == {12}


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_one_round_probes_each_check_once(backend: str) -> None:
    world = World(takes=lambda _: 0.001)
    anyio.run(probe_once, KEYS, 8, world.attempt, world, Pulse(), backend=backend)
    assert {key: len(starts) for key, starts in world.starts.items()} == dict.fromkeys(KEYS, 1)
    assert world.most_under_way <= 8
    assert len(world.results) == len(KEYS)


# ---------------------------------------------------------------- confirming a failure

CAREFUL = Pace(60.0, 64, attempts=2)
MANY = [CheckKey(Target(f"https://many{number}.example/")) for number in range(1000)]
TIMEOUT = 10.0


def between(begin: float, end: float) -> Callable[[CheckKey, float], bool]:
    """Every attempt fails that begins then."""
    return lambda _, now: begin <= now < end


@given(st.floats(-1e6, 1e6))
def test_a_pause_leaves_room_for_what_follows(left: float) -> None:
    assert 0 <= pause(left) <= max(0, min(PAUSE[1], left / 10))
    assert pause(60.0) >= PAUSE[0]


@given(st.integers(0, 2000), st.floats(1, 3600), st.lists(st.floats(0, 120), max_size=300))
def test_an_allowance_is_never_exceeded(checks: int, interval: float, gaps: list[float]) -> None:
    allowance, now, taken = Allowance(), 1e6, list[float]()
    allowance.adopt(checks, interval)
    for gap in gaps:
        now += gap
        if allowance.take(now):
            taken.append(now)
    most = max(CONFIRMING * checks, AT_LEAST)
    for first, since in enumerate(taken):
        for count, until in enumerate(taken[first:], start=1):
            assert count <= most * (1 + (until - since) / interval) + 1e-6


def test_what_was_spent_stays_spent_when_the_plan_changes() -> None:
    allowance = Allowance()
    allowance.adopt(0, 60.0)
    before = sum(allowance.take(1.0) for _ in range(20))
    allowance.adopt(5, 60.0)
    assert before == AT_LEAST
    assert not allowance.take(1.0)


def test_an_outage_is_confirmed_within_seconds_of_the_first_failure() -> None:
    world = World(fails=between(600.0, math.inf))
    run_for(world, 700.0, CAREFUL, dict.fromkeys(KEYS[:10], True))
    for key in KEYS[:10]:
        failed = next(result for result in world.unconfirmed_results if result.key == key)
        told = next(result for result in world.results if result.key == key and not result.up)
        assert told.attempts == 2
        assert PAUSE[0] <= told.started - failed.finished <= PAUSE[1]


@pytest.mark.parametrize("attempts", [2, 3])
def test_fewer_failures_in_a_row_than_attempts_are_no_outage_and_are_shown(attempts: int) -> None:
    world = World()
    world.fails = lambda key, now: len(world.starts[key]) in range(5, 4 + attempts) and now > 0
    run_for(world, 900.0, Pace(60.0, 64, attempts), dict.fromkeys(KEYS[:5], True))
    assert all(result.up for result in world.results)
    assert Counter(result.key for result in world.unconfirmed_results) == dict.fromkeys(KEYS[:5], attempts - 1)
    assert [result.attempts for result in world.results if result.recovered_from] == [attempts] * 5


def test_one_attempt_is_an_outage_where_no_more_are_configured() -> None:
    world = World(fails=between(600.0, 660.0))
    run_for(world, 900.0, Pace(60.0, 64), {KEYS[0]: True})
    assert len(world.starts[KEYS[0]]) == len(world.results) == 15
    assert [result.up for result in world.results].count(False) == 1
    assert not world.unconfirmed_results


def test_what_is_down_costs_no_more_than_what_is_up_and_is_up_with_its_first_success() -> None:
    world = World(fails=between(600.0, 6000.0))
    run_for(world, 6600.0, CAREFUL, {KEYS[0]: True})
    assert len(world.starts[KEYS[0]]) == 110 + 1
    assert [result.attempts for result in world.results if not result.up] == [2, *[1] * 89]
    assert next(result for result in world.results if result.started > 6000).attempts == 1


def test_a_refused_sign_in_is_not_tried_again() -> None:
    world = World(fails=between(0.0, math.inf))
    refused = Failure(Phase.PROXY, Reason.PROXY_AUTH_REQUIRED, "")

    async def attempt(key: CheckKey, within: float) -> Result:
        return replace(await world.attempt(key, within), failure=refused)

    async def play() -> None:
        async with anyio.create_task_group() as group:
            Schedule(group, attempt, world).adopt({KEYS[0]: False}, CAREFUL)
            await anyio.sleep(600)
            group.cancel_scope.cancel()

    simulate(play)
    assert len(world.starts[KEYS[0]]) == len(world.results)


def test_when_a_thousand_fail_at_once_a_tenth_is_tried_again_and_the_others_confirm_each_other() -> None:
    world = World(fails=between(60.0, math.inf))
    run_for(world, 180.0, CAREFUL, dict.fromkeys(MANY, True))
    more = sum(map(len, world.starts.values())) - 3 * len(MANY)
    told = {result.key: result.finished for result in reversed(world.results) if not result.up}
    assert more == len(world.unconfirmed_results)
    assert (
        CONFIRMING * len(MANY) <= more <= CONFIRMING * len(MANY) * 2 + WITNESSES
    )  # those are asked about the first one
    assert more + len(world.accepted_results) == len(MANY)
    assert all(60 <= told[key] - offset(key, 60.0) < 60 + PAUSE[1] + 1 for key in MANY)
    assert world.missed_slots == 0


@settings(max_examples=12)
@given(
    st.integers(0, 2**32).map(random.Random),
    st.floats(0, 1),
    st.sampled_from([0.2, TIMEOUT]),
    st.sampled_from([Pace(60.0, 64, 2), Pace(20.0, 64, 2), Pace(31.0, 5, 3)]),
)
def test_whatever_fails_no_slot_is_missed_or_moved_and_the_cost_is_bounded(
    chance: random.Random, share: float, longest: float, pace: Pace
) -> None:
    world = World(
        takes=lambda _: min(chance.uniform(0, 2 * longest), TIMEOUT), fails=lambda _key, _now: chance.random() < share
    )
    rounds = 20
    run_for(world, rounds * pace.interval, pace, dict.fromkeys(KEYS[:20], True))
    confirming, seconds = AT_LEAST * (1 + rounds), rounds * pace.interval
    assert world.missed_slots == 0 or pace.concurrency < 20  # out of turn, what waits for room may take another's time
    assert 20 * rounds - len(world.out_of_turn) <= len(world.lags) <= 20 * rounds
    assert max(world.lags) < PATIENCE
    assert len(world.out_of_turn) <= 3 * 20 * (2 + seconds / 60.0)  # for two paths, and for hosts
    assert len(world.unconfirmed_results) <= 2 * confirming + (pace.attempts - 1) * len(world.out_of_turn)
    made = len(world.lags) + len(world.out_of_turn) + len(world.unconfirmed_results)
    assert sum(map(len, world.starts.values())) <= made + confirming + len(world.out_of_turn)
    assert all(result.attempts <= pace.attempts for result in world.results)


# ---------------------------------------------------------------- standing still, overload and defects


@pytest.mark.parametrize("attempts", [1, 2])
def test_after_a_stand_still_all_goes_on_though_every_target_fails(attempts: int) -> None:
    world = World(fails=between(100.0, math.inf))
    simulate(lambda: live_through(world, Pace(60.0, 4, attempts), dict.fromkeys(KEYS, True), 99.0))
    assert all(starts[-1] > 99.0 + STILL + 180.0 for starts in world.starts.values())
    assert {result.up for result in world.results if result.started > 100.0} == {False}


def test_slots_of_a_stand_still_are_counted_and_not_made_up_for_and_the_lag_is_what_it_was() -> None:
    world = World()
    simulate(lambda: live_through(world, Pace(60.0, 64), {KEYS[0]: True}, offset(KEYS[0], 60.0) + 601.0))
    assert world.missed_slots == STILL / 60.0 - 1
    assert len(world.starts[KEYS[0]]) + world.missed_slots == (601.0 + 2 * STILL) // 60.0 + 1
    assert max(world.lags) == pytest.approx(STILL - 59.0)


@pytest.mark.parametrize("attempts", [1, 2])
def test_an_attempt_during_which_the_exporter_stood_still_is_made_again_whatever_the_settings(attempts: int) -> None:
    """A target that needs three seconds of ten: at each of them the machine stands still for minutes."""
    key = KEYS[0]
    for second in (0.001, 0.5, 1.5, 2.9):
        world, begin = World(takes=lambda _: 3.0, timeout=TIMEOUT), 60.0 + offset(key, 60.0)
        simulate(lambda: live_through(world, Pace(60.0, 64, attempts), {key: True}, begin + second))  # noqa: B023
        assert [result.attempts for result in world.results if result.recovered_from] == [2]
        assert all(result.up for result in world.results)
        assert [failed.started for failed in world.unconfirmed_results] == [begin]


def test_a_target_that_is_down_is_told_as_down_also_where_the_exporter_is_late_all_the_time() -> None:
    world = World(takes=lambda _: 20.0, timeout=TIMEOUT)

    async def play() -> None:
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, MockClock)
        async with anyio.create_task_group() as group:
            Schedule(group, world.attempt, world).adopt({KEYS[0]: True}, Pace(60.0, 64))
            for _ in range(300):
                await anyio.sleep(2.0)
                clock.jump(0.7)
            group.cancel_scope.cancel()

    simulate(play)
    first = next(result for result in world.results if not result.up)
    assert first.attempts <= 1 + LATE
    assert len(world.results) > 10


def test_a_probe_that_waited_for_its_turn_has_as_much_time_as_any_other() -> None:
    """Three hundred that hang, four at once; one fails once, and needs six seconds of the ten that it has."""
    hanging = [CheckKey(Target(f"https://hangs{number}.example/")) for number in range(300)]
    world = World(takes=lambda key: 6.0 if key is KEYS[0] else 20.0, timeout=TIMEOUT)
    world.fails = lambda key, _: len(world.starts[key]) == 2
    run_for(world, 900.0, Pace(40.0, 4, 2), dict.fromkeys([*hanging, KEYS[0]], False))
    mine = [result for result in world.results if result.key == KEYS[0]]
    assert max(world.lags) > 40.0
    assert [result.attempts for result in mine][:2] == [1, 2]
    assert all(result.up for result in mine)


@dataclass
class Broken(World):
    """A world in which whatever is told or asked of one check raises, in one place."""

    where: str = ""

    def _at(self, where: str, key: CheckKey | None = None) -> None:
        if self.where == where and (key or min(KEYS[:5], key=self._distance)) is KEYS[0]:
            raise ZeroDivisionError("as in a bug")

    def _distance(self, key: CheckKey) -> float:
        return abs(anyio.current_time() % 60.0 - offset(key, 60.0))

    async def attempt(self, key: CheckKey, within: float = math.inf) -> Result:
        self._at("attempt", key)
        return await super().attempt(key, within)

    def started(self, lag: float) -> None:
        self._at("started")
        super().started(lag)

    def missed(self, slots: int) -> None:
        self._at("missed")
        super().missed(slots)

    def finished(self, result: Result) -> None:
        if result.up or self.where == "any result":
            self._at("result", result.key)
            self._at("any result", result.key)
        super().finished(result)


@pytest.mark.parametrize("where", ["attempt", "started", "missed", "result"])
def test_a_defect_about_one_check_is_its_result_and_it_keeps_its_appointments(where: str) -> None:
    world = Broken(where=where)
    run_for(world, 600.0, CAREFUL, dict.fromkeys(KEYS[:5], True))
    told = {key: [result.failure for result in world.results if result.key == key] for key in KEYS[:5]}
    assert {key: len(failures) for key, failures in told.items()} == dict.fromkeys(KEYS[:5], 10)
    assert all(failure is None for key in KEYS[1:5] for failure in told[key])
    assert all(failure and failure.reason is Reason.INTERNAL_ERROR for failure in told[KEYS[0]])
    assert all(failure and failure.message.startswith("ZeroDivisionError: as in a bug (") for failure in told[KEYS[0]])


def test_a_defect_that_cannot_be_told_as_a_result_is_logged_once() -> None:
    world = Broken(where="any result")
    with capture_logs() as logs:
        run_for(world, 600.0, CAREFUL, dict.fromkeys(KEYS[:5], True))
    assert Counter(result.key for result in world.results) == dict.fromkeys(KEYS[1:5], 10)
    assert len(world.starts[KEYS[0]]) == 10
    assert [(log["event"], log["target"], log["exc_info"]) for log in logs] == [
        ("a result cannot be reported", KEYS[0].target.url, True)
    ]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_defect_in_one_round_is_the_result_of_one_check(backend: str) -> None:
    world = Broken(where="attempt")
    anyio.run(probe_once, KEYS[:5], 8, world.attempt, world, Pulse(), backend=backend)
    assert {result.key: result.up for result in world.results} == {key: key is not KEYS[0] for key in KEYS[:5]}


def test_a_timetable_that_breaks_down_is_told_once_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    world, calls = World(), iter(range(10**6))

    def heappop_at_times(heap: list[Any]) -> Any:
        if 10 <= next(calls) < 15:
            raise ZeroDivisionError("as in a bug")
        return heappop(heap)

    monkeypatch.setattr("exporter.service.schedule.heappop", heappop_at_times)
    with capture_logs() as logs:
        run_for(world, 600.0, CAREFUL, dict.fromkeys(KEYS[:5], True))
    assert {len(starts) for starts in world.starts.values()} == {10}
    assert max(world.lags) == pytest.approx(5 * RESTART)
    assert [log["event"] for log in logs] == ["the timetable broke down"]


def test_a_check_that_leaves_before_its_probe_has_begun_is_not_probed() -> None:
    """Taken away at the very moment when its probe is due, which on asyncio no cancellation would reach."""
    stays, leaves = KEYS[:2]

    async def play(world: World) -> None:
        async with anyio.create_task_group() as group:
            schedule = Schedule(group, world.attempt, world)
            schedule.adopt({stays: True, leaves: True}, Pace(0.2, 1))
            for _ in range(300):  # rounds of the loop: some fall between the begin of a task and its first step
                schedule.adopt({stays: True, leaves: True}, Pace(0.2, 1))
                await anyio.lowlevel.checkpoint()
                schedule.adopt({stays: True}, Pace(0.2, 1))
                gone = len(world.starts[leaves])
                await anyio.sleep(0.001)
                assert len(world.starts[leaves]) == gone
            group.cancel_scope.cancel()

    run_on_loop(play, World(takes=lambda _: 0.0))
