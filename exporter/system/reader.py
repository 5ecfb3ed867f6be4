"""Read files that may hang, as those of a network do whose server has gone, in threads that are left behind then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import anyio

from exporter.system.threads import Job, NoThread, in_daemon_thread
from exporter.text.numbers import plural

T = TypeVar("T")

READ_WITHIN: Final = 60.0  # seconds for all files together; more take those only that hang
HANGING: Final = 2  # threads that may be left behind without a pause before the next


class Unread(Exception):
    """Files that hang, or that nothing can be read in; the message says which of it."""


class Reader:
    """Reads in threads, of which few hang, and goes on reading once no file hangs any more.

    What hangs may never end, so with a bound on such threads nothing would be read any more. Instead each one beyond
    HANGING waits twice as long after the one before it: a day of hanging leaves about a dozen behind.
    """

    def __init__(self) -> None:
        self._hanging: list[Job[Any]] = []
        self._begun = 0.0

    @property
    def hangs(self) -> bool:
        """Whether something that nobody waits for any more is still read."""
        return bool(self._still_hanging())

    def _still_hanging(self) -> list[Job[Any]]:
        self._hanging[:] = [job for job in self._hanging if not job.ended]
        return self._hanging

    async def read(self, function: Callable[[], T]) -> T:
        """What it gives. Raises Unread where it hangs, or where there is no thread for it."""
        hanging, now = len(self._still_hanging()), anyio.current_time()
        pause = READ_WITHIN * 2 ** (hanging - HANGING) if hanging >= HANGING else 0.0
        if now < self._begun + pause:
            left = self._begun + pause - now
            who = f"{plural(hanging, 'attempt')} before this one still {'hangs' if hanging == 1 else 'hang'}"
            raise Unread(f"{who} in a file; the next may begin in {left:.0f} s")
        self._begun = now
        try:
            with anyio.fail_after(READ_WITHIN):
                return await in_daemon_thread(function, self._hanging)
        except TimeoutError:
            raise Unread(f"the files could not be read within {READ_WITHIN:.0f} s: one of them hangs") from None
        except NoThread as error:
            raise Unread(f"nothing can be read now: {error}") from None
