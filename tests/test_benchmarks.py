"""The benchmarks work, and the pages show what they measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import fidelity, report
from benchmarks.__main__ import BEGIN, END, KEPT, MEASURE, PAGE, README
from benchmarks.figures import Figure, Measured, p99
from tests.lab import Lab


def test_the_pages_show_what_was_measured() -> None:
    measured = Measured.read(KEPT)
    for page, text in ((README, report.excerpt(measured)), (PAGE, report.markdown(measured))):
        assert page.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0] == text
    assert set(report.SHOWN) <= {figure.name for figure in measured.figures}
    assert all(KEPT.with_name(name).exists() for name in ("error.svg", "cost.svg"))


def test_every_part_has_a_title() -> None:
    assert {*MEASURE, "fidelity-apart"} == set(report.PARTS)


def test_a_part_that_is_measured_again_replaces_its_figures_only(tmp_path: Path) -> None:
    old = Measured({}, [Figure("start", "a", "ms", 1.0), Figure("scale", "b", "ms", 2.0, 4.0)])
    old.write(tmp_path / "kept.json")
    new = Measured({}, [Figure("start", "a", "ms", 3.0)]).over(Measured.read(tmp_path / "kept.json"))
    assert [(figure.name, figure.ours, figure.ratio) for figure in new.figures] == [("b", 2.0, 0.5), ("a", 3.0, None)]


def test_a_hundredth_may_exceed_p99() -> None:
    assert p99([1.0] * 99 + [7.0]) == 1.0
    assert p99([1.0] * 98 + [7.0] * 2) == 7.0


@pytest.mark.lab
def test_both_sides_are_compared_with_the_truth(lab: Lab, tmp_path: Path) -> None:
    figures = {figure.name: figure for figure in fidelity.bursts(lab, tmp_path, [20])}
    for phase in fidelity.PHASES:
        median = figures[f"20 at once, {phase}, median error"]
        assert median.ours is not None
        assert median.theirs is not None
        # Neither side can be off by what the server delays: then a truth of another probe was taken.
        assert 0 <= median.ours < fidelity.TLS_DELAY * 1000
