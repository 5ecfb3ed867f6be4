"""The exporter while it runs: a schedule, its results, and the configuration that is read again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from typing import Any, Final

import anyio
import structlog
from anyio.abc import TaskGroup

from exporter.allowlist.rules import Rule, rules
from exporter.config.documents import DocumentError, Mistake
from exporter.metrics.families import Conditions, Events, ReloadStatus, State, Timing, registry_for
from exporter.model.vocabulary import (
    CheckKey,
    OutOfTurn,
    Result,
    Role,
)
from exporter.plan.selection import UNUSABLE
from exporter.probe.classify import defect
from exporter.probe.runner import PATIENCE, Network, run_check
from exporter.report.counting import counted
from exporter.report.findings import nothing_to_check
from exporter.results.store import Recorded, ResultStore
from exporter.service.change_log import ChangeLog
from exporter.service.load import Deployment, Source, deploy, network_of, required_roots_of
from exporter.service.reloading import NotReloaded, Reloads
from exporter.service.schedule import Pace, Schedule
from exporter.system.lag import Pulse, watch
from exporter.system.reader import Reader, Unread

log = structlog.get_logger("exporter")
_EMPTY: Final = (
    "the file says nothing any more, perhaps because it is only half written; the configuration before it stays. Write "
    "{} to have everything probed, and direct"
)
_LEVEL: Final = logging.getLogger("exporter")  # to ask it first: to be turned down by `log` is 2 % of a probe


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
        self._rules: tuple[Deployment | None, tuple[Rule, ...]] = (None, ())  # for which they were found
        self._network = network
        self._reloading = reloading
        self._pulse = Pulse()
        self._reader = Reader()
        self._reloads: Reloads | None = None
        self._schedule: Schedule | None = None
        self._change_log = ChangeLog()
        self.store = ResultStore(deployment.plan)
        self._state = State(self.store)
        self.registry = registry_for(self._state)
        self._events = Events(self.registry)
        self._events.adopt(deployment.plan)
        self._timing = Timing(self.registry, network.clock.source)
        self._conditions = Conditions(self.registry)
        self._conditions.set(deployment.settings.probing.interval, required_roots_of(network))
        self._reload_status = ReloadStatus(self.registry)
        self._reload_status.set(successful=True)

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
                results[key] = await run_check(key, network, probing, patience, self._pulse)

        async with anyio.create_task_group() as group:
            for key in keys:
                group.start_soon(one, key)
        return results

    async def _attempt(self, key: CheckKey, within: float) -> Result:
        """One attempt of the schedule, within its timeout or these seconds."""
        probing = self._deployment.settings.probing
        patience = min(PATIENCE, max(0.0, within - probing.timeout))
        check = self.store.check(key)  # whose target may have become a public one, while its key is the same
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
                self.adopt(*await self._read_within())
            except Exception as error:
                self._reload_status.set(successful=False)
                for mistake in _mistakes(error):
                    log.error("configuration not reloaded", mistake=str(mistake))  # noqa: TRY400 - a person's mistake
                raise

    async def _read_within(self) -> tuple[Deployment, Network, Mapping[str, bool]]:
        try:
            return await self._reader.read(self._read)
        except Unread as error:
            raise NotReloaded(str(error)) from None

    def _read(self) -> tuple[Deployment, Network, Mapping[str, bool]]:
        deployment = deploy(self._source)
        if deployment.settings.written.empty and deployment.settings != self._deployment.settings:
            raise DocumentError([Mistake(deployment.settings.written.file, 1, (), _EMPTY)])
        network = network_of(deployment, self._network)
        return deployment, network, required_roots_of(network)

    def adopt(self, deployment: Deployment, network: Network, anchors: Mapping[str, bool]) -> None:
        """Swap everything at once; nothing in here waits."""
        self._deployment, self._network = deployment, network
        self.store.adopt(deployment.plan)
        self._change_log.keep(self.store.known())
        self._events.adopt(deployment.plan)
        self._reschedule()
        self._conditions.set(deployment.settings.probing.interval, anchors)
        self._reload_status.set(successful=True)
        log.info("configuration reloaded", **asdict(counted(deployment.plan)))
        self._warn()

    def _warn(self) -> None:
        if nothing := nothing_to_check(self._deployment.plan):
            log.warning(nothing)
        for warning in self._deployment.found.warnings:
            log.warning("proxy not as configured in the system", detail=warning)
        for mistake in self._deployment.unused:
            log.warning("the configuration says something in vain", detail=str(mistake))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the configuration in force says in vain, and where."""
        return tuple(map(str, self._deployment.unused))

    def rules(self) -> tuple[tuple[Rule, ...], Mapping[str, Role]]:
        """What must be let through for the configuration in force, and what the roles in it are. Any thread may ask."""
        deployment = self._deployment
        if deployment.needed is None:
            return (), {}
        of, found = self._rules
        if of is not deployment:
            needed = deployment.needed
            found = rules(needed.catalogue, needed.groups, needed.site, deployment.settings)
            self._rules = deployment, found
        return found, deployment.needed.catalogue.roles

    def _reschedule(self) -> None:
        if self._schedule is not None:
            probing = self._deployment.settings.probing
            self._schedule.adopt(self.store.known(), Pace(probing.interval, probing.concurrency, probing.attempts))

    # ------------------------------------------------------------ the schedule's watcher

    def started(self, lag: float) -> None:
        """Note how late a probe starts."""
        self._events.lag.observe(lag)

    def started_out_of_turn(self, why: OutOfTurn) -> None:
        """Count it."""
        self._events.out_of_turn.labels(why).inc()

    def missed(self, slots: int) -> None:
        """Count the slots that passed by."""
        self._events.missed.inc(slots)

    def unconfirmed(self, result: Result) -> None:
        """Show a failed attempt as what it is."""
        self.store.mark_unconfirmed(result)

    def accepted(self, result: Result) -> None:
        """Count a first failure that counts without a second one."""
        if result.attempts == 1:
            self._events.first_failures.labels("believed").inc()

    def finished(self, result: Result) -> None:
        """Count, store and log a result, if its check is still in the plan. What goes wrong in that is its failure."""
        self._finish(result, in_turn=True)

    def finished_out_of_turn(self, result: Result) -> None:
        """The same without counting it for anybody: more of these are made while something is wrong."""
        self._finish(result, in_turn=False)

    def _finish(self, result: Result, *, in_turn: bool) -> None:
        try:
            self._count(result, in_turn=in_turn)
        except Exception as error:  # noqa: BLE001 - a defect is the result of one check
            result = replace(result, failure=defect(error))
        recorded = self.store.record(result, in_turn=in_turn)
        if recorded is None:
            return
        try:
            self._state.show(recorded.check)
        except Exception as error:  # noqa: BLE001 - as above
            recorded = replace(recorded, result=replace(result, failure=defect(error)))
            self.store.record(recorded.result)
        self._log(recorded)

    def _count(self, result: Result, *, in_turn: bool) -> None:
        self._events.physical.inc()
        self._timing.count(result)
        if result.attempts > 1:
            self._events.first_failures.labels("refuted" if result.up else "confirmed").inc()
        check = self.store.check(result.key)
        if in_turn and check is not None:
            self._events.count(check, result)

    def _log(self, recorded: Recorded) -> None:
        """One line for each change of state or reason; a first result that is well is no news."""
        if not recorded.changed or (recorded.before is None and recorded.result.up):
            if _LEVEL.isEnabledFor(logging.DEBUG):
                log.debug("probed", **_fields(recorded))
            return
        unwritten = self._change_log.admits(recorded.check.key, time.monotonic())
        if unwritten is None:
            return
        fields = _fields(recorded)
        if unwritten:
            fields["unwritten_changes"] = unwritten
        if recorded.result.up:
            log.info("target is up", **fields)
        else:
            log.warning("target is down", **fields)


def _mistakes(error: Exception) -> tuple[object, ...]:
    """What a person has to correct before a reload can succeed; nothing, where the fault is the exporter's."""
    if isinstance(error, DocumentError):
        return error.mistakes
    return (error,) if isinstance(error, (*UNUSABLE, NotReloaded)) else ()


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
