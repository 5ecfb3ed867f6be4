"""A company in the laboratory, watched as companies are: exporters at its sites, and a Prometheus with our rules."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import yaml

from tests.grafana import Query, View
from tests.lab import Denial, Flaw, Lab
from tests.running import COMMAND, ROOT, among_public_roots, eventually, http, program

RULES: Final = sorted((ROOT / "dashboards" / "rules").glob("*.yaml"))

# Each site has its own way out. The branch's proxies forbid some hosts, and inspect what its service connection point
# asks for; the depot's exporter has not been installed yet.
_SITE: Final = """
probe: {{interval: {interval}, timeout: {timeout}, attempts: 1}}
site:
  clouds: {clouds}
  features: {features}
  roles: {roles}
"""
_BRANCH: Final = """
tls: {{ca_file: {inspection_ca}}}
proxies:
  corporate: {{url: "{proxy}"}}
  inspecting: {{url: "{inspecting_proxy}"}}
via: {{client: corporate, console: corporate, service-connection-point: inspecting}}
"""
_PORTS: Final = {"hq": 10965, "branch": 10966, "depot": 10967}


@dataclass(frozen=True)
class Scale:
    """How much is probed, and how often."""

    interval: str = "4s"
    timeout: str = "3s"
    clouds: tuple[str, ...] = ("azure-public",)
    features: tuple[str, ...] = (
        *("tenant-attach", "deploy-edge", "console-feedback", "cloud-services", "url-forwarding", "m365-apps"),
    )
    roles: tuple[str, ...] = ("service-connection-point", "client", "console", "management-point")


@dataclass(frozen=True)
class Company:
    """What is watched, and who watches."""

    lab: Lab
    directory: Path
    scrape: int = 1  # seconds from one scrape to the next, which is also its timeout

    def ask(self, questions: Sequence[tuple[str, dict[str, Any]]]) -> list[dict[str, Any]]:
        """Prometheus' answers, in order."""
        done = self.lab.run([sys.executable, "-m", "tests.ask"], cwd=ROOT, input=json.dumps(questions), check=True)
        answers: list[dict[str, Any]] = json.loads(done.stdout)
        return answers

    def moment(self, *conditions: str) -> float:
        """The first time at which these hold and every site that works answers.

        A site whose scrape was too slow is gone until the next one, which must not happen in the middle of questions.
        So it is a time before which every scrape that had begun has ended: nothing is written there any more.
        """
        wanted = " and on () ".join([f"sum(up) == {len(_PORTS) - 1}", *conditions])

        def held() -> float | None:
            at = time.time() - 2 * self.scrape
            (answer,) = self.ask([("query", {"query": wanted, "time": at})])
            return at if answer["data"]["result"] else None

        return eventually(wanted, held, within=60.0)

    def answers(self, queries: Sequence[Query], view: View, *, now: float) -> list[dict[str, Any]]:
        """What Prometheus says to the queries of panels, asked as Grafana asks."""
        span = {"start": now - view.range, "end": now, "step": view.step}
        return self.ask(
            [
                ("query", {"query": view.interpolated(query.expression), "time": now})
                if query.instant
                else ("query_range", {"query": view.interpolated(query.expression), **span})
                for query in queries
            ]
        )

    @contextmanager
    def working(self, scale: Scale | None = None) -> Iterator[None]:
        """Have the exporters run, all but the depot's; inside, each has its first results."""
        with ExitStack() as stack:
            for site, config in _configs(self.lab, scale or Scale()).items():
                path = self.directory / f"{site}.yaml"
                path.write_text(config)
                argv: list[str | Path] = [
                    *COMMAND,
                    "serve",
                    "--config.file",
                    path,
                    "--web.listen-address",
                    f"127.0.0.1:{_PORTS[site]}",
                ]
                stack.enter_context(
                    program(self.lab, self.directory / f"{site}.log", among_public_roots(self.lab, argv))
                )
                self.wait_for(f'configmgr_feature_ready{{instance="{site}"}}')
            yield

    @contextmanager
    def broken(self) -> Iterator[None]:
        """Break what can be broken on the way, each host in another manner."""
        lab = self.lab
        faults = [
            lab.reset("dc.services.visualstudio.com"),
            lab.drop("petrol.office.microsoft.com"),
            lab.dns_missing("aka.ms"),
            lab.certificate("login.microsoftonline.com", Flaw.EXPIRED),
            lab.serve("go.microsoft.com", "return 451;"),
            lab.proxy_denies("config.office.com", Denial.PAGE),
        ]
        with ExitStack() as stack:
            for fault in faults:
                stack.enter_context(fault)
            yield

    def wait_for(self, expression: str, *, within: float = 60.0) -> list[dict[str, Any]]:
        """What Prometheus answers, as soon as it has an answer to this."""

        def answered() -> list[dict[str, Any]]:
            (answer,) = self.ask([("query", {"query": expression})])
            found: list[dict[str, Any]] = answer["data"]["result"]
            return found

        return eventually(expression, answered, within=within)


@contextmanager
def company(lab: Lab, directory: Path, scrape: int = 1) -> Iterator[Company]:
    """Watch until the block ends, every so many seconds; nothing works yet."""
    with program(lab, directory / "prometheus.log", _prometheus(directory, scrape)):
        ready = "http://127.0.0.1:9090/-/ready"
        eventually("Prometheus is ready", lambda: http(lab, ready).status == HTTPStatus.OK, within=20)
        yield Company(lab, directory, scrape)


def _configs(lab: Lab, scale: Scale) -> dict[str, str]:
    plan = {key: json.dumps(value) for key, value in vars(scale).items() if key not in {"interval", "timeout"}}
    site = _SITE.format(interval=scale.interval, timeout=scale.timeout, **plan)
    branch = _BRANCH.format(
        inspection_ca=lab.inspection_ca_file, proxy=lab.proxy_url, inspecting_proxy=lab.inspecting_proxy_url
    )
    return {"hq": site, "branch": site + branch}


def _prometheus(directory: Path, scrape: int) -> list[str | Path]:
    targets = [
        {"targets": [f"127.0.0.1:{port}"], "labels": {"instance": site, "site": "PS1"}} for site, port in _PORTS.items()
    ]
    config = {
        "global": dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), f"{scrape}s"),
        "rule_files": ["rules-*.yaml"],
        "scrape_configs": [
            {"job_name": "configmgr", "static_configs": targets},
            {"job_name": "node", "static_configs": [{"targets": ["127.0.0.1:1"]}]},  # not ours, and down
        ],
    }
    (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
    for path in RULES:
        rules = yaml.safe_load(path.read_text(encoding="utf-8"))
        for group in rules["groups"]:
            group["interval"] = f"{scrape}s"
            for rule in group["rules"]:
                if "for" in rule:
                    rule["for"] = f"{scrape}s"  # so that alerts fire while somebody looks
        (directory / f"rules-{path.name}").write_text(yaml.safe_dump(rules))
    return [
        *("prometheus", f"--config.file={directory / 'prometheus.yml'}"),
        *(f"--storage.tsdb.path={directory / 'tsdb'}", "--web.listen-address=127.0.0.1:9090"),
    ]
