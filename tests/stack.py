"""Prometheus and Alertmanager with the shipped examples, inside the laboratory: started, and asked by their APIs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from tests.lab import Lab
from tests.running import ROOT, eventually, http, program

DASHBOARDS: Final = ROOT / "dashboards"


def with_examples(text: str) -> str:
    """The file with what stands behind `##` switched on."""
    return re.sub(r"(?m)^( *)##", r"\1", text)


@dataclass(frozen=True)
class Server:
    """A running Prometheus or Alertmanager."""

    lab: Lab
    port: int

    def get(self, path: str, **parameters: str) -> Any:
        """What its API answers to a question."""
        encoded = [part for key, value in parameters.items() for part in ("--data-urlencode", f"{key}={value}")]
        answer = http(self.lab, f"http://127.0.0.1:{self.port}{path}", "--get", *encoded)
        assert answer.status == 200, answer
        return json.loads(answer.body)

    def metric(self, name: str) -> float:
        """The sum of a metric of its own."""
        text = http(self.lab, f"http://127.0.0.1:{self.port}/metrics").body
        found = (family.samples for family in text_string_to_metric_families(text))
        return sum(sample.value for samples in found for sample in samples if sample.name == name)

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """The series of an instant query, now or at a Unix time."""
        when = {} if at is None else {"time": str(at)}
        found: list[dict[str, Any]] = self.get("/api/v1/query", query=expression, **when)["data"]["result"]
        return found

    def targets(self) -> list[dict[str, Any]]:
        """What Prometheus scrapes, and under which labels."""
        found: list[dict[str, Any]] = self.get("/api/v1/targets")["data"]["activeTargets"]
        return found

    def post(self, alerts: list[dict[str, Any]]) -> None:
        """Tell Alertmanager."""
        url = f"http://127.0.0.1:{self.port}/api/v2/alerts"
        command = ["curl", "--silent", "--show-error", "--fail-with-body", "--json", "@-", url]
        told = self.lab.run(command, input=json.dumps(alerts))
        assert told.returncode == 0, told.stdout + told.stderr

    def alerts(self) -> list[dict[str, Any]]:
        """All that Alertmanager holds, with what inhibits it."""
        found: list[dict[str, Any]] = self.get("/api/v2/alerts")
        return found


@contextmanager
def alertmanager(lab: Lab, directory: Path, config: Path, *options: str, port: int = 9093) -> Iterator[Server]:
    """A real Alertmanager with this configuration; alone, unless the options say otherwise."""
    argv = [
        "prometheus-alertmanager",
        f"--config.file={config}",
        f"--storage.path={directory / f'alertmanager-{port}'}",
        f"--web.listen-address=127.0.0.1:{port}",
        *(options or ["--cluster.listen-address="]),
    ]
    yield from _serving(lab, directory / f"alertmanager-{port}.log", argv, port)


@contextmanager
def prometheus(
    lab: Lab,
    directory: Path,
    config: Path,
    *options: str,
    port: int = 9090,
    agent: bool = False,
    replica: str = "",
    address: str = "127.0.0.1",
) -> Iterator[Server]:
    """A real Prometheus with this configuration; `replica` is in its environment, `address` what it listens on."""
    storage = "agent" if agent else "tsdb"
    argv = [
        *("env", f"REPLICA={replica}", "prometheus", f"--config.file={config}"),
        f"--storage.{storage}.path={directory / f'{storage}-{port}'}",
        f"--web.listen-address={address}:{port}",
        *(("--enable-feature=agent",) if agent else ()),
        *options,
    ]
    yield from _serving(lab, directory / f"prometheus-{port}.log", argv, port)


def _serving(lab: Lab, log: Path, argv: list[str], port: int) -> Iterator[Server]:
    with program(lab, log, argv) as process:

        def ready() -> bool:
            assert process.poll() is None, log.read_text()
            return http(lab, f"http://127.0.0.1:{port}/-/ready").status == 200

        eventually(f"{argv[0]} is ready", ready, within=60)
        yield Server(lab, port)


@contextmanager
def files_served(lab: Lab, directory: Path, port: int) -> Iterator[None]:
    """The files of a directory over HTTP: enough of an inventory, and of an exporter that says always the same."""
    argv = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(directory), str(port)]
    with program(lab, directory / f"http-{port}.log", argv):
        eventually("files are served", lambda: http(lab, f"http://127.0.0.1:{port}/").status == 200)
        yield


def copied(directory: Path, name: str, change: Callable[[str], str]) -> Path:
    """An example of dashboards/ in a directory of its own, where what differs in a test has been changed."""
    copy = directory / name
    copy.parent.mkdir(parents=True, exist_ok=True)
    text = (DASHBOARDS / name).read_text(encoding="utf-8")
    copy.write_text(change(text), encoding="utf-8")
    return copy
