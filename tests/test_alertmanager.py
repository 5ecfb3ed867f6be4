"""The example for Alertmanager, by Alertmanager's own word: who is told what, and what is not said twice."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.lab import Lab
from tests.running import ROOT, eventually, program
from tests.stack import DASHBOARDS, Server, alertmanager, copied, with_examples

pytestmark = pytest.mark.lab

CONFIG: Final = DASHBOARDS / "alertmanager/alertmanager.yml"
TEMPLATES: Final = DASHBOARDS / "alertmanager/configmgr.tmpl"
RECEIVER: Final = 9095

Labels = Mapping[str, str]


def amtool(lab: Lab, *arguments: str | Path) -> str:
    done = lab.run(["amtool", *arguments])
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_is_valid_with_and_without_what_is_switched_off(lab: Lab, tmp_path: Path) -> None:
    copied(tmp_path, "alertmanager/configmgr.tmpl", str)
    switched_on = copied(tmp_path, "alertmanager/alertmanager.yml", with_examples)
    assert switched_on.read_text() != CONFIG.read_text()
    assert "SUCCESS" in amtool(lab, "check-config", CONFIG)
    assert "SUCCESS" in amtool(lab, "check-config", switched_on)


# ---------------------------------------------------------------- who is notified


def alertname(kind: str) -> str:
    return "ConfigMgr" + kind.partition(" ")[0]


def rules() -> list[dict[str, Any]]:
    """Every alert of the shipped rules."""
    return [
        rule
        for path in sorted((DASHBOARDS / "rules").glob("*.yaml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]


def receiver(lab: Lab, labels: Labels) -> str:
    test = ("config", "routes", "test", f"--config.file={CONFIG}")
    return amtool(lab, *test, *(f"{name}={value}" for name, value in labels.items())).strip()


def test_every_alert_of_the_rules_reaches_its_team_as_a_page_or_a_ticket(lab: Lab) -> None:
    found = {
        f"{rule['alert']} {severity} {rule['labels'].get('long', '')}".strip(): {
            **rule["labels"],
            "alertname": rule["alert"],
            "severity": severity,
        }
        for rule in rules()
        for severity in re.findall("critical|warning|info", re.sub('".*?"', "", rule["labels"]["severity"]))
    }
    expected = {
        name: {"critical": f"{team}-page", "warning": f"{team}-ticket", "info": "nobody"}[severity]
        for name, (severity, team) in ((name, (labels["severity"], labels["team"])) for name, labels in found.items())
    } | {"ConfigMgrWatchdog info": "watchdog"}
    assert {name: receiver(lab, labels) for name, labels in found.items()} == expected
    assert {name: receiver(lab, {**labels, "feature": "tenant-attach"}) for name, labels in found.items()} == expected


@pytest.mark.parametrize("labels", [{"severity": "critical", "team": "nobody-knows"}, {"severity": "fatal"}, {}])
def test_an_alert_that_no_route_knows_reaches_somebody(lab: Lab, labels: Labels) -> None:
    assert receiver(lab, labels) == "unrouted"
    assert receiver(lab, {**labels, "feature": "tenant-attach"}) == "unrouted"


# ---------------------------------------------------------------- what is not said twice

SITE: Final = {"job": "configmgr", "instance": "berlin"}
FEATURE: Final = {"feature": "tenant-attach", "role": "service-connection-point", "cloud": "azure-public"}
PATH: Final = {"path": "proxy:corporate"}
TARGET: Final = {"host": "a.manage.microsoft.com", "target": "https://a.manage.microsoft.com/"}
HOST: Final = {"job": "configmgr", "host": "a.manage.microsoft.com"}

# Each alert, where it makes a difference with its windows, path or reason, and the labels that it has.
ALERTS: Final[Mapping[str, Labels]] = {
    "ExporterAbsent": {"job": "configmgr"},
    "ExporterDownAtManySites": {"job": "configmgr"},
    "ExporterDown": SITE,
    "ExporterVanished": SITE,
    "Watchdog": {},
    "ReloadFailed": SITE,
    "CatalogueOld": SITE,
    "ProbesStale": SITE,
    "ExporterRestarts": SITE,
    "ProbesPending": SITE,
    "CheckStale": SITE,
    "SlotsMissed": SITE,
    "PathDown dns": SITE | {"path": "dns"},
    "PathDown": SITE | PATH,
    "PathFailing tls": SITE | PATH | {"reason": "tls_untrusted"},
    "PathFailing": SITE | PATH | {"reason": "connect_timeout"},
    "ProxyAuthenticationRequired": SITE | PATH,
    "TlsInspectionUnsupported": SITE | PATH,
    "TlsIntercepted": SITE | PATH,
    "PathDownAtManySites": {"job": "configmgr"} | PATH,
    "HostDownAtManySites": {"job": "configmgr", "host": "go.microsoft.com"},
    "HostDown": SITE | PATH | {"host": "go.microsoft.com"},
    "TrustAnchorMissing": SITE | {"anchor": "DigiCert Global Root G2"},
    "FeatureNotReadyAnywhere": {"job": "configmgr"} | FEATURE,
    "ServiceConnectionPointCannotReachCloud": SITE | FEATURE | PATH,
    "FeatureNotReady": SITE | FEATURE | PATH,
    "EndpointDown": SITE | PATH | TARGET,
    "EndpointsUnprobed": SITE | {"reason": "missing_parameter"},
    "CertificateExpiresSoon": HOST,
    "CertificateExpiresVerySoon": HOST,
    "CertificateExpired": HOST,
    "ErrorBudgetBurn 1h": SITE | FEATURE | {"long": "1h", "short": "5m"},
    "ErrorBudgetBurn 6h": SITE | FEATURE | {"long": "6h", "short": "30m"},
    "ErrorBudgetBurn 1d": SITE | FEATURE | {"long": "1d", "short": "2h"},
    "ErrorBudgetBurn 3d": SITE | FEATURE | {"long": "3d", "short": "6h"},
    "PathSlow": SITE | PATH,
    "Slow": SITE | FEATURE,
}
_BURN: Final = tuple(name for name in ALERTS if name.startswith("ErrorBudgetBurn"))
_SILENT: Final = {"ExporterDown", "ExporterVanished"}
_THROUGH_A_PATH: Final = (
    *("HostDown", "ServiceConnectionPointCannotReachCloud", "FeatureNotReady", "EndpointDown", "PathSlow"),
)

# What each cause keeps silent.
EFFECTS: Final[Mapping[str, Iterable[str]]] = {
    "ExporterAbsent": ALERTS.keys() - {"ExporterAbsent", "Watchdog"},
    "ExporterDown": {name for name, labels in ALERTS.items() if "instance" in labels} - _SILENT,
    "ExporterVanished": {name for name, labels in ALERTS.items() if "instance" in labels} - _SILENT,
    "ProbesStale": ["ProbesPending", "SlotsMissed"],
    "ProbesPending": ["SlotsMissed"],
    "PathDown dns": {name for name, labels in ALERTS.items() if {"path", "instance"} <= labels.keys()}
    - {"PathDown dns"},
    "PathDown": ["PathFailing tls", "PathFailing", *_THROUGH_A_PATH],
    "ProxyAuthenticationRequired": ["PathDown"],
    "PathFailing tls": ["TlsInspectionUnsupported", *_THROUGH_A_PATH],
    "PathFailing": _THROUGH_A_PATH,
    "ServiceConnectionPointCannotReachCloud": [*_BURN, "Slow"],
    "FeatureNotReady": [*_BURN, "Slow"],
    "CertificateExpired": ["CertificateExpiresSoon", "CertificateExpiresVerySoon"],
    "CertificateExpiresVerySoon": ["CertificateExpiresSoon"],
    "ErrorBudgetBurn 1h": ["ErrorBudgetBurn 6h", "ErrorBudgetBurn 1d", "ErrorBudgetBurn 3d", "Slow"],
    "ErrorBudgetBurn 6h": ["ErrorBudgetBurn 1d", "ErrorBudgetBurn 3d", "Slow"],
    "ErrorBudgetBurn 1d": ["ErrorBudgetBurn 3d", "Slow"],
    "ErrorBudgetBurn 3d": ["Slow"],
}
LINKS: Final = frozenset((cause, effect) for cause, effects in EFFECTS.items() for effect in effects)

World = tuple[str, ...]  # alerts of different worlds have nothing in common


def alert(world: World, name: str, **changed: str) -> dict[str, Any]:
    labels = {"alertname": alertname(name), **ALERTS[name], **changed}
    for label in ("job", "host"):
        if label in labels:
            labels[label] += f" of {'/'.join(world)}"
    return {"labels": labels | {"world": "/".join(world), "kind": name}, "annotations": {"summary": name}}


def silent(server: Server, alerts: Iterable[dict[str, Any]]) -> set[tuple[World, str]]:
    """Which of these alerts another one keeps silent, by world and name."""
    server.post(list(alerts))
    return {
        (tuple(found["labels"]["world"].split("/")), found["labels"]["kind"])
        for found in server.alerts()
        if found["status"]["inhibitedBy"]
    }


@pytest.fixture(scope="module")
def server(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with alertmanager(lab, tmp_path_factory.mktemp("alertmanager"), CONFIG) as running:
        yield running


def test_these_are_the_alerts_of_the_rules() -> None:
    assert {alertname(kind) for kind in ALERTS} == {rule["alert"] for rule in rules()}


def test_alerts_carry_the_labels_by_which_they_explain_each_other() -> None:
    """By the rules' own tests."""
    fired = [
        (test["alertname"], set(alert["exp_labels"]))
        for path in (ROOT / "tests/rules").glob("*.yaml")
        for case in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
        for test in case.get("alert_rule_test", ())
        for alert in test.get("exp_alerts") or ()
    ]
    labels_of = {alertname(kind): set(labels) for kind, labels in ALERTS.items()}
    assert [(name, labels) for name, labels in fired if not labels_of[name] <= labels] == []
    assert {name for name, _ in fired} == labels_of.keys()


def test_an_effect_is_silent_beside_its_cause_and_beside_nothing_else(server: Server) -> None:
    pairs = list(combinations(ALERTS, 2))
    found = silent(server, (alert(("pair", *pair), name) for pair in pairs for name in pair))
    expected = {
        (("pair", *pair), effect)
        for pair in pairs
        for cause, effect in (pair, reversed(pair))
        if (cause, effect) in LINKS
    }
    assert {(world, name) for world, name in found if world[0] == "pair"} == expected


def test_a_cause_explains_nothing_of_another_job_site_feature_or_path(server: Server) -> None:
    worlds = {
        ("elsewhere", *link, label): link
        for link in LINKS
        for label in ("job", "instance", *FEATURE, "path", "host")
        if label in ALERTS[link[0]] and label in ALERTS[link[1]] and (link[0], label) != ("PathDown dns", "path")
    }
    elsewhere = (
        posted
        for world, (cause, effect) in worlds.items()
        for posted in (alert(world, cause), alert(world, effect, **{world[-1]: "another"}))
    )
    found = silent(server, elsewhere)
    assert set(worlds.values()) == LINKS
    assert not [world for world, _ in found if world[0] == "elsewhere"]


def test_of_a_whole_chain_only_its_cause_is_told(server: Server) -> None:
    chain = ["PathDown", *_THROUGH_A_PATH, *_BURN, "Slow"]
    found = silent(server, (alert(("chain",), name) for name in chain))
    assert {name for world, name in found if world == ("chain",)} == set(chain) - {"PathDown"}


# ---------------------------------------------------------------- in which words


def notification(**alert: Any) -> dict[str, Any]:
    """What Alertmanager gives to templates: this alert and one that is over."""
    labels = {"alertname": "ConfigMgrFeatureNotReady", "severity": "critical", "team": "configmgr"} | SITE | FEATURE
    firing = {"status": "firing", "labels": labels, "startsAt": "2026-03-01T08:00:00Z", "annotations": alert}
    over = {**firing, "status": "resolved", "labels": labels | {"instance": "bonn"}, "endsAt": "2026-03-01T09:30:00Z"}
    return {
        "receiver": "configmgr-page",
        "status": "firing",
        "alerts": [firing, over],
        "groupLabels": {"feature": FEATURE["feature"], "cloud": FEATURE["cloud"]},
        "commonLabels": {"severity": "critical"},
        "commonAnnotations": {"summary": alert["summary"]},
        "externalURL": "http://localhost:9093",
    }


def rendered(lab: Lab, directory: Path, name: str, data: Mapping[str, Any]) -> str:
    path = directory / "data.json"
    path.write_text(json.dumps(data))
    text = f'{{{{ template "{name}" . }}}}'
    return amtool(
        *(lab, "template", "render", f"--template.glob={TEMPLATES}"),
        *(f"--template.text={text}", f"--template.data={path}"),
    )


def test_a_notification_says_what_where_why_since_when_and_what_to_do(lab: Lab, tmp_path: Path) -> None:
    data = notification(
        summary="A feature cannot work",
        description="Two targets fail.\n\ndns_timeout: no answer.",
        reason="dns_timeout",
        runbook_url="http://localhost:10965/runbooks/ConfigMgrFeatureNotReady",
        status_url="http://localhost:10965/?feature=tenant-attach",
        dashboard_url="http://localhost:3000/d/configmgr-readiness",
    )
    title = rendered(lab, tmp_path, "configmgr.title", data)
    text = rendered(lab, tmp_path, "configmgr.text", data)
    assert title == "CRITICAL: A feature cannot work: azure-public, tenant-attach, at berlin and elsewhere (2 alerts)"
    assert (
        text
        == """\
A feature cannot work: cloud=azure-public, feature=tenant-attach, instance=berlin, role=service-connection-point
  Two targets fail.

  dns_timeout: no answer.
  Reason: dns_timeout
  Since: 2026-03-01 08:00 UTC
  What to do: http://localhost:10965/runbooks/ConfigMgrFeatureNotReady
  Status: http://localhost:10965/?feature=tenant-attach
  Dashboard: http://localhost:3000/d/configmgr-readiness

Resolved:
- A feature cannot work: cloud=azure-public, feature=tenant-attach, instance=bonn, role=service-connection-point, \
from 2026-03-01 08:00 UTC to 2026-03-01 09:30 UTC

Silence or see all: http://localhost:9093/#/alerts?receiver=configmgr-page
"""
    )


def test_what_an_alert_does_not_say_leaves_no_gap(lab: Lab, tmp_path: Path) -> None:
    data = notification(summary="A feature cannot work", description="Two targets fail.")
    del data["alerts"][1], data["commonAnnotations"]["summary"]
    title = rendered(lab, tmp_path, "configmgr.title", data)
    text = rendered(lab, tmp_path, "configmgr.text", data)
    assert title == "CRITICAL: A feature cannot work, and more: azure-public, tenant-attach, at berlin and elsewhere"
    assert "<no value>" not in text
    assert "\n\n\n" not in text


def test_a_title_says_where_and_only_where(lab: Lab, tmp_path: Path) -> None:
    one = notification(summary="A feature cannot work", description="Two targets fail.")
    one["groupLabels"] |= {"instance": "berlin"}
    one["commonLabels"] |= {"instance": "berlin", "site": "B01"}
    del one["alerts"][1]
    nowhere = notification(summary="A feature is not ready anywhere", description="Look at what they share.")
    nowhere["alerts"] = [
        {**found, "labels": {name: value for name, value in found["labels"].items() if name != "instance"}}
        for found in nowhere["alerts"]
    ]
    titles = [rendered(lab, tmp_path, "configmgr.title", data) for data in (one, nowhere)]
    assert titles == [
        "CRITICAL: A feature cannot work: azure-public, tenant-attach, at berlin (B01)",
        "CRITICAL: A feature is not ready anywhere: azure-public, tenant-attach (2 alerts)",
    ]


PAGE: Final = {
    "labels": {"alertname": "ConfigMgrPathDown", "severity": "critical", "team": "network", **SITE, **PATH},
    "annotations": {"summary": "A path is down", "description": "Nothing works."},
}


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """The example with the addresses of tests.receiver, its secrets as files, and no time to wait."""
    (tmp_path / "paging").write_text("secret")
    (tmp_path / "chat").write_text(f"http://127.0.0.1:{RECEIVER}/chat")
    changes = {
        "https://paging.corp.example": f"http://127.0.0.1:{RECEIVER}",
        "/run/secrets": str(tmp_path),
        "group_wait: 30s": "group_wait: 0s",
        "group_wait: 2s": "group_wait: 0s",
    }

    def changed(text: str) -> str:
        for before, after in changes.items():
            assert before in text
            text = text.replace(before, after)
        return text

    copied(tmp_path, "alertmanager/configmgr.tmpl", str)
    return copied(tmp_path, "alertmanager/alertmanager.yml", changed)


@pytest.fixture
def told(lab: Lab, tmp_path: Path) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Takes what is told, and gives it."""
    log = tmp_path / "receiver.log"
    with program(lab, log, [sys.executable, "-m", "tests.receiver", str(RECEIVER)]):
        yield lambda: [json.loads(line) for line in log.read_text().splitlines()]


def test_a_page_calls_the_pager_and_is_read_in_the_chat(
    lab: Lab, tmp_path: Path, local: Path, told: Callable[[], list[dict[str, Any]]]
) -> None:
    with alertmanager(lab, tmp_path, local, port=9193) as server:
        server.post([PAGE])
        eventually("both are told", lambda: len(told()) == 2)
    chat, page = sorted(told(), key=lambda line: str(line["receiver"]))
    (said,) = chat["attachments"]
    assert page["receiver"] == "network-page"
    assert page["groupLabels"] == {"instance": "berlin"}
    assert chat["channel"] == "#network"
    assert said["title"] == "CRITICAL: A path is down: proxy:corporate, at berlin"
    assert "instance=berlin" in said["text"]


def test_of_a_pair_that_hears_the_same_one_speaks(
    lab: Lab, tmp_path: Path, local: Path, told: Callable[[], list[dict[str, Any]]]
) -> None:
    def pair(own: int, other: int) -> list[str]:
        listen, peer = f"--cluster.listen-address=127.0.0.1:{own}", f"--cluster.peer=127.0.0.1:{other}"
        return [listen, peer, "--cluster.gossip-interval=20ms", "--cluster.peer-timeout=1s"]

    with (
        alertmanager(lab, tmp_path, local, *pair(9194, 9294), port=9193) as one,
        alertmanager(lab, tmp_path, local, *pair(9294, 9194), port=9293) as other,
    ):
        eventually("they know each other", lambda: one.metric("alertmanager_cluster_members") == 2)
        for server in (one, other):
            server.post([PAGE])
        eventually(
            "each has asked for both receivers whether the other spoke",
            lambda: all(server.metric("alertmanager_nflog_queries_total") == 2 for server in (one, other)),
        )
    assert sorted(line["receiver"] for line in told()) == ["chat", "network-page"]


# ---------------------------------------------------------------- together with what


def test_a_page_is_of_one_site_and_a_ticket_of_all(server: Server) -> None:
    def post(name: str, severity: str, team: str, **changed: str) -> dict[str, Any]:
        posted = alert(("groups",), name, **changed)
        posted["labels"] |= {"severity": severity, "team": team}
        return posted

    server.post(
        [
            post("FeatureNotReady", "critical", "configmgr", instance="berlin"),
            post("FeatureNotReady", "critical", "configmgr", instance="berlin", role="client"),
            post("FeatureNotReady", "critical", "configmgr", instance="bonn"),
            post("FeatureNotReady", "critical", "configmgr", cloud="azure-us-government"),
            post("PathDown", "critical", "network", instance="kiel"),
            post("PathDown", "critical", "network", instance="jena"),
            post("PathDown", "critical", "network", instance="kiel", path="direct"),
            post("TlsInspectionUnsupported", "critical", "network", instance="kiel"),
            post("TlsInspectionUnsupported", "critical", "network", instance="jena", path="direct"),
            post("PathFailing", "critical", "network", instance="kiel"),
            post("PathDownAtManySites", "critical", "network"),
            post("PathDownAtManySites", "critical", "network", path="direct"),
            post("HostDown", "critical", "network", instance="kiel"),
            post("HostDown", "critical", "network", instance="kiel", path="direct"),
            post("HostDown", "critical", "network", instance="jena"),
            post("ExporterDown", "critical", "sre", instance="ulm"),
            post("CertificateExpiresVerySoon", "critical", "configmgr"),
            post("Slow", "warning", "network", instance="celle"),
            post("Slow", "warning", "network", instance="celle", feature="deploy-edge", cloud="azure-us-government"),
            post("Slow", "warning", "network", instance="trier"),
            post("EndpointDown", "warning", "network", instance="celle"),
            post("EndpointDown", "warning", "network", instance="trier"),
            post("SlotsMissed", "warning", "sre", instance="celle"),
            post("SlotsMissed", "warning", "sre", instance="trier"),
        ]
    )

    def groups() -> dict[tuple[str, ...], int]:
        return {
            tuple(text for _, text in sorted(group["labels"].items())): len(ours)
            for group in server.get("/api/v2/alerts/groups", filter='world="groups"')
            if (ours := group["alerts"])
        }

    eventually("all are grouped", lambda: sum(groups().values()) == 24)
    assert groups() == {
        ("azure-public", "tenant-attach", "berlin"): 2,
        ("azure-public", "tenant-attach", "bonn"): 1,
        ("azure-us-government", "tenant-attach", "berlin"): 1,
        ("kiel",): 3,
        ("jena",): 1,
        (): 2,
        ("ConfigMgrTlsInspectionUnsupported",): 2,
        ("ConfigMgrHostDown", "kiel"): 2,
        ("ConfigMgrHostDown", "jena"): 1,
        ("ConfigMgrExporterDown", "ulm"): 1,
        ("ConfigMgrCertificateExpiresVerySoon", "a.manage.microsoft.com of groups"): 1,
        ("ConfigMgrEndpointDown", "proxy:corporate"): 2,
        ("ConfigMgrSlow", "celle"): 2,
        ("ConfigMgrSlow", "trier"): 1,
        ("ConfigMgrSlotsMissed",): 2,
    }


def test_the_second_site_is_paged_at_its_own_time(
    lab: Lab, tmp_path: Path, local: Path, told: Callable[[], list[dict[str, Any]]]
) -> None:
    second = {**PAGE, "labels": {**PAGE["labels"], "instance": "bonn"}}
    with alertmanager(lab, tmp_path, local, port=9193) as server:
        server.post([PAGE])
        eventually("the first site is told", lambda: len(told()) == 2)
        server.post([second])  # in the same group it would wait for group_interval, a minute
        eventually("so is the second", lambda: len(told()) == 4)
    assert [
        {found["labels"]["instance"] for found in line["alerts"]} for line in told() if line["receiver"] != "chat"
    ] == [{"berlin"}, {"bonn"}]
