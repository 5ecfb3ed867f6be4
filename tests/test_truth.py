"""The exporter names every fault as it is, on every path, and curl contradicts nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import pytest

from tests.faults import BEYOND_WINE, CONTRADICTIONS, FAULTS, Fault, Way
from tests.pythons import OTHER, OWN
from tests.tools.truth import WINDOWS, Cell, contradicted, measure

Cells = Mapping[tuple[str, Way, str], Cell]

pytestmark = [pytest.mark.lab, pytest.mark.timing]

EVERY_QUESTION: Final = [(fault, way, f"{fault.slug}-{way.name.lower()}") for fault in FAULTS for way in Way]
EVERY_VERDICT: Final = [
    *(pytest.param(fault, way, OWN, id=f"{name}-own") for fault, way, name in EVERY_QUESTION),
    *(
        pytest.param(fault, way, OTHER, id=f"{name}-{OTHER}", marks=pytest.mark.other_python)
        for fault, way, name in EVERY_QUESTION
    ),
    *(
        pytest.param(fault, way, WINDOWS, id=f"{name}-{WINDOWS}", marks=pytest.mark.windows)
        for fault, way, name in EVERY_QUESTION
    ),
]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Cell]:
    return measure(FAULTS, tmp_path_factory.mktemp("truth"))


@pytest.fixture(scope="module")
def cells(measured: Sequence[Cell]) -> Cells:
    return {(cell.fault.title, cell.way, cell.python): cell for cell in measured}


@pytest.mark.parametrize(("fault", "way", "python"), EVERY_VERDICT)
def test_the_reported_reason_is_the_true_one(cells: Cells, fault: Fault, way: Way, python: str) -> None:
    cell = cells[fault.title, way, python]
    if cell.beyond:
        pytest.skip(cell.beyond)
    if not cell.right:
        pytest.fail(str(cell), pytrace=False)


@pytest.mark.windows
def test_what_wine_cannot_show_it_still_cannot_show(measured: Sequence[Cell]) -> None:
    on_windows = [cell for cell in measured if cell.python == WINDOWS]
    assert {cell.fault.name for cell in on_windows if cell.beyond and not cell.right} == BEYOND_WINE.keys()


def test_curl_contradicts_only_where_it_is_known_why(measured: Sequence[Cell], figure: Callable[[str], None]) -> None:
    figure(f"{len(measured)} verdicts, of which {sum(cell.looks > 1 for cell in measured)} took another look")
    found = contradicted(cell for cell in measured if not cell.beyond)
    assert {name: [*map(str, cells)] for name, cells in found.items() if name not in CONTRADICTIONS} == {}
    assert found.keys() >= CONTRADICTIONS.keys()
