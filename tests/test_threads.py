"""What is heavy is done in few threads, in turn, and what nobody waits for any more is not begun."""

from __future__ import annotations

import threading
from collections.abc import Callable

import anyio
import pytest

from exporter.system.threads import Few

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_no_more_go_on_at_a_time_than_may() -> None:
    few, lock, under_way, most = Few(2), threading.Lock(), 0, 0
    together = threading.Barrier(2)

    def work() -> int:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        together.wait(60)
        with lock:
            under_way -= 1
        return threading.get_ident()

    found = set()

    async def one() -> None:
        found.add(await few.run(work))

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(one)
    assert most == 2
    assert threading.get_ident() not in found


async def test_what_a_function_raises_is_raised() -> None:
    with pytest.raises(LookupError, match="none"):
        await Few(1).run(raising(LookupError("none")))


def raising(error: Exception) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


async def test_what_is_cancelled_before_its_turn_is_not_begun_and_others_are() -> None:
    few, go_on, going_on, begun = Few(1), threading.Event(), threading.Event(), list[str]()

    def first() -> None:
        begun.append("first")
        going_on.set()
        go_on.wait(60)

    async with anyio.create_task_group() as group:
        group.start_soon(few.run, first)
        await anyio.to_thread.run_sync(going_on.wait)
        with anyio.move_on_after(0.01):
            await few.run(lambda: begun.append("cancelled"))
        go_on.set()
        await few.run(lambda: begun.append("last"))
    assert begun == ["first", "last"]


async def test_where_no_thread_is_to_be_had_the_next_may_find_one(monkeypatch: pytest.MonkeyPatch) -> None:
    few = Few(1)
    with monkeypatch.context() as patch:
        patch.setattr("exporter.system.threads.begin", raising_with_argument)
        with pytest.raises(RuntimeError):
            await few.run(lambda: None)
    assert await few.run(lambda: 7) == 7


def raising_with_argument(_: object) -> None:
    raise RuntimeError("can't start new thread")
