"""Names to the addresses that they have now: the one part of an allow list that asks the network."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import anyio

from exporter.model.addresses import Whose
from exporter.probe.net import Trace
from exporter.probe.net.resolver import resolve

_AT_ONCE: Final = 32
_PATIENCE: Final = 10.0  # seconds for one name


async def addresses_of(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """All addresses of each name, as the system resolves it; none where it does not, or a DNS filter hides it."""
    found: dict[str, tuple[str, ...]] = {}
    limiter = anyio.CapacityLimiter(_AT_ONCE)

    async def look_up(name: str) -> None:
        async with limiter:
            with suppress(OSError, UnicodeError), anyio.move_on_after(_PATIENCE):
                found[name] = tuple(sorted({str(info[4][0]) for info in await resolve(name, 0, Trace(), Whose.PUBLIC)}))

    async with anyio.create_task_group() as group:
        for name in names:
            group.start_soon(look_up, name)
    return found
