"""Requests reach the event loop from wherever they are made."""

from __future__ import annotations

import asyncio
import signal
import threading
from contextlib import aclosing
from typing import Final

import anyio

from exporter.system.control import Control, Request

ALL: Final = [Request.RELOAD, Request.RELOAD, Request.END]


async def received(control: Control) -> list[Request]:
    """Everything that is asked, up to the end."""
    found = []
    async with aclosing(control.requests()) as requests:
        async for request in requests:
            found.append(request)
            if request is Request.END:
                break
    return found


def test_what_is_asked_before_the_loop_runs_is_kept_in_order() -> None:
    control = Control()
    for request in ALL:
        control.ask(request)
    assert anyio.run(received, control) == ALL


def test_a_thread_wakes_a_loop_that_has_nothing_else_to_do() -> None:
    control = Control()

    async def asked_meanwhile() -> list[Request]:
        loop = asyncio.get_running_loop()
        # The loop is then asleep until it is woken: it has no timer and no other task.
        loop.call_soon(threading.Thread(target=lambda: list(map(control.ask, ALL))).start)
        return await received(control)

    assert anyio.run(asked_meanwhile) == ALL


def test_a_handler_of_signals_may_ask() -> None:
    control = Control()

    async def interrupted() -> list[Request]:
        asyncio.get_running_loop().call_later(0, signal.raise_signal, signal.SIGINT)
        return await received(control)

    before = signal.signal(signal.SIGINT, lambda *_: control.ask(Request.END))
    try:
        assert anyio.run(interrupted) == [Request.END]
    finally:
        signal.signal(signal.SIGINT, before)


def test_who_asks_after_the_loop_has_ended_is_not_disturbed() -> None:
    control = Control()
    for _ in range(2):  # the second time there is a loop to wake, and it is closed
        control.ask(Request.END)
        assert anyio.run(received, control) == [Request.END]
