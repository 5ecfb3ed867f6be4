"""What a running exporter is asked to do, from any thread and from handlers of signals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from enum import Enum, auto
from queue import SimpleQueue


class Request(Enum):
    """What it can be asked."""

    RELOAD = auto()
    END = auto()


class Control:
    """Hands requests to the event loop; what is asked before the loop runs is kept for it."""

    def __init__(self) -> None:
        self._requests = SimpleQueue[Request]()  # which a handler of signals may use while its thread does
        self._wake: Callable[[], object] | None = None

    def ask(self, request: Request) -> None:
        """Ask for something, without waiting for it."""
        self._requests.put(request)
        if self._wake is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._wake()

    async def requests(self) -> AsyncGenerator[Request]:
        """Each request in turn, without end. For one task, on asyncio's loop."""
        asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._wake = lambda: loop.call_soon_threadsafe(asked.set)
        while True:
            asked.clear()
            while not self._requests.empty():
                yield self._requests.get()
            await asked.wait()
