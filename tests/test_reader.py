from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Final

import anyio
import pytest
from trio.testing import MockClock

from exporter.system.reader import HANGING, READ_WITHIN, Reader, Unread
from tests.schedules import simulate

DAY: Final = 86_400.0


@pytest.fixture
def hang() -> Iterator[Callable[[], object]]:
    """What hangs until the test has ended."""
    ended = threading.Event()
    yield ended.wait
    ended.set()


async def tried(reader: Reader, function: Callable[[], object]) -> str:
    try:
        await reader.read(function)
    except Unread as error:
        return str(error)
    return "read"


@pytest.mark.no_cover  # others take the same branches, and counting them takes more time than the test
def test_a_day_of_hanging_leaves_few_threads_behind_and_hinders_nothing_that_comes_after(
    hang: Callable[[], object],
) -> None:
    hung, read = list[float](), list[str]()
    clock = MockClock(autojump_threshold=0)

    async def play() -> None:
        reader = Reader()
        while anyio.current_time() < DAY:
            if (await tried(reader, hang)).startswith("the files could not be read within"):
                hung.append(anyio.current_time())
            await anyio.sleep(1.0)
        await anyio.sleep(2 * DAY)  # more than any pause
        clock.autojump_threshold = 60  # of real time, which a thread needs that does not hang
        read.append(await tried(reader, lambda: None))

    anyio.run(play, backend="trio", backend_options={"clock": clock})
    assert hung[HANGING] - hung[0] < 3 * READ_WITHIN  # those that are tried once more, at once
    assert HANGING < len(hung) < 20
    assert read == ["read"]


def test_what_is_fixed_after_one_that_hung_is_read_at_once(
    hang: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = list[str]()

    async def play() -> None:
        reader = Reader()
        with monkeypatch.context() as soon:
            soon.setattr("exporter.system.reader.READ_WITHIN", 0.2)
            said.extend([await tried(reader, hang), str(reader.hangs)])
        said.append(await tried(reader, lambda: None))

    anyio.run(play)
    assert said == ["the files could not be read within 0 s: one of them hangs", "True", "read"]


def test_without_a_thread_nothing_is_read_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said = list[str]()

    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def play() -> None:
        monkeypatch.setattr("exporter.system.threads._idle", [])
        monkeypatch.setattr(threading.Thread, "start", refused)
        said.append(await tried(Reader(), lambda: None))

    simulate(play)
    assert said == ["nothing can be read now: can't start new thread"]
