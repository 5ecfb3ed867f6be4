"""What Grafana does with a dashboard, as far as tests and pictures need it: variables, queries, tables of results."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

DASHBOARDS: Final = Path(__file__).parents[1] / "dashboards"
ALL: Final = "$__all"

Frame = list[dict[str, Any]]  # rows; columns by name, in order


@dataclass(frozen=True)
class Query:
    """One query of a panel."""

    panel: Panel
    ref: str
    expression: str
    instant: bool
    legend: str


@dataclass(frozen=True)
class Panel:
    """One panel of a dashboard."""

    dashboard: str
    model: Mapping[str, Any] = field(repr=False)

    @property
    def title(self) -> str:
        """Its question."""
        return str(self.model["title"])

    @property
    def queries(self) -> list[Query]:
        """All that it asks."""
        return [
            Query(self, target["refId"], target["expr"], target.get("instant", False), target.get("legendFormat", ""))
            for target in self.model["targets"]
        ]

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.title}"


def load() -> dict[str, dict[str, Any]]:
    """The dashboards that are committed, by name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(DASHBOARDS.glob("*.json"))}


def panels() -> list[Panel]:
    """Their panels."""
    return [Panel(name, panel) for name, found in load().items() for panel in found["panels"]]


def queries() -> list[Query]:
    """All that they ask."""
    return [query for panel in panels() for query in panel.queries]


# ---------------------------------------------------------------- variables


JOBS: Final = ("configmgr",)  # what the variable `job` lists: all of it is these
SPLIT_BY: Final = "feature"  # what the variable `by` is at first


@dataclass(frozen=True)
class View:
    """What is chosen at the top of a dashboard, and the times on its axis, in seconds."""

    scrape: float  # the data source's scrape interval
    step: float
    range: float
    chosen: Mapping[str, Sequence[str]] = field(default_factory=dict)  # by variable; not named: all

    def interpolated(self, expression: str) -> str:
        """The expression as Prometheus gets it."""
        times = {
            "__rate_interval": max(self.step + self.scrape, 4 * self.scrape),
            "__interval": self.step,
            "__range": self.range,
        }
        expression = expression.replace("$by", SPLIT_BY)

        def value(found: re.Match[str]) -> str:
            name = found[1] or found[2]
            return f"{times[name]:.0f}s" if name in times else self._regex(name)

        return re.sub(r"\$(?:\{([a-zA-Z_]\w*)\}|([a-zA-Z_]\w*))", value, expression)

    def _regex(self, name: str) -> str:
        values = self.chosen.get(name, JOBS if name == "job" else [ALL])
        if list(values) == [ALL]:
            return ".*" if name == "site" else ".+"
        escaped = [re.sub(r"[$^*{}\[\]'+?.()|\\]", r"\\\\\g<0>", value) for value in values]
        return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


# ---------------------------------------------------------------- results as tables


def table(panel: Panel, results: Sequence[Sequence[Mapping[str, Any]]]) -> Frame:
    """The rows of a table panel: each query's vector made a frame, and the panel's transformations applied."""
    several = len(results) > 1
    frames = [
        [
            dict(sorted(row["metric"].items()))
            | {f"Value #{query.ref}" if several else "Value": float(row["value"][1])}
            for row in result
        ]
        for query, result in zip(panel.queries, results, strict=True)
    ]
    for transformation in panel.model.get("transformations", []):
        frames = [_TRANSFORMATIONS[transformation["id"]](frames, transformation["options"])]
    (frame,) = frames
    return frame


def _merge(frames: Sequence[Frame], _: Mapping[str, Any]) -> Frame:
    """Rows that do not contradict each other become one."""
    merged: Frame = []
    for row in (row for frame in frames for row in frame):
        same = (found for found in merged if all(found.get(key, value) == value for key, value in row.items()))
        if (found := next(same, None)) is None:
            merged.append(dict(row))
        else:
            found |= row
    columns = dict.fromkeys(column for frame in frames for row in frame for column in row)
    return [{column: row.get(column) for column in columns} for row in merged]


def _matrix(frames: Sequence[Frame], options: Mapping[str, str]) -> Frame:
    """A row for each value of one column, a column for each value of another."""
    row, column, value = options["rowField"], options["columnField"], options["valueField"]
    (frame,) = frames
    cells = {(found[row], found[column]): found[value] for found in frame}
    columns = dict.fromkeys(found[column] for found in frame)
    return [
        {f"{row}\\{column}": name} | {other: cells.get((name, other)) for other in columns}
        for name in dict.fromkeys(found[row] for found in frame)
    ]


def _organize(frames: Sequence[Frame], options: Mapping[str, Any]) -> Frame:
    """Columns in another order, under other names, and without some."""
    (frame,) = frames
    order, renamed = options["indexByName"], options["renameByName"]
    left_out = {name for name, out in options.get("excludeByName", {}).items() if out}
    return [
        {
            renamed.get(name, name): row[name]
            for name in sorted(row, key=lambda name: order.get(name, len(order)))
            if name not in left_out
        }
        for row in frame
    ]


_TRANSFORMATIONS: Final = {"merge": _merge, "groupingToMatrix": _matrix, "organize": _organize}


def legend_of(query: Query, labels: Mapping[str, str]) -> str:
    """What stands beside a curve or a bar."""
    legend = query.legend.replace("$by", SPLIT_BY)
    for label, value in labels.items():
        legend = legend.replace(f"{{{{{label}}}}}", value)
    return legend


def series(query: Query, result: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """The curves of a range query by their legends."""
    for found in result:
        yield legend_of(query, found["metric"]), [(float(time), float(value)) for time, value in found["values"]]
