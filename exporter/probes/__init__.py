"""Probe kinds: a check and the way to the network in, a Result out."""

from __future__ import annotations

import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, TypeAlias

from exporter.addresses import AddressRanges
from exporter.connecting import at_private_address
from exporter.failure import Signs, Way, classify, defect
from exporter.model import Answer, CheckKey, Evidence, Failure, Probing, Proxy, Reason, Result, Target
from exporter.net import Clock, Limit, Route, SignIn, Trail, clock_in_force
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
    former: Sequence[SignIn] = ()  # of proxies that have left, for the case that they come back
    proxy_context: ssl.SSLContext | None = None  # for TLS to a proxy, which may be told a password; None: the same

    def route(self, key: CheckKey) -> Route:
        """The way that a check goes."""
        if key.proxy is None:
            return Route(self.context, clock=self.clock, own=key.target.own)
        proxy, sign_in = self.proxies[key.proxy], self.sign_ins.get(key.proxy)
        return Route(self.context, proxy, sign_in, self.clock, proxy_context=self.proxy_context)

    def in_range(self, key: CheckKey, addresses: Sequence[str]) -> bool | None:
        """Whether all addresses of a target lie in the ranges; None without ranges, or where a proxy resolves it."""
        if key.proxy is not None or not addresses or not self.ranges:
            return None
        return all(map(self.ranges.holds, addresses))


Probe: TypeAlias = Callable[[Target, Route, Signs, Trail], Awaitable[Failure | None]]

PROBES: Final[Mapping[str, Probe]] = MappingProxyType({"http": http.probe, "https": http.probe})


PATIENCE: Final = 60.0  # seconds that an attempt may wait for others that sign in to its proxy: none waits as long


async def run_check(key: CheckKey, network: Network, probing: Probing, patience: float = PATIENCE) -> Result:
    """Probe until an attempt succeeds or all are used up; the result is the last attempt's.

    Never raises, and outlives no attempt's time-out, to which the seconds are added that an attempt waits for other
    probes that sign in to its proxy: `patience` at most.
    """
    result = await _attempt(key, network, Limit(probing.timeout, patience))
    while not result.up and result.repeatable and result.attempts < probing.attempts:
        result = (await _attempt(key, network, Limit(probing.timeout, patience))).after(result)
    return result


async def _attempt(key: CheckKey, network: Network, limit: Limit) -> Result:
    trail, started, route = Trail(limit), time.time(), None
    try:
        route = network.route(key)
        failure = _less_secret(await _failure(key, network, route, trail), route)
        evidence = _discreet(Evidence(**trail.evidence), route)
        in_range = network.in_range(key, evidence.addresses)
        begun = started + limit.stood_still
        return Result(key, begun, trail.laps, replace(evidence, in_range=in_range), failure, late=trail.late)
    except Exception as error:  # noqa: BLE001 - a defect of ours is the result of this check, and of no other
        return Result(key, started, failure=_less_secret(defect(error, trail.phase), route))


async def _failure(key: CheckKey, network: Network, route: Route, trail: Trail) -> Failure | None:
    """What came of one attempt; None where the target is usable."""
    try:
        with trail.limit.in_force():
            failure = await PROBES[key.target.scheme](key.target, route, network.signs, trail)
    except Exception as error:  # noqa: BLE001 - every failure of a probe is its result
        failure = _named(error, key, route, trail, network.signs)
    if failure is not None and failure.reason is Reason.PROXY_AUTH_REQUIRED and trail.cause is not None:
        return replace(failure, message=f"{failure.message}; it took the account before", cause=trail.cause)
    return failure


def _less_secret(failure: Failure | None, route: Route | None) -> Failure | None:
    """A failure whose message, which may quote what was said, lacks the password that a proxy may have given back."""
    if failure is None or route is None or route.sign_in is None:
        return failure
    return replace(failure, message=route.sign_in.account.conceal(failure.message))


def _named(error: Exception, key: CheckKey, route: Route, trail: Trail, signs: Signs) -> Failure:
    """The failure that ended an attempt, by all that was seen."""
    seen, way = Evidence(**trail.evidence), http.way_of(key.target, route)
    failure = classify(trail.phase, error, way, seen, signs)
    return at_private_address(failure, key.target, seen) if way is Way.DIRECT else failure


def _discreet(seen: Evidence, route: Route) -> Evidence:
    """Evidence whose answers lack the password that a proxy may have given back."""
    if route.sign_in is None:
        return seen
    conceal = route.sign_in.account.conceal

    def less(answer: Answer) -> Answer:
        headers = tuple((conceal(name), conceal(value)) for name, value in answer.headers)
        return replace(answer, headers=headers, body=conceal(answer.body))

    return replace(seen, answer=seen.answer and less(seen.answer), dialogue=tuple(map(less, seen.dialogue)))
