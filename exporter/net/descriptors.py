"""Descriptors: as many as the system lets us have, and the last of them not for probes."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import Final

RESERVE: Final = 32  # for those who ask, for files that a reload reads, and for what a look-up opens in its thread

if sys.platform == "win32":  # sockets are no descriptors there, and have no limit to speak of

    def claim() -> None:
        """Nothing is held back."""

    def leave_reserve() -> None:
        """Nothing runs out."""

else:
    import resource

    def claim() -> None:
        """Raise the limit to what an administrator allows: its default of 1024 is for programs that use select()."""
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with suppress(OSError, ValueError):  # macOS allows less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    def leave_reserve() -> None:
        """Raise OSError (EMFILE) where no more than the reserve is left: a probe may then open nothing."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest_free = os.open(os.devnull, os.O_RDONLY)  # which is the number that the kernel gives
        os.close(lowest_free)
        if resource.RLIM_INFINITY != limit <= lowest_free + RESERVE:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
