"""Figures to two plots: error against load, and cost against targets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from benchmarks.figures import Figure, Measured

_OURS, _THEIRS = "#1f6feb", "#d1622b"


def draw(measured: Measured, directory: Path) -> None:
    """Write error against load, and cost against targets."""
    style = {"svg.fonttype": "none", "svg.hashsalt": "benchmarks", "font.family": "sans-serif", "font.size": 9}
    with mpl.rc_context(style):
        error = Canvas(figsize=(7.2, 2.9), layout="constrained")
        for axes, phase in zip(error.subplots(1, 2, sharey=True), ("tls", "processing"), strict=True):
            found = [f for f in measured.of("fidelity") if f.name.endswith(f"{phase}, p99 error")]
            _lines(axes, found, "probes a second", f"{phase}: p99 error, ms")
            axes.axhline(1, color="grey", linewidth=0.8, linestyle=":")
        error.savefig(directory / "error.svg", metadata={"Date": None})
        cost = Canvas(figsize=(7.2, 2.9), layout="constrained")
        left, right = cost.subplots(1, 2)
        found = measured.of("scale")
        _lines(left, [f for f in found if f.name.endswith("CPU per probe")], "targets a minute", "CPU per probe, ms")
        _lines(right, [f for f in found if f.name.endswith("memory")], "targets a minute", "memory, MB")
        for axes in (left, right):
            axes.set_xscale("log")
            axes.set_ylim(bottom=0)  # cost is compared by height
        cost.savefig(directory / "cost.svg", metadata={"Date": None})


def _lines(axes: Axes, figures: Sequence[Figure], across: str, up: str) -> None:
    loads = [float(re.findall(r"\d+", figure.name)[0]) for figure in figures]
    for label, colour, marker, values in (
        ("exporter", _OURS, "o", [figure.ours for figure in figures]),
        ("blackbox_exporter", _THEIRS, "s", [figure.theirs for figure in figures]),
    ):
        axes.plot(
            loads, [float(value or 0) for value in values], color=colour, marker=marker, markersize=4, label=label
        )
    axes.set(xlabel=across, ylabel=up)
    axes.grid(visible=True, linewidth=0.3)
    axes.legend(frameon=False)
    if "error" in up:
        axes.set_yscale("log")
