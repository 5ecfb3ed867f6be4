"""When probes happen: laws of places and slots, and whole days in virtual time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import pairwise

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from exporter.model import CheckKey, Failure, Phase, Reason, Result, Target
from exporter.schedule import FIRST_ROUND, PATIENCE, Pace, Schedule, next_slot, offset, probe_once, starts_at

DAY = 86_400.0
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
    starts: dict[CheckKey, list[float]] = field(default_factory=lambda: defaultdict(list))
    lags: list[float] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    missed_slots: int = 0
    under_way: int = 0
    most_under_way: int = 0

    async def probe(self, key: CheckKey) -> Result:
        self.starts[key].append(anyio.current_time())
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await anyio.sleep(self.takes(key))
        finally:
            self.under_way -= 1
        return Result(key, anyio.current_time(), failure=Failure(Phase.CONNECT, Reason.CONNECT_TIMEOUT, ""))

    def started(self, lag: float) -> None:
        self.lags.append(lag)

    def missed(self, slots: int) -> None:
        self.missed_slots += slots

    def finished(self, result: Result) -> None:
        self.results.append(result)


def simulate(play: Callable[[], Awaitable[None]]) -> None:
    """Run in virtual time: a day takes as long as its events take to compute."""
    anyio.run(play, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})


def run_for(world: World, seconds: float, pace: Pace, known: dict[CheckKey, bool]) -> None:
    async def play() -> None:
        async with anyio.create_task_group() as group:
            Schedule(group, world.probe, world).adopt(known, pace)
            await anyio.sleep(seconds)
            group.cancel_scope.cancel()

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


def test_a_change_of_plan_disturbs_nobody_who_stays() -> None:
    world = World()
    stays, leaves, comes = KEYS[:3]

    async def play() -> None:
        async with anyio.create_task_group() as group:
            schedule = Schedule(group, world.probe, world)
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
            schedule = Schedule(group, world.probe, world)
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
    anyio.run(probe_once, KEYS, 8, world.probe, world, backend=backend)
    assert {key: len(starts) for key, starts in world.starts.items()} == dict.fromkeys(KEYS, 1)
    assert world.most_under_way <= 8
    assert len(world.results) == len(KEYS)
