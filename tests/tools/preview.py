"""Pictures of the dashboards: drawn from their JSON and from what a real Prometheus answers. A sketch, not Grafana.

    python -m tests.tools.preview DIRECTORY [NAME ...]

Three times: before anything works, when all is well, and when much is broken. Needs the laboratory and Chromium.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tests.grafana import SPLIT_BY, Panel, View, legend_of, load, series, table
from tests.lab import EXTRA_HOSTS, Lab, catalogue_hosts
from tests.watched import Company, Scale, company

PAGE: Final = 1640  # pixels wide
ROW: Final = 38  # pixels of one row of Grafana's grid, with the gap below
SCRAPE: Final = 3  # seconds: there are many series, and little time
PALETTE: Final = ("#7EB26D", "#EAB839", "#6ED0E0", "#EF843C", "#E24D42", "#1F78C1", "#BA43A9", "#705DA0", "#508642")
STYLE: Final = f"""
body {{ background: #111217; color: #ccccdc; font: 13px "DejaVu Sans", sans-serif; margin: 8px; width: {PAGE}px }}
.bar span {{ background: #22252b; padding: 4px 8px; margin-right: 8px; display: inline-block; margin-bottom: 6px }}
.grid {{ display: grid; grid-template-columns: repeat(24, 1fr); gap: 8px; grid-auto-rows: {ROW - 8}px }}
.panel {{ background: #181b1f; border: 1px solid #2c2f36; overflow: hidden; position: relative }}
.panel h2 {{ font-size: 14px; font-weight: 500; margin: 6px 8px }}
.body {{ position: absolute; top: 30px; bottom: 4px; left: 8px; right: 8px; overflow: hidden }}
.large {{ display: flex; height: 100%; align-items: center; justify-content: center; font-size: 26px; color: #fff }}
.none {{ font-size: 15px; color: #8e8e9e }}
table {{ border-collapse: collapse; width: 100%; table-layout: fixed }}
td, th {{ height: 35px; padding: 0 6px; border: 1px solid #24272e; text-align: left }}
td, th {{ white-space: nowrap; overflow: hidden; text-overflow: ellipsis }}
td.wrap {{ white-space: normal }}
td.link {{ text-decoration: underline }}
th {{ color: #6e9fff; font-weight: 500 }}
.legend {{ font-size: 11px; max-height: 34px; overflow: hidden }}
.more {{ position: absolute; bottom: 2px; right: 8px; background: #22252b; padding: 1px 6px; color: #8e8e9e }}
"""

# ---------------------------------------------------------------- values as Grafana shows them


def seconds(value: float) -> str:
    """A time that has passed."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "mins"), (1, "s"), (0.001, "ms")):
        if abs(value) >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value * 1e6:.0f} µs"


UNITS: Final[Mapping[str, Callable[[float], str]]] = MappingProxyType(
    {
        "s": seconds,
        "bytes": lambda value: f"{value / 2**20:.1f} MiB",
        "dateTimeFromNow": lambda value: f"{seconds(time.time() - value / 1000)} ago",
        "dateTimeAsLocal": lambda value: datetime.fromtimestamp(value / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S"),
    }
)


def number(value: float, config: Mapping[str, Any]) -> str:
    """A number with its unit."""
    unit, decimals = config.get("unit", "none"), config.get("decimals")
    if unit in UNITS:
        return UNITS[unit](value)
    if unit == "percentunit":
        return f"{value:.{1 if decimals is None else decimals:.0f}%}"
    text = f"{value:.4g}" if decimals is None else f"{value:.{decimals:.0f}f}"
    return f"{text} {unit.removeprefix('suffix:')}" if unit.startswith("suffix:") else text


def told(value: Any, config: Mapping[str, Any]) -> tuple[str, str | None]:
    """What stands for a value, and its colour."""
    for mapping in config.get("mappings", ()):
        options, said = mapping["options"], None
        if mapping["type"] == "value":
            said = options.get(f"{value:g}" if isinstance(value, float) else value)
        elif isinstance(value, float) and options["from"] <= value <= options["to"]:
            said = options["result"]
        if said:
            return said["text"], said.get("color")
    if not isinstance(value, float):
        return value or config["noValue"], None
    reached = [
        step["color"] for step in config["thresholds"]["steps"] if step["value"] is None or step["value"] <= value
    ]
    return number(value, config), reached[-1]


def config_of(panel: Panel, column: str, value: Any) -> dict[str, Any]:
    """How a column is shown: the panel's defaults and what overrides them."""
    field = panel.model["fieldConfig"]
    config = {"thresholds": {"steps": [{"value": None, "color": None}]}, "links": (), **field["defaults"]}
    for override in field["overrides"]:
        by, what = override["matcher"]["id"], override["matcher"]["options"]
        if (by == "byName" and what == column) or (by == "byType" and not isinstance(value, str)):
            config |= {each["id"]: each["value"] for each in override["properties"]}
    return config


# ---------------------------------------------------------------- kinds of panels

Curves = list[tuple[str, list[tuple[float, float]]]]  # legend, and value by time


@dataclass(frozen=True)
class Sheet:
    """Paper to draw on: its size in pixels, the times at its left and right end, and the margin left of these."""

    width: float
    height: float
    begins: float
    ends: float
    margin: float = 60

    def x(self, at: float) -> float:
        """Where a time is."""
        return self.margin + (at - self.begins) / (self.ends - self.begins) * (self.width - self.margin)

    def step(self, curves: Curves) -> float:
        """How wide one value is."""
        return (self.width - self.margin) / max(len(points) for _, points in curves)

    def svg(self, shapes: Iterable[str]) -> str:
        """The drawing."""
        return f'<svg width="{self.width:.0f}" height="{self.height:.0f}">{"".join(shapes)}</svg>'


def box(x: float, y: float, width: float, height: float, fill: str | None, opacity: float = 1.0) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect {place} fill="{fill}" opacity="{opacity:.2f}"/>'


def words(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="#ccccdc" font-size="11">{escape(text)}</text>'


def nothing(panel: Panel) -> str:
    return f'<div class="large none">{escape(panel.model["fieldConfig"]["defaults"]["noValue"])}</div>'


def stat(panel: Panel, results: Sequence[Any]) -> str:
    value = float(results[0][0]["value"][1]) if results[0] else None
    text, color = told(value, panel.model["fieldConfig"]["defaults"])
    return f'<div class="large" style="background: {color or "#22252b"}">{escape(text)}</div>'


def rows(panel: Panel, results: Sequence[Any]) -> str:
    frame = table(panel, results)
    if not frame:
        return nothing(panel)
    (by,) = panel.model["options"]["sortBy"]
    frame.sort(key=lambda row: (row[by["displayName"]] is not None, row[by["displayName"]]), reverse=by["desc"])
    configs = {name: config_of(panel, name, value) for name, value in frame[0].items()}
    widths = {
        name: f"width: {config['custom.width']}px" if "custom.width" in config else ""
        for name, config in configs.items()
    }
    head = "".join(f'<th style="{width}">{escape(name)}</th>' for name, width in widths.items())
    body = "".join(f"<tr>{''.join(cells(row, configs))}</tr>" for row in frame[:60])
    return f'<table><tr>{head}</tr>{body}</table><div class="more">{len(frame)} rows</div>'


def cells(row: Mapping[str, Any], configs: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, value in row.items():
        config = configs[name]
        text, color = told(value, config)
        options = config.get("custom.cellOptions", {})
        style = f"background: {color}; color: #fff" if options.get("type") == "color-background" and color else ""
        kind = "wrap" if options.get("wrapText") else "link" if config["links"] else ""
        yield f'<td class="{kind}" style="{style}">{escape(text)}</td>'


def lines(panel: Panel, curves: Curves, sheet: Sheet) -> str:
    defaults, overrides = panel.model["fieldConfig"]["defaults"], panel.model["fieldConfig"]["overrides"]
    if "stacking" in defaults["custom"]:
        curves = stacked(curves)
    values = [value for _, points in curves for _, value in points]
    low, high = min(values + [0.0] * ("axisSoftMin" in defaults["custom"])), max(values)
    scale = (sheet.height - 40) / ((high - low) or 1)
    fixed = {each["matcher"]["options"]: each["properties"][0]["value"]["fixedColor"] for each in overrides}
    shapes, legend = [words(0, 12, number(high, defaults)), words(0, sheet.height - 25, number(low, defaults))], []
    for index, (name, points) in enumerate(curves):
        color = fixed.get(name, PALETTE[index % len(PALETTE)])
        path = " ".join(f"{sheet.x(at):.1f},{sheet.height - 28 - (value - low) * scale:.1f}" for at, value in points)
        shapes.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
        legend.append(f'<span style="color: {color}">&#9644;</span> {escape(name)} ')
    return f'{sheet.svg(shapes)}<div class="legend" style="margin-top: -24px">{"".join(legend)}</div>'


def stacked(curves: Curves) -> Curves:
    below: dict[float, float] = {}
    found: Curves = []
    for name, points in curves:
        below |= {at: below.get(at, 0.0) + value for at, value in points}
        found.append((name, [(at, below[at]) for at, _ in points]))
    return found


def lanes(panel: Panel, curves: Curves, sheet: Sheet) -> str:
    sheet = Sheet(sheet.width, sheet.height, sheet.begins, sheet.ends, margin=330)
    high = min(40.0, sheet.height / len(curves))
    shapes, labels = [], []
    for index, (name, points) in enumerate(curves):
        states = [(at, *told(value, panel.model["fieldConfig"]["defaults"])) for at, value in points]
        shapes += [box(sheet.x(at), index * high, sheet.step(curves) + 1, high * 0.8, color) for at, _, color in states]
        changes = [(at, text) for n, (at, text, _) in enumerate(states) if n == 0 or states[n - 1][1] != text]
        labels += [words(sheet.x(at) + 4, index * high + high / 2 + 3, text) for at, text in changes]
        labels.append(words(0, index * high + high / 2 + 3, name))
    return sheet.svg([*shapes, *labels])


def heat(panel: Panel, curves: Curves, sheet: Sheet) -> str:
    if panel.model["targets"][0]["format"] != "heatmap":
        return heat_rows(curves, sheet)
    high = sheet.height / len(curves)
    shapes: list[str] = []
    below: dict[float, float] = {}
    top = max(value for _, points in curves for _, value in points) or 1.0
    for index, (le, points) in enumerate(sorted(curves, key=lambda curve: float(curve[0]))):
        y = sheet.height - (index + 1) * high
        shapes.append(words(0, y + high / 2, f"{le} s"))
        shapes += [
            box(sheet.x(at), y, sheet.step(curves), high - 1, "#ffe945", ((value - below.get(at, 0.0)) / top) ** 0.5)
            for at, value in points
            if value > below.get(at, 0.0)
        ]
        below = dict(points)
    return sheet.svg(shapes)


def heat_rows(curves: Curves, sheet: Sheet) -> str:
    sheet = Sheet(sheet.width, sheet.height, sheet.begins, sheet.ends, margin=330)
    high = sheet.height / len(curves)
    top = max(value for _, points in curves for _, value in points) or 1.0
    shapes: list[str] = []
    for index, (name, points) in enumerate(curves):
        shapes.append(words(0, (index + 0.6) * high, name))
        shapes += [
            box(sheet.x(at), index * high, sheet.step(curves), high - 1, "#ffe945", (value / top) ** 0.5)
            for at, value in points
        ]
    return sheet.svg(shapes)


def bars(panel: Panel, results: Sequence[Any]) -> str:
    (query,) = panel.queries
    values = sorted((legend_of(query, row["metric"]), float(row["value"][1])) for row in results[0])
    if not values:
        return nothing(panel)
    top = max(value for _, value in values) or 1.0
    drawn_bars = []
    for name, value in values:
        text, color = told(value, panel.model["fieldConfig"]["defaults"])
        style = f"background: {color}; width: {50 * value / top:.0f}%; height: 14px; display: inline-block"
        drawn_bars.append(f'<div>{escape(name)} <span style="{style}"></span> {escape(text)}</div>')
    return "".join(drawn_bars)


OVER_TIME: Final = MappingProxyType({"timeseries": lines, "state-timeline": lanes, "heatmap": heat})

# ---------------------------------------------------------------- the page


def drawn(panel: Panel, found: Company, view: View, now: float) -> str:
    """The panel with its answers."""
    answers = found.answers(panel.queries, view, now=now)
    results = [answer["data"]["result"] for answer in answers]
    place, kind = panel.model["gridPos"], panel.model["type"]
    if kind not in OVER_TIME:
        body = {"stat": stat, "bargauge": bars}.get(kind, rows)(panel, results)
    else:
        named = (series(query, result) for query, result in zip(panel.queries, results, strict=True))
        curves = [(name, points) for found in named for name, points in found if points]
        sheet = Sheet(PAGE * place["w"] / 24 - 26, place["h"] * ROW - 48, now - view.range, now)
        body = OVER_TIME[kind](panel, curves, sheet) if curves else nothing(panel)
    title = panel.title.replace("${cloud}", " ".join(view.chosen.get("cloud", ["All"]))).replace("${by}", SPLIT_BY)
    style = f"grid-column: {place['x'] + 1} / span {place['w']}; grid-row: auto / span {place['h']}"
    return f'<div class="panel" style="{style}"><h2>{escape(title)}</h2><div class="body">{body}</div></div>'


def page(name: str, board: Mapping[str, Any], found: Company, view: View) -> str:
    """The whole dashboard."""
    now = time.time()
    (answer,) = found.ask([("query", {"query": "group by (cloud) (configmgr_feature_endpoints)", "time": now})])
    clouds = sorted(row["metric"]["cloud"] for row in answer["data"]["result"])
    of_clouds = [View(view.scrape, view.step, view.range, {"cloud": [cloud]}) for cloud in clouds] or [view]
    panels = [
        drawn(Panel(name, model), found, each, now)
        for model in board["panels"]
        for each in (of_clouds if "repeat" in model else [view])
    ]
    variables = board["templating"]["list"]
    shown = [each for each in variables if each["type"] != "constant" and not each.get("hide")]
    bar = [f"{each['label']}: {each.get('current', {}).get('text', 'All')}" for each in shown] + [
        f"{link['title']} ↗" for link in board["links"]
    ]
    return (
        f'<!doctype html><meta charset="utf-8"><style>{STYLE}</style><h1>{escape(board["title"])}</h1>'
        f'<div class="bar">{"".join(f"<span>{escape(text)}</span>" for text in bar)}</div>'
        f'<div class="grid">{"".join(panels)}</div>'
    )


def photograph(text: str, path: Path, height: int) -> None:
    """Have Chromium draw a page."""
    path.with_suffix(".html").write_text(text, encoding="utf-8")
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
                *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
                *(f"--user-data-dir={profile}", "--hide-scrollbars", f"--window-size={PAGE + 16},{height}"),
                *(f"--screenshot={path}", path.with_suffix(".html").as_uri()),
            ],
            check=True,
            capture_output=True,
            timeout=60,
        )


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("names", nargs="*", default=list(load()), metavar="NAME")
    asked = parser.parse_args()
    asked.directory.mkdir(parents=True, exist_ok=True)
    boards = {name: load()[name] for name in asked.names}

    def take(state: str, span: float) -> None:
        for name, board in boards.items():
            height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"]) * ROW + 140
            text = page(name, board, found, View(SCRAPE, SCRAPE, span))
            photograph(text, asked.directory / f"{name}-{state}.png", height)

    with (
        Lab.start(catalogue_hosts() | EXTRA_HOSTS) as lab,
        tempfile.TemporaryDirectory() as work,
        company(lab, Path(work), SCRAPE) as found,
    ):
        found.wait_for("up")
        take("empty", 60)
        with found.working(Scale("10s", "3s", clouds=("azure-public",), features=(), roles=())):
            time.sleep(60)
            take("healthy", 60)
            with found.broken():
                time.sleep(60)
                take("broken", 150)


if __name__ == "__main__":
    main()
