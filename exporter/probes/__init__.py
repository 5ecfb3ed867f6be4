"""Probe kinds: a check and the way to the network in, a Result out."""

from __future__ import annotations

import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, TypeAlias

import anyio

from exporter.addresses import AddressRanges
from exporter.failure import Signs, classify, defect
from exporter.model import Answer, CheckKey, Evidence, Failure, Probing, Proxy, Result, Target
from exporter.net import Clock, Route, SignIn, Trail, clock_in_force
from exporter.probes import http


@dataclass(frozen=True, slots=True)
class Network:
    """What probes share: trust, who signs in to each proxy, what to judge answers and addresses by, and the clock."""

    context: ssl.SSLContext
    proxies: Mapping[str, Proxy] = field(default_factory=dict)
    sign_ins: Mapping[str, SignIn] = field(default_factory=dict)  # by the proxy's name
    signs: Signs = field(default_factory=Signs)
    ranges: AddressRanges = field(default_factory=AddressRanges)
    clock: Clock = field(default_factory=clock_in_force)

    def route(self, key: CheckKey) -> Route:
        """The way that a check goes."""
        if key.proxy is None:
            return Route(self.context, clock=self.clock)
        return Route(self.context, self.proxies[key.proxy], self.sign_ins.get(key.proxy), self.clock)

    def in_range(self, key: CheckKey, addresses: Sequence[str]) -> bool | None:
        """Whether all addresses of a target lie in the ranges; None without ranges, or where a proxy resolves it."""
        if key.proxy is not None or not addresses or not self.ranges:
            return None
        return all(map(self.ranges.holds, addresses))


Probe: TypeAlias = Callable[[Target, Route, Signs, Trail], Awaitable[Failure | None]]

PROBES: Final[Mapping[str, Probe]] = MappingProxyType({"http": http.probe, "https": http.probe})


async def run_check(key: CheckKey, network: Network, probing: Probing) -> Result:
    """Probe until an attempt succeeds or all are used up; the result is the last attempt's.

    Never raises, and outlives no attempt's time-out.
    """
    result = await _attempt(key, network, probing.timeout)
    while not result.up and result.repeatable and result.attempts < probing.attempts:
        result = (await _attempt(key, network, probing.timeout)).after(result)
    return result


async def _attempt(key: CheckKey, network: Network, timeout: float) -> Result:  # noqa: ASYNC109 - it is a fact here
    trail, started = Trail(), time.time()
    try:
        route = network.route(key)
        failure = await _failure(key, network, route, trail, timeout)
        evidence = _discreet(Evidence(**trail.evidence), route)
        in_range = network.in_range(key, evidence.addresses)
        return Result(key, started, trail.laps, replace(evidence, in_range=in_range), failure, late=trail.late)
    except Exception as error:  # noqa: BLE001 - a defect of ours is the result of this check, and of no other
        return Result(key, started, failure=defect(error, trail.phase))


async def _failure(
    key: CheckKey,
    network: Network,
    route: Route,
    trail: Trail,
    timeout: float,  # noqa: ASYNC109 - it is a fact here
) -> Failure | None:
    """What came of one attempt; None where the target is usable."""
    try:
        with anyio.fail_after(timeout):
            return await PROBES[key.target.scheme](key.target, route, network.signs, trail)
    except Exception as error:  # noqa: BLE001 - every failure of a probe is its result
        return classify(trail.phase, error, http.way_of(key.target, route))


def _discreet(seen: Evidence, route: Route) -> Evidence:
    """Evidence whose answers lack the password that a proxy may have given back."""
    if route.sign_in is None:
        return seen
    conceal = route.sign_in.account.conceal

    def less(answer: Answer) -> Answer:
        headers = tuple((conceal(name), conceal(value)) for name, value in answer.headers)
        return replace(answer, headers=headers, body=conceal(answer.body))

    return replace(seen, answer=seen.answer and less(seen.answer), dialogue=tuple(map(less, seen.dialogue)))
