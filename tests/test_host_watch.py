"""What a host has to do with is known together and soon, and no slow answer is called down: in virtual time."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import anyio
import pytest
from hypothesis import Phase as Step
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.model.vocabulary import CheckKey, Failure, OutOfTurn, Phase, Reason, Result, Target
from exporter.service.path_watch import AT_ONCE, FEW, MINUTE, WITNESSES
from exporter.service.schedule import PAUSE, SILENCE, Pace
from tests.schedules import World, run_for

TIMEOUT: Final = 10.0
PACE: Final = Pace(20.0, 64, 2)
SHARED: Final = [CheckKey(Target(f"https://shared.example{rest}")) for rest in ("/", "/a", ":8443/", "/b")]
OTHERS: Final = [CheckKey(Target(f"https://other{number}.example/")) for number in range(40)]
ALL: Final = dict.fromkeys([*SHARED, *OTHERS], True)
REASONS: Final = {
    Reason.CONNECT_REFUSED: Phase.CONNECT,
    Reason.DNS_NOT_FOUND: Phase.RESOLVE,
    Reason.TLS_HANDSHAKE: Phase.TLS,
    Reason.HTTP_STATUS: Phase.PROCESSING,
}


@pytest.fixture(autouse=True)
def _virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine holds up the tests, which is not to be noticed where time is virtual."""
    monkeypatch.setattr("exporter.system.lag.GOING_ON", ())


@dataclass
class Site(World):
    """A site of which one host is cut for a while, and when each of its checks came to what."""

    cut: tuple[float, float] = (math.inf, math.inf)
    silent: bool = False
    latency: float = 0.2
    told: list[tuple[float, Result]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Let attempts fail by that."""
        self.timeout, self.fails = TIMEOUT, self.is_cut
        self.takes = lambda key: TIMEOUT if self.silent and self.is_cut(key, anyio.current_time()) else self.latency

    def is_cut(self, key: CheckKey, now: float) -> bool:
        return key in SHARED and self.cut[0] <= now < self.cut[1]

    def finished(self, result: Result) -> None:
        super().finished(result)
        self.told.append((anyio.current_time(), result))

    def finished_out_of_turn(self, result: Result) -> None:
        self.finished(result)

    def first(self, key: CheckKey, since: float, *, up: bool) -> float:
        """When a check was first said to be so."""
        return next(at for at, result in self.told if at >= since and result.key == key and result.up is up)

    def met(self) -> float:
        """When the first attempt began that met the cut."""
        return min(start for key in SHARED for start in self.starts[key] if start >= self.cut[0])


@pytest.mark.parametrize("reason", REASONS)
def test_whatever_needs_a_host_is_known_to_fail_together_and_to_work_again(reason: Reason) -> None:
    site = Site(failure=Failure(REASONS[reason], reason, ""), cut=(100.0, 200.0))
    run_for(site, 240.0, PACE, ALL)
    down = [site.first(key, 100.0, up=False) for key in SHARED]
    back = [site.first(key, 200.0, up=True) for key in SHARED]
    assert max(down) < site.met() + PAUSE[1] + 1.0
    assert max(back) - min(back) < 1.0
    assert {result.up for _, result in site.told if result.key in OTHERS} == {True}
    assert len(site.out_of_turn) <= 3 * (len(SHARED) + FEW + WITNESSES)
    assert site.missed_slots == 0


def test_a_silent_host_is_known_a_timeout_and_two_seconds_after_its_probe_began() -> None:
    site = Site(failure=Failure(Phase.CONNECT, Reason.CONNECT_TIMEOUT, ""), silent=True, cut=(100.0, math.inf))
    run_for(site, 140.0, PACE, ALL)
    known = [site.first(key, 100.0, up=False) for key in SHARED]
    assert min(known) == pytest.approx(site.met() + SILENCE + TIMEOUT, abs=0.1)
    assert max(known) < min(known) + SILENCE + 0.5
    assert {result.up for _, result in site.told if result.key in OTHERS} == {True}


def test_the_path_of_a_host_that_fails_is_asked_at_once_so_that_it_is_not_to_blame() -> None:
    """Of a small site with a long interval nothing else would have its turn for minutes."""
    site = Site(cut=(700.0, math.inf))
    known = dict.fromkeys([SHARED[0], *OTHERS[:3]], True)
    run_for(site, 1000.0, Pace(300.0, 64, 2), known)
    asked = [min(start for start in site.starts[key] if start >= site.met()) for key in OTHERS[:3]]
    assert max(asked) < site.met() + 1.0


@pytest.mark.parametrize("latency", [3.0, 7.0])
def test_answers_that_become_slow_are_slow_and_not_down_and_cost_few_attempts_more(latency: float) -> None:
    site = Site()
    site.takes = lambda _: latency if anyio.current_time() >= 100.0 else 0.2
    run_for(site, 400.0, PACE, ALL)
    assert {result.up for _, result in site.told} == {True}
    slow = [result.duration for at, result in site.told if at >= 145.0]
    assert {round(duration, 3) for duration in slow} == {latency}
    assert {result.attempts for _, result in site.told} == {1}
    turns = len(site.lags) + len(site.out_of_turn)
    assert sum(map(len, site.starts.values())) - turns <= len(ALL)
    assert max(at for at, _ in site.out_of_turn) < 145.0


def test_a_lost_packet_is_refuted_by_the_attempt_beside_it() -> None:
    """The first attempt hangs though all is well; whoever begins a moment later is answered."""
    site = Site(silent=True)
    site.is_cut = lambda key, now: key is SHARED[0] and 100.0 <= now < 131.0  # type: ignore[method-assign]
    begun = list[float]()

    def takes(key: CheckKey) -> float:
        if key is SHARED[0] and anyio.current_time() >= 100.0 and not begun:
            begun.append(anyio.current_time())
            return TIMEOUT
        return 0.2

    site.takes, site.fails = takes, lambda _key, _now: False
    run_for(site, 200.0, PACE, ALL)
    assert {result.up for _, result in site.told} == {True}
    (refuted,) = [(at, result) for at, result in site.told if result.attempts == 2]
    assert refuted[0] == pytest.approx(begun[0] + TIMEOUT, abs=0.1)
    assert refuted[1].duration == pytest.approx(0.2)
    assert refuted[1].recovered_from is not None
    assert len(site.out_of_turn) <= len(SHARED) + FEW + WITNESSES


def test_whoever_is_down_or_has_never_worked_is_asked_by_one_attempt_at_a_time() -> None:
    site = Site(silent=True, failure=Failure(Phase.CONNECT, Reason.CONNECT_TIMEOUT, ""), cut=(0.0, math.inf))
    run_for(site, 400.0, PACE, dict.fromkeys(SHARED, False))
    for key in SHARED:
        assert all(after - before >= TIMEOUT for before, after in pairwise(site.starts[key]))


@settings(max_examples=10, phases=[Step.explicit, Step.generate])
@given(st.integers(0, 2**32).map(random.Random), st.floats(0.05, 0.9), st.booleans())
def test_hosts_that_fail_again_and_again_cost_a_bounded_number_of_probes(
    chance: random.Random, share: float, silent: bool
) -> None:
    site = Site()
    site.fails = lambda _key, _now: chance.random() < share
    site.takes = lambda _key: chance.choice([0.2, TIMEOUT]) if silent else 0.2
    minutes = 10
    run_for(site, minutes * 60.0, PACE, ALL)
    rounds = AT_ONCE + minutes * 60.0 / MINUTE
    suspected = [why for _, why in site.out_of_turn if why is not OutOfTurn.DOWN]
    assert len(suspected) <= 2 * rounds * len(ALL)  # for hosts, and for the path
    assert site.missed_slots == 0
