"""Figures to what people read: a table on the terminal, and Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich.table import Table

from benchmarks.figures import Figure, Measured

PARTS: Final = {
    "catalogue": "Cost on the shipped catalogue",
    "layers": "What the CPU of a probe is made of",
    "fidelity": "Error of the phases, paced, answers in one write",
    "fidelity-apart": "Error of the phases, paced, head and body 40 ms apart",
    "burst": "Error of the phases in a burst without any limit",
    "names": "Error of the resolve phase",
    "scrape": "One scrape while probes go on",
    "scale": "Targets a minute on one core",
    "start": "Start and memory",
    "notice": "From a fault to the page",
    "rules": "What the rules cost Prometheus",
}


# What the README of the project shows of it; the page beside this file has everything.
SHOWN: Final = (
    "CPU of prober and Prometheus per label set and probe",
    "300 a second, tls, p99 error",
    "10000 a minute, memory",
)


def number(value: float | None) -> str:
    """Three significant digits, and no exponent."""
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def table(measured: Measured) -> Table:
    """All figures, for a terminal."""
    shown = Table("figure", "", "exporter", "blackbox_exporter", "ratio", title="make bench")
    for part, title in PARTS.items():
        figures = measured.of(part)
        if figures:
            shown.add_section()
            shown.add_row(f"[bold]{title}[/bold]")
        for figure in figures:
            shown.add_row(figure.name, figure.unit, number(figure.ours), number(figure.theirs), number(figure.ratio))
    return shown


_HEAD: Final = "| | exporter | blackbox_exporter | ratio |\n|---|--:|--:|--:|"


def _row(figure: Figure) -> str:
    unit = f" ({figure.unit})" if figure.unit else ""
    return f"| {figure.name}{unit} | {number(figure.ours)} | {number(figure.theirs)} | {number(figure.ratio)} |"


def _days(figures: Iterable[Figure]) -> str:
    return ", ".join(sorted({figure.taken for figure in figures}))


def _beside(measured: Measured) -> str:
    return ", ".join(f"{name} {version}" for name, version in measured.versions.items())


def markdown(measured: Measured) -> str:
    """All figures, part by part."""
    lines = [
        f"By `make bench ARGS=--keep`, {_beside(measured)}.",
        "The machine is shared: read ratios before milliseconds.",
    ]
    for part, title in PARTS.items():
        figures = measured.of(part)
        if not figures:
            continue
        lines += ["", f"### {title}", "", f"`make bench ARGS={part}`, {_days(figures)}", ""]
        lines += [_HEAD, *map(_row, figures)]
        notes = sorted({figure.note for figure in figures if figure.note})
        lines += ["", *(f"- {note}" for note in notes)] if notes else []
    return "\n".join(lines) + "\n"


def excerpt(measured: Measured) -> str:
    """The figures that the README shows, those of paced probes with answers in one write."""
    found = {figure.name: figure for figure in measured.figures if figure.part != "fidelity-apart"}
    rows = [_row(found[name]) for name in SHOWN if name in found]
    days = _days(found[name] for name in SHOWN if name in found)
    return "\n".join([_HEAD, *rows, "", f"Measured on {days}, {_beside(measured)}."]) + "\n"
