"""A dead path is found, and its end, at any interval: laws of whole outages in virtual time."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Final

import anyio
import pytest
from hypothesis import Phase as Step
from hypothesis import event, given, settings
from hypothesis import strategies as st

from exporter.model.vocabulary import CheckKey, Failure, OutOfTurn, Phase, Probing, Reason, Result, Target
from exporter.results.paths import paths
from exporter.service.path_watch import FEW, LOOK, WITNESSES
from exporter.service.schedule import PATIENCE, PAUSE, Pace, Schedule
from tests.schedules import World, run_for, simulate

TIMEOUT: Final = 10.0
# Seconds from the first attempt that an outage meets,
WITHIN: Final = 45.0  # where it is silent and answers took long,
SOON: Final = 20.0  # where they did not,
SOON_OF_MANY: Final = 25.0  # where there are so many that they wait for their turns,
AT_ONCE: Final = 12.0  # and where connections are refused
BACK: Final = 15.0  # seconds from the end of an outage
INTERVALS: Final = (20.0, 300.0, 3600.0)
SILENT: Final = Failure(Phase.CONNECT, Reason.CONNECT_TIMEOUT, "")
REFUSED: Final = Failure(Phase.CONNECT, Reason.CONNECT_REFUSED, "")
NO_PROXY: Final = Failure(Phase.CONNECT, Reason.PROXY_UNREACHABLE, "")
LOCKED: Final = Failure(Phase.PROXY, Reason.PROXY_AUTH_REQUIRED, "")


@pytest.fixture(autouse=True)
def _virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine holds up the tests, which is not to be noticed where time is virtual."""
    monkeypatch.setattr("exporter.system.lag.GOING_ON", ())


@dataclass
class Site(World):
    """A site whose path may be cut, while some of its hosts are blocked all the time; and what is said of the path."""

    cuts: Collection[tuple[float, float]] = ()
    blocked: frozenset[CheckKey] = frozenset()
    blocked_from: float = 0.0
    latency: float = 0.1
    silent: bool = False  # whether a failure takes as long as an attempt may
    latest: dict[CheckKey, Result] = field(default_factory=dict)
    verdicts: list[tuple[float, bool]] = field(default_factory=list)  # whenever it changes

    def __post_init__(self) -> None:
        """Let attempts fail by that."""
        self.timeout, self.fails = TIMEOUT, self.is_cut
        self.takes = lambda key: TIMEOUT if self.silent and self.is_cut(key, anyio.current_time()) else self.latency

    def is_cut(self, key: CheckKey, now: float) -> bool:
        return any(begin <= now < end for begin, end in self.cuts) or (key in self.blocked and now >= self.blocked_from)

    def finished(self, result: Result) -> None:
        super().finished(result)
        self.latest[result.key] = result
        up = paths(self.latest.values()).get(result.key.path, True)
        if not self.verdicts or self.verdicts[-1][1] is not up:
            self.verdicts.append((anyio.current_time(), up))

    def finished_out_of_turn(self, result: Result) -> None:
        self.finished(result)

    def met(self, begin: float) -> float:
        """When the first attempt began that met an outage, of what had worked."""
        well = self.starts.keys() - self.blocked
        return min((start for key in well for start in self.starts[key] if start >= begin), default=math.inf)

    def until(self, moment: float, *, up: bool) -> float:
        """Seconds from a moment to the first time that the path was said to be so."""
        return next((at for at, said in self.verdicts if said is up and at >= moment), math.inf) - moment


def checks(number: int, proxy: str | None = None) -> dict[CheckKey, bool]:
    return {CheckKey(Target(f"https://host{n}.example/"), proxy): False for n in range(number)}


def pace(interval: float, attempts: int = 2) -> Pace:
    return Pace(interval, 64, attempts)


@pytest.mark.parametrize("interval", INTERVALS)
@pytest.mark.parametrize(
    ("number", "failure", "within"), [(5, SILENT, SOON), (60, SILENT, SOON), (60, REFUSED, AT_ONCE)]
)
def test_a_cut_line_is_known_soon_after_the_first_probe_that_it_meets_and_so_is_its_end(
    interval: float, number: int, failure: Failure, within: float
) -> None:
    cut = 1.5 * interval + 0.5
    end = cut + interval + 100.0
    site = Site(failure=failure, silent=failure is SILENT, cuts=[(cut, end)])
    known = checks(number)
    run_for(site, end + 60.0, pace(interval), known)
    assert site.until(site.met(cut), up=False) < within
    assert site.until(end, up=True) < BACK
    assert {result.up for result in site.latest.values()} == {True}
    assert site.missed_slots == 0
    assert [up for _, up in site.verdicts] == [True, False, True]


@pytest.mark.parametrize("phase", [0.0, 0.5])
def test_a_silent_line_costs_none_of_what_is_probed_as_shipped_its_slot_and_is_known_soon(phase: float) -> None:
    """Without a configuration there are 173 targets; all of them wait for a timeout, half an interval."""
    shipped = Probing()
    cut = (3 + phase) * shipped.interval
    site = Site(failure=SILENT, silent=True, cuts=[(cut, cut + 240.0)])
    run_for(site, cut + 300.0, Pace(shipped.interval, shipped.concurrency, shipped.attempts), checks(173))
    assert shipped.timeout == TIMEOUT
    assert site.until(site.met(cut), up=False) < SOON_OF_MANY
    assert site.until(cut + 240.0, up=True) < BACK
    assert {result.up for result in site.latest.values()} == {True}
    assert site.missed_slots == 0
    assert max(site.lags) < PATIENCE


sites = st.builds(
    lambda number, proxy, silent, interval, latency: (
        checks(number, proxy),
        Site(failure=NO_PROXY if proxy else SILENT if silent else REFUSED, silent=silent, latency=latency),
        interval,
    ),
    st.integers(2, 40),
    st.sampled_from([None, "corporate"]),
    st.booleans(),
    st.sampled_from(INTERVALS),
    st.sampled_from([0.05, 2.0, 6.0]),
)
Drawn = tuple[dict[CheckKey, bool], Site, float]
drawn = settings(max_examples=10, phases=[Step.explicit, Step.generate])


def share_of(known: dict[CheckKey, bool], share: float, chance: random.Random) -> frozenset[CheckKey]:
    """So many of them, but never all."""
    return frozenset(chance.sample(list(known), min(len(known) - 1, round(share * len(known)))))


@drawn
@given(sites, st.sampled_from([0.2, 0.6, 0.95]), st.integers(0, 2**32).map(random.Random))
def test_a_path_that_works_for_anybody_is_never_called_down_and_what_is_asked_for_that_is_bounded(
    site_of: Drawn, share: float, chance: random.Random
) -> None:
    known, site, interval = site_of
    site.blocked, site.blocked_from = blocked, _ = share_of(known, share, chance), 1.3 * interval
    run_for(site, 4 * interval, pace(interval), known)
    assert {up for _, up in site.verdicts} == {True}
    assert {key for key, result in site.latest.items() if not result.up} == blocked
    assert Counter(why for _, why in site.out_of_turn)[OutOfTurn.DOWN] == 0
    assert len(site.out_of_turn) <= 2 * len(known) + (FEW + WITNESSES + 1) * len(blocked)
    assert max((at for at, _ in site.out_of_turn), default=0.0) < site.blocked_from + 1.2 * interval + 60.0
    assert site.missed_slots == 0


@drawn
@given(sites, st.lists(st.floats(1.0, 400.0), min_size=2, max_size=8), st.integers(0, 2**32).map(random.Random))
def test_through_any_outages_a_path_is_down_only_if_it_was_cut_and_the_load_is_bounded(
    site_of: Drawn, spans: list[float], chance: random.Random
) -> None:
    known, site, interval = site_of
    moments = [sum(spans[: number + 1]) for number in range(len(spans))]
    cuts = list(zip(moments[::2], moments[1::2], strict=False))
    site.cuts, site.blocked = cuts, share_of(known, 0.3, chance)
    end = moments[-1] + 60.0
    run_for(site, end, pace(interval), known)
    slack = site.latency + 2 * TIMEOUT + PAUSE[1] + 2 * LOOK
    for at, up in site.verdicts:
        assert up or any(begin <= at <= till + slack for begin, till in cuts)
    for (_, before), (begin, till), (after, _) in zip([(0.0, 0.0), *cuts], cuts, [*cuts[1:], (end, end)], strict=False):
        found = site.met(begin) + WITHIN + site.latency + TIMEOUT
        if found < till and begin - before > 120.0:
            event("an outage that must be found")
            assert site.until(begin, up=False) < found - begin
            if after - till > BACK + site.latency:
                event("and its end")
                assert site.until(till, up=True) < BACK + site.latency
    looks = sum(why is OutOfTurn.DOWN for _, why in site.out_of_turn)
    assert looks <= FEW * (1 + sum(till - begin + slack for begin, till in cuts) / LOOK)
    assert len(site.out_of_turn) - looks <= 2 * max(len(known), FEW) * (2 + end / 60.0)  # for the path, and for hosts


def test_one_lost_packet_costs_few_probes_and_no_verdict() -> None:
    site = Site(failure=REFUSED, cuts=[(700.0, 701.0)])
    run_for(site, 900.0, pace(60.0), checks(60))
    assert {up for _, up in site.verdicts} == {True}
    assert len(site.out_of_turn) <= FEW + WITNESSES


def test_a_refused_account_is_neither_asked_sooner_nor_looked_at() -> None:
    site = Site(failure=LOCKED, cuts=[(100.0, 1300.0)])
    run_for(site, 1290.0, pace(300.0, 1), checks(10, "corporate"))
    assert not site.verdicts[-1][1]
    assert site.out_of_turn == []


def test_when_a_refused_account_is_taken_again_the_others_are_asked_at_once() -> None:
    site = Site(failure=LOCKED, cuts=[(100.0, 1300.0)])
    run_for(site, 1400.0, pace(300.0, 1), checks(10, "corporate"))
    assert site.verdicts[-1][1]
    assert {result.up for result in site.latest.values()} == {True}
    assert {why for _, why in site.out_of_turn} == {OutOfTurn.RECOVERED}


def test_an_answer_that_was_under_way_when_the_line_was_cut_is_asked_again() -> None:
    """Ten seconds are as long as any may take; all that answer then began before the cut."""
    known = checks(20)
    for cut in (301.0, 303.0, 307.0):
        site = Site(failure=REFUSED, latency=9.9, cuts=[(cut, math.inf)])
        run_for(site, 450.0, pace(300.0), known)
        assert site.until(site.met(cut), up=False) < 9.9 + 3 * AT_ONCE


def test_a_suspicion_outlives_a_change_of_the_pace_and_a_reload() -> None:
    known = checks(40)
    site = Site(failure=SILENT, silent=True, cuts=[(400.0, 800.0)])

    async def play() -> None:
        async with anyio.create_task_group() as group:
            schedule = Schedule(group, site.attempt, site)
            schedule.adopt(known, pace(300.0))
            await anyio.sleep(400.0)
            for second in range(1, 400):
                await anyio.sleep_until(400.0 + second)
                if second == 25:
                    schedule.adopt(dict.fromkeys(known, True), pace(325.0))
                if second % 20 == 0:
                    schedule.adopt(dict.fromkeys(known, True), pace(325.0 if second > 25 else 300.0))
            await anyio.sleep_until(850.0)
            group.cancel_scope.cancel()

    simulate(play)
    assert site.until(site.met(400.0), up=False) < WITHIN + TIMEOUT + 25.0
    assert site.until(800.0, up=True) < BACK
    assert {result.up for result in site.latest.values()} == {True}


def test_what_fails_by_a_proxy_while_the_line_behind_it_is_cut_is_asked_with_the_others() -> None:
    """The proxy says that it reaches nobody, which is no word against the proxy, nor about the line of others."""
    direct, proxied = checks(20), checks(20, "corporate")
    site = Site(failure=REFUSED, cuts=[(700.0, 1500.0)])
    behind = Failure(Phase.PROXY, Reason.PROXY_ERROR, "")

    async def attempt(key: CheckKey, within: float) -> Result:
        result = await site.attempt(key, within)
        return replace(result, failure=behind) if key.proxy and result.failure else result

    async def play() -> None:
        async with anyio.create_task_group() as group:
            Schedule(group, attempt, site).adopt(direct | proxied, pace(300.0))
            await anyio.sleep(1500.0 + BACK)
            group.cancel_scope.cancel()

    simulate(play)
    assert {result.up for result in site.latest.values()} == {True}
