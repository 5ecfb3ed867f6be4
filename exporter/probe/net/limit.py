"""The time that one attempt may take, which stands still while the attempt waits for another probe."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import anyio

_SPARE: Final = 0.05  # seconds before the end of the time, in which a failure names the wait as its cause


class Limit:
    """A timeout in seconds, and how many seconds more an attempt may wait for others, of which none is its own."""

    def __init__(self, timeout: float = math.inf, patience: float = math.inf) -> None:
        self._timeout = timeout
        self._patience = patience
        self._scope = anyio.CancelScope()
        self.stood_still = 0.0  # seconds so far

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Raise TimeoutError when the block takes longer, less what it stood still."""
        with anyio.fail_after(self._timeout) as self._scope:
            yield

    @contextmanager
    def standing_still(self) -> Iterator[float]:
        """Let no time pass while the block waits for another probe: for the seconds that are given, at most.

        What is waited beyond the patience is taken from the timeout.
        """
        since, end = anyio.current_time(), self._scope.deadline
        self._scope.deadline = math.inf
        try:
            yield max(0.0, self._patience + end - since - _SPARE)
        finally:
            free = min(anyio.current_time() - since, self._patience)
            self._patience -= free
            self.stood_still += free
            self._scope.deadline = end + free
