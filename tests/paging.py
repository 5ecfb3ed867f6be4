"""The whole chain in the laboratory, from the probe to who is paged: exporter, Prometheus, Alertmanager, a receiver.

    python -m tests.paging DIRECTORY [--pace TIMES]      writes what the four are started with

With pace 1 the rules, the routes and the times of probes are those that are shipped. By default a probe is made every
ten seconds, which stands for an interval of a minute: every duration in them is divided by six, or by another pace, and
nothing else is changed. Twice as fast, a busy machine can no longer answer a scrape in the second that it then has.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import yaml

from tests.lab import PROXY_HOST, Lab, Port
from tests.lab.wall_clock import wall_clock
from tests.running import ADDRESS, Exporter, eventually, program, running
from tests.stack import DASHBOARDS, Server, alertmanager, prometheus, with_examples

TRUE: Final = 1.0  # pace
PACE: Final = 6
INTERVAL: Final = 60.0 / PACE  # seconds between two probes of a target
RECEIVER: Final = 9095
SECOND: Final = "127.0.0.1:10966"  # where the second exporter listens, and
GROUP: Final = "62000"  # whose it is,
MARK: Final = "7"  # so that the firewall knows what it sends
CENTRE: Final = "127.0.0.2"  # where an agent finds the Prometheus that has the rules
SLOWEST: Final = 180.0  # seconds between two evaluations of a group that is waited for
# The clients go through a proxy, all others direct.
PROXY: Final = """\
proxies: {{corporate: {{url: "{proxy}"}}}}
via: {{client: corporate}}
"""
PROBE: Final = "probe: {{interval: {interval}, timeout: {timeout}}}\n"
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
    if pace == TRUE:
        return text
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


def faster_routes(text: str, pace: float = PACE, *, maintenance: bool = False) -> str:
    """The Alertmanager configuration on the laboratory's clock, each receiver a web hook of ours.

    `maintenance`: with what is switched off in it, and patch night is now.
    """
    document = yaml.safe_load(with_examples(text) if maintenance else text)

    def visit(route: dict[str, Any]) -> None:
        if pace != TRUE:
            route |= {key: faster(route[key], pace) for key in ("group_wait", "group_interval") if key in route}
        for inner in route.get("routes", ()):
            visit(inner)

    visit(document["route"])
    for times in document.get("time_intervals", ()):
        times["time_intervals"] = [{"years": ["2020:2099" if times["name"] == "patch-night" else "2019"]}]
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
class Watch:
    """Prometheus, Alertmanager and whoever is notified."""

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

    def evaluated(self, since: float) -> bool:
        """Whether every group of rules has been evaluated since then, but for those that wait for long."""
        groups = self.prometheus.get("/api/v1/rules")["data"]["groups"]
        return all(
            datetime.fromisoformat(group["lastEvaluation"]).timestamp() > since
            for group in groups
            if group["interval"] < SLOWEST
        )

    def settle(self) -> None:
        """Return when all rules have seen what there is, and nothing critical is under way."""
        eventually("Prometheus has scraped", lambda: self.query("configmgr_feature_ready"), within=300)
        scraped = time.time()
        eventually("all rules are evaluated", _seldom(lambda: self.evaluated(scraped)), within=2 * SLOWEST)
        eventually("nothing is wrong", _seldom(self.quiet), within=600)


def _seldom(found: Callable[[], bool]) -> Callable[[], bool]:
    """The same, asked once a second: others are measured beside us."""

    def asked() -> bool:
        time.sleep(1.0)
        return found()

    return asked


@dataclass(frozen=True)
class Chain(Watch):
    """The running chain."""

    exporter: Exporter
    move_clock: Callable[[float], None]  # of the exporter, to so many seconds off ours, where it has one of its own

    def until(self, what: str, found: Callable[[], Any], *, within: float) -> float:
        """When it held, Unix time."""
        eventually(what, found, within=within)
        return time.time()


@dataclass(frozen=True)
class Setting:
    """What is not as in most places: one exporter, which Prometheus scrapes."""

    second: bool = False  # there is another exporter; both go direct
    agent: bool = False  # beside the second, which is scraped: an agent scrapes the first, and sends what it finds
    clock: bool = False  # the exporter lives by a wall clock of its own
    maintenance: bool = False  # patch night is now


ONE: Final = Setting()


def written(
    directory: Path,
    proxy_url: str,
    pace: float = PACE,
    setting: Setting = ONE,
    targets: Iterable[Mapping[str, Any]] = ({"targets": [ADDRESS]},),
) -> list[Path]:
    """Put what the chain is started with into a directory."""
    times = {} if pace == TRUE else {"interval": faster("1m", pace), "timeout": faster("24s", pace)}
    site = (PROBE.format(**times) if times else "") + ("" if setting.second else PROXY.format(proxy=proxy_url))
    files = {
        "exporter.yaml": site or "{}",
        "prometheus.yml": yaml.safe_dump(_centre(pace) if setting.agent else _scraping(pace, targets)),
        **({"agent.yml": yaml.safe_dump(_agent(pace))} if setting.agent else {}),
        "alertmanager.yml": faster_routes(
            (DASHBOARDS / "alertmanager/alertmanager.yml").read_text(), pace, maintenance=setting.maintenance
        ),
    }
    for rules in sorted((DASHBOARDS / "rules").glob("*.yaml")):
        files[f"rules-{rules.name}"] = faster_rules(rules.read_text(), pace)
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (directory / name).write_text(text.lstrip())
    return [directory / name for name in files]


_HERE: Final = {
    "rule_files": ["rules-*.yaml"],
    "alerting": {"alertmanagers": [{"static_configs": [{"targets": ["127.0.0.1:9093"]}]}]},
}


def _scraping(pace: float, targets: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """A Prometheus that scrapes these; files with more of them may be put beside it, and taken away."""
    times = dict.fromkeys(("scrape_interval", "evaluation_interval"), every(pace)) | {
        "scrape_timeout": "10s" if pace == TRUE else every(pace)
    }
    found = {"static_configs": list(targets), "file_sd_configs": [{"files": ["targets-*.json"]}]}
    return {"global": times, **_HERE, "scrape_configs": [{"job_name": "configmgr", **found}]}


def _centre(pace: float) -> Mapping[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DASHBOARDS / "prometheus/central.yml").read_text())
    document["global"]["evaluation_interval"] = every(pace)
    scraped = {"job_name": "configmgr", "scrape_interval": every(pace), "static_configs": [{"targets": [SECOND]}]}
    return {**document, **_HERE, "scrape_configs": [scraped]}


def _agent(pace: float) -> Mapping[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DASHBOARDS / "prometheus/agent.yml").read_text())
    document["global"]["scrape_interval"] = every(pace)
    document["scrape_configs"][0]["static_configs"][0]["targets"] = [ADDRESS]
    document["remote_write"][0]["url"] = f"http://{CENTRE}:9090/api/v1/write"
    return document


@contextmanager
def watch(lab: Lab, directory: Path, *, agent: bool = False) -> Iterator[Watch]:
    """Prometheus, Alertmanager and a receiver by what was written into the directory. `agent`: with that."""
    told = directory / "receiver.log"
    listening = ("--web.enable-remote-write-receiver",) if agent else ()
    with ExitStack() as started:
        start = started.enter_context
        start(program(lab, told, [sys.executable, "-m", "tests.receiver", str(RECEIVER)]))
        teller = start(alertmanager(lab, directory, directory / "alertmanager.yml"))
        watcher = start(prometheus(lab, directory, directory / "prometheus.yml", *listening, address=""))
        if agent:
            start(prometheus(lab, directory, directory / "agent.yml", port=9091, agent=True))
        yield Watch(watcher, teller, told)


@contextmanager
def chain(
    lab: Lab,
    directory: Path,
    pace: float = PACE,
    setting: Setting = ONE,
) -> Iterator[Chain]:
    """Run all of it; returns when the first round is in Prometheus and nothing critical is under way."""
    addresses = [ADDRESS, SECOND] if setting.second else [ADDRESS]
    written(directory, lab.proxy_url, pace, setting, [{"targets": addresses}])
    config = ("--config.file", directory / "exporter.yaml")
    with ExitStack() as started:
        start = started.enter_context
        by, move = start(wall_clock(directory)) if setting.clock else ([], lambda seconds: None)  # noqa: ARG005
        exporter = start(running(lab, directory, *config, public=True, by=by))
        if setting.second:
            mark = ["--match", "owner", "--gid-owner", GROUP, "--jump", "MARK", "--set-mark", MARK]
            for firewall in ("iptables", "ip6tables"):
                lab.run([firewall, "--wait", "--table", "mangle", "--append", "OUTPUT", *mark], check=True)
            in_group = ["setpriv", "--regid", GROUP, "--clear-groups"]
            start(running(lab, directory, *config, public=True, address=SECOND, by=in_group))
        eventually("first results", exporter.ready, within=300)
        watching = start(watch(lab, directory, agent=setting.agent))
        found = Chain(watching.prometheus, watching.alertmanager, watching.told, exporter, move)
        found.settle()
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
