"""The rules of Grafana's dashboard-linter that concern Prometheus, as far as they need no parser of PromQL.

https://github.com/grafana/dashboard-linter, whose program is in Go: what `dashboards/.lint` excludes is excluded here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from grafana_foundation_sdk.models import units

from tests.promql import names

Board = Mapping[str, Any]

SOURCE: Final = "${datasource}"
UNITS: Final = {value for name, value in vars(units).items() if name[0].isupper() and isinstance(value, str)}
NUMBERS: Final = {"stat", "gauge", "timeseries"}  # the kinds of panels that it looks at more closely
_SELECTOR: Final = re.compile(r'\w*\{((?:[^{}"]|"[^"]*")*)\}')


@dataclass(frozen=True)
class Finding:
    """What it would say: which of its rules, of which panel (or of the dashboard), of which query."""

    rule: str
    dashboard: str
    panel: str | None = None
    query: int | None = None


def findings(board: Board) -> Iterator[Finding]:
    """All that the linter would say of a dashboard."""
    title = board["title"]
    yield from (Finding(rule, title) for rule in _of_the_whole(board))
    for panel in board["panels"]:
        yield from (Finding(rule, title, panel["title"]) for rule in _of_a_panel(panel))
        for place, target in enumerate(panel["targets"]):
            yield from (Finding(rule, title, panel["title"], place) for rule in _of_a_query(target["expr"]))


def _of_the_whole(board: Board) -> Iterator[str]:
    variables = board["templating"]["list"]
    named = {variable["name"]: variable for variable in variables}
    sources = [(each["name"], each["label"]) for each in variables if each["type"] == "datasource"]
    if sources != [("datasource", "Data source")]:
        yield "template-datasource-rule"
    for name in ("job", "instance"):
        variable = named.get(name, {})
        asks = variable.get("datasource", {}).get("uid") == SOURCE and variable["type"] == "query"
        if not asks or variable["label"] != name.title() or not variable["multi"] or variable.get("allValue") != ".+":
            yield f"template-{name}-rule"
    for variable in variables:
        if variable["type"] == "query" and variable["refresh"] != 2:
            yield "template-on-time-change-reload-rule"
        if variable["type"] == "query" and not re.fullmatch(r"label_values\(.+, \w+\)", variable["query"]):
            yield "template-label-promql-rule"
    if board["editable"]:
        yield "uneditable-dashboard"


def _of_a_panel(panel: Board) -> Iterator[str]:
    if not panel["targets"]:
        yield "panel-no-targets-rule"
    if panel["type"] not in NUMBERS:
        return
    if panel["datasource"]["uid"] != SOURCE:
        yield "panel-datasource-rule"
    if not panel["title"] or not panel["description"]:
        yield "panel-title-description-rule"
    field = panel["fieldConfig"]
    overriding = {each["id"]: each["value"] for override in field["overrides"] for each in override["properties"]}
    given = field["defaults"] | overriding
    if "mappings" not in given and given.get("unit") not in UNITS:
        yield "panel-units-rule"


def _of_a_query(expression: str) -> Iterator[str]:
    matched = [labels for _, labels in names(expression).matched]
    for label in ("job", "instance"):
        exact = (f'{label}=~"${label}"' in matchers for matchers in _SELECTOR.findall(expression))
        if not all(exact) or any(label not in labels for labels in matched):
            yield f"target-{label}-rule"
    ranges = re.findall(r"\bi?rate\([^()]*\[([^\]]*)\]", expression)
    if any(range_ != "$__rate_interval" for range_ in ranges):
        yield "target-rate-interval-rule"
    counters = re.findall(r"\b\w+_total\b", expression)
    if len(counters) != len(re.findall(r"\b(?:i?rate|increase)\(\w+_total\{", expression)):
        yield "target-counter-agg-rule"
