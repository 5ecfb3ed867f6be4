"""Report to systemd how the service is doing; where none listens, nothing is sent.

Without a library, as systemd's manual advises for this protocol of one datagram a message:
https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html#Notes
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final, NoReturn

import anyio

STATUS_EVERY: Final = 10.0  # seconds, where no watchdog wants it more often
PATIENCE: Final = 1.0  # seconds that a message may wait for systemd to take the ones before it


class Notifier:
    """Speaks to the systemd that the environment names."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._stopping = False
        self.interval: Final = _interval(environment)

    def send(self, *assignments: str) -> None:
        """Send one message, such as `READY=1`."""
        if sys.platform == "win32" or not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(PATIENCE)
            sender.sendto("\n".join(assignments).encode(), self._address.replace("@", "\0", 1))

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Say that what is done inside is a reload."""
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            yield
        finally:
            if not self._stopping:
                self.send("READY=1")

    def stopping(self) -> None:
        """Say that the service ends: it is never ready again."""
        self._stopping = True
        self.send("STOPPING=1")

    async def keep_reporting(self, status: Callable[[], str]) -> NoReturn:
        """Say again and again that the event loop turns, and what it has come to."""
        while True:
            self.send("WATCHDOG=1", f"STATUS={status()}")
            await anyio.sleep(self.interval)


def _interval(environment: Mapping[str, str]) -> float:
    """Twice in the time after which a watchdog bites, if there is one and it watches this process."""
    watched = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    text = environment.get("WATCHDOG_USEC", "")
    microseconds = int(text) if watched and text.isdecimal() else 0
    return min(STATUS_EVERY, microseconds / 2e6) if microseconds else STATUS_EVERY
