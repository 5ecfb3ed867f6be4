"""From a fault to the page: shipped defaults, rules and routes beside blackbox_exporter and its community's rule."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final
from urllib.parse import quote

import yaml

from benchmarks.figures import Figure
from benchmarks.sides import BLACKBOX
from exporter.model.vocabulary import Probing
from tests.lab import PROXY_HOST, Lab
from tests.paging import RECEIVER
from tests.running import ADDRESS, Exporter, eventually, http, program, running
from tests.stack import DASHBOARDS, Server, alertmanager, prometheus

HOST: Final = "definitionupdates.microsoft.com"
INTERVAL: Final = Probing().interval  # seconds, as shipped; blackbox_exporter is asked as often
SCRAPE: Final = 15.0  # of the exporter, and between two evaluations of the rules
PATIENCE: Final = 300.0  # seconds for the whole way to the page
SETTLED: Final = 75.0  # seconds after the first page, for whoever else is called
PHASES: Final = (0.0, 0.25, 0.5, 0.75)  # of the interval, at which a fault begins: a host waits for its turn
DOWN_FOR: Final = 50.0  # seconds that a machine takes to start again
SITE: Final = (
    "probe: {{interval: {interval}ms}}\nproxies: {{corporate: {{url: '{proxy}'}}}}\nvia: {{client: corporate}}\n"
)
# As awesome-prometheus-alerts publishes it, and as it is often changed, so that it does not page for one lost packet.
RULES: Final = {"BlackboxProbeFailed": "0m", "BlackboxProbeFailedFor1m": "1m"}
_NOTE: Final = (
    f"every target of the site is probed every {INTERVAL:.0f} s by both; scrapes and evaluations every {SCRAPE:.0f} s; "
    "`for: 0m` is the rule that awesome-prometheus-alerts publishes (`probe_success == 0`)"
)
STEPS: Final = ("a first attempt has failed", "confirmed by the exporter", "our alert fires", "our first page")


@dataclass(frozen=True)
class Stage:
    """What runs while a fault lasts."""

    lab: Lab
    directory: Path
    config: Path
    exporter: Exporter
    targets: Mapping[str, str]


@dataclass(frozen=True)
class Fault:
    """What is broken, how the exporter says so, and whether a page of ours is about it."""

    name: str
    begins: Callable[[Stage], AbstractContextManager[None]]
    ours: Callable[[Mapping[str, str]], bool] = bool
    failed: str = (
        "configmgr_endpoint_(unconfirmed_)?failure{"  # how a line of the exposition begins, once it has met it
    )
    confirmed: str = ""  # and once it has confirmed it
    lasts: float = 0.0  # seconds, where it is over soon and nobody is to be called; 0: until everybody has paged
    phases: Sequence[float] = (0.0,)


def _path(wanted: str) -> Callable[[Mapping[str, str]], bool]:
    return lambda labels: labels.get("path") == wanted


def _of_host(labels: Mapping[str, str]) -> bool:
    return labels.get("host") == HOST or labels.get("feature") == "updates-and-servicing"


@contextmanager
def _reloaded(stage: Stage) -> Iterator[None]:
    """The configuration is written anew and read, three times in a row."""
    for _ in range(3):
        stage.config.write_text(stage.config.read_text(encoding="utf-8") + "\n", encoding="utf-8")
        assert stage.exporter.get("/-/reload", "--request", "POST").status == 200
        time.sleep(5)
    yield


@contextmanager
def _rebooted(stage: Stage) -> Iterator[None]:
    """The machine of the exporter starts again; what it was is gone for that long."""
    stage.exporter.stop()
    time.sleep(DOWN_FOR)
    with running(stage.lab, stage.directory, "--config.file", stage.config, public=True):
        yield


_CUT: Final = rf'configmgr_endpoint_(unconfirmed_)?failure{{[^\n]*target="https?://{re.escape(HOST)}'
_DOWN: Final = rf'configmgr_endpoint_failure{{[^\n]*target="https?://{re.escape(HOST)}'
FAULTS: Final = (
    Fault("proxy restarts within 20 s", lambda stage: stage.lab.reset(PROXY_HOST), lasts=20.0),
    Fault("one packet is lost", lambda stage: stage.lab.drop_one(HOST, 443), lasts=INTERVAL),
    Fault("one connection is refused", lambda stage: stage.lab.reset_one(HOST, 443), lasts=INTERVAL),
    Fault("three reloads", _reloaded, lasts=1.0),
    Fault("host cut (refused)", lambda stage: stage.lab.reset(HOST), _of_host, _CUT, _DOWN, phases=PHASES),
    Fault("host cut (silent)", lambda stage: stage.lab.drop(HOST), _of_host, _CUT, _DOWN, phases=PHASES),
    Fault(
        "proxy dead",
        lambda stage: stage.lab.reset(PROXY_HOST),
        _path("proxy:corporate"),
        confirmed='configmgr_path_up{path="proxy:corporate"} 0',
    ),
    Fault(
        "line cut", lambda stage: stage.lab.cut_line(), _path("direct"), confirmed='configmgr_path_up{path="direct"} 0'
    ),
    Fault("reboot", _rebooted, lasts=2 * INTERVAL),
)
QUICK: Final = tuple(fault for fault in FAULTS if fault.name == "proxy dead")


@dataclass
class Seen:
    """Seconds from the beginning of a fault to what was seen of it, and how many pages there were."""

    steps: dict[str, float] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    pages: dict[str, int] = field(default_factory=dict)
    titles: list[str] = field(default_factory=list)  # of our pages

    @property
    def paged(self) -> bool:
        """Whether each side has called somebody."""
        return len(self.first) == 1 + len(RULES)


def noticed(lab: Lab, directory: Path, faults: Sequence[Fault] = FAULTS) -> Iterator[Figure]:
    """One fault after the other; yields seconds to the first page, and how many pages there are."""
    received, config = directory / "receiver.log", directory / "exporter.yaml"
    config.write_text(SITE.format(proxy=lab.proxy_url, interval=round(INTERVAL * 1000)))
    (directory / "blackbox.yml").write_text(yaml.safe_dump({"modules": _modules(lab.proxy_url)}))
    blackbox = ["prometheus-blackbox-exporter", f"--config.file={directory / 'blackbox.yml'}"]
    with (
        program(lab, received, [sys.executable, "-m", "tests.receiver", str(RECEIVER)]),
        program(lab, directory / "blackbox.log", [*blackbox, f"--web.listen-address={BLACKBOX}"]),
        running(lab, directory, "--config.file", config, public=True) as exporter,
    ):
        eventually("first results", exporter.ready, within=60)
        stage = Stage(lab, directory, config, exporter, _both_up(lab, exporter))
        _write(directory, stage.targets)
        for fault in faults:
            yield from _figures(fault, [_suffered(fault, stage, phase) for phase in fault.phases], len(stage.targets))


def _suffered(fault: Fault, stage: Stage, phase: float) -> Seen:
    """One fault, watched by a Prometheus and an Alertmanager that know of none before it."""
    place = stage.directory / f"{fault.name}, {phase}"
    place.mkdir()
    # Else the new ones see the fault before, and keep its alert.
    eventually("all is well again", lambda: not stage.exporter.values("configmgr_endpoint_failure"), within=300)
    with (
        alertmanager(stage.lab, place, stage.directory / "alertmanager.yml"),
        prometheus(stage.lab, place, stage.directory / "prometheus.yml") as watcher,
    ):
        eventually("all is well", lambda: _well(watcher, len(stage.targets)), within=300)
        time.sleep((phase * INTERVAL - time.monotonic()) % INTERVAL)
        begun, seen = time.time(), Seen()
        with fault.begins(stage):
            while time.time() < begun + (fault.lasts or PATIENCE) and (fault.lasts or not seen.paged):
                _look(fault, stage, watcher, begun, seen)
                time.sleep(0.5)
            time.sleep(0.0 if fault.lasts else SETTLED)
        time.sleep(2 * INTERVAL if fault.lasts else 0.0)
        _hear(fault, stage, begun, seen)
    load = ", load " + " ".join(f"{value:.1f}" for value in os.getloadavg())
    steps = ", ".join(f"{step} {seen.steps[step]:.1f} s" for step in STEPS if step in seen.steps)
    sys.stderr.write(f"{fault.name}, {phase:.2f} of an interval: {steps}; pages {seen.pages} {seen.titles}{load}\n")
    return seen


def _look(fault: Fault, stage: Stage, watcher: Server, begun: float, seen: Seen) -> None:
    """Note what is seen now for the first time."""
    first, confirmed, fires, page = STEPS
    if fault.confirmed and confirmed not in seen.steps:
        text = stage.exporter.get("/metrics").body
        for step, found in ((first, fault.failed), (confirmed, fault.confirmed)):
            if re.search(f"(?m)^{found}", text):
                seen.steps.setdefault(step, time.time() - begun)
    elif fault.confirmed and fires not in seen.steps:
        firing = watcher.query('ALERTS{alertstate="firing",severity="critical"}')
        if any(fault.ours(alert["metric"]) for alert in firing):
            seen.steps[fires] = time.time() - begun
    _hear(fault, stage, begun, seen)
    if "ours" in seen.first:
        seen.steps[page] = seen.first["ours"]


def _hear(fault: Fault, stage: Stage, begun: float, seen: Seen) -> None:
    """Note who has been called since the beginning: by ours about this fault, by ours, and by each rule of theirs."""
    seen.pages, seen.titles = dict.fromkeys(("ours", *RULES), 0), []
    for sent in map(json.loads, (stage.directory / "receiver.log").read_text().splitlines()):
        firing = [alert["labels"] for alert in sent["alerts"] if alert["status"] == "firing"]
        if sent["time"] < begun or not firing or sent["receiver"].endswith("ticket") or sent["receiver"] == "watchdog":
            continue
        name = firing[0]["alertname"]
        side = name if name in RULES else "ours"
        seen.pages[side] += 1
        if side == "ours":
            seen.titles.append(name)
        if side in RULES or any(map(fault.ours, firing)):
            seen.first.setdefault(side, sent["time"] - begun)


def _figures(fault: Fault, rounds: Sequence[Seen], targets: int) -> Iterator[Figure]:
    """The median and the worst of all rounds of a fault, and how many pages were sent in one."""
    often = f" of {len(rounds)}" if len(rounds) > 1 else ""
    of_all: dict[str, Callable[[list[float]], float]] = {f", median{often}": median, f", worst{often}": max}
    for step in STEPS[:-1] if fault.confirmed else ():
        for which, found in of_all.items() if often else [("", max)]:
            yield Figure(
                "notice", f"{fault.name}: {step}{which}", "s", _of([seen.steps.get(step) for seen in rounds], found)
            )
    for rule, lasting in RULES.items():
        name = f"{fault.name}, beside `for: {lasting}`"
        for which, found in (of_all.items() if often else [("", max)]) if fault.confirmed else ():
            ours, theirs = ([seen.first.get(side) for seen in rounds] for side in ("ours", rule))
            yield Figure("notice", f"{name}: first page{which}", "s", _of(ours, found), _of(theirs, found), _NOTE)
        most, others = (max(float(seen.pages[side]) for seen in rounds) for side in ("ours", rule))
        yield Figure("notice", f"{name}: pages, of {targets} targets", "", most, others, _NOTE)


def _of(seconds: Sequence[float | None], found: Callable[[list[float]], float]) -> float | None:
    """None, where it was not seen each time."""
    known = [each for each in seconds if each is not None]
    return found(known) if len(known) == len(seconds) else None


def _both_up(lab: Lab, exporter: Exporter) -> dict[str, str]:
    """The module of blackbox_exporter for each target that is up for both: one may take what the other does not."""
    up = {dict(labels)["target"] for labels, value in exporter.values("configmgr_endpoint_up").items() if value}
    found = {}
    for labels in exporter.values("configmgr_endpoint_path_info"):
        target, path = dict(labels)["target"], dict(labels)["path"]
        module = "direct" if path == "direct" else "proxied"
        url = f"http://{BLACKBOX}/probe?module={module}&target={quote(target, safe='')}"
        if target in up and target not in found and "probe_success 1" in http(lab, url).body:
            found[target] = module
    return found


def _well(watcher: Server, targets: int) -> bool:
    """Whether both sides see nothing that is down, and nothing of ours is about to page."""
    return (
        len(watcher.query("probe_success == 1")) == targets
        and bool(watcher.query("configmgr_path_up"))
        and not watcher.query("configmgr_path_up == 0")
        and not watcher.query("configmgr_endpoint_failure")
    )


def _modules(proxy: str) -> dict[str, Any]:
    http_module: dict[str, Any] = {"preferred_ip_protocol": "ip4", "valid_status_codes": [*range(200, 500)]}
    direct = {"prober": "http", "timeout": "10s", "http": http_module}
    return {"direct": direct, "proxied": {**direct, "http": {**http_module, "proxy_url": proxy}}}


def _write(directory: Path, targets: Mapping[str, str]) -> None:
    routes = yaml.safe_load((DASHBOARDS / "alertmanager/alertmanager.yml").read_text(encoding="utf-8"))
    hook = f"http://127.0.0.1:{RECEIVER}/"
    routes["receivers"] = [
        {"name": receiver["name"]}
        if len(receiver) == 1
        else {"name": receiver["name"], "webhook_configs": [{"url": hook + receiver["name"], "send_resolved": False}]}
        for receiver in [*routes["receivers"], {"name": "blackbox", "hooked": True}]
    ]
    theirs = {"receiver": "blackbox", "matchers": ['alertname=~"Blackbox.*"'], "group_by": ["alertname", "instance"]}
    routes["route"]["routes"].insert(0, {**theirs, "group_wait": "30s"})
    routes["templates"], routes["global"] = [], {"resolve_timeout": "5m"}
    jobs: list[dict[str, Any]] = [
        {"job_name": "configmgr", "scrape_interval": f"{SCRAPE:.0f}s", "static_configs": [{"targets": [ADDRESS]}]}
    ]
    jobs += [
        {
            "job_name": f"blackbox-{module}",
            "scrape_interval": f"{INTERVAL:.0f}s",
            "metrics_path": "/probe",
            "params": {"module": [module]},
            "static_configs": [{"targets": [target for target, its in targets.items() if its == module]}],
            "relabel_configs": [
                {"source_labels": ["__address__"], "target_label": "__param_target"},
                {"source_labels": ["__address__"], "target_label": "instance"},
                {"target_label": "__address__", "replacement": BLACKBOX},
            ],
        }
        for module in ("direct", "proxied")
    ]
    rules = [
        {"alert": name, "expr": "probe_success == 0", "for": lasting, "labels": {"severity": "critical"}}
        for name, lasting in RULES.items()
    ]
    files: dict[str, Any] = {
        "alertmanager.yml": routes,
        "rules-blackbox.yml": {"groups": [{"name": "blackbox", "rules": rules}]},
        "prometheus.yml": {
            "global": {"evaluation_interval": f"{SCRAPE:.0f}s"},
            "rule_files": [str(DASHBOARDS / "rules" / "*.yaml"), str(directory / "rules-blackbox.yml")],
            "scrape_configs": jobs,
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": ["127.0.0.1:9093"]}]}]},
        },
    }
    for name, content in files.items():
        (directory / name).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
