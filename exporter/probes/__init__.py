"""Probe kinds: a check and the way to the network in, a Result out."""

from __future__ import annotations

import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, TypeAlias

import anyio

from exporter.failure import classify
from exporter.model import CheckKey, Evidence, Failure, Probing, Proxy, Result, Target
from exporter.net import Trail
from exporter.probes import http


@dataclass(frozen=True, slots=True)
class Network:
    """What probes share: one TLS context, and the proxies by name."""

    context: ssl.SSLContext
    proxies: Mapping[str, Proxy]


Probe: TypeAlias = Callable[[Target, ssl.SSLContext, Proxy | None, Trail], Awaitable[Failure | None]]

PROBES: Final[Mapping[str, Probe]] = MappingProxyType({"http": http.probe, "https": http.probe})


async def run_check(key: CheckKey, network: Network, probing: Probing) -> Result:
    """Probe until an attempt succeeds or all are used up; the result is the last attempt's.

    Never raises, and outlives no attempt's time-out.
    """
    attempts = 1
    result = await _attempt(key, network, probing.timeout)
    while not result.up and attempts < probing.attempts:
        attempts += 1
        result = await _attempt(key, network, probing.timeout)
    return replace(result, attempts=attempts)


async def _attempt(key: CheckKey, network: Network, timeout: float) -> Result:  # noqa: ASYNC109 - it is a fact here
    proxy = network.proxies[key.proxy] if key.proxy is not None else None
    trail = Trail()
    started = time.time()
    try:
        with anyio.fail_after(timeout):
            failure = await PROBES[key.target.scheme](key.target, network.context, proxy, trail)
    except Exception as error:  # noqa: BLE001 - every failure of a probe is its result
        failure = classify(trail.phase, error, via_proxy=proxy is not None)
    trail.stop()
    return Result(key, started, trail.laps, Evidence(**trail.evidence), failure)
