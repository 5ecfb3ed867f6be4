"""One round, now: a Deployment -> Snapshot."""

from __future__ import annotations

from collections.abc import Callable

from exporter.model.vocabulary import (
    CheckKey,
    Result,
    Snapshot,
)
from exporter.probe.runner import run_check
from exporter.results.store import Board
from exporter.service.load import Deployment, network_of
from exporter.service.schedule import probe_once
from exporter.system.lag import Pulse


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
    probing, pulse = deployment.settings.probing, Pulse()

    async def probe(key: CheckKey) -> Result:
        return await run_check(key, network, probing, pulse=pulse)

    await probe_once(board.known(), probing.concurrency, probe, _Round(board, progress), pulse)
    return board.snapshot()
