"""From a blocked host to the failing gauge, and to the page: shipped defaults, shipped rules, both sides at once."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import yaml

from benchmarks.figures import Figure, median
from benchmarks.sides import BLACKBOX
from tests.lab import Lab
from tests.paging import RECEIVER
from tests.running import ADDRESS, Exporter, eventually, program, running
from tests.stack import DASHBOARDS, Server, alertmanager, prometheus

HOSTS: Final = ("petrol.office.microsoft.com", "config.office.com", "dc.services.visualstudio.com")
INTERVAL: Final = 60.0  # seconds, as shipped; blackbox_exporter is asked as often
SCRAPE: Final = 15.0
PATIENCE: Final = 420.0  # seconds for the whole way to the page
# What a site would write for blackbox_exporter, with as long a wait as our rule for a feature has.
_RULES: Final = {
    "groups": [
        {
            "name": "blackbox",
            "rules": [
                {
                    "alert": "BlackboxTargetDown",
                    "expr": "probe_success == 0",
                    "for": "1m",
                    "labels": {"severity": "critical", "team": "configmgr"},
                }
            ],
        }
    ]
}


def noticed(lab: Lab, directory: Path, hosts: Sequence[str]) -> Iterator[Figure]:
    """Block the hosts at one moment and wait for each step."""
    received = directory / "receiver.log"
    _write(directory, hosts)
    blackbox = ["prometheus-blackbox-exporter", f"--config.file={directory / 'blackbox.yml'}"]
    with (
        program(lab, received, [sys.executable, "-m", "tests.receiver", str(RECEIVER)]),
        program(lab, directory / "blackbox.log", [*blackbox, f"--web.listen-address={BLACKBOX}"]),
        alertmanager(lab, directory, directory / "alertmanager.yml"),
        running(lab, directory, public=True) as exporter,
        prometheus(lab, directory, directory / "prometheus.yml") as watcher,
        ExitStack() as faults,
    ):
        eventually("first results", exporter.ready, within=60)
        eventually("both are watched", lambda: len(watcher.query("probe_success == 1")) == len(hosts), within=120)
        eventually("no alert", lambda: not _alerts(watcher), within=300)
        begun = time.time()
        for host in hosts:
            faults.enter_context(lab.reset(host))
        waits = _waits(hosts, exporter, watcher, received, begun)
    steps = (("failing gauge", "gauge", "seen"), ("failing series in Prometheus", "stored", "seen"))
    for name, mine, other in steps:
        yield Figure("notice", name, "s", median(waits[mine].values()), median(waits[other].values()), _NOTE)
    yield Figure("notice", "first page", "s", waits["page"]["ours"], waits["page"]["theirs"], _NOTE)


_NOTE: Final = f"both probe every {INTERVAL:.0f} s; ours is scraped every {SCRAPE:.0f} s; median of the hosts"


def _waits(
    hosts: Sequence[str], exporter: Exporter, watcher: Server, received: Path, begun: float
) -> dict[str, dict[str, float]]:
    """Seconds from the block to each step, by host or by side."""
    waits: dict[str, dict[str, float]] = {"gauge": {}, "stored": {}, "seen": {}, "page": {}}
    steps: dict[str, Callable[[str], bool]] = {
        "gauge": lambda host: 0.0 in _of(host, exporter.values("configmgr_endpoint_up")),
        "stored": lambda host: bool(watcher.query(f'configmgr_endpoint_up{{target=~".*{host}.*"}} == 0')),
        "seen": lambda host: bool(watcher.query(f'probe_success{{target=~".*{host}.*"}} == 0')),
    }
    deadline = time.time() + PATIENCE
    while time.time() < deadline and (len(waits["page"]) < 2 or any(len(waits[step]) < len(hosts) for step in steps)):
        for step, holds in steps.items():
            for host in hosts:
                if host not in waits[step] and holds(host):
                    waits[step][host] = time.time() - begun
        for sent in map(json.loads, received.read_text().splitlines()):
            if sent["time"] >= begun and sent["status"] == "firing":
                for alert in sent["alerts"]:
                    side = "theirs" if alert["labels"]["alertname"] == "BlackboxTargetDown" else "ours"
                    if alert["labels"]["severity"] == "critical":
                        waits["page"].setdefault(side, sent["time"] - begun)
        time.sleep(0.3)
    return waits


def _of(host: str, series: dict[frozenset[tuple[str, str]], float]) -> list[float]:
    return [value for labels, value in series.items() if host in dict(labels)["target"]]


def _alerts(watcher: Server) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = watcher.get("/api/v1/alerts")["data"]["alerts"]
    return [alert for alert in found if alert["labels"]["severity"] == "critical"]


def _write(directory: Path, hosts: Sequence[str]) -> None:
    routes = yaml.safe_load((DASHBOARDS / "alertmanager/alertmanager.yml").read_text(encoding="utf-8"))
    routes["receivers"] = [
        {"name": receiver["name"]}
        if len(receiver) == 1
        else {
            "name": receiver["name"],
            "webhook_configs": [{"url": f"http://127.0.0.1:{RECEIVER}/{receiver['name']}", "send_resolved": False}],
        }
        for receiver in routes["receivers"]
    ]
    routes["templates"], routes["global"] = [], {"resolve_timeout": "5m"}
    jobs = [
        {"job_name": "configmgr", "scrape_interval": "15s", "static_configs": [{"targets": [ADDRESS]}]},
        {
            "job_name": "blackbox",
            "scrape_interval": "60s",
            "metrics_path": "/probe",
            "params": {"module": ["probe"]},
            "static_configs": [{"targets": [f"https://{host}/" for host in hosts]}],
            "relabel_configs": [
                {"source_labels": ["__address__"], "target_label": "__param_target"},
                {"source_labels": ["__address__"], "target_label": "target"},
                {"target_label": "__address__", "replacement": BLACKBOX},
            ],
        },
    ]
    files: dict[str, Any] = {
        "blackbox.yml": {"modules": {"probe": {"prober": "http", "http": {"preferred_ip_protocol": "ip4"}}}},
        "alertmanager.yml": routes,
        "rules-blackbox.yml": _RULES,
        "prometheus.yml": {
            "global": {"evaluation_interval": "15s"},
            "rule_files": [str(DASHBOARDS / "rules" / "*.yaml"), str(directory / "rules-blackbox.yml")],
            "scrape_configs": jobs,
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": ["127.0.0.1:9093"]}]}]},
        },
    }
    for name, content in files.items():
        (directory / name).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
