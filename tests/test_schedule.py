"""When probes happen: laws of places and slots, and whole days in virtual time."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from exporter.loop import run_on_loop
from exporter.model import CheckKey, Failure, Phase, Reason, Result, Target
from exporter.schedule import (
    AT_LEAST,
    CONFIRMING,
    FIRST_RATE,
    FIRST_ROUND,
    PATIENCE,
    PAUSE,
    Allowance,
    Pace,
    Schedule,
    next_slot,
    offset,
    pause,
    probe_once,
    starts_at,
)

DAY = 86_400.0
FAILURE = Failure(Phase.CONNECT, Reason.CONNECT_TIMEOUT, "")
KEYS = [CheckKey(Target(f"https://host{number}.example/")) for number in range(50)]

keys = st.builds(
    CheckKey,
    st.builds(Target, st.text("abc", min_size=1).map(lambda host: f"https://{host}.example/")),
    st.sampled_from([None, "corporate"]),
)
intervals = st.floats(0.1, 86_400, allow_nan=False)


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


@dataclass
class World:
    """A network in virtual time, and all that the schedule tells of it."""

    takes: Callable[[CheckKey], float] = lambda _: 0.2
    fails: Callable[[CheckKey, float], bool] = lambda _key, _now: False  # whether an attempt that begins now will
    starts: dict[CheckKey, list[float]] = field(default_factory=lambda: defaultdict(list))
    lags: list[float] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    doubts: list[Result] = field(default_factory=list)
    beliefs: list[Result] = field(default_factory=list)
    missed_slots: int = 0
    under_way: int = 0
    most_under_way: int = 0

    async def attempt(self, key: CheckKey, within: float = math.inf) -> Result:
        begun = anyio.current_time()
        self.starts[key].append(begun)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await anyio.sleep(min(self.takes(key), within))
        finally:
            self.under_way -= 1
        failed = self.fails(key, begun)
        return Result(key, begun, {Phase.CONNECT: anyio.current_time() - begun}, failure=FAILURE if failed else None)

    def started(self, lag: float) -> None:
        self.lags.append(lag)

    def missed(self, slots: int) -> None:
        self.missed_slots += slots

    def finished(self, result: Result) -> None:
        self.results.append(result)

    def doubted(self, result: Result) -> None:
        self.doubts.append(result)

    def believed(self, result: Result) -> None:
        self.beliefs.append(result)


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
    anyio.run(probe_once, KEYS, 8, world.attempt, world, backend=backend)
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


@given(st.floats(0, 1e6))
def test_a_pause_leaves_room_for_what_follows(left: float) -> None:
    assert 0 <= pause(left) <= min(PAUSE[1], left / 10)
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
        failed = next(result for result in world.doubts if result.key == key)
        told = next(result for result in world.results if result.key == key and not result.up)
        assert told.attempts == 2
        assert PAUSE[0] <= told.started - failed.finished <= PAUSE[1]


@pytest.mark.parametrize("attempts", [2, 3])
def test_fewer_failures_in_a_row_than_attempts_are_no_outage_and_are_shown(attempts: int) -> None:
    world = World()
    world.fails = lambda key, now: len(world.starts[key]) in range(5, 4 + attempts) and now > 0
    run_for(world, 900.0, Pace(60.0, 64, attempts), dict.fromkeys(KEYS[:5], True))
    assert all(result.up for result in world.results)
    assert Counter(result.key for result in world.doubts) == dict.fromkeys(KEYS[:5], attempts - 1)
    assert [result.attempts for result in world.results if result.refuted] == [attempts] * 5


def test_one_attempt_is_an_outage_where_no_more_are_configured() -> None:
    world = World(fails=between(600.0, 660.0))
    run_for(world, 900.0, Pace(60.0, 64), {KEYS[0]: True})
    assert len(world.starts[KEYS[0]]) == len(world.results) == 15
    assert [result.up for result in world.results].count(False) == 1
    assert not world.doubts


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
    assert more == len(world.doubts)
    assert CONFIRMING * len(MANY) <= more <= CONFIRMING * len(MANY) * 2
    assert more + len(world.beliefs) == len(MANY)
    assert all(60 <= told[key] - offset(key, 60.0) < 60 + PAUSE[1] + 1 for key in MANY)
    assert world.missed_slots == 0


@settings(max_examples=12, deadline=None)
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
    assert world.missed_slots == 0
    assert len(world.lags) == 20 * rounds
    assert max(world.lags) < PATIENCE
    assert len(world.doubts) <= AT_LEAST * (1 + rounds)
    assert sum(map(len, world.starts.values())) <= len(world.lags) + len(world.doubts)
    assert all(result.attempts <= pace.attempts for result in world.results)
