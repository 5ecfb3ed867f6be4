"""Passwords: a wrong one costs no more than a right one, delays no other host, and says nothing of who exists."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Iterator
from typing import Final

import anyio
import bcrypt
import pytest

from exporter.web import passwords
from exporter.web.passwords import REMEMBERED, WAITING_OF_ONE_ORIGIN, Passwords
from exporter.web.turns import Busy

pytestmark = pytest.mark.anyio

USERS: Final = {
    "prometheus": bcrypt.hashpw(b"right", bcrypt.gensalt(4)),
    "careful": bcrypt.hashpw(b"right", bcrypt.gensalt(6)),
}


def shown(user: str, password: str) -> str:
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


class Comparisons:
    """The real ones, counted; they wait while a test holds them."""

    def __init__(self) -> None:
        self.of: list[bytes] = []
        self.known: list[bytes] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self._fits = passwords._fits  # noqa: SLF001 - what is counted

    def __call__(self, password: bytes, known: bytes) -> bool:
        self.of.append(password)
        self.known.append(known)
        self.go_on.wait()
        return self._fits(password, known)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Comparisons]:
    comparisons = Comparisons()
    monkeypatch.setattr(passwords, "_fits", comparisons)
    yield comparisons
    comparisons.go_on.set()


async def test_a_password_is_compared_once_be_it_right_or_wrong(compared: Comparisons) -> None:
    known = Passwords()
    for _ in range(5):
        assert await known.user("a", shown("prometheus", "right"), USERS) == "prometheus"
        assert await known.user("b", shown("prometheus", "wrong"), USERS) is None
        assert await known.user("c", shown("nobody", "right"), USERS) is None
    assert compared.of == [b"right", b"wrong", b"right"]


async def test_no_number_of_wrong_ones_displaces_a_right_one_and_few_are_remembered(compared: Comparisons) -> None:
    known = Passwords()
    await known.user("a", shown("prometheus", "right"), USERS)
    for number in range(REMEMBERED + 1):
        await known.user("b", shown("prometheus", str(number)), USERS)
    before = len(compared.of)
    assert await known.user("a", shown("prometheus", "right"), USERS) == "prometheus"
    assert await known.user("b", shown("prometheus", "1"), USERS) is None
    assert len(compared.of) == before
    assert await known.user("b", shown("prometheus", "0"), USERS) is None  # the oldest is forgotten
    assert len(compared.of) == before + 1


async def test_another_hash_is_another_question(compared: Comparisons) -> None:
    known, changed = Passwords(), {"prometheus": bcrypt.hashpw(b"new", bcrypt.gensalt(4))}
    assert await known.user("a", shown("prometheus", "right"), USERS) == "prometheus"
    assert await known.user("a", shown("prometheus", "right"), changed) is None
    assert await known.user("a", shown("prometheus", "new"), changed) == "prometheus"
    assert len(compared.of) == 3


async def test_few_of_one_host_wait_and_another_host_comes_next(compared: Comparisons) -> None:
    known, order = Passwords(), list[str]()
    compared.go_on.clear()

    async def ask(origin: str, password: str) -> None:
        try:
            user = await known.user(origin, shown("prometheus", password), USERS)
        except Busy:
            user = "too many"
        order.append(f"{origin}: {user}")

    async with anyio.create_task_group() as group:
        for number in range(WAITING_OF_ONE_ORIGIN + 3):
            group.start_soon(ask, "stranger", f"wrong {number}")
            await anyio.wait_all_tasks_blocked()
        group.start_soon(ask, "prometheus", "right")
        await anyio.wait_all_tasks_blocked()
        compared.go_on.set()
    assert order[:2] == ["stranger: too many"] * 2
    assert order.index("prometheus: prometheus") <= 4  # behind the one under way, and one more of the stranger
    assert order.count("stranger: None") == WAITING_OF_ONE_ORIGIN + 1


async def test_a_password_that_is_known_waits_for_nobody_not_even_of_its_own_host(compared: Comparisons) -> None:
    known = Passwords()
    await known.user("same", shown("prometheus", "right"), USERS)
    compared.go_on.clear()
    async with anyio.create_task_group() as group:
        for number in range(WAITING_OF_ONE_ORIGIN + 1):
            group.start_soon(known.user, "same", shown("prometheus", f"wrong {number}"), USERS)
        await anyio.wait_all_tasks_blocked()
        assert await known.user("same", shown("prometheus", "right"), USERS) == "prometheus"
        compared.go_on.set()


async def test_who_hangs_up_waits_no_more_and_has_one_compared_at_a_time(compared: Comparisons) -> None:
    known = Passwords()
    compared.go_on.clear()
    async with anyio.create_task_group() as group:
        for number in range(WAITING_OF_ONE_ORIGIN + 1):
            group.start_soon(known.user, "stranger", shown("prometheus", f"wrong {number}"), USERS)
            await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
        compared.go_on.set()
    assert compared.of == [b"wrong 0"]
    assert await known.user("prometheus", shown("prometheus", "right"), USERS) == "prometheus"


async def test_an_unknown_name_is_compared_at_the_cost_of_a_user_and_always_at_the_same(compared: Comparisons) -> None:
    known = Passwords()
    for number in range(20):
        await known.user("a", shown(f"nobody {number}", "one"), USERS)
        await known.user("a", shown(f"nobody {number}", "two"), USERS)
    costs = [hashed[:7] for hashed in compared.known]
    assert costs[::2] == costs[1::2]
    assert set(costs) == {hashed[:7] for hashed in USERS.values()}
    assert len({len(hashed) for hashed in compared.known}) == 1
