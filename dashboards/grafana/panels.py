"""The kinds of panels: a question, the queries that answer it, and words for the numbers that come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from types import MappingProxyType
from typing import Final, TypeAlias, TypeVar

from grafana_foundation_sdk.builders import bargauge, heatmap, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import common as build_common
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATASOURCE: Final = model.DataSourceRef(type_val="prometheus", uid="${datasource}")

# Colours that the colour-blind distinguish too (Okabe and Ito's, and Tol's wine), and never without words or numbers.
GOOD: Final = "#009E73"
WARN: Final = "#E69F00"
BAD: Final = "#D55E00"
WORST: Final = "#882255"
UNKNOWN: Final = "#7F7F7F"

# ---------------------------------------------------------------- words and colours for numbers

# A value, or from where to where -> its words and their colour
Words: TypeAlias = Mapping[float | str | tuple[float, float], tuple[str, str | None]]
Steps: TypeAlias = Mapping[float, str]  # from this value on, this colour

READY: Final[Words] = {1: ("ready", GOOD), 0: ("not ready", BAD)}
UP: Final[Words] = {1: ("up", GOOD), 0: ("down", BAD)}


def _mappings(words: Words) -> list[model.ValueMapping]:
    found: list[model.ValueMapping] = []
    for index, (value, (text, color)) in enumerate(words.items()):
        result = model.ValueMappingResult(text=text, color=color, index=index)
        if isinstance(value, tuple):
            low, high = value
            options = model.DashboardRangeMapOptions(from_val=low, to=high, result=result)
            found.append(model.RangeMap(options=options))
        else:
            found.append(model.ValueMap(options={str(value): result}))
    return found


def _thresholds(lowest: str, steps: Steps) -> build.ThresholdsConfig:
    above = [model.Threshold(value=value, color=color) for value, color in steps.items()]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps([model.Threshold(color=lowest), *above])


def _colored(*, by_threshold: bool) -> build.FieldColor:
    mode = model.FieldColorModeId.THRESHOLDS if by_threshold else model.FieldColorModeId.PALETTE_CLASSIC_BY_NAME
    return build.FieldColor().mode(mode)


# ---------------------------------------------------------------- what all have in common

Panel: TypeAlias = stat.Panel | bargauge.Panel | table.Panel | timeseries.Panel | statetimeline.Panel | heatmap.Panel
P = TypeVar("P", stat.Panel, bargauge.Panel, table.Panel, timeseries.Panel, statetimeline.Panel, heatmap.Panel)


@dataclass(frozen=True)
class Question:
    """What a panel asks: its number, by which links know it and which never changes, and the words around it."""

    id: int
    title: str
    description: str
    empty: str  # what it means when nothing comes back
    size: tuple[int, int]  # width and height on Grafana's grid, which is 24 wide
    links: Sequence[build.DashboardLink]  # where to look next

    def asked_by(self, panel: P, queries: Sequence[Dataquery]) -> P:
        """The panel, with these words and queries."""
        width, height = self.size
        return (
            panel.id(self.id)
            .title(self.title)
            .description(self.description)
            .no_value(self.empty)
            .span(width)
            .height(height)
            .links(list(self.links))
            .datasource(DATASOURCE)
            .targets(list(queries))
        )


def _query(ref: str, expression: str) -> Dataquery:
    return Dataquery().datasource(DATASOURCE).expr(expression).ref_id(ref)


def _instant(expressions: Sequence[str]) -> list[Dataquery]:
    """Each for this moment, as a table."""
    named = zip(ascii_uppercase, expressions, strict=False)
    return [_query(ref, text).instant().format(PromQueryFormat.TABLE) for ref, text in named]


def _over_time(expressions: Mapping[str, str]) -> list[Dataquery]:
    """Each by its legend."""
    named = zip(ascii_uppercase, expressions.items(), strict=False)
    return [_query(ref, text).range().legend_format(legend) for ref, (legend, text) in named]


# ---------------------------------------------------------------- numbers and tables


def number(
    question: Question,
    expression: str,
    *,
    unit: str,
    none: str | None = None,
    lowest: str = GOOD,
    steps: Steps,
    decimals: int | None = 0,
) -> stat.Panel:
    """One large number. `none` is said instead of 0."""
    panel = question.asked_by(stat.Panel(), [_query("A", expression).instant()])
    if decimals is not None:
        panel.decimals(decimals)
    if none is not None:
        panel.mappings(_mappings({0: (none, lowest)}))
    return (
        panel.unit(unit)
        .thresholds(_thresholds(lowest, steps))
        .color_scheme(_colored(by_threshold=True))
        .color_mode(common.BigValueColorMode.BACKGROUND_SOLID)
        .graph_mode(common.BigValueGraphMode.NONE)
        .reduce_options(build_common.ReduceDataOptions().calcs(["lastNotNull"]).values(values=False).fields(""))
    )


def gauges(question: Question, legend: str, expression: str, *, unit: str, steps: Steps) -> bargauge.Panel:
    """A bar for each series, by its legend, as it is now."""
    query = _query("A", expression).instant().legend_format(legend)
    return (
        question.asked_by(bargauge.Panel(), [query])
        .unit(unit)
        .min(0)
        .thresholds(_thresholds(GOOD, steps))
        .color_scheme(_colored(by_threshold=True))
        .orientation(common.VizOrientation.HORIZONTAL)
        .display_mode(common.BarGaugeDisplayMode.BASIC)
        .show_unfilled(show_unfilled=True)
        .reduce_options(build_common.ReduceDataOptions().calcs(["lastNotNull"]).values(values=False).fields(""))
    )


@dataclass(frozen=True)
class Column:
    """A column of a table, or all cells of a matrix: which label or value it shows, and how."""

    field: str = ""  # a label, `Value`, or where there are several queries `Value #A`
    title: str = ""
    width: int | None = None  # pixels; None: what is left
    unit: str | None = None
    decimals: int | None = None
    words: Words | None = None  # for values; the cell takes their colour
    steps: tuple[str, Steps] | None = None  # the colour below all steps, and the steps; the cell takes it
    wrap: bool = False  # long text in several lines
    links: Sequence[build.DashboardLink] = ()
    empty: str = "-"

    @property
    def properties(self) -> list[model.DynamicConfigValue]:
        """How the column departs from the table."""
        found: dict[str, object] = {
            "noValue": self.empty,
            "custom.width": self.width,
            "unit": self.unit,
            "decimals": self.decimals,
            "links": [link.build() for link in self.links] or None,
        }
        if self.words:
            found["mappings"] = _mappings(self.words)
        if self.wrap:
            found["custom.cellOptions"] = common.TableAutoCellOptions(wrap_text=True)
        elif self.steps or any(color for _, color in (self.words or {}).values()):
            found["thresholds"] = _thresholds(*(self.steps or (UNKNOWN, {}))).build()
            found["color"] = _colored(by_threshold=True).build()
            background = common.TableCellBackgroundDisplayMode.BASIC
            found["custom.cellOptions"] = common.TableColoredBackgroundCellOptions(mode=background)
        return [model.DynamicConfigValue(key, value) for key, value in found.items() if value is not None]


def listing(
    question: Question,
    expressions: Sequence[str],
    columns: Sequence[Column],
    *,
    sort: str,
    descending: bool = False,
    hidden: Sequence[str] = (),
) -> table.Panel:
    """A table with a row for each set of labels, and a column for each label and each query's value but the hidden."""
    panel = _table(question, expressions, sort, descending=descending)
    if len(expressions) > 1:
        panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    arrangement = {
        "excludeByName": dict.fromkeys(("Time", *hidden), True),
        "indexByName": {column.field: index for index, column in enumerate(columns)},
        "renameByName": {column.field: column.title for column in columns},
    }
    panel.with_transformation(model.DataTransformerConfig(id_val="organize", options=arrangement))
    for column in columns:
        panel.override_by_name(column.title, column.properties)
    return panel


def matrix(
    question: Question,
    expression: str,
    *,
    row: str,
    column: str,
    cells: Column,
    order: Sequence[str] = (),
    width: int = 220,
    sort: tuple[str, bool] | None = None,
) -> table.Panel:
    """A table with a row for each value of one label, a column for each value of another, and numbers in the cells.

    `order` names columns that come first; `sort` a column, and whether its highest numbers come first.
    """
    name = f"{row}\\{column}"  # as the transformation calls the column of rows
    by, descending = sort or (row.capitalize(), False)
    panel = _table(question, [expression], by, descending=descending)
    grouping = {"rowField": row, "columnField": column, "valueField": "Value", "emptyValue": "null"}
    panel.with_transformation(model.DataTransformerConfig(id_val="groupingToMatrix", options=grouping))
    arrangement = {
        "indexByName": {field: index for index, field in enumerate((name, *order))},
        "renameByName": {name: row.capitalize()},
    }
    panel.with_transformation(model.DataTransformerConfig(id_val="organize", options=arrangement))
    panel.override_by_field_type("number", cells.properties)
    panel.override_by_name(row.capitalize(), [model.DynamicConfigValue("custom.width", width)])
    return panel


def _table(question: Question, expressions: Sequence[str], sort: str, *, descending: bool) -> table.Panel:
    by = build_common.TableSortByFieldState().display_name(sort).desc(desc=descending)
    return (
        question.asked_by(table.Panel(), _instant(expressions))
        .sort_by([by])
        .cell_height(common.TableCellHeight.SM)
        .filterable(filterable=False)
        .unit("none")
    )


# ---------------------------------------------------------------- over time

PHASES: Final[Mapping[str, str]] = MappingProxyType(  # in the order in which a probe goes through them
    {"resolve": "#56B4E9", "connect": "#0072B2", "proxy": "#CC79A7", "tls": "#E69F00", "processing": "#009E73"}
)


def lines(
    question: Question,
    expressions: Mapping[str, str],
    *,
    unit: str,
    stacked: bool = False,
    limits: Steps | None = None,
    colors: Mapping[str, str] | None = None,
    from_zero: bool = True,
) -> timeseries.Panel:
    """Curves by their legends. `limits`: from where on a value is worth a look; `colors`: those of curves, by name."""
    panel = (
        question.asked_by(timeseries.Panel(), _over_time(expressions))
        .unit(unit)
        .color_scheme(_colored(by_threshold=False))
        .line_width(2)
        .show_points(common.VisibilityMode.NEVER)
        .tooltip(
            build_common.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
        )
        .legend(_legend())
    )
    if from_zero:
        panel.axis_soft_min(0)
    if limits:
        panel.thresholds(_thresholds("transparent", limits))
        panel.thresholds_style(build_common.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED))
    if stacked:
        panel.fill_opacity(60).stacking(build_common.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    for name, color in (colors or {}).items():
        fixed = build.FieldColor().mode(model.FieldColorModeId.FIXED).fixed_color(color)
        panel.override_by_name(name, [model.DynamicConfigValue("color", fixed.build())])
    return panel


def history(question: Question, expressions: Mapping[str, str], words: Words) -> statetimeline.Panel:
    """A lane for each series, by its legend, with the state it was in."""
    return (
        question.asked_by(statetimeline.Panel(), _over_time(expressions))
        .unit("none")
        .mappings(_mappings(words))
        .thresholds(_thresholds(UNKNOWN, {}))
        .color_scheme(_colored(by_threshold=True))
        .show_value(common.VisibilityMode.AUTO)
        .merge_values(merge_values=True)
        .row_height(0.8)
        .fill_opacity(90)
        .legend(_legend())
        .tooltip(build_common.VizTooltipOptions().mode(common.TooltipDisplayMode.SINGLE))
    )


def heat(question: Question, buckets: str) -> heatmap.Panel:
    """How many probes took how long: a histogram over time, from its buckets by `le`."""
    query = _query("A", buckets).range().format(PromQueryFormat.HEATMAP).legend_format("{{le}}")
    axis = heatmap.YAxisConfig().unit("s").axis_placement(common.AxisPlacement.LEFT)
    return _heat(question, query, axis, heatmap.CellValues().unit("cps").decimals(3)).show_y_histogram()


def heat_rows(question: Question, legend: str, expression: str, *, unit: str) -> heatmap.Panel:
    """A row for each series, by its legend, and its value over time as a colour."""
    axis = heatmap.YAxisConfig().axis_placement(common.AxisPlacement.LEFT)
    query = _query("A", expression).range().format(PromQueryFormat.TIME_SERIES).legend_format(legend)
    return _heat(question, query, axis, heatmap.CellValues().unit(unit))


def _heat(question: Question, query: Dataquery, axis: heatmap.YAxisConfig, cells: heatmap.CellValues) -> heatmap.Panel:
    return (
        question.asked_by(heatmap.Panel(), [query])
        .unit("s")
        .calculate(calculate=False)
        .y_axis(axis)
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Cividis").exponent(0.5).steps(64))
        .cell_values(cells)
        .cell_gap(1)
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .show_legend()
        .mode(common.TooltipDisplayMode.SINGLE)
    )


def _legend() -> build_common.VizLegendOptions:
    legend = build_common.VizLegendOptions().display_mode(common.LegendDisplayMode.LIST)
    return legend.placement(common.LegendPlacement.BOTTOM).show_legend(show_legend=True)
