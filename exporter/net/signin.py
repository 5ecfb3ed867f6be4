"""Sign in to a proxy with care: a directory locks an account whose password is refused too often."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio

from exporter.authentication import Account, SignInFailed

# Seconds after a refusal in which the account is not tried again. Directories lock after some five failures in a
# quarter of an hour or more; a hundred targets behind one proxy would get there at once.
PAUSE: Final = 600.0


class SignIn:
    """The account of one proxy, and what came of its last sign-in. It lives as long as the proxy's configuration."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self._accepted = False
        self._refused: float | None = None  # on the monotonic clock
        self._alone = anyio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Leave to sign in: for one at a time until the account is known to be taken.

        Raises SignInFailed for a while after a refusal.
        """
        if self._accepted:
            yield
            return
        async with self._alone:
            self._wait_out()
            yield

    def accepted(self) -> None:
        """Note that the proxy let the account in."""
        self._accepted, self._refused = True, None

    def refused(self) -> None:
        """Note that the proxy, or the directory behind it, did not take the account."""
        self._accepted, self._refused = False, time.monotonic()

    def _wait_out(self) -> None:
        if self._refused is None:
            return
        since = time.monotonic() - self._refused
        if since < PAUSE:
            raise SignInFailed(
                f"the account was refused {since:.0f} s ago and is tried again in {PAUSE - since:.0f} s, "
                "lest it be locked; a reload tries at once"
            )
