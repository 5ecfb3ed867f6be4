"""What is remembered of a check: spells, failures longer than successes, never more than there is room for."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from exporter.model.vocabulary import (
    Check,
    CheckKey,
    Consumer,
    Failure,
    Phase,
    Plan,
    Reason,
    Result,
    Spell,
    Target,
    Use,
)
from exporter.results.history import ALL_FAILURES, ALL_SUCCESSES, LONGEST_MESSAGE, Room, extended, kept
from exporter.results.store import ResultStore

KEY: Final = CheckKey(Target("https://host.example/"))
CHECK: Final = Check(KEY, (Use(Consumer("updates", "client", "azure-public"), "host.example"),))
outcomes: Final = st.lists(st.none() | st.sampled_from([Reason.DNS_TIMEOUT, Reason.HTTP_STATUS]), max_size=40)
rooms: Final = st.builds(Room, st.integers(0, 5), st.integers(0, 3))
AMPLE: Final = Room(1000, 1000)


def result(reason: Reason | None, at: float, message: str = "in words") -> Result:
    failure = Failure(Phase.PROCESSING, reason, message) if reason else None
    return Result(KEY, at, {Phase.RESOLVE: 1.0}, failure=failure)


def remembered(reasons: list[Reason | None], room: Room) -> tuple[Spell, ...]:
    history: tuple[Spell, ...] = ()
    for number, reason in enumerate(reasons):
        changed = number == 0 or reasons[number - 1] != reason
        history = extended(history, result(reason, 60.0 * number), room, changed=changed)
    return history


def failures(history: tuple[Spell, ...]) -> list[Spell]:
    return [spell for spell in history if spell.reason]


@given(outcomes)
def test_with_ample_room_every_probe_is_in_one_spell_and_neighbours_differ(reasons: list[Reason | None]) -> None:
    history = remembered(reasons, AMPLE)
    assert [spell.reason for spell in history for _ in range(spell.probes)] == reasons
    assert all(one.reason != next_one.reason and one.last < next_one.first for one, next_one in pairwise(history))


@given(outcomes, rooms)
def test_a_spell_has_no_gap_whatever_is_forgotten(reasons: list[Reason | None], room: Room) -> None:
    history = remembered(reasons, room)
    assert all(spell.last - spell.first == 60.0 * (spell.probes - 1) for spell in history)
    assert [spell.reason for spell in history] == [spell.reason for spell in kept(remembered(reasons, AMPLE), room)]


@given(outcomes, rooms)
def test_what_is_kept_is_the_latest_of_each_kind_and_fits(reasons: list[Reason | None], room: Room) -> None:
    history = kept(remembered(reasons, AMPLE), room)
    whole = remembered(reasons, AMPLE)
    assert failures(history) == failures(whole)[len(failures(whole)) - min(room.failures, len(failures(whole))) :]
    assert len(history) - len(failures(history)) <= room.successes
    assert list(history) == sorted(history, key=lambda spell: spell.first)
    assert len(failures(remembered(reasons, room))) <= room.failures


@given(st.integers(0, 10**6))
def test_all_histories_together_are_bounded_and_failures_have_more_room(checks: int) -> None:
    room = Room.for_each_of(checks)
    assert room.failures * checks <= ALL_FAILURES
    assert room.successes * checks <= ALL_SUCCESSES
    assert room.failures >= room.successes


def test_a_message_is_cut_where_it_would_fill_the_memory() -> None:
    (spell,) = extended((), result(Reason.HTTP_STATUS, 0.0, "x" * 10_000), AMPLE, changed=True)
    assert len(spell.message) == LONGEST_MESSAGE


def test_a_history_leaves_with_the_plan_and_stays_with_its_check() -> None:
    store = ResultStore(Plan((CHECK,)))
    store.record(result(Reason.DNS_TIMEOUT, 0.0))
    store.record(result(None, 60.0))
    before = store.snapshot().latest[KEY].history
    store.adopt(Plan((CHECK,)))
    assert store.snapshot().latest[KEY].history == before
    assert [spell.reason for spell in before] == [Reason.DNS_TIMEOUT, None]
    store.adopt(Plan())
    store.adopt(Plan((CHECK,)))
    store.record(result(None, 120.0))
    assert [spell.probes for spell in store.snapshot().latest[KEY].history] == [1]
