"""Ask the exporter, wired as it always is, about targets: for the Python that it is installed for, also on Windows.

usage: python -m tests.answering QUESTIONS ANSWERS, two files of JSON. It imports nothing but the exporter.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import anyio

from exporter.model.vocabulary import CheckKey, Probing, Proxy, Result, Settings, Target, TlsSettings, Trust
from exporter.probe.runner import run_check
from exporter.service.load import Deployment, Source, deploy, network_of
from exporter.system.loop import run_on_loop

TIMEOUT: Final = 6.0  # seconds; the laboratory's proxy gives up on a target after three
AT_ONCE: Final = 64  # probes; those that take long only wait


def answer(shipped: Deployment, jobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the exporter finds."""
    return run_on_loop(_probe_all, shipped, jobs)


async def _probe_all(shipped: Deployment, jobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    limiter = anyio.CapacityLimiter(AT_ONCE)
    proxies = {str(number): Proxy(str(number), *job["proxy"]) for number, job in enumerate(jobs) if job["proxy"]}
    networks = {
        ca_file: network_of(replace(shipped, settings=Settings(tls=TlsSettings(ca_file), proxies=proxies)))
        for ca_file in {job["ca_file"] for job in jobs}
    }
    documented = {check.key.target.url: check.key.target for check in shipped.plan.checks}
    answers: dict[int, dict[str, Any]] = {}

    async def probe(number: int, job: dict[str, Any]) -> None:
        other = Target(job["url"], own=job["own"], leads_to=frozenset(job["leads_to"]))
        target = documented.get(job["url"], other)
        key = CheckKey(target, str(number) if job["proxy"] else None)
        async with limiter:
            result = await run_check(key, networks[job["ca_file"]], Probing(timeout=TIMEOUT, attempts=1))
        answers[number] = _told(result)

    async with anyio.create_task_group() as group:
        for number, job in enumerate(jobs):
            group.start_soon(probe, number, job)
    return [answers[number] for number in range(len(jobs))]


def _told(result: Result) -> dict[str, Any]:
    failure, tls = result.failure, result.evidence.tls
    return {
        "reported": failure.reason if failure else None,
        "message": failure.message if failure else f"status {result.evidence.status}",
        "cause": failure.cause if failure else None,
        "intercepted": tls.intercepted(Trust.PUBLIC) if tls else None,
    }


def main() -> None:
    """Answer the questions of a file."""
    questions, answers = map(Path, sys.argv[1:])
    jobs = json.loads(questions.read_text(encoding="utf-8"))
    answers.write_text(json.dumps(answer(deploy(Source()), jobs)), encoding="utf-8")


if __name__ == "__main__":
    main()
