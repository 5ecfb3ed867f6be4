"""Probe every target of a configuration, a few at a time, and print the layers in which CPU time was spent as JSON.

Whenever the process has spent another millisecond, the function that runs then is counted for its package. C code, the
kernel's work for it included, and what else the standard library helps with, count for the function that calls it.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final

import anyio

from exporter.model.vocabulary import CheckKey
from exporter.probe.runner import run_check
from exporter.service.load import Source, deploy, network_of
from exporter.system.loop import run_on_loop

AT_ONCE: Final = 8
EVERY: Final = 0.001  # seconds of CPU between two looks
WARM: Final = 50  # probes before the first look
LAYERS: Final = {
    "ssl.py": "TLS, in OpenSSL",
    "httpx": "httpx",
    "http1.py": "HTTP framing",
    "anyio": "anyio, asyncio and the event loop",
    "asyncio": "anyio, asyncio and the event loop",
    "cryptography": "certificates, in cryptography",
    "exporter": "the exporter itself, the kernel in it",
}


def layer(frame: FrameType | None) -> str:
    """Of the innermost function that belongs to one."""
    while frame is not None:
        for part in reversed(Path(frame.f_code.co_filename).parts):
            if part in LAYERS:
                return LAYERS[part]
        frame = frame.f_back
    return "all else"


async def probe_all(config: Path) -> dict[str, float]:
    """Milliseconds of CPU of one probe, by layer."""
    deployment = deploy(Source(config))
    network = network_of(deployment)
    keys = [check.key for check in deployment.plan.checks]
    seen, places = Counter[str](), anyio.Semaphore(AT_ONCE)

    async def one(key: CheckKey) -> None:
        async with places:
            await run_check(key, network, deployment.settings.probing)

    async def probe(some: Sequence[CheckKey]) -> None:
        async with anyio.create_task_group() as group:
            for key in some:
                group.start_soon(one, key)

    def look(_: int, frame: FrameType | None) -> None:
        seen[layer(frame)] += 1

    await probe(keys[:WARM])
    signal.signal(signal.SIGPROF, look)
    before = _spent()
    signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)
    await probe(keys[WARM:])
    signal.setitimer(signal.ITIMER_PROF, 0)
    each = (_spent() - before) / len(keys[WARM:])
    return {name: each * count / seen.total() for name, count in seen.items()}


def _spent() -> float:
    """Milliseconds of CPU so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return (usage.ru_utime + usage.ru_stime) * 1000


if __name__ == "__main__":
    print(json.dumps(run_on_loop(probe_all, Path(sys.argv[1]))))
