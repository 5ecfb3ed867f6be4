"""Whose turn it is: no party keeps another waiting for more than one of its own, and what waits is bounded."""

from __future__ import annotations

from collections import Counter

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.web.turns import Busy, Turn, Turns

pytestmark = pytest.mark.anyio

PARTIES = st.sampled_from("abcde")


@given(st.lists(st.tuples(PARTIES, st.sampled_from(["ask", "finish", "hang up"])), max_size=80))
async def test_what_works_and_what_waits_is_bounded_and_no_turn_is_lost(steps: list[tuple[str, str]]) -> None:
    turns = Turns(at_once=3, at_once_of_one=2, waiting=6, waiting_of_one=3)
    working: list[Turn] = []
    asking: list[tuple[str, anyio.CancelScope]] = []
    refused = Counter[str]()

    async def ask(party: str) -> None:
        with anyio.CancelScope() as scope:
            asking.append((party, scope))
            try:
                working.append(await turns.begin(party))
            except Busy:
                refused[party] += 1
        asking.remove((party, scope))

    async with anyio.create_task_group() as group:
        for party, step in steps:
            if step == "ask":
                group.start_soon(ask, party)
            elif step == "finish" and working:
                working.pop(0).end()
            else:
                for _, scope in [each for each in asking if each[0] == party][:1]:
                    scope.cancel()
            await anyio.wait_all_tasks_blocked()
            held = Counter(str(turn.party) for turn in working)
            assert turns.under_way == len(working) <= 3
            assert max(held.values(), default=0) <= 2
            assert turns.waiting == len(asking) <= 6
            assert all(held[party] == 2 or len(working) == 3 for party, _ in asking)
        while working:
            working.pop(0).end()
            await anyio.wait_all_tasks_blocked()
    assert turns.under_way == turns.waiting == 0


async def test_parties_come_in_rotation_however_many_one_of_them_sends() -> None:
    turns = Turns(at_once=1, at_once_of_one=1, waiting=64, waiting_of_one=16)
    order: list[str] = []

    async def work(party: str) -> None:
        turn = await turns.begin(party)
        order.append(party)
        await all_wait.wait()
        turn.end()

    all_wait = anyio.Event()
    async with anyio.create_task_group() as group:
        for party in "aaaaaaaabc":
            group.start_soon(work, party)
            await anyio.wait_all_tasks_blocked()
        all_wait.set()
    assert "".join(order) == "aabcaaaaaa"


async def test_who_has_fewer_takes_the_last_place_of_who_has_most() -> None:
    turns = Turns(at_once=1, at_once_of_one=1, waiting=4, waiting_of_one=4)
    answered: list[str] = []

    async def ask(party: str) -> None:
        try:
            turn = await turns.begin(party)
        except Busy:
            answered.append(f"{party} refused")
        else:
            answered.append(party)
            turn.end()

    first = await turns.begin("a")
    async with anyio.create_task_group() as group:
        for party in "aaaab":
            group.start_soon(ask, party)
            await anyio.wait_all_tasks_blocked()
        group.start_soon(ask, "a")
        await anyio.wait_all_tasks_blocked()
        first.end()
    assert answered == ["a refused", "a refused", "a", "b", "a", "a"]


async def test_a_turn_that_is_over_twice_is_over_once() -> None:
    turns = Turns(at_once=2, at_once_of_one=2, waiting=0, waiting_of_one=0)
    first, _ = await turns.begin("a"), await turns.begin("a")
    first.end()
    first.end()
    assert turns.under_way == 1
