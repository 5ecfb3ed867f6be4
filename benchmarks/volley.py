"""Ask blackbox_exporter for every target on standard input at once, and print the phases of each as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import anyio
import httpx
from prometheus_client.parser import text_string_to_metric_families


async def volley(prober: str, targets: Sequence[str]) -> list[dict[str, Any]]:
    """Each probe's path and phases in seconds."""
    found: list[dict[str, Any]] = []

    async def one(client: httpx.AsyncClient, target: str) -> None:
        text = (await client.get(prober + target)).text
        phases = {
            sample.labels["phase"]: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "probe_http_duration_seconds"
        }
        found.append({"path": "/" + target.rsplit("/", 1)[1], "late": [], **phases})

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with (
        httpx.AsyncClient(trust_env=False, timeout=60, limits=limits) as client,
        anyio.create_task_group() as group,
    ):
        for target in targets:
            group.start_soon(one, client, target)
    return found


if __name__ == "__main__":
    print(json.dumps(anyio.run(volley, sys.argv[1], sys.stdin.read().split())))
