"""The page on security says what is so: each row names tests that there are."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from exporter import __version__

TESTS: Final = Path(__file__).parent
PAGE: Final = (TESTS.parent / "SECURITY.md").read_text(encoding="utf-8")
ATTACKERS: Final = {
    heading: [row.strip("|").split("|") for row in text.splitlines() if row.startswith("| ")][1:]
    for heading, text in re.findall(r"^## (An attacker .*)\n((?:(?!^## ).*\n?)*)", PAGE, re.MULTILINE)
}
COLUMNS: Final = 4


@cache
def functions(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def shown_by(row: list[str]) -> list[str]:
    return re.findall(r"`((?:windows/)?test_\w+\.py::test_\w+)`", row[-1])


def test_the_attackers_are_those_of_the_boundaries() -> None:
    assert [heading.removeprefix("An attacker ") for heading in ATTACKERS] == [
        "on the scrape port",
        "in the configuration file",
        "on a probed server",
        "in the proxy or on the path",
        "in DNS",
        "in the documents that are imported",
        "in the supply chain",
    ]


@pytest.mark.parametrize("attacker", ATTACKERS)
def test_each_row_names_tests_that_there_are(attacker: str) -> None:
    rows = ATTACKERS[attacker]
    named = [test.split("::") for row in rows for test in shown_by(row)]
    assert rows
    assert [row for row in rows if len(row) != COLUMNS or not shown_by(row)] == []
    assert [f"{file}::{test}" for file, test in named if test not in functions(file)] == []


def test_it_was_signed_off_for_this_version() -> None:
    assert re.search(rf"signed off for version {re.escape(__version__)} on \d{{4}}-\d\d-\d\d\.", " ".join(PAGE.split()))
