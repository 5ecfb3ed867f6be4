"""How many sockets can be waited for at the same time where that is by `select`, and who may have them. Pure."""

from __future__ import annotations

import errno
import os
import sys
from typing import Final

SOCKETS: Final = 512  # FD_SETSIZE of CPython for Windows, Modules/selectmodule.c
CONNECTIONS: Final = 128  # of those who ask over HTTP
_OTHERS: Final = 32  # to listen on, to wake the loop, and some to spare
FOR_PROBES: Final = SOCKETS - CONNECTIONS - _OTHERS
PROBES: Final = 128  # a probe waits for several at once where a name has many addresses that do not answer

BY_SELECT: Final = sys.platform == "win32"  # the system's own way has no such limit elsewhere


def none_left() -> OSError:
    """The system's own error where no descriptor is left, for limits that end before the system's."""
    return OSError(errno.EMFILE, os.strerror(errno.EMFILE))
