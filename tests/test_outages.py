"""The documented tables of outages have the rows that are measured, and what is wanted of each."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.outages import MANY_SITES, OUTAGES, Outage
from tests.running import ROOT
from tests.tools.demo import HEAD, wanted

PAGE: Final = (ROOT / "docs/outages.md").read_text(encoding="utf-8")
COLUMNS: Final = [cell.strip() for cell in HEAD[0].strip("|").split("|")]


def tables() -> list[list[dict[str, str]]]:
    """The rows below each head."""
    _, *texts = PAGE.split("\n".join(HEAD) + "\n")
    found = [text.partition("\n\n")[0].strip().splitlines() for text in texts]
    return [[dict(zip(COLUMNS, row.strip("| ").split(" | "), strict=True)) for row in rows] for rows in found]


@pytest.mark.parametrize(("number", "outages"), [(0, OUTAGES), (1, MANY_SITES)], ids=["one site", "fifty sites"])
def test_the_documented_rows_are_those_that_are_measured(number: int, outages: dict[str, Outage[Any]]) -> None:
    documented = [(row["Outage"], row["Wanted"], row["Why"]) for row in tables()[number]]
    assert documented == [(name, wanted(outage), outage.why) for name, outage in outages.items()]


def test_a_row_says_whether_it_is_as_wanted() -> None:
    for row in (row for table in tables() for row in table):
        outage = OUTAGES.get(row["Outage"]) or MANY_SITES[row["Outage"]]
        counts = (int(row["Pages"]), int(row["Tickets"]))
        assert row["As wanted"].partition(":")[0] == "no" or counts == (len(outage.pages), len(outage.tickets))
        assert bool(row["First page (s)"].strip()) == (row["Pages"] != "0")
