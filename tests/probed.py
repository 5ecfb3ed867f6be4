"""Probe targets by the engine alone and tell all that came of it: for a process inside the laboratory.

usage: python -m tests.probed JSON, an object with `targets` (URL -> whether it is the operator's own), and if need be
`timeout` in seconds and `proxy`, a URL. Prints an object with `results` by URL, `paths` and `families`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import anyio

from exporter.model.vocabulary import CheckKey, Probing, Proxy, Result, Target, TlsSettings
from exporter.probe.net import verifying
from exporter.probe.runner import Network, run_check
from exporter.results import paths
from tests.lab import Lab

ROOT = Path(__file__).parents[1]


def probed(
    lab: Lab,
    targets: Mapping[str, bool],
    *,
    timeout: float = 5.0,
    proxy: str = "",
    etc: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What came of these targets, in the laboratory and with these files of /etc."""
    asked = json.dumps({"targets": dict(targets), "timeout": timeout, "proxy": proxy})
    done: CompletedProcess[str] = lab.run([sys.executable, "-m", "tests.probed", asked], cwd=ROOT, etc=etc)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def probe(targets: Mapping[str, bool], probing: Probing, proxy: Proxy | None) -> list[Result]:
    """Each target once, all at a time."""
    network = Network(verifying(TlsSettings()), {proxy.name: proxy} if proxy else {})
    results: list[Result] = []

    async def one(url: str, own: bool) -> None:
        key = CheckKey(Target(url, own=own), proxy.name if proxy else None)
        results.append(await run_check(key, network, probing))

    async with anyio.create_task_group() as group:
        for url, own in targets.items():
            group.start_soon(one, url, own)
    return results


def main() -> None:
    asked = json.loads(sys.argv[1])
    proxy = Proxy("p", asked["proxy"]) if asked["proxy"] else None
    results = anyio.run(probe, asked["targets"], Probing(timeout=asked["timeout"], attempts=1), proxy)
    told = {
        result.key.target.url: {
            **asdict(result.evidence),
            "up": result.up,
            "failure": asdict(result.failure) if result.failure else {},
            "phases": dict(result.phases),
        }
        for result in results
    }
    families = {f"{path} {family}": up for (path, family), up in paths.families(results).items()}
    sys.stdout.write(json.dumps({"results": told, "paths": paths.paths(results), "families": families}))


if __name__ == "__main__":
    main()
