"""Descriptors: as many as the system lets us have, and the last of them not for probes."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from functools import cache
from typing import Final

from exporter.system.loop import waited_for
from exporter.system.waiting import FOR_PROBES, none_left

RESERVE: Final = 32  # for those who ask, for files that a reload reads, and for what a lookup opens in its thread

if sys.platform == "win32":  # sockets are no descriptors there, but there is a limit to how many can be waited for

    def claim() -> None:
        """Nothing is held back."""

    def leave_reserve(newest: int | None = None) -> None:  # noqa: ARG001 - numbers mean nothing there
        """Raise OSError (EMFILE) where probes wait for as many sockets as they may."""
        if waited_for() >= FOR_PROBES:
            raise none_left()

else:
    import resource

    def claim() -> None:
        """Raise the limit to what an administrator allows: its default of 1024 is for programs that use select()."""
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with suppress(OSError, ValueError):  # macOS allows less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    def leave_reserve(newest: int | None = None) -> None:
        """Raise OSError (EMFILE) where no more than the reserve is left: a probe may then open nothing.

        `newest` has just been opened, so that its number was the lowest free one.
        """
        if newest is None:
            newest = os.dup(_any())
            os.close(newest)
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if resource.RLIM_INFINITY != limit <= newest + RESERVE:
            raise none_left()

    @cache
    def _any() -> int:
        """A descriptor to copy, for that costs less than to open a file."""
        return os.open(os.devnull, os.O_RDONLY)
