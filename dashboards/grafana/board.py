"""A dashboard around its panels: what can be chosen at its top, and the ways to the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as model

from dashboards.grafana.panels import DATASOURCE, Panel

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
    listed: bool = False  # all are those that the label has here, and no others that a query could find

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
        return found if self.listed else found.all_value(".+")


_EXPORTER: Final = 'job=~"$job", instance=~"$instance"'
PATH: Final = Variable("path", "Path", f"configmgr_path_up{{{_EXPORTER}}}")
REASON: Final = Variable("reason", "Reason", f"configmgr_failure_reason_info{{{_EXPORTER}}}")
TARGET: Final = Variable("target", "Target", f"configmgr_endpoint_up{{{_EXPORTER}}}")


def site(*, hidden: bool = False) -> tuple[Variable, ...]:
    """What every dashboard lets choose. Where features mean nothing they are hidden, and only handed on."""
    features = f"configmgr_feature_endpoints{{{_EXPORTER}}}"
    return (
        # `up` and `process_*` are there for every job of Prometheus: All must not mean those that are no exporters.
        Variable("job", "Job", "configmgr_exporter_build_info", listed=True),
        Variable("instance", "Instance", 'up{job=~"$job"}'),
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


ROW: Final = "${__data.fields[0]}"  # in a link from a matrix: the name of the row that is clicked
COLUMN: Final = "${__field.name}"  # and of the column

# ---------------------------------------------------------------- the whole


def dashboard(name: str, description: str, variables: Sequence[Variable], panels: Sequence[Panel]) -> build.Dashboard:
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
    for other, title in TITLES.items():
        if other != name:
            link = build.DashboardLink(title).url(f"/d/configmgr-{other}")
            board.link(link.include_vars(include_vars=True).keep_time(keep_time=True))
    for panel in panels:
        board.with_panel(panel)
    return board
