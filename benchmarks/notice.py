"""From a fault to the page: shipped defaults, rules and routes beside blackbox_exporter and its community's rule."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import yaml

from benchmarks.figures import Figure
from benchmarks.sides import BLACKBOX
from tests.lab import PROXY_HOST, Lab
from tests.paging import RECEIVER
from tests.running import ADDRESS, Exporter, eventually, http, program, running
from tests.stack import DASHBOARDS, Server, alertmanager, prometheus

HOST: Final = "definitionupdates.microsoft.com"
INTERVAL: Final = 60.0  # seconds, as shipped; blackbox_exporter is asked as often
SCRAPE: Final = 15.0  # of the exporter, and between two evaluations of the rules
PATIENCE: Final = 420.0  # seconds for the whole way to the page
SETTLED: Final = 90.0  # seconds after the first page, for whoever else is called
SITE: Final = "proxies: {{corporate: {{url: '{proxy}'}}}}\nvia: {{client: corporate}}\n"
# As awesome-prometheus-alerts publishes it, and as it is often changed, so that it does not page for one lost packet.
RULES: Final = {"BlackboxProbeFailed": "0m", "BlackboxProbeFailedFor1m": "1m"}
_NOTE: Final = (
    f"every target of the site is probed every {INTERVAL:.0f} s by both; scrapes and evaluations every {SCRAPE:.0f} s; "
    "`for: 0m` is the rule that awesome-prometheus-alerts publishes (`probe_success == 0`)"
)


@dataclass(frozen=True)
class Fault:
    """What is broken, and whether a page of ours is about it."""

    name: str
    begins: Callable[[Lab], AbstractContextManager[None]]
    ours: Callable[[Mapping[str, str]], bool]
    lasts: float = 0.0  # seconds, where it is over soon; 0: until everybody has paged


def _path(wanted: str) -> Callable[[Mapping[str, str]], bool]:
    return lambda labels: labels.get("path") == wanted


FAULTS: Final = (  # Alertmanager keeps a group for five minutes, so those that page the same are apart
    Fault("proxy restarts within 20 s", lambda lab: lab.reset(PROXY_HOST), bool, lasts=20.0),
    Fault("host cut", lambda lab: lab.reset(HOST), lambda labels: labels.get("feature") == "updates-and-servicing"),
    Fault("proxy dead", lambda lab: lab.reset(PROXY_HOST), _path("proxy:corporate")),
    Fault("line cut", lambda lab: lab.cut_line(), _path("direct")),
)


def noticed(lab: Lab, directory: Path, faults: Sequence[Fault] = FAULTS) -> Iterator[Figure]:
    """One fault after the other; yields seconds to the first page, and how many pages there are."""
    received, config = directory / "receiver.log", directory / "exporter.yaml"
    config.write_text(SITE.format(proxy=lab.proxy_url))
    (directory / "blackbox.yml").write_text(yaml.safe_dump({"modules": _modules(lab.proxy_url)}))
    blackbox = ["prometheus-blackbox-exporter", f"--config.file={directory / 'blackbox.yml'}"]
    with (
        program(lab, received, [sys.executable, "-m", "tests.receiver", str(RECEIVER)]),
        program(lab, directory / "blackbox.log", [*blackbox, f"--web.listen-address={BLACKBOX}"]),
        running(lab, directory, "--config.file", config, public=True) as exporter,
    ):
        eventually("first results", exporter.ready, within=60)
        targets = _both_up(lab, exporter)
        _write(directory, targets)
        with (
            alertmanager(lab, directory, directory / "alertmanager.yml"),
            prometheus(lab, directory, directory / "prometheus.yml") as watcher,
        ):
            for fault in faults:
                eventually("all is well", lambda: _well(watcher, len(targets)), within=300)
                yield from _figures(fault, lab, received, len(targets))


def _figures(fault: Fault, lab: Lab, received: Path, targets: int) -> Iterator[Figure]:
    begun = time.time()
    with fault.begins(lab):
        time.sleep(fault.lasts)
        while not fault.lasts and time.time() < begun + PATIENCE and not all(_first(fault, received, begun).values()):
            time.sleep(0.5)
        time.sleep(0.0 if fault.lasts else SETTLED)
    time.sleep(2 * INTERVAL if fault.lasts else 0.0)
    first, pages = _first(fault, received, begun), _pages(fault, received, begun)
    for rule, lasting in RULES.items():
        name = f"{fault.name}, beside `for: {lasting}`"
        if not fault.lasts:
            yield Figure("notice", f"{name}: first page", "s", first["ours"], first[rule], _NOTE)
        yield Figure("notice", f"{name}: pages, of {targets} targets", "", pages["ours"], pages[rule], _NOTE)


def _sides(fault: Fault, received: Path, begun: float) -> Iterator[tuple[str, float]]:
    """Each page since the beginning: whose it is, and after how many seconds it came."""
    for sent in map(json.loads, received.read_text().splitlines()):
        firing = [alert["labels"] for alert in sent["alerts"] if alert["status"] == "firing"]
        if sent["time"] < begun or sent["receiver"].endswith("ticket") or not firing:
            continue
        if (rule := firing[0]["alertname"]) in RULES:
            yield rule, sent["time"] - begun
        elif firing[0]["severity"] == "critical" and any(map(fault.ours, firing)):
            yield "ours", sent["time"] - begun
        elif firing[0]["severity"] == "critical":
            yield "others of ours", sent["time"] - begun


def _first(fault: Fault, received: Path, begun: float) -> dict[str, float | None]:
    seen = tuple(_sides(fault, received, begun))
    return {side: next((after for whose, after in seen if whose == side), None) for side in ("ours", *RULES)}


def _pages(fault: Fault, received: Path, begun: float) -> dict[str, float]:
    seen = [whose.removeprefix("others of ") for whose, _ in _sides(fault, received, begun)]
    return {side: float(seen.count(side)) for side in ("ours", *RULES)}


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
