"""Put the parts together: files -> Deployment; a Deployment, a schedule and a Board -> the running exporter."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import anyio
import structlog
from anyio.abc import TaskGroup

from exporter.config import catalogue as shipped
from exporter.config import settings as config
from exporter.config.documents import unreadable
from exporter.config.fingerprints import load_fingerprints
from exporter.journal import Journal
from exporter.metrics import Conditions, Events, ReloadStatus, State, Timing, registry_for
from exporter.model.addresses import AddressRanges
from exporter.model.vocabulary import (
    Catalogue,
    CheckKey,
    Group,
    Plan,
    Proxy,
    Requirement,
    Result,
    Settings,
    Site,
    Snapshot,
    TlsSettings,
    Ways,
)
from exporter.plan.checks import plan
from exporter.plan.requirements import everything, requirements
from exporter.plan.selection import UNUSABLE, Narrowing
from exporter.probe.block_pages import domains_of
from exporter.probe.classify import Signs, defect
from exporter.probe.net import clock_in_force, sign_ins_of, trusted_roots, verifying
from exporter.probe.net.required_roots import anchors_present
from exporter.probe.runner import PATIENCE, Network, found_at, run_check
from exporter.proxies.finding import Found, find
from exporter.reloading import NotReloaded, Reader, Reloads
from exporter.results.store import Board, Recorded
from exporter.schedule import Pace, Schedule, probe_once, undisturbed
from exporter.system.lag import Pulse, watch

log = structlog.get_logger("exporter")
_LEVEL: Final = logging.getLogger("exporter")  # to ask it first: to be turned down by `log` is 2 % of a probe


@dataclass(frozen=True, slots=True)
class Source:
    """Where a configuration comes from, and how the command line narrows it."""

    config_file: Path | None = None
    narrowing: Narrowing = field(default_factory=Narrowing)


@dataclass(frozen=True, slots=True)
class Deployment:
    """A configuration turned into work."""

    settings: Settings
    plan: Plan
    domains: frozenset[str]  # that the documents name: where an endpoint may lead to
    found: Found = field(default_factory=Found)  # of proxies that Windows or a PAC file names


def deploy(source: Source, *, elsewhere: bool = False) -> Deployment:
    """Read everything anew, what Windows and PAC files say of proxies included. Raises DocumentError, NarrowingError.

    DocumentError has every mistake; what is read from Windows or the network is read once all else is right.
    `elsewhere`: the configuration may be another machine's, and Windows be missing here.
    """
    settings, work, domains = _planned(source)
    found = find(
        work,
        settings.proxies.values(),
        str(source.config_file),
        lambda: trusted(settings.tls),
        elsewhere=elsewhere,
    )
    return Deployment(settings, work, domains, found)


def planned(source: Source) -> Plan:
    """The work alone, of which nobody asks which way it goes. Raises as `deploy`."""
    return _planned(source)[1]


def _planned(source: Source) -> tuple[Settings, Plan, frozenset[str]]:
    catalogue, settings, groups, site = selected(source)
    work = plan(requirements(catalogue, groups, site), settings.proxies, settings.via)
    patterns = (endpoint.pattern for group in groups for endpoint in group.endpoints)
    return settings, work, domains_of(patterns)


def selected(source: Source) -> tuple[Catalogue, Settings, tuple[Group, ...], Site]:
    """What is shipped, what is configured, all groups of both, and the site as it is narrowed. Raises as `deploy`."""
    catalogue, settings, groups = _read(source)
    return catalogue, settings, groups, source.narrowing.applied(settings.site, catalogue, groups)


def documented(source: Source, *, whole: bool) -> tuple[Requirement, ...]:
    """What is documented for the selected site, or for any site at all. Raises what `deploy` raises."""
    catalogue, settings, groups = _read(source)
    site = everything(catalogue, settings.site) if whole else settings.site
    return requirements(catalogue, groups, source.narrowing.applied(site, catalogue, groups))


def documented_anywhere(source: Source) -> tuple[tuple[Requirement, ...], Site]:
    """What is documented for any site at all, and the site itself. Raises what `deploy` raises."""
    catalogue, _, groups, site = selected(source)
    limiting = {parameter.name for parameter in catalogue.parameters.values() if parameter.values}
    filling = {name: value for name, value in site.parameters.items() if name not in limiting}
    anywhere = replace(everything(catalogue, site), features=(), parameters=filling)
    return requirements(catalogue, groups, anywhere), site


def _read(source: Source) -> tuple[Catalogue, Settings, tuple[Group, ...]]:
    catalogue = shipped.load()
    settings = config.load(source.config_file, catalogue)
    return catalogue, settings, (*catalogue.groups, *settings.groups)


@contextmanager
def _trust_store() -> Iterator[None]:
    """Raise Unreadable, as of any other file, where one of the trust store cannot be read: out of descriptors, say."""
    try:
        yield
    except OSError as error:
        raise unreadable(str(error.filename or "the trust store"), error) from None


@_trust_store()
def trusted(tls: TlsSettings) -> ssl.SSLContext:
    """What verifies chains. Reads the trust store, which takes a moment; raises Unreadable."""
    return verifying(tls)


@_trust_store()
def network_of(deployment: Deployment, before: Network | None = None) -> Network:
    """What the probes of a deployment share. Reads the trust store, which takes a moment; raises Unreadable.

    From the network before, it has the sign-ins to proxies: a reload must not try a refused password anew.
    """
    settings = deployment.settings
    clock = clock_in_force()  # now, lest the first packets come before the kernel stamps them
    if deployment.plan.checks:
        from exporter.probe.net.certificates import public_roots  # noqa: PLC0415 - see there

        public_roots()  # lest the first probes wait for these
    known = () if before is None else (*before.sign_ins.values(), *before.former)
    proxies = _concrete(settings.proxies, deployment.found.ways)
    sign_ins = sign_ins_of(proxies, known)
    by_tls = any(proxy.url.startswith("https:") for proxy in proxies.values())
    return Network(
        verifying(settings.tls),
        settings.proxies,
        sign_ins,
        Signs(load_fingerprints(shipped.shipped() / "vocabulary" / "fingerprints.yaml"), deployment.domains),
        AddressRanges(settings.address_ranges),
        clock,
        tuple(sign_in for sign_in in dict.fromkeys(known) if sign_in.tells and sign_in not in sign_ins.values()),
        verifying(settings.tls, with_secrets=True) if by_tls else None,
        deployment.found.ways,
    )


def _concrete(proxies: Mapping[str, Proxy], ways: Mapping[CheckKey, Ways]) -> dict[str, Proxy]:
    """Every proxy that has a URL: each at which the account of a name may have to sign in."""
    given = {name: proxy for name, proxy in proxies.items() if proxy.url}
    named = {(key.proxy, url) for key, found in ways.items() for url in found.urls if key.proxy and url}
    return given | {found_at(name, url): replace(proxies[name], url=url) for name, url in sorted(named)}


@_trust_store()
def anchors_of(network: Network) -> Mapping[str, bool]:
    """Whether each root that the documents name is trusted by these probes; empty where the system does not tell.

    Reads the files of the trust store; raises Unreadable.
    """
    roots = trusted_roots(network.context)
    return {} if roots is None else anchors_present(roots)


class Exporter:
    """The exporter as a service: probes on a timer, keeps the latest results, and reloads as a whole or not at all."""

    def __init__(
        self,
        source: Source,
        deployment: Deployment,
        network: Network,
        reloading: Callable[[], AbstractContextManager[None]] = nullcontext,  # what holds a reload
    ) -> None:
        self._source = source
        self._deployment = deployment
        self._network = network
        self._reloading = reloading
        self._pulse = Pulse()
        self._reader = Reader()
        self._reloads: Reloads | None = None
        self._schedule: Schedule | None = None
        self._journal = Journal()
        self.board = Board(deployment.plan)
        self._state = State(self.board)
        self.registry = registry_for(self._state)
        self._events = Events(self.registry)
        self._events.adopt(deployment.plan)
        self._timing = Timing(self.registry, network.clock.source)
        self._conditions = Conditions(self.registry)
        self._conditions.tell(deployment.settings.probing.interval, anchors_of(network))
        self._reload_status = ReloadStatus(self.registry)
        self._reload_status.tell(successful=True)

    def start(self, group: TaskGroup) -> None:
        """Begin to probe and to reload, in tasks of `group`."""
        self._warn()
        self._reloads = Reloads(group, self._reload)
        self._schedule = Schedule(group, self._attempt, self, self._pulse)
        self._reschedule()
        group.start_soon(watch, self._timing.loop_lag.observe)

    async def probe(self, keys: Iterable[CheckKey], within: float | None = None) -> dict[CheckKey, Result]:
        """Probe these checks of the plan now and at once, all attempts within some seconds if given. Records nothing.

        By the settings in force when it is called, also where a reload comes meanwhile.
        """
        probing, network, results = self._deployment.settings.probing, self._network, dict[CheckKey, Result]()
        if within is not None:
            probing = replace(probing, timeout=min(probing.timeout, within / probing.attempts))

        async def one(key: CheckKey) -> None:
            patience = PATIENCE if within is None else 0.0
            with self._events.in_flight.track_inprogress():
                results[key] = await undisturbed(self._pulse, lambda: run_check(key, network, probing, patience))

        async with anyio.create_task_group() as group:
            for key in keys:
                group.start_soon(one, key)
        return results

    async def _attempt(self, key: CheckKey, within: float) -> Result:
        """One attempt of the schedule, within its time-out or these seconds."""
        probing = self._deployment.settings.probing
        patience = min(PATIENCE, max(0.0, within - probing.timeout))
        check = self.board.check(key)  # whose target may have become a public one, while its key is the same
        with self._events.in_flight.track_inprogress():
            return await run_check(
                check.key if check else key,
                self._network,
                replace(probing, attempts=1, timeout=min(probing.timeout, within)),
                patience,
            )

    async def reload(self) -> None:
        """Read the files again and swap the whole plan, or share in a reload that waits to begin.

        Raises one of UNUSABLE or NotReloaded, and then the old plan runs on.
        """
        if self._reloads is None:  # nobody else reloads before the start
            await self._reload()
        else:
            await self._reloads.ask().wait()

    def ask_for_reload(self) -> None:
        """Reload as `reload` does, without waiting: what comes of it is in log and metrics."""
        if self._reloads is not None:
            self._reloads.ask()

    def end(self) -> None:
        """Keep nobody waiting for a reload any more."""
        if self._reloads is not None:
            self._reloads.end()

    @property
    def hangs(self) -> bool:
        """Whether a reload that nobody waits for any more is still reading."""
        return self._reader.hangs

    async def _reload(self) -> None:
        with self._reloading():
            try:
                self.adopt(*await self._reader.read(self._read))
            except Exception as error:
                self._reload_status.tell(successful=False)
                for mistake in str(error).splitlines() if isinstance(error, (*UNUSABLE, NotReloaded)) else ():
                    log.error("configuration not reloaded", mistake=mistake)  # noqa: TRY400 - a person's mistake
                raise

    def _read(self) -> tuple[Deployment, Network, Mapping[str, bool]]:
        deployment = deploy(self._source)
        network = network_of(deployment, self._network)
        return deployment, network, anchors_of(network)

    def adopt(self, deployment: Deployment, network: Network, anchors: Mapping[str, bool]) -> None:
        """Swap everything at once; nothing in here waits."""
        self._deployment, self._network = deployment, network
        self.board.adopt(deployment.plan)
        self._journal.keep(self.board.known())
        self._events.adopt(deployment.plan)
        self._reschedule()
        self._conditions.tell(deployment.settings.probing.interval, anchors)
        self._reload_status.tell(successful=True)
        log.info("configuration reloaded", checks=len(deployment.plan.checks), unprobed=len(deployment.plan.unprobed))
        self._warn()

    def _warn(self) -> None:
        for warning in self._deployment.found.warnings:
            log.warning("proxy not as configured in the system", detail=warning)

    def _reschedule(self) -> None:
        if self._schedule is not None:
            probing = self._deployment.settings.probing
            self._schedule.adopt(self.board.known(), Pace(probing.interval, probing.concurrency, probing.attempts))

    # ------------------------------------------------------------ the schedule's watcher

    def started(self, lag: float) -> None:
        """Note how late a probe starts."""
        self._events.lag.observe(lag)

    def missed(self, slots: int) -> None:
        """Count the slots that passed by."""
        self._events.missed.inc(slots)

    def doubted(self, result: Result) -> None:
        """Show a failed attempt as what it is."""
        self.board.doubt(result)

    def believed(self, result: Result) -> None:
        """Count a first failure that counts without a second one."""
        if result.attempts == 1:
            self._events.first_failures.labels("believed").inc()

    def finished(self, result: Result) -> None:
        """Count, pin and tell a result, if its check is still in the plan. What goes wrong in that is its failure."""
        try:
            self._count(result)
        except Exception as error:  # noqa: BLE001 - a defect is told as the result of one check
            result = replace(result, failure=defect(error))
        recorded = self.board.record(result)
        if recorded is None:
            return
        try:
            self._state.show(recorded.check)
        except Exception as error:  # noqa: BLE001 - as above
            recorded = replace(recorded, result=replace(result, failure=defect(error)))
            self.board.record(recorded.result)
        self._tell(recorded)

    def _count(self, result: Result) -> None:
        self._events.physical.inc()
        self._timing.count(result)
        if result.attempts > 1:
            self._events.first_failures.labels("refuted" if result.up else "confirmed").inc()
        check = self.board.check(result.key)
        if check is not None:
            self._events.count(check, result)

    def _tell(self, recorded: Recorded) -> None:
        """One line for each change of state or reason; a first result that is well is no news."""
        if not recorded.changed or (recorded.before is None and recorded.result.up):
            if _LEVEL.isEnabledFor(logging.DEBUG):
                log.debug("probed", **_fields(recorded))
            return
        unwritten = self._journal.admits(recorded.check.key, time.monotonic())
        if unwritten is None:
            return
        fields = _fields(recorded)
        if unwritten:
            fields["unwritten_changes"] = unwritten
        if recorded.result.up:
            log.info("target is up", **fields)
        else:
            log.warning("target is down", **fields)


def _fields(recorded: Recorded) -> dict[str, Any]:
    result = recorded.result
    fields = {
        "target": result.key.target.url,
        "path": result.key.path,
        "features": ",".join(sorted({consumer.feature for consumer in recorded.check.consumers})),
    }
    if result.failure is not None:
        fields |= {
            "reason": result.failure.reason,
            "phase": result.failure.phase,
            "message": result.failure.message,
        }
    return fields | {"seconds": round(result.duration, 4)}


class _Round:
    """The observer of a single round."""

    def __init__(self, board: Board, progress: Callable[[], None]) -> None:
        self._board = board
        self._progress = progress

    def started(self, lag: float) -> None:
        pass

    def finished(self, result: Result) -> None:
        self._board.record(result)
        self._progress()


async def check_once(deployment: Deployment, progress: Callable[[], None]) -> Snapshot:
    """One round now; `progress` is called after each probe."""
    board = Board(deployment.plan)
    network = network_of(deployment)
    probing = deployment.settings.probing

    async def probe(key: CheckKey) -> Result:
        return await run_check(key, network, probing)

    await probe_once(board.known(), probing.concurrency, probe, _Round(board, progress))
    return board.snapshot()
