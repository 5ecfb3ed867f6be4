"""How long Prometheus takes to evaluate the shipped rules for many sites: `python -m benchmarks.rules [--sites N]`.

Every site has the shipped catalogue by the exporter's own objects, and shows the same in each scrape: all targets fail
for one reason, or none does. Only the series that the rules read are scraped, so that it is the rules that cost. Groups
that are evaluated once in hours are evaluated each minute, so that none is left out.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Final

from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.figures import Figure
from benchmarks.machine import cpu_seconds
from exporter.model.vocabulary import Certificate, CheckKey, Evidence, Failure, Phase, Reason, Result, Root, TlsFacts
from exporter.service.exporter import Exporter
from exporter.service.load import Source, deploy, network_of
from exporter.system.log import LogFormat, LogLevel, configure
from tests.paging import every, faster_rules
from tests.running import ROOT
from tests.sites import UNREAD

RULES: Final = ROOT / "dashboards" / "rules"
SLOWEST: Final = 12  # rules that are named
SETTLED: Final = 20  # scrapes until all groups have been evaluated often enough to have made their series,
ROUNDS: Final = 5  # and those that are measured: each group is evaluated in them
SELDOM: Final = re.compile(r"(?<= interval: )(([2-9]|\d\d+)m|\d+h)")  # more than a minute apart


def exposition(*, healthy: bool) -> bytes:
    """What a scrape of one site has for the rules, compressed."""
    configure(LogLevel.ERROR, LogFormat.LOGFMT)
    deployment = deploy(Source())
    running = Exporter(Source(), deployment, network_of(deployment))
    for check in deployment.plan.checks:
        running.finished(_well(check.key) if healthy else _cut_off(check.key))
    return gzip.compress(UNREAD.sub(b"", generate_latest(running.registry)))


def _well(key: CheckKey) -> Result:
    chain = (Certificate("CN=host", "CN=issuer", 0.0, 4e9, "ab"),)
    seen = Evidence(tls=TlsFacts("TLSv1.3", chain, Root.PUBLIC))
    return Result(key, time.time(), dict.fromkeys(Phase, 0.1), seen, None)


def _cut_off(key: CheckKey) -> Result:
    failure = Failure(Phase.CONNECT, Reason.CONNECT_TIMEOUT, "no answer")
    return Result(key, time.time(), {Phase.RESOLVE: 0.1, Phase.CONNECT: 10.0}, Evidence(), failure)


@contextmanager
def served(body: bytes) -> Iterator[int]:
    """The same answer to every question, at a port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()


def asked(port: int, path: str) -> str:
    """What Prometheus answers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        text: str = answer.read().decode()
    return text


def durations(port: int) -> Mapping[str, float]:
    """Seconds that the last evaluation of each group took."""
    return {
        sample.labels["rule_group"].rpartition(";")[2]: sample.value
        for family in text_string_to_metric_families(asked(port, "/metrics"))
        for sample in family.samples
        if sample.name == "prometheus_rule_group_last_duration_seconds"
    }


def slowest(port: int) -> list[tuple[float, str]]:
    """The rules that took longest in their last evaluation: seconds, and name."""
    groups = json.loads(asked(port, "/api/v1/rules"))["data"]["groups"]
    return sorted(((rule["evaluationTime"], rule["name"]) for group in groups for rule in group["rules"]), reverse=True)


@dataclass(frozen=True)
class Taken:
    """What the last evaluations took: seconds by group, the middle of some, and CPU of Prometheus in a round."""

    groups: Mapping[str, float]
    cpu: float
    alerts: Mapping[str, str]
    slowest: Sequence[tuple[float, str]]

    @property
    def together(self) -> float:
        """Seconds of all groups."""
        return sum(self.groups.values())


def measured(sites: int, *, healthy: bool, rules: Path, port: int = 9790, pace: float = 1.0) -> Taken:
    """What the rules take when all has settled, with their clock so many times faster than shipped."""
    interval = every(pace)
    with tempfile.TemporaryDirectory() as place, served(exposition(healthy=healthy)) as exporter:
        targets = [{"targets": [f"127.0.0.1:{exporter}"], "labels": {"instance": f"site{n}"}} for n in range(sites)]
        for path in rules.glob("*.yaml"):
            text = SELDOM.sub("1m", path.read_text(encoding="utf-8"))
            (Path(place) / path.name).write_text(text if pace == 1.0 else faster_rules(text, pace))
        config = {
            "global": dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), interval),
            "rule_files": [f"{place}/*.yaml"],
            "scrape_configs": [{"job_name": "configmgr", "static_configs": targets}],
        }
        path = Path(place) / "prometheus.json"
        path.write_text(json.dumps(config))
        argv = ["prometheus", f"--config.file={path}", f"--storage.tsdb.path={place}/tsdb"]
        log = (Path(place) / "log").open("w")
        process = subprocess.Popen([*argv, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
        try:
            time.sleep(SETTLED * float(interval[:-1]))
            seen, before = [], cpu_seconds(process.pid)
            for _ in range(ROUNDS):
                time.sleep(float(interval[:-1]))
                seen.append(durations(port))
            cpu = (cpu_seconds(process.pid) - before) / ROUNDS
            alerts = json.loads(asked(port, "/api/v1/query?query=count%20by%20(alertname,alertstate)(ALERTS)"))
            counted = {
                f"{found['metric']['alertname']} {found['metric']['alertstate']}": found["value"][1]
                for found in alerts["data"]["result"]
            }
            last = slowest(port)
        finally:
            process.kill()
            process.wait()
    return Taken({group: median(one[group] for one in seen) for group in seen[-1]}, cpu, counted, last)


def figures(sites: int, pace: float) -> Iterator[Figure]:
    """All sites down, beside the same sites when all is well."""
    down, well = (measured(sites, healthy=healthy, rules=RULES, pace=pace) for healthy in (False, True))
    note = f"{sites} sites with the whole catalogue; beside each figure the one of the same sites when all is well"
    yield Figure("rules", "all groups evaluated once, every site down", "s", down.together, well.together, note)
    yield Figure("rules", "CPU of Prometheus in 15 s, with scrapes", "s", down.cpu, well.cpu, note)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sites", type=int, default=50)
    parser.add_argument("--healthy", action="store_true")
    parser.add_argument("--rules", type=Path, default=RULES)
    parser.add_argument("--port", type=int, default=9790)
    options = parser.parse_args()
    found = measured(options.sites, healthy=options.healthy, rules=options.rules, port=options.port)
    sys.stdout.write(f"CPU of Prometheus a round: {found.cpu:.2f} s\n")
    for alert, number in found.alerts.items():
        sys.stdout.write(f"  {alert}: {number}\n")
    for seconds, rule in found.slowest[:SLOWEST]:
        sys.stdout.write(f"  {rule}: {seconds:.3f} s\n")
    for group, seconds in found.groups.items():
        sys.stdout.write(f"{group:25} {seconds:8.3f} s\n")
    sys.stdout.write(f"{'together':25} {found.together:8.3f} s, load {os.getloadavg()[0]:.1f}\n")


if __name__ == "__main__":
    main()
