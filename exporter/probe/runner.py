"""A check and the way to the network in, a Result out."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final, TypeGuard, cast

from exporter.model.addresses import AddressRanges
from exporter.model.authorities import Authorities
from exporter.model.vocabulary import (
    CheckKey,
    Evidence,
    Failure,
    Phase,
    Probing,
    Proxy,
    Reason,
    Result,
    Ways,
    WayTaken,
)
from exporter.probe import http
from exporter.probe.classify import Signs, Way, classify, defect
from exporter.probe.connecting import at_private_address
from exporter.probe.evidence import kept
from exporter.probe.net import Clock, Limit, Route, SignIn, Trace, clock_in_force
from exporter.probe.retry import at_once, noticing
from exporter.system.lag import Pulse
from exporter.system.threads import Few, NoThread
from exporter.text.printable import escaped


@dataclass(frozen=True, slots=True)
class Network:
    """What probes share: trust, who signs in to each proxy, what to judge answers and addresses by, and the clock."""

    context: ssl.SSLContext
    proxies: Mapping[str, Proxy] = field(default_factory=dict)
    sign_ins: Mapping[str, SignIn] = field(default_factory=dict)  # by the proxy's name, or as `found_at` says
    signs: Signs = field(default_factory=Signs)
    ranges: AddressRanges = field(default_factory=AddressRanges)
    clock: Clock = field(default_factory=clock_in_force)
    former: Sequence[SignIn] = ()  # of proxies that have left, for the case that they come back
    proxy_context: ssl.SSLContext | None = None  # for TLS to a proxy, which may get a password; None: the same
    ways: Mapping[CheckKey, Ways] = field(default_factory=dict)  # where Windows or a PAC file names them
    authorities: Authorities = field(default_factory=Authorities)  # that are known beside the public roots

    def routes(self, key: CheckKey) -> tuple[Route, ...]:
        """The ways that a check goes, in their order. Raises NoWay."""
        if key.proxy is None:
            return (self._direct(key),)
        proxy = self.proxies[key.proxy]
        if proxy.url:
            return (self._through(proxy, self.sign_ins.get(proxy.name)),)
        named = self.ways[key]
        if named.why_none is not None:
            raise NoWay(named.why_none)
        routes = []
        for number, url in enumerate(named.urls, 1):
            route = self._direct(key) if url is None else self._found(proxy, url)
            routes.append(replace(route, way=WayTaken(number, len(named.urls), direct=url is None)))
        return tuple(routes)

    def _direct(self, key: CheckKey) -> Route:
        return Route(self.context, clock=self.clock, own=key.target.own, authorities=self.authorities)

    def _through(self, proxy: Proxy, sign_in: SignIn | None) -> Route:
        return Route(
            self.context,
            proxy,
            sign_in,
            self.clock,
            proxy_context=self.proxy_context,
            authorities=self.authorities,
        )

    def _found(self, proxy: Proxy, url: str) -> Route:
        return self._through(replace(proxy, url=url), self.sign_ins.get(found_at(proxy.name, url)))

    def in_range(self, key: CheckKey, addresses: Sequence[str]) -> bool | None:
        """Whether all addresses of a target lie in the ranges; None without ranges, or where a proxy resolves it."""
        if key.proxy is not None or not addresses or not self.ranges:
            return None
        return all(map(self.ranges.holds, addresses))


class NoWay(Exception):
    """No way to a target that is supported."""


def found_at(name: str, url: str) -> str:
    """The name of one of several proxies that Windows or a PAC file names: each has a sign-in of its own."""
    return f"{name} {url}"  # no proxy's own name holds a blank


_LONGEST_MESSAGE: Final = 1000  # characters
_LONGEST_NAME: Final = 253  # of a host
PATIENCE: Final = 60.0  # seconds that an attempt may wait for others that sign in to its proxy: none waits as long


async def run_check(
    key: CheckKey, network: Network, probing: Probing, patience: float = PATIENCE, pulse: Pulse | None = None
) -> Result:
    """Probe until an attempt succeeds or as many as `probing` says have failed, at once; the result is the last one's.

    Attempts that fail while the exporter stands still, by `pulse`, do not count. Never raises, and outlives no
    attempt's timeout, to which the seconds are added that an attempt waits for other probes that sign in to its proxy:
    `patience` at most.
    """

    async def attempt() -> Result:
        one = _attempt(key, network, Limit(probing.timeout, patience))
        return await (one if pulse is None else noticing(pulse, one))

    return await at_once(attempt, probing.attempts)


async def _attempt(key: CheckKey, network: Network, limit: Limit) -> Result:
    trace, started = Trace(limit), time.time()
    journey = _Journey(key, network, trace)
    try:
        failure, evidence = await _fit_to_keep(await journey.made(), trace.seen, journey.route)
        in_range = network.in_range(key, evidence.addresses)
        begun = started + limit.stood_still
        return Result(key, begun, trace.phase_durations, replace(evidence, in_range=in_range), failure, late=trace.late)
    except Exception as error:  # noqa: BLE001 - a defect of ours is the result of this check, and of no other
        return Result(key, started, failure=_fit_to_show(defect(error, trace.phase), _concealing(journey.route)))


class _Journey:
    """One attempt: along the first way on which a connection opens."""

    def __init__(self, key: CheckKey, network: Network, trace: Trace) -> None:
        self._key = key
        self._network = network
        self._trace = trace
        self._first: tuple[Route, Failure, Evidence] | None = None  # that was of no avail, and what was seen
        self.route: Route | None = None  # that was gone

    async def made(self) -> Failure | None:
        """What came of it; None where the target is usable."""
        try:
            routes = self._network.routes(self._key)
        except NoWay as error:
            return Failure(Phase.PROXY, Reason.PROXY_ERROR, str(error))
        failure: Failure | None = None
        try:
            with self._trace.limit.in_force():
                for route in routes:
                    self._begin(route)
                    failure = await self._along(route)
                    if not _unconnected(failure):
                        break
                    self._first = self._first or (route, failure, self._trace.seen)
        except Exception as error:  # noqa: BLE001 - every failure of a probe is its result
            failure = self._named(error, routes[0] if self.route is None else self.route)
        if _unconnected(failure) and self._first is not None and len(routes) > 1:
            failure = self._of_the_first()
        if failure is not None and failure.reason is Reason.PROXY_AUTH_REQUIRED and self._trace.cause is not None:
            return replace(failure, message=f"{failure.message}; it took the account before", cause=self._trace.cause)
        return failure

    def _begin(self, route: Route) -> None:
        if self.route is not None:
            self._trace.begin_again()
        self.route = route
        if route.way is not None:
            self._trace.seen = replace(self._trace.seen, way=route.way)

    async def _along(self, route: Route) -> Failure | None:
        try:
            return await http.probe(self._key.target, route, self._network.signs, self._trace)
        except Exception as error:  # noqa: BLE001 - as above
            return self._named(error, route)

    def _named(self, error: Exception, route: Route) -> Failure:
        """The failure that ended a way, by everything that was seen."""
        seen, way = self._trace.seen, http.way_of(self._key.target, route)
        failure = classify(self._trace.phase, error, way, seen, self._network.signs)
        if failure.reason is Reason.PROXY_UNREACHABLE and route.sign_in is not None:
            route.sign_in.begin_anew()
        return at_private_address(failure, self._key.target, seen) if way is Way.DIRECT else failure

    def _of_the_first(self) -> Failure:
        """The failure where no way could be gone: that of the one which was meant to be."""
        self.route, failure, self._trace.seen = cast("tuple[Route, Failure, Evidence]", self._first)
        return replace(failure, message=f"{failure.message}; nor does a connection open on any other way named for it")


def _unconnected(failure: Failure | None) -> TypeGuard[Failure]:
    """Whether nobody was reached, so that another way may be gone: the phases before a word is said."""
    return failure is not None and failure.phase in {Phase.RESOLVE, Phase.CONNECT}


def _fit_to_show(failure: Failure | None, conceal: Callable[[str], str]) -> Failure | None:
    """A failure whose words, which may quote what a stranger said, print and have an end.

    They lack the password that a proxy may have given back.
    """
    if failure is None:
        return None
    by = failure.answered_by and _cut(escaped(conceal(failure.answered_by)), _LONGEST_NAME)
    return replace(failure, message=_cut(escaped(conceal(failure.message)), _LONGEST_MESSAGE), answered_by=by)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


_looking: Final = Few(1)  # for a password in what came back, which whoever wrote that can make long


async def _fit_to_keep(failure: Failure | None, seen: Evidence, route: Route | None) -> tuple[Failure | None, Evidence]:
    """A failure and the evidence as they are kept."""
    conceal = _concealing(route)

    def work() -> tuple[Failure | None, Evidence]:
        return _fit_to_show(failure, conceal), kept(seen, conceal)

    if conceal is not str:
        with suppress(NoThread):
            return await _looking.run(work)
    return work()


def _concealing(route: Route | None) -> Callable[[str], str]:
    """What takes the password out of the texts that a proxy may have given back."""
    return str if route is None or route.sign_in is None else route.sign_in.account.concealing()
