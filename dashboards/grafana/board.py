"""A dashboard around its panels: what can be chosen at its top, and the ways to the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as model

from dashboards.grafana.panels import BAD, DATASOURCE, UNKNOWN, WARN, Panel
from dashboards.grafana.promql import of_exporter

TITLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "readiness": "ConfigMgr / Readiness",
        "network": "ConfigMgr / Network triage",
        "latency": "ConfigMgr / Latency",
        "certificates": "ConfigMgr / Certificates and inspection",
        "exporter": "ConfigMgr / Exporter",
    }
)
RUNBOOKS: Final = "http://localhost:10965/runbooks"  # the exporter's own, so that they open where the internet does not

# ---------------------------------------------------------------- what can be chosen


@dataclass(frozen=True)
class Variable:
    """A choice: any number of a label's values, or all of them."""

    name: str
    label: str
    series: str  # which has the label
    hidden: bool = False  # not shown, but handed on to the next dashboard
    all: str | None = ".+"  # what all of them match; None: those that are listed, and no others that a query could find

    def built(self) -> build.QueryVariable:
        """As Grafana knows it."""
        found = (
            build.QueryVariable(self.name)
            .label(self.label)
            .query(f"label_values({self.series}, {self.name})")
            .datasource(DATASOURCE)
            .multi(multi=True)
            .include_all(include_all=True)
            .current(model.VariableOption(text="All", value="$__all", selected=True))
            .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(model.VariableSort.ALPHABETICAL_ASC)
            .hide(model.VariableHide.HIDE_VARIABLE if self.hidden else model.VariableHide.DONT_HIDE)
        )
        return found if self.all is None else found.all_value(self.all)


@dataclass(frozen=True)
class Split:
    """A choice of one label, by which panels split what they show."""

    name: str
    label: str
    labels: Sequence[str]  # the first is chosen at first

    def built(self) -> build.CustomVariable:
        """As Grafana knows it."""
        first, *others = (
            model.VariableOption(text=label, value=label, selected=label == self.labels[0]) for label in self.labels
        )
        return (
            build.CustomVariable(self.name)
            .label(self.label)
            .values(",".join(self.labels))
            .current(first)
            .options([first, *others])
            .multi(multi=False)
            .include_all(include_all=False)
        )


Choice: TypeAlias = Variable | Split

BY: Final = Split("by", "Split by", ("feature", "role", "cloud", "instance"))
PATH: Final = Variable("path", "Path", of_exporter("configmgr_path_up"))
REASON: Final = Variable("reason", "Reason", of_exporter("configmgr_failure_reason_info"))
TARGET: Final = Variable("target", "Target", of_exporter("configmgr_endpoint_up"))


def site(*, hidden: bool = False) -> tuple[Variable, ...]:
    """What every dashboard lets choose. Where features mean nothing they are hidden, and only handed on."""
    features = of_exporter("configmgr_feature_endpoints")
    return (
        # `up` and `process_*` are there for every job of Prometheus: All must not mean those that are no exporters.
        Variable("job", "Job", "configmgr_exporter_build_info", all=None),
        # A label that the targets file gives, or does not: all of them are also the exporters without it.
        Variable("site", "Site", 'up{job=~"$job"}', all=".*"),
        Variable("instance", "Instance", 'up{job=~"$job", site=~"$site"}'),
        Variable("cloud", "Cloud", features, hidden),
        Variable("role", "Role", features, hidden),
        Variable("feature", "Feature", features, hidden),
    )


# ---------------------------------------------------------------- where to look next


def to(name: str, title: str, **filled: str) -> build.DashboardLink:
    """A link to another dashboard that keeps what is chosen, but for what it fills in."""
    kept = ["datasource", *(variable.name for variable in site())]
    query = ["${__url_time_range}", *(f"${{{variable}:queryparam}}" for variable in kept if variable not in filled)]
    query += [f"var-{variable}={value}" for variable, value in filled.items()]
    return build.DashboardLink(title).url(f"/d/configmgr-{name}?{'&'.join(query)}")


def runbook(name: str, title: str) -> build.DashboardLink:
    """A link to the page that says what to do about an alert or a reason."""
    return build.DashboardLink(title).url(f"${{runbooks}}/{name}").target_blank(target_blank=True)


def cell(field: str) -> str:
    """In a link: what stands in this column of the row that is clicked."""
    return f"${{__data.fields.{field}:percentencode}}"


VALUE: Final = "${__value.raw:percentencode}"  # what stands in the cell itself
ROW: Final = "${__data.fields[0]:percentencode}"  # in a link from a matrix: the name of the row that is clicked
COLUMN: Final = "${__field.name:percentencode}"  # and of the column

# ---------------------------------------------------------------- what happened to the exporters


class _Annotation(model.AnnotationQuery):
    """An annotation with what Grafana's Prometheus data source takes, which the common schema does not know."""

    def __init__(self, event: Event) -> None:
        super().__init__(name=event.name, datasource=DATASOURCE, icon_color=event.color, expr=event.expression)
        self._of_prometheus = {"titleFormat": event.title, "useValueForTime": event.at_value}

    def to_json(self) -> dict[str, object]:
        return super().to_json() | self._of_prometheus


@dataclass(frozen=True)
class Event(Builder[model.AnnotationQuery]):
    """What is marked on every curve."""

    name: str
    color: str
    expression: str
    title: str
    at_value: bool  # its time is the value, in milliseconds; else it lasts as long as there is one

    def build(self) -> model.AnnotationQuery:
        """As Grafana knows it."""
        return _Annotation(self)


_STARTED: Final = of_exporter("process_start_time_seconds")  # known on Linux only
_LOADED: Final = of_exporter("configmgr_exporter_config_last_reload_success_timestamp_seconds")
_WITH_THE_START: Final = f"({_LOADED} - on (job, instance) {_STARTED} < 60)"  # seconds

EVENTS: Final = (
    Event("Restarts", WARN, f"1000 * {_STARTED}", "{{instance}} started", at_value=True),
    Event(
        "Reloads",
        UNKNOWN,
        f"1000 * {_LOADED} unless on (job, instance) {_WITH_THE_START}",
        "{{instance}} loaded its configuration",
        at_value=True,
    ),
    Event(
        "Failed reloads",
        BAD,
        f"1 - {of_exporter('configmgr_exporter_config_last_reload_successful')} > 0",
        "{{instance}} could not load its configuration",
        at_value=False,
    ),
)

# ---------------------------------------------------------------- the whole


def dashboard(name: str, description: str, variables: Sequence[Choice], panels: Sequence[Panel]) -> build.Dashboard:
    """A dashboard that nobody edits in the browser, linked to all others."""
    board = (
        build.Dashboard(TITLES[name])
        .uid(f"configmgr-{name}")
        .description(description)
        .tags(["configmgr"])
        .readonly()
        .time("now-6h", "now")
        .refresh("1m")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .with_variable(build.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    for variable in variables:
        board.with_variable(variable.built())
    board.with_variable(build.ConstantVariable("runbooks").value(RUNBOOKS))
    for event in EVENTS:
        board.annotation(event)
    for other, title in TITLES.items():
        if other != name:
            link = build.DashboardLink(title).url(f"/d/configmgr-{other}")
            board.link(link.include_vars(include_vars=True).keep_time(keep_time=True))
    for panel in panels:
        board.with_panel(panel)
    return board
