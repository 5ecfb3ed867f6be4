"""Reloads: one runs and one waits, however many ask for one, and all who ask hear what came of theirs."""

from __future__ import annotations

import anyio
import pytest
from trio.testing import MockClock

from exporter.service.reloading import LONGEST_PAUSE, NotReloaded, Reloads

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("fails", [False, True])
async def test_one_reload_runs_one_waits_and_all_who_ask_share_that_one(fails: bool) -> None:
    begun, done, heard = 0, anyio.Event(), list[str]()

    async def work() -> None:
        nonlocal begun
        begun += 1
        await done.wait()
        if fails:
            raise NotReloaded("a mistake")

    async def ask(reloads: Reloads) -> None:
        try:
            await reloads.ask().wait()
        except NotReloaded as error:
            heard.append(str(error))
        else:
            heard.append("reloaded")

    async with anyio.create_task_group() as group:
        reloads = Reloads(group, work)
        for _ in range(1000):
            group.start_soon(ask, reloads)
            await anyio.wait_all_tasks_blocked()
        assert begun == 1
        done.set()
    assert begun == 2
    assert heard == ["a mistake" if fails else "reloaded"] * 1000


@pytest.mark.parametrize(("took", "pause"), [(0.0, 0.0), (2.0, 2.0), (60.0, LONGEST_PAUSE)])
@pytest.mark.parametrize("anyio_backend", [("trio", {"clock": MockClock(autojump_threshold=0)})])
async def test_between_two_reloads_all_else_has_as_much_time_as_the_first_one_took(took: float, pause: float) -> None:
    begun = list[float]()

    async def work() -> None:
        begun.append(anyio.current_time())
        await anyio.sleep(took)

    async with anyio.create_task_group() as group:
        reloads = Reloads(group, work)
        await reloads.ask().wait()
        await reloads.ask().wait()
    assert begun[1] - begun[0] == pytest.approx(took + pause)
