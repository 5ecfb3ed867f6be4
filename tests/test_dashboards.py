"""The dashboards are what is built, keep the rules of their craft, and get an answer to every question they ask."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.build import EXPORTER, HERE, RUNBOOKS, built, main, readdressed
from exporter.model.vocabulary import Reason
from tests.grafana import SPLIT_BY, Panel, Query, View, load, panels, queries, table
from tests.lab import Lab
from tests.linter import Finding, findings
from tests.promql import Names, names
from tests.watched import RULES, Company, Scale, company

BOARDS: Final = load()
PANELS: Final = panels()
QUERIES: Final = queries()
EVENTS: Final = {event["name"]: event["expr"] for board in BOARDS.values() for event in board["annotations"]["list"]}
SITE: Final = ("datasource", "job", "site", "instance", "cloud", "role", "feature")
ALL_VALUES: Final = {"job": None, "site": ".*"}  # of the others, whatever there is

# Of a check with a textfile, of documented lines that are for reference only, of wildcards of which a part is down, and
# of what a second attempt may yet refute.
NOT_IN_THE_COMPANY: Final = {
    "configmgr_exporter_check_timestamp_seconds",
    "configmgr_endpoint_reference_only",
    "configmgr_endpoint_partly_open",
    "configmgr_endpoint_unconfirmed_failure",
}
ALL_INSTANCES: Final[Mapping[str, str]] = {
    "configmgr:availability_objective:ratio": "one number for all",
    "feature_role_cloud:configmgr_feature_ready:avg": "says what all instances say, whichever are chosen",
}


@dataclass(frozen=True)
class Rule:
    """A rule as it is shipped."""

    name: str  # of the alert, or of the series that is recorded
    expression: str
    records: bool


def shipped_rules() -> list[Rule]:
    """Every rule of every file."""
    return [
        Rule(rule.get("record") or rule["alert"], str(rule["expr"]), "record" in rule)
        for path in RULES
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    ]


def variables(name: str) -> dict[str, dict[str, Any]]:
    return {str(variable["name"]): variable for variable in BOARDS[name]["templating"]["list"]}


def links_of(panel: Panel) -> list[str]:
    """Where a panel leads to: by its own links, and by those of its cells."""
    return [link["url"] for link in [*panel.model["links"], *cell_links(panel)]]


def cell_links(panel: Panel) -> Iterator[dict[str, Any]]:
    for override in panel.model["fieldConfig"]["overrides"]:
        for each in override["properties"]:
            if each["id"] == "links":
                yield from each["value"]


of_each_board = pytest.mark.parametrize("name", BOARDS)
of_each_panel = pytest.mark.parametrize("panel", PANELS, ids=str)

# ---------------------------------------------------------------- what is built


def test_what_is_committed_is_what_is_built() -> None:
    wanted = dict(built())
    committed = {path: path.read_text(encoding="utf-8") for path in wanted if path.exists()}
    assert wanted.keys() >= {*HERE.glob("*.json"), *HERE.glob("runbooks/*.md")}
    assert committed == wanted, "run `python dashboards/build.py`"


def test_a_copy_of_the_rules_leads_to_addresses_of_your_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [
        "--rules-to",
        tmp_path / "rules",
        "--runbook-url",
        "https://wiki/x/",
        "--exporter-url",
        "http://{{ $labels.instance }}",
        "--grafana-url",
        "https://grafana",
    ]
    monkeypatch.setattr("sys.argv", ["build.py", *map(str, arguments)])
    main()
    written = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "rules").iterdir()}
    shipped = {path.name: path.read_text(encoding="utf-8") for path in RULES}
    back = {
        name: text.replace("https://wiki/x/", f"{RUNBOOKS}/")
        .replace("http://{{ $labels.instance }}/", f"{EXPORTER}/")
        .replace("https://grafana/", "http://localhost:3000/")
        for name, text in written.items()
    }
    assert back == shipped
    assert not [name for name, text in written.items() if re.search("localhost:(10965|3000)/", text)]
    assert readdressed(RUNBOOKS, EXPORTER, "http://localhost:3000") == shipped


def test_a_copy_of_the_rules_has_your_job_and_thresholds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"--rules-to": tmp_path, "--job": "sccm", "--objective": "0.99", "--many-sites": "5", "--many-share": "0.8"}
    monkeypatch.setattr("sys.argv", ["build.py", *(str(part) for option in given.items() for part in option)])
    main()
    changed = [
        (before.strip(), after.strip())
        for path in RULES
        for before, after in zip(
            path.read_text(encoding="utf-8").splitlines(),
            (tmp_path / path.name).read_text(encoding="utf-8").splitlines(),
            strict=True,
        )
        if before != after
    ]
    assert {after for _, after in changed if "# --" in after} == {
        "expr: vector(0.99)  # --objective",
        ") >= 5 # --many-sites",
        ">= 5 # --many-sites",
        "5 # --many-sites",
        "path:configmgr_path:sites < 5 # --many-sites",
        "0.8 * path:configmgr_path:sites # --many-share",
        "0.8 * job:configmgr_path:sites # --many-share",
        "0.8 * last_over_time(feature_role_cloud:configmgr_feature:sites[5m]) # --many-share",
    }
    by_job = [(before, after) for before, after in changed if "# --" not in after]
    assert {after.count("sccm") for _, after in by_job} >= {1}
    assert [after for before, after in by_job if "sccm" in before or "sccm" not in after] == []
    assert 'job="configmgr"' not in "".join(path.read_text(encoding="utf-8") for path in tmp_path.iterdir())


@pytest.mark.parametrize(("option", "value"), [("--many-sites", "some"), ("--job", 'a"b')])
def test_what_is_no_number_or_name_is_refused(
    option: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["build.py", "--rules-to", "/nowhere", option, value])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert f"argument {option}: {value!r} is no" in capsys.readouterr().err


def test_copies_are_made_without_grafanas_library_and_boards_lead_to_your_runbooks(tmp_path: Path) -> None:
    without = "import runpy, sys; sys.modules['grafana_foundation_sdk'] = None; sys.path.insert(0, '.')"
    run = f"{without}; sys.argv[0] = 'build.py'; runpy.run_path('dashboards/build.py', run_name='__main__')"
    options: list[str | Path] = [
        "--rules-to",
        tmp_path / "rules",
        "--dashboards-to",
        tmp_path / "boards",
        "--runbook-url",
        "https://wiki/x/",
    ]
    subprocess.run([sys.executable, "-c", run, *options], cwd=HERE.parent, check=True)
    boards = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "boards").iterdir()}
    ways = {
        name: variable["query"]
        for name, board in boards.items()
        for variable in board["templating"]["list"]
        if variable["name"] == "runbooks"
    }
    assert ways == dict.fromkeys(BOARDS, "https://wiki/x")
    assert {path.name for path in (tmp_path / "rules").iterdir()} == {path.name for path in RULES}


# ---------------------------------------------------------------- the craft


def excluded(finding: Finding, exclusions: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Which entries of `.lint` take a finding away: the rule, and the number of the entry."""
    rule = exclusions.get(finding.rule)
    if rule is None:
        return []
    wanted = enumerate(rule.get("entries", [{}]))
    return [
        (finding.rule, number)
        for number, entry in wanted
        if entry.get("dashboard", finding.dashboard) == finding.dashboard
        and entry.get("panel", finding.panel) == finding.panel
        and entry.get("targetIdx", str(finding.query)) == str(finding.query)
    ]


def test_the_linter_has_nothing_to_say_but_what_is_wanted_so() -> None:
    exclusions = yaml.safe_load((HERE / ".lint").read_text(encoding="utf-8"))["exclusions"]
    found = {finding: excluded(finding, exclusions) for board in BOARDS.values() for finding in findings(board)}
    entries = {
        (rule, number) for rule, what in exclusions.items() for number, _ in enumerate(what.get("entries", [{}]))
    }
    assert [finding for finding, taken in found.items() if not taken] == []
    assert {entry for taken in found.values() for entry in taken} == entries, "is not needed any more"
    assert all(entry.get("reason") for rule in exclusions.values() for entry in rule.get("entries", [rule]))


@of_each_board
def test_a_dashboard_is_what_the_schema_of_its_grafana_knows(name: str) -> None:
    # The data source's own part of an annotation is not in the schema that all annotations have.
    of_prometheus = {"titleFormat", "useValueForTime"}
    known = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(BOARDS[name])))
    annotations = [
        {key: value for key, value in each.items() if key not in of_prometheus}
        for each in BOARDS[name]["annotations"]["list"]
    ]
    assert known == BOARDS[name] | {"annotations": {"list": annotations}}
    assert known["schemaVersion"] == 41  # Grafana 11.6; a newer one takes it over


@of_each_board
def test_a_dashboard_has_its_own_uid_and_nobody_edits_it(name: str) -> None:
    board = BOARDS[name]
    numbers = [panel["id"] for panel in board["panels"]]
    assert board["uid"] == f"configmgr-{name}"
    assert board["editable"] is False
    assert len(set(numbers)) == len(numbers)
    assert "configmgr" in board["tags"]


@of_each_board
def test_panels_lie_side_by_side_and_not_on_each_other(name: str) -> None:
    places = [panel["gridPos"] for panel in BOARDS[name]["panels"]]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert all(x < 24 for x, _ in cells)


@of_each_board
def test_a_dashboard_leads_to_all_others(name: str) -> None:
    links = BOARDS[name]["links"]
    assert {link["url"] for link in links} == {f"/d/configmgr-{other}" for other in BOARDS if other != name}
    assert all(link["includeVars"] and link["keepTime"] for link in links)


@of_each_board
def test_a_dashboard_lets_choose_where_and_what(name: str) -> None:
    found = variables(name)
    asked = " ".join(query.expression for query in QUERIES if query.panel.dashboard == name)
    assert [*found][: len(SITE)] == [*SITE]
    assert (found["datasource"]["type"], found["datasource"]["query"]) == ("datasource", "prometheus")
    assert found["datasource"]["label"] == "Data source"
    for variable in found.values():
        if variable["type"] == "query":
            assert f"${variable['name']}" in asked or variable["hide"]
            assert variable["label"] == variable["name"].capitalize()
            assert variable["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert (variable["multi"], variable["includeAll"]) == (True, True)
            assert variable.get("allValue") == ALL_VALUES.get(variable["name"], ".+")
            assert variable["refresh"] == 2  # when the time range changes
            assert re.fullmatch(rf"label_values\(.+, {variable['name']}\)", variable["query"])


@of_each_panel
def test_a_panel_says_what_it_shows_and_what_it_means_that_it_is_empty(panel: Panel) -> None:
    defaults = panel.model["fieldConfig"]["defaults"]
    assert panel.title.strip()
    assert len(panel.model["description"]) > 20
    assert defaults["noValue"].strip()
    assert defaults["unit"]


@of_each_panel
def test_a_panel_asks_the_chosen_data_source(panel: Panel) -> None:
    source = {"type": "prometheus", "uid": "${datasource}"}
    assert panel.model["datasource"] == source
    assert panel.model["targets"]
    assert all(target["datasource"] == source for target in panel.model["targets"])


@of_each_panel
def test_a_panel_leads_on_and_keeps_what_is_chosen(panel: Panel) -> None:
    known = {rule.name for rule in shipped_rules()} | set(Reason) | {"${__value.raw:percentencode}"}
    assert panel.model["links"]
    for url in links_of(panel):
        if url.startswith("${runbooks}/"):
            assert url.removeprefix("${runbooks}/") in known
            continue
        name = urlsplit(url).path.removeprefix("/d/configmgr-")
        kept = re.findall(r"\$\{(\w+):queryparam\}", url)
        filled = [key.removeprefix("var-") for key, _ in parse_qsl(urlsplit(url).query) if key.startswith("var-")]
        assert "${__url_time_range}" in url
        assert {*kept, *filled} >= {*SITE}
        assert not {*kept} & {*filled}, "would be chosen twice"
        assert {*kept, *filled} <= variables(name).keys(), f"{name} has no such variable"
        # What stands in a cell may hold an `&`, which would end it.
        assert all(way.endswith(":percentencode}") for way in re.findall(r"=(\$\{__[^}]+\})", url))


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: f"{query.panel} {query.ref}")
def test_a_query_looks_at_the_chosen_jobs_and_instances(query: Query) -> None:
    for series, labels in names(query.expression).matched:
        assert "job" in labels or series == "configmgr:availability_objective:ratio"
        assert {"site", "instance"} <= labels or series in ALL_INSTANCES
    for label, wanted in re.findall(
        r"\b(job|instance|cloud|role|feature|path|reason|target)=~\"(\$\w+)\"", query.expression
    ):
        assert wanted == f"${label}"


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: f"{query.panel} {query.ref}")
def test_a_counter_is_read_as_a_rate_over_the_rate_interval(query: Query) -> None:
    raw = r"\b(?!\w+:)\w+_(?:total|bucket|sum|count)\{[^}]*\}"
    rated = rf"\b(?:rate|increase)\({raw}\[\$__rate_interval\]\)"
    assert len(re.findall(raw, query.expression)) == len(re.findall(rated, query.expression))


# ---------------------------------------------------------------- what Prometheus says


@dataclass(frozen=True)
class Seen:
    """What a real Prometheus answered about a company that was well, and then was not."""

    healthy: Mapping[tuple[str, str], Any]  # by panel and query
    broken: Mapping[tuple[str, str], Any]
    narrowed: Mapping[tuple[str, str], Any]  # the same, with choices made
    rules: Mapping[str, Any]  # by expression
    labels: Mapping[str, frozenset[str]]  # of every series
    choices: Mapping[str, Sequence[str]]  # by variable query
    events: Mapping[str, Any]  # by annotation
    times: tuple[float, float]  # when it broke, and when the questions were asked

    def rows(self, panel: str, ref: str) -> list[tuple[dict[str, str], float]]:
        """What a query of the broken company brought: labels and value."""
        return [(row["metric"], float(row["value"][1])) for row in self.broken[panel, ref]["data"]["result"]]


NARROW: Final[Mapping[str, Sequence[str]]] = {"instance": ["hq"], "feature": ["tenant-attach", "url-forwarding"]}

# There are rates of what is probed, through proxies too, what is recorded last is recorded, and the depot is missed.
SETTLED: Final = (
    'ALERTS{alertname="ConfigMgrExporterVanished", alertstate="firing"}',
    'sum(rate(configmgr_probe_phase_duration_seconds_count{phase="proxy"}[4s])) > 0',
    "instance_feature_role_cloud:configmgr_probe_duration_seconds:mean_rate30d",
    "instance_feature_role_cloud:configmgr_error_budget_remaining:ratio30d",
)
# What is recorded says what was scraped last.
RECORDED: Final = """(
    count(
      feature_role_cloud:configmgr_feature_ready:avg != avg by (job, feature, role, cloud) (configmgr_feature_ready)
    ) or vector(0)
) == 0"""


@pytest.fixture(scope="module")
def seen(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    with company(lab, tmp_path_factory.mktemp("company")) as found, found.working(Scale()):
        healthy = answered(found, View(1, 1, 10), *SETTLED)
        begun = time.time()
        with found.broken():
            # What was under way as it broke may still have ended well, within its timeout.
            all_probed = f"min(configmgr_endpoint_last_probe_timestamp_seconds) > {time.time() + 3}"
            inspected = "count(configmgr_endpoint_tls_intercepted == 1) > 0"
            return Seen(
                healthy,
                answered(found, View(1, 1, 10), *SETTLED, all_probed, inspected, RECORDED, "count(ALERTS) > 5"),
                answered(found, View(1, 1, 10, NARROW), *SETTLED),
                rule_answers(found),
                labels_of(found),
                choices(found),
                event_answers(found),
                (begun, time.time()),
            )


@pytest.mark.lab
@pytest.mark.timing
def test_other_jobs_of_prometheus_are_no_exporters(seen: Seen) -> None:
    expected, silent = (
        seen.healthy[f"readiness: {panel}", "A"]["data"]["result"] for panel in ("Exporters expected", "Not heard")
    )
    places = {name for query, names in seen.choices.items() if query.endswith(", instance)") for name in names}
    assert [row["value"][1] for row in (*expected, *silent)] == ["3", "1"]  # the depot, and not the node as well
    assert places == {"hq", "branch", "depot"}


def answered(found: Company, view: View, *conditions: str) -> dict[tuple[str, str], Any]:
    answers = found.answers(QUERIES, view, now=found.moment(*conditions))
    return {(str(query.panel), query.ref): answer for query, answer in zip(QUERIES, answers, strict=True)}


def event_answers(found: Company) -> dict[str, Any]:
    """What Prometheus says to the annotations."""
    view, now = View(1, 1, 10), found.moment()
    questions = [("query", {"query": view.interpolated(expression), "time": now}) for expression in EVENTS.values()]
    return dict(zip(EVENTS, found.ask(questions), strict=True))


def rule_answers(found: Company) -> dict[str, Any]:
    expressions = [rule.expression for rule in shipped_rules()]
    answers = found.ask([("query", {"query": expression}) for expression in expressions])
    return dict(zip(expressions, answers, strict=True))


def labels_of(found: Company) -> dict[str, frozenset[str]]:
    (known,) = found.ask([("label/__name__/values", {})])
    answers = found.ask([("labels", {"match[]": name}) for name in known["data"]])
    return {name: frozenset(answer["data"]) - {"__name__"} for name, answer in zip(known["data"], answers, strict=True)}


def choices(found: Company) -> dict[str, Sequence[str]]:
    asked = {
        variable["query"] for name in BOARDS for variable in variables(name).values() if variable["type"] == "query"
    }
    questions = []
    for query in asked:
        series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", query).groups()  # type: ignore[union-attr]
        questions.append((f"label/{label}/values", {"match[]": View(1, 1, 10).interpolated(series)}))
    return {query: answer["data"] for query, answer in zip(asked, found.ask(questions), strict=True)}


def unknown_names(expression: Names, labels: Mapping[str, frozenset[str]]) -> list[str]:
    """What an expression names that there is not."""
    # What rules record only where something is down, of another kind than here, is tested with them.
    absent = NOT_IN_THE_COMPANY | {rule.name for rule in shipped_rules() if rule.records} - labels.keys()
    wrong = [f"{series}: no such series" for series in expression.series - labels.keys() - absent]
    for series, matched in expression.matched:
        wrong += [f"{series}: has no {label}" for label in matched - labels.get(series, matched)]
    if expression.series & absent:
        return wrong  # nor are their labels known here
    there = {label for series in expression.series for label in labels.get(series, ())} | expression.made
    return wrong + [f"{label}: none of the series has it" for label in expression.grouping - there]


@pytest.mark.lab
@pytest.mark.timing
def test_prometheus_understands_every_query(seen: Seen) -> None:
    for state in (seen.healthy, seen.broken, seen.narrowed):
        assert not {key: answer["error"] for key, answer in state.items() if answer["status"] != "success"}
    assert not {key: answer["error"] for key, answer in seen.rules.items() if answer["status"] != "success"}


@pytest.mark.lab
@pytest.mark.timing
def test_queries_and_rules_name_only_what_there_is(seen: Seen) -> None:
    asked = [(str(query.panel), query.expression.replace("$by", SPLIT_BY)) for query in QUERIES]
    wrong = {panel: unknown_names(names(expression), seen.labels) for panel, expression in asked}
    wrong |= {rule.name: unknown_names(names(rule.expression), seen.labels) for rule in shipped_rules()}
    wrong |= {name: unknown_names(names(expression), seen.labels) for name, expression in EVENTS.items()}
    assert not {where: what for where, what in wrong.items() if what}


@pytest.mark.lab
@pytest.mark.timing
def test_every_recorded_series_that_a_panel_asks_for_is_recorded(seen: Seen) -> None:
    recorded = {rule.name for rule in shipped_rules() if rule.records}
    asked = {series for query in QUERIES for series in names(query.expression).series}
    assert asked & recorded <= seen.labels.keys()
    assert {series for series in asked if ":" in series} <= recorded


@pytest.mark.lab
@pytest.mark.timing
def test_a_broken_company_leaves_no_question_without_an_answer(seen: Seen) -> None:
    assert [key for key, answer in seen.broken.items() if not answer["data"]["result"]] == []


@pytest.mark.lab
@pytest.mark.timing
def test_since_when_is_when_it_broke(seen: Seen) -> None:
    begun, asked = seen.times
    since = [
        *seen.rows("readiness: What is wrong, and who can fix it?", "C"),
        *seen.rows("readiness: What is not ready, since when, and is it only here?", "A"),
        *seen.rows("network: What is to be changed, where, and by whom?", "B"),
    ]
    assert not [
        row for row in since if not begun - 8 < row[1] / 1000 < asked
    ]  # the last success was up to a round before


@pytest.mark.lab
@pytest.mark.timing
def test_the_phases_of_a_slow_target_are_those_of_one_probe(seen: Seen) -> None:
    took: dict[str, dict[str, float]] = {}
    for labels, value in seen.rows("latency: Which targets are the slowest, and in which phase?", "A"):
        took.setdefault(labels["target"], {})[labels["phase"]] = value
    assert max(phases["all"] for phases in took.values()) > 2.9  # the one that is dropped
    assert all(phases.pop("all") == pytest.approx(sum(phases.values())) for phases in took.values())


@pytest.mark.lab
@pytest.mark.timing
def test_what_one_site_cannot_is_told_from_what_nobody_can(seen: Seen) -> None:
    verdicts = {
        (labels["feature"], labels["role"]): value
        for labels, value in seen.rows("readiness: What is not ready, since when, and is it only here?", "B")
    }
    assert verdicts["m365-apps", "console"] == 0.5
    assert verdicts["url-forwarding", "console"] == 0


@pytest.mark.lab
@pytest.mark.timing
def test_a_start_is_marked_as_such_and_not_as_a_reload(seen: Seen) -> None:
    marked = {
        name: {row["metric"]["instance"] for row in found["data"]["result"]} for name, found in seen.events.items()
    }
    assert marked == {"Restarts": {"hq", "branch"}, "Reloads": set(), "Failed reloads": set()}


@pytest.mark.lab
@pytest.mark.timing
def test_every_variable_has_something_to_choose(seen: Seen) -> None:
    assert [query for query, values in seen.choices.items() if not values] == []


SILENT: Final = {
    "readiness: What is wrong, and who can fix it?",
    "readiness: What is not ready, since when, and is it only here?",
    "readiness: Which instance cannot?",
    "network: How many targets fail, for which reason and on which path?",
    "network: What is to be changed, where, and by whom?",
    "network: When did targets fail, and for which reason?",
    "certificates: When did TLS fail, and why?",
}
ZERO: Final = {
    "readiness: Features",
    "readiness: Targets",
    "readiness: Shared paths",
    "certificates: Certificates",
}


@pytest.mark.lab
@pytest.mark.timing
def test_a_healthy_company_is_shown_as_such(seen: Seen) -> None:
    numbers = {panel: seen.healthy[panel, "A"]["data"]["result"] for panel in ZERO}
    speaking = {panel for (panel, _), answer in seen.healthy.items() if answer["data"]["result"]}
    assert {str(panel) for panel in PANELS} - speaking == SILENT
    assert {panel: row["value"][1] for panel, (row,) in numbers.items()} == dict.fromkeys(ZERO, "0")


@pytest.mark.lab
@pytest.mark.timing
@pytest.mark.parametrize("panel", [panel for panel in PANELS if panel.model["type"] == "table"], ids=str)
def test_a_table_has_a_column_for_everything_that_comes_back(seen: Seen, panel: Panel) -> None:
    results = [seen.broken[str(panel), query.ref]["data"]["result"] for query in panel.queries]
    shown = table(panel, results)
    sorted_by = {each["displayName"] for each in panel.model["options"]["sortBy"]}
    declared = [
        override["matcher"]["options"]
        for override in panel.model["fieldConfig"]["overrides"]
        if override["matcher"]["id"] == "byName"
    ]
    assert sorted_by <= shown[0].keys()
    if "groupingToMatrix" in str(panel.model["transformations"]):
        assert [*shown[0]][:1] == declared
    else:
        assert [*shown[0]] == declared


@pytest.mark.lab
@pytest.mark.timing
def test_a_choice_narrows_every_question(seen: Seen) -> None:
    rows = [(panel, row["metric"]) for (panel, _), answer in seen.narrowed.items() for row in answer["data"]["result"]]
    assert {panel for panel, _ in rows} > {str(panel) for panel in PANELS if panel.dashboard == "network"} - {
        "network: How long do proxies take to open a tunnel?"  # the headquarters have none
    }
    for label, chosen in NARROW.items():
        assert not {panel for panel, labels in rows if labels.get(label, chosen[0]) not in chosen}
