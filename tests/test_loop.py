"""Which event loop runs."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from itertools import chain

import anyio
import pytest

from exporter.system import loop


async def running() -> str:
    return type(asyncio.get_running_loop()).__module__.partition(".")[0]


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop does not run there")
def test_uvloop_runs_where_it_is_installed() -> None:
    assert loop.run_on_loop(running) == "uvloop"


def test_pythons_own_loop_runs_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "UVLOOP", False)
    assert loop.run_on_loop(running) == "asyncio"


# ---------------------------------------------------------------- where it waits by select, as on Windows


def test_one_socket_too_many_is_refused_and_the_others_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SOCKETS", 4)  # one of them is the loop's own, to be woken by
    pairs = [socket.socketpair() for _ in range(4)]

    async def crowd() -> list[bytes | BaseException]:
        tasks = [asyncio.create_task(read(mine)) for mine, _ in pairs]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        assert loop.waited_for() == 4
        for _, theirs in pairs:
            theirs.send(b"!")
        return await asyncio.gather(*tasks, return_exceptions=True)

    *heard, refused = anyio.run(crowd, backend_options={"loop_factory": loop.selecting_loop})
    for end in chain.from_iterable(pairs):
        end.close()
    assert heard == [b"!"] * 3
    assert isinstance(refused, OSError)
    assert refused.errno == errno.EMFILE


async def read(connection: socket.socket) -> bytes:
    connection.setblocking(False)
    return await asyncio.get_running_loop().sock_recv(connection, 1)


def test_a_socket_that_is_closed_while_it_is_waited_for_ends_nobody_elses_wait() -> None:
    async def ask() -> bytes:
        closed, other, mine, theirs = *socket.socketpair(), *socket.socketpair()
        closed.setblocking(False)
        with anyio.move_on_after(0.05):
            await anyio.wait_readable(closed)
        closed.close()
        waits = asyncio.create_task(read(mine))
        await asyncio.sleep(0.05)
        theirs.send(b"!")
        heard = await waits
        for each in (other, mine, theirs):
            each.close()
        return heard

    assert anyio.run(ask, backend_options={"loop_factory": loop.selecting_loop}) == b"!"
