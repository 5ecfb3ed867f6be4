"""Probe every target of a configuration at once, and print the phases of each as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import anyio

from exporter.model.vocabulary import CheckKey
from exporter.probe.runner import run_check
from exporter.service.load import Source, deploy, network_of
from exporter.system.loop import run_on_loop


async def burst(config: Path) -> list[dict[str, Any]]:
    """Each probe's path, phases in seconds, and which of them are late."""
    deployment = deploy(Source(config))
    network = network_of(deployment)
    found: list[dict[str, Any]] = []

    async def one(key: CheckKey) -> None:
        result = await run_check(key, network, deployment.settings.probing)
        path = "/" + key.target.url.rsplit("/", 1)[1]
        found.append(
            {"path": path, "late": sorted(result.late), **{str(phase): took for phase, took in result.phases.items()}}
        )

    async with anyio.create_task_group() as group:
        for check in deployment.plan.checks:
            group.start_soon(one, check.key)
    return found


if __name__ == "__main__":
    print(json.dumps(run_on_loop(burst, Path(sys.argv[1]))))
