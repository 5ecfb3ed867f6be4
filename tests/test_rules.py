"""The rules that are shipped: Prometheus takes them, every alert is tested from all sides, what they name exists."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from exporter.config import catalogue
from exporter.model.patterns import is_wildcard
from exporter.model.vocabulary import Answer, Certificate, Evidence, Failure, Phase, Reason, Result, Root, TlsFacts
from exporter.service.exporter import Exporter
from exporter.service.load import Source, deploy, network_of
from tests.promtool import cut
from tests.tools.reference import all_families

ROOT: Final = Path(__file__).parents[1]
DASHBOARDS: Final = ROOT / "dashboards"
RULES: Final = sorted((DASHBOARDS / "rules").glob("*.yaml"))
TESTS: Final = sorted((ROOT / "tests/rules").glob("*.yaml"))
RUNBOOKS: Final = "http://localhost:10965/runbooks/"
SIDES: Final = ("fires", "stays quiet", "boundary", "resolves")


def read(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)


ALL: Final[list[dict[str, Any]]] = [rule for path in RULES for group in read(path)["groups"] for rule in group["rules"]]
ALERTS: Final = [rule for rule in ALL if "alert" in rule]
CASES: Final[list[dict[str, Any]]] = [case for path in TESTS for case in read(path)["tests"]]
WATCHDOG: Final = "ConfigMgrWatchdog"  # always fires: it has neither a time nor another side
NAMES: Final = {rule["alert"] for rule in ALERTS}  # one name may stand for several rules, as with a burning budget

# Only what is critical pages; what does not say its importance may be.
BY_IMPORTANCE: Final = '{{ if eq $labels.importance "critical" "" }}critical{{ else }}warning{{ end }}'

each_alert = pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])


# ---------------------------------------------------------------- promtool


@pytest.fixture(scope="module")
def promtool() -> str:
    """The program; where it is missing its tests are skipped, and fail in CI, as those of the laboratory."""
    found = shutil.which("promtool")
    if found is None:
        why = "promtool is not installed: `make test` installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    return found


def run(*argv: str | Path) -> None:
    less_collecting = {**os.environ, "GOGC": "400"}  # a tenth of its time; it holds some MB
    done = subprocess.run(argv, env=less_collecting, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_rules(promtool: str) -> None:
    run(promtool, "check", "rules", *RULES)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_the_rules_do_what_their_tests_say(promtool: str, path: Path, tmp_path: Path) -> None:
    run(promtool, "test", "rules", *cut(path, tmp_path))


# ---------------------------------------------------------------- what is tested


def seconds(duration: str) -> int:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([smhdw])", str(duration)))


def cases(alert: str, side: str) -> list[dict[str, Any]]:
    return [case for case in CASES if case.get("name", "").startswith(f"{alert}: {side}")]


def expectations(case: dict[str, Any], alert: str) -> Iterator[tuple[int, bool]]:
    """When a case looks at the alert, and whether it is to fire then."""
    for look in case.get("alert_rule_test", ()):
        if look["alertname"] == alert:
            yield seconds(look["eval_time"]), bool(look.get("exp_alerts"))
    for look in case.get("promql_expr_test", ()):
        if re.search(rf'ALERTS\{{.*alertname="{alert}".*alertstate="firing"', look["expr"]):
            yield seconds(look["eval_time"]), bool(look.get("exp_samples"))


def test_the_name_of_a_case_says_which_alert_it_is_about_and_what_it_does() -> None:
    about_alerts = [case for case in CASES if case.get("alert_rule_test") or "ALERTS" in str(case)]
    pattern = re.compile(rf"({'|'.join(NAMES)}): ({'|'.join(SIDES)})\b.*")
    assert [case.get("name") for case in about_alerts if not pattern.fullmatch(case.get("name", ""))] == []


@pytest.mark.parametrize("alert", sorted(NAMES - {WATCHDOG}))
def test_an_alert_is_tested_from_all_sides(alert: str) -> None:
    looks = {
        side: [sorted(found) for case in cases(alert, side) if (found := list(expectations(case, alert)))]
        for side in SIDES
    }
    firing = {side: [fires for found in looks[side] for _, fires in found] for side in SIDES}
    assert any(firing["fires"])
    assert firing["stays quiet"]
    assert not any(firing["stays quiet"])
    assert set(firing["boundary"]) == {True, False}
    assert looks["resolves"]
    for *before, (_, at_last) in looks["resolves"]:
        assert any(fires for _, fires in before)
        assert not at_last


@pytest.mark.parametrize("alert", sorted(NAMES))
def test_the_words_of_an_alert_are_tested(alert: str) -> None:
    promised = {key for rule in ALERTS if rule["alert"] == alert for key in rule["annotations"]}
    told = [
        expected["exp_annotations"].keys()
        for case in cases(alert, "fires")
        for look in case.get("alert_rule_test", ())
        for expected in look["exp_alerts"]
    ]
    assert promised in told


# ---------------------------------------------------------------- what is written


@each_alert
def test_an_alert_is_labelled_with_what_routes_it_and_with_nothing_that_changes(rule: dict[str, Any]) -> None:
    assert re.fullmatch("ConfigMgr([A-Z][a-z]+)+", rule["alert"])
    assert rule["labels"].keys() <= {"severity", "team", "long", "short"}
    assert rule["labels"]["severity"] in {"critical", "warning", "info", BY_IMPORTANCE}
    assert rule["labels"]["team"] in {"network", "configmgr", "sre"}
    # Two scrapes at least, if not the expression itself waits.
    waits = re.search(r":(since|held|sites|features)\b|probe_interval|^changes\(", str(rule["expr"]).strip())
    assert seconds(rule.get("for", "0s")) >= 60 or waits or rule["alert"] == WATCHDOG


@each_alert
def test_an_alert_says_what_is_wrong_and_leads_to_its_runbook(rule: dict[str, Any]) -> None:
    annotations = rule["annotations"]
    assert annotations.keys() - {"reason", "status_url"} == {"summary", "description", "runbook_url", "dashboard_url"}
    assert "{{" not in annotations["summary"]
    page, _, about = annotations["runbook_url"].partition("?")
    assert page == RUNBOOKS + rule["alert"]
    assert not about or re.findall(r"(?:^|&)(\w+)=", about) == ["target", "path"]
    assert (DASHBOARDS / f"runbooks/{rule['alert']}.md").is_file()


@each_alert
def test_an_alert_leads_to_a_dashboard_that_knows_what_it_is_given(rule: dict[str, Any]) -> None:
    address = urlsplit(re.sub(r"{{.*?}}", "value", rule["annotations"]["dashboard_url"]))
    boards = {board["uid"]: board for board in (json.loads(path.read_text()) for path in DASHBOARDS.glob("*.json"))}
    known = {f"var-{variable['name']}" for variable in boards[address.path.removeprefix("/d/")]["templating"]["list"]}
    given = set(parse_qs(address.query))
    assert f"{address.scheme}://{address.netloc}" == "http://localhost:3000"
    assert given
    assert {name for name in given if name.startswith("var-")} <= known


def test_an_alert_of_one_target_path_or_feature_leads_to_what_the_exporter_knows_of_it() -> None:
    links = {rule["alert"]: rule["annotations"]["status_url"] for rule in ALERTS if "status_url" in rule["annotations"]}
    filled = {name: re.sub(r"{{ (if|end).*?}}", "", link) for name, link in links.items()}
    filled = {name: re.sub(r"{{ \$labels\.\w+ \| urlquery }}", "value", link) for name, link in filled.items()}
    queries = {name: parse_qs(urlsplit(link).query).keys() for name, link in filled.items()}
    feature = {"feature", "role", "cloud"}
    assert queries == {
        "ConfigMgrEndpointDown": {"url", "path"},
        "ConfigMgrEndpointsUnprobed": {"state"},
        "ConfigMgrErrorBudgetBurn": feature,
        "ConfigMgrFeatureNotReady": feature,
        "ConfigMgrHostDown": {"path", "state"},
        "ConfigMgrPathDown": {"path", "state"},
        "ConfigMgrPathFailing": {"path", "state"},
        "ConfigMgrPathSlow": {"path"},
        "ConfigMgrProxyAuthenticationRequired": {"path", "state"},
        "ConfigMgrServiceConnectionPointCannotReachCloud": feature,
        "ConfigMgrSlow": feature,
        "ConfigMgrTlsInspectionUnsupported": {"path"},
    }
    assert not [link for link in filled.values() if "{{" in link]


def test_a_path_is_told_until_what_goes_by_it_has_been_probed_again() -> None:
    kept = {rule["alert"]: seconds(rule.get("keep_firing_for", "0s")) for rule in ALERTS}
    causes = ("ConfigMgrPathDown", "ConfigMgrPathFailing", "ConfigMgrProxyAuthenticationRequired")
    effects = ("ConfigMgrFeatureNotReady", "ConfigMgrServiceConnectionPointCannotReachCloud", "ConfigMgrEndpointDown")
    rounds = 2 * 60  # the first target that works ends the cause; the others follow within a round, and a scrape
    assert min(kept[cause] for cause in causes) > max(kept[effect] for effect in effects) + rounds


# ---------------------------------------------------------------- what is named

Labels = dict[str, str]


@pytest.fixture(scope="module")
def exposed() -> dict[str, list[Labels]]:
    """The labels of every series of an exporter of the shipped catalogue in which each kind has a sample."""
    deployment = deploy(Source())
    running = Exporter(Source(), deployment, network_of(deployment))
    chain = (Certificate("CN=host", "CN=issuer", 0.0, 1.0, "ab"),)
    for number, check in enumerate(deployment.plan.checks):
        failure = Failure(Phase.PROCESSING, Reason.HTTP_STATUS, "status 502") if number % 2 else None
        tls = TlsFacts("TLSv1.3", chain, Root.PRIVATE if number % 3 else Root.PUBLIC)
        seen = Evidence(("192.0.2.1",), "192.0.2.1", (), tls, Answer(200))
        result = Result(check.key, 1.0, dict.fromkeys(Phase, 0.1), seen, failure)
        running.finished(result)
        running.unconfirmed(result)
    found: dict[str, list[Labels]] = {}
    for family in all_families(running):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


RECORDED: Final = {rule["record"] for rule in ALL if "record" in rule}
STRING: Final = r'"(?:[^"\\]|\\.)*"'


def series(expression: str) -> set[str]:
    """The names of ours in an expression; what stands in quotes, in brackets or behind # is none."""
    bare = re.sub(rf"#.*|{STRING}|\[[^]]*\]", "", expression)
    return {
        name for name in re.findall(r"[a-zA-Z_:]\w*(?::\w+)*", bare) if name.startswith("configmgr_") or ":" in name
    }


def queries(rule: dict[str, Any]) -> str:
    """What stands in quotes in the templates of a rule's annotations."""
    actions = re.findall(r"{{.*?}}", " ".join(rule["annotations"].values()), re.DOTALL)
    return "\n".join(quoted[1:-1] for quoted in re.findall(rf"`[^`]*`|{STRING}", " ".join(actions)))


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_reads_series_that_exist(rule: dict[str, Any], exposed: dict[str, list[Labels]]) -> None:
    assert series(str(rule["expr"])) - exposed.keys() - RECORDED == set()


@each_alert
def test_the_words_of_an_alert_read_series_that_exist(rule: dict[str, Any], exposed: dict[str, list[Labels]]) -> None:
    assert series(queries(rule)) - exposed.keys() - RECORDED == set()


def test_the_words_are_found() -> None:
    (rule,) = [rule for rule in ALERTS if rule["alert"] == "ConfigMgrPathDown"]
    assert {"configmgr_endpoint_failure", "configmgr_failure_reason_info"} <= series(queries(rule))
    assert series('a:b:rate5m / configmgr_path_up{x="c:d"} # e:f') == {"a:b:rate5m", "configmgr_path_up"}


def test_each_target_has_one_path_to_join(exposed: dict[str, list[Labels]]) -> None:
    targets = [tuple(sorted(labels.items())) for labels in exposed["configmgr_endpoint_up"]]
    paths = [
        tuple(sorted((name, value) for name, value in labels.items() if name not in {"path", "host"}))
        for labels in exposed["configmgr_endpoint_path_info"]
    ]
    assert sorted(paths) == sorted(targets)
    assert len(set(paths)) == len(paths)


def test_the_rules_know_a_wildcard_as_the_exporter_does() -> None:
    patterns = {endpoint.pattern for group in catalogue.load().groups for endpoint in group.endpoints}
    text = "".join(path.read_text(encoding="utf-8") for path in RULES)
    (expression,) = set(re.findall(r'pattern=~"(.*?)"', text))
    assert {pattern for pattern in patterns if re.fullmatch(expression, pattern)} == set(filter(is_wildcard, patterns))


def test_the_service_connection_point_has_its_alert_for_the_features_that_report_its_status_messages() -> None:
    reporting = {
        group.feature for group in catalogue.load().groups if re.search("11488|1141[0-2]", str(group.messages))
    }
    (rule,) = [rule for rule in ALERTS if rule["alert"] == "ConfigMgrServiceConnectionPointCannotReachCloud"]
    (features,) = re.findall(r'feature=~"(.*?)"', rule["expr"])
    assert set(features.split("|")) == reporting
