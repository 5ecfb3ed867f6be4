"""One reload at a time and one that waits, however many ask: none begins before it was asked for."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Final

import anyio
import structlog
from anyio.abc import TaskGroup

from exporter.plan.selection import UNUSABLE
from exporter.probe.classify import defect

log = structlog.get_logger("exporter")

LONGEST_PAUSE: Final = 5.0  # seconds between two reloads, which otherwise is as long as the first of them took


class NotReloaded(Exception):
    """A reload that came to nothing, though nothing is known to be wrong in the files."""


class Ending(NotReloaded):
    """The exporter ends, and reloads no more."""


class Reload:
    """One reload, which several may have asked for."""

    def __init__(self) -> None:
        self._over = anyio.Event()
        self._error: Exception | None = None

    def end(self, error: Exception | None) -> None:
        """Give everybody who waits the result; a later one is ignored."""
        if not self._over.is_set():
            self._error = error
            self._over.set()

    async def wait(self) -> None:
        """Until it is over. Raises what went wrong in it."""
        await self._over.wait()
        if self._error is not None:
            raise self._error


class Reloads:
    """Who reloads, in tasks of a group's own: neither who asks nor the end of the exporter waits for a hanging file."""

    def __init__(self, group: TaskGroup, work: Callable[[], Awaitable[None]]) -> None:
        self._group = group
        self._work = work
        self._one = anyio.Lock()
        self._waiting: Reload | None = None
        self._under_way: Reload | None = None
        self._next_at = -math.inf

    def ask(self) -> Reload:
        """A reload that begins from now on: the one that waits already, if there is one."""
        if self._waiting is None:
            self._waiting = Reload()
            self._group.start_soon(self._run, self._waiting)
        return self._waiting

    def end(self) -> None:
        """Give everybody who waits the error that the exporter ends."""
        for reload in (self._waiting, self._under_way):
            if reload is not None:
                reload.end(Ending("the exporter ends"))

    async def _run(self, reload: Reload) -> None:
        async with self._one:
            await anyio.sleep_until(self._next_at)
            self._waiting, self._under_way = None, reload
            begun = anyio.current_time()
            try:
                await self._work()
            except (*UNUSABLE, NotReloaded) as error:
                reload.end(error)
            except Exception as error:
                log.exception("configuration not reloaded")
                reload.end(NotReloaded(defect(error).message))
            else:
                reload.end(None)
            self._under_way = None
            # What a reload works out keeps the interpreter from all else, which then has as much time for itself.
            now = anyio.current_time()
            self._next_at = now + min(now - begun, LONGEST_PAUSE)
