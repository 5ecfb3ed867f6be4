"""The whole chain in the laboratory, from the probe to who is paged: exporter, Prometheus, Alertmanager, a receiver.

    python -m tests.paging DIRECTORY [--pace TIMES]      writes what the four are started with

The shipped rules and routes are made for a probe a minute. Here one is made every five seconds, so every duration in
them is divided by twelve, or by another pace, and nothing else is changed.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from tests.lab import PROXY_HOST, Lab, Port
from tests.running import ADDRESS, Exporter, eventually, program, running
from tests.stack import DASHBOARDS, Server, alertmanager, prometheus

PACE: Final = 12
INTERVAL: Final = 60.0 / PACE  # seconds between two probes of a target
RECEIVER: Final = 9095
# The clients go through a proxy, all others direct.
SITE: Final = """
probe: {{interval: {interval}, timeout: {timeout}}}
proxies: {{corporate: {{url: "{proxy}"}}}}
via: {{client: corporate}}
"""
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION: Final = r"(\d+)([smhdw])"


def faster(text: str, pace: float = PACE) -> str:
    """A Prometheus duration, divided by the pace."""
    seconds = sum(int(number) * _UNITS[unit] for number, unit in re.findall(_DURATION, text))
    return f"{round(seconds * 1000 / pace)}ms"


def every(pace: float) -> str:
    """How often is scraped and evaluated: a second at least, as nothing divides that."""
    return f"{max(1, round(15 / pace))}s"


def faster_rules(text: str, pace: float = PACE) -> str:
    """A file of rules on the laboratory's clock: `for`, `interval`, ranges, offsets and what is marked as seconds."""
    document = yaml.safe_load(text)
    for group in document["groups"]:
        if "interval" in group:
            group["interval"] = every(pace)
        for rule in group["rules"]:
            rule |= {key: faster(rule[key], pace) for key in ("for", "keep_firing_for") if key in rule}
            rule["expr"] = re.sub(
                rf"(?<=[\[:])({_DURATION})+(?=[\]:])|(?<=offset )({_DURATION})+",
                lambda found: faster(found[0], pace),
                str(rule["expr"]),
            )
            rule["expr"] = re.sub(r"(\d+)(?= # seconds)", lambda found: f"{int(found[0]) / pace:g}", str(rule["expr"]))
    return yaml.safe_dump(document, sort_keys=False)


def faster_routes(text: str, pace: float = PACE) -> str:
    """The Alertmanager configuration on the laboratory's clock, each receiver a web hook of ours."""
    document = yaml.safe_load(text)

    def visit(route: dict[str, Any]) -> None:
        route |= {key: faster(route[key], pace) for key in ("group_wait", "group_interval") if key in route}
        for inner in route.get("routes", ()):
            visit(inner)

    visit(document["route"])
    document["receivers"] = [
        {"name": receiver["name"]}
        if len(receiver) == 1  # nobody is told
        else {
            "name": receiver["name"],
            "webhook_configs": [{"url": f"http://127.0.0.1:{RECEIVER}/{receiver['name']}", "send_resolved": True}],
        }
        for receiver in document["receivers"]
    ]
    document["templates"] = [str(DASHBOARDS / "alertmanager" / name) for name in document.get("templates", ())]
    document["global"] = {"resolve_timeout": "5m"}
    return yaml.safe_dump(document, sort_keys=False)


@dataclass(frozen=True)
class Notification:
    """What one web hook brought."""

    time: float
    receiver: str
    status: str  # firing, resolved
    labels: dict[str, str]  # that the group has in common
    alerts: tuple[dict[str, Any], ...]

    @property
    def firing(self) -> list[dict[str, Any]]:
        return [alert for alert in self.alerts if alert["status"] == "firing"]

    @property
    def names(self) -> set[str]:
        return {alert["labels"]["alertname"] for alert in self.firing}

    @property
    def critical(self) -> bool:
        return any(alert["labels"]["severity"] == "critical" for alert in self.alerts)


@dataclass(frozen=True)
class Chain:
    """The running chain."""

    exporter: Exporter
    prometheus: Server
    alertmanager: Server
    told: Path  # what the receiver wrote

    def notifications(self) -> list[Notification]:
        """All that was sent so far, in order."""
        lines = self.told.read_text().splitlines()
        return [
            Notification(
                found["time"], found["receiver"], found["status"], found["groupLabels"], tuple(found["alerts"])
            )
            for found in map(json.loads, lines)
        ]

    def pages(self, since: float = 0.0) -> list[Notification]:
        """What called a person, not what only said that all is well again."""
        return [sent for sent in self.notifications() if sent.critical and sent.firing and sent.time >= since]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Ask Prometheus."""
        return self.prometheus.query(expression)

    def quiet(self) -> bool:
        """Whether no critical alert is pending, firing or waiting to be told."""
        alerts = self.prometheus.get("/api/v1/alerts")["data"]["alerts"]
        return not [
            alert for alert in [*alerts, *self.alertmanager.alerts()] if alert["labels"]["severity"] == "critical"
        ]

    def until(self, what: str, found: Callable[[], Any], *, within: float) -> float:
        """When it held, Unix time."""
        eventually(what, found, within=within)
        return time.time()


def written(directory: Path, proxy_url: str, pace: float = PACE) -> list[Path]:
    """Put what the chain is started with into a directory."""
    files = {
        "exporter.yaml": SITE.format(interval=faster("1m", pace), timeout=faster("24s", pace), proxy=proxy_url),
        "prometheus.yml": f"""
global: {{scrape_interval: {every(pace)}, scrape_timeout: {every(pace)}, evaluation_interval: {every(pace)}}}
rule_files: [rules-*.yaml]
scrape_configs: [{{job_name: configmgr, static_configs: [{{targets: ["{ADDRESS}"]}}]}}]
alerting: {{alertmanagers: [{{static_configs: [{{targets: ["127.0.0.1:9093"]}}]}}]}}
""",
        "alertmanager.yml": faster_routes((DASHBOARDS / "alertmanager/alertmanager.yml").read_text(), pace),
    }
    for rules in sorted((DASHBOARDS / "rules").glob("*.yaml")):
        files[f"rules-{rules.name}"] = faster_rules(rules.read_text(), pace)
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text.lstrip())
    return [directory / name for name in files]


@contextmanager
def chain(lab: Lab, directory: Path, pace: float = PACE) -> Iterator[Chain]:
    """Run all four; returns when the first round is in Prometheus and nothing critical is under way."""
    written(directory, lab.proxy_url, pace)
    told = directory / "receiver.log"
    with (
        program(lab, told, [sys.executable, "-m", "tests.receiver", str(RECEIVER)]),
        alertmanager(lab, directory, directory / "alertmanager.yml") as teller,
        prometheus(lab, directory, directory / "prometheus.yml") as watcher,
        running(lab, directory, "--config.file", directory / "exporter.yaml", public=True) as exporter,
    ):
        found = Chain(exporter, watcher, teller, told)
        eventually("first results", exporter.ready, within=30)
        eventually("Prometheus has scraped", lambda: found.query("configmgr_feature_ready"), within=20)
        eventually("nothing is wrong", found.quiet, within=60)
        yield found


def main() -> None:
    """Write the files, and their names to stdout."""
    parser = argparse.ArgumentParser(prog="python -m tests.paging")
    parser.add_argument("directory", type=Path, metavar="DIRECTORY")
    parser.add_argument("--pace", type=float, default=PACE, metavar="TIMES", help="how much faster than as shipped")
    asked = parser.parse_args()
    for path in written(asked.directory, f"http://{PROXY_HOST}:{Port.OPEN}", asked.pace):
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
