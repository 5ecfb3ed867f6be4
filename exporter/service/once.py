"""One round, now: a Deployment -> Snapshot."""

from __future__ import annotations

from collections.abc import Callable

from exporter.model.vocabulary import CheckKey, Result, Snapshot
from exporter.probe.runner import run_check
from exporter.results.store import ResultStore
from exporter.service.load import Deployment, network_of
from exporter.service.schedule import probe_once
from exporter.system.lag import Pulse


class _Round:
    """The observer of a single round."""

    def __init__(self, store: ResultStore, progress: Callable[[], None]) -> None:
        self._store = store
        self._progress = progress

    def started(self, lag: float) -> None:
        pass

    def finished(self, result: Result) -> None:
        self._store.record(result)
        self._progress()


async def check_once(deployment: Deployment, progress: Callable[[], None]) -> Snapshot:
    """One round now; `progress` is called after each probe."""
    store = ResultStore(deployment.plan)
    network = network_of(deployment)
    probing, pulse = deployment.settings.probing, Pulse()

    async def probe(key: CheckKey) -> Result:
        return await run_check(key, network, probing, pulse=pulse)

    await probe_once(store.known(), probing.concurrency, probe, _Round(store, progress), pulse)
    return store.snapshot()
