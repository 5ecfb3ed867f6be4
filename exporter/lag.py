"""How late the event loop is: a sleeper that looks at the clock when it is woken."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import anyio

PERIOD: Final = 0.5  # seconds; finer would tell more and cost more


async def watch(observe: Callable[[float], None]) -> None:
    """Tell over and over how many seconds late the loop is, by a clock of its own: the loop's may stand still."""
    while True:
        due = time.perf_counter() + PERIOD
        await anyio.sleep(PERIOD)
        observe(max(0.0, time.perf_counter() - due))
