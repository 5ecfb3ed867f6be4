"""The exporter names every fault as it is, on every path, and curl contradicts nothing of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from exporter.model import Reason
from tests.faults import FAULTS, HOSTS, Fault, Way
from tests.truth import Cell, Seen, markdown, measure, rows

Cells = Mapping[tuple[str, Way], Cell]

EVERY_CELL = [pytest.param(fault, way, id=f"{fault.slug}-{way.name.lower()}") for fault in FAULTS for way in Way]


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Cells:
    measured = measure(FAULTS, tmp_path_factory.mktemp("truth"))
    return {(cell.fault.title, cell.way): cell for cell in measured}


@pytest.mark.lab
@pytest.mark.timing
@pytest.mark.parametrize(("fault", "way"), EVERY_CELL)
def test_the_reported_reason_is_the_true_one(cells: Cells, fault: Fault, way: Way) -> None:
    cell = cells[fault.title, way]
    if not cell.right:
        pytest.fail(str(cell), pytrace=False)


@pytest.mark.lab
@pytest.mark.timing
@pytest.mark.parametrize(("fault", "way"), EVERY_CELL)
def test_curl_does_not_contradict(cells: Cells, fault: Fault, way: Way) -> None:
    cell = cells[fault.title, way]
    if not cell.seen.agrees_with(cell.reported):
        pytest.fail(str(cell), pytrace=False)


# ---------------------------------------------------------------- the list itself


def test_there_is_a_fault_for_every_reason_on_every_path_that_can_have_it() -> None:
    expected = {reason for fault in FAULTS for reason in fault.expected.values() if reason}
    assert expected == set(Reason) - {Reason.INTERNAL_ERROR}  # which speaks of the exporter, and of no fault outside
    assert len({fault.name for fault in FAULTS if any(fault.expected.values())}) >= 45


def test_faults_do_not_meet() -> None:
    own = [fault.host for fault in FAULTS if fault.on is None]
    assert len({fault.title for fault in FAULTS}) == len(FAULTS)
    assert len(set(own)) == len(own)
    assert all(len(label) <= 63 for host in HOSTS for label in host.split("."))


def test_the_readme_shows_the_matrix() -> None:
    right = [Cell(fault, way, fault.expected[way], "", True, Seen(0, 200, 0)) for fault in FAULTS for way in Way]
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    assert markdown(right).strip() in readme
    assert f"{len(right)}\nverdicts" in readme


def test_a_wrong_verdict_shows_in_the_table() -> None:
    fault = FAULTS[0]
    row = [Cell(fault, way, fault.expected[way], "", None, Seen(0, 200, 0)) for way in Way]
    wrong = [Cell(fault, Way.DIRECT, Reason.INTERNAL_ERROR, "", None, Seen(0, 200, 0)), *row[1:]]
    assert "✗" not in markdown(row)
    assert "| ✗ `internal_error` |" in markdown(wrong)


def test_schemes_share_a_row_only_where_they_read_alike() -> None:
    pair = [fault for fault in FAULTS if fault.name == "name not found"]
    alike = [Cell(fault, way, None, "", None, Seen(0, 200, 0)) for fault in pair for way in Way]
    apart = [Cell(fault, way, None, "", None, Seen(0, 200, 0)) for fault in pair[:1] for way in Way]
    apart += [Cell(pair[1], way, Reason.DNS_ERROR, "", None, Seen(6, 0, 0)) for way in Way]
    assert list(rows(alike)) == ["name not found"]
    assert list(rows(apart)) == ["name not found (https)", "name not found (http)"]


@pytest.mark.parametrize(
    ("seen", "outcome", "agrees"),
    [
        (Seen(0, 200, 0), None, True),
        (Seen(28, 200, 0), None, True),  # reads a body that does not end
        (Seen(28, 0, 0), None, False),
        (Seen(28, 0, 0), Reason.HTTP_TIMEOUT, True),
        (Seen(28, 200, 0), Reason.HTTP_TIMEOUT, False),
        (Seen(60, 0, 0), Reason.TLS_EXPIRED, True),
        (Seen(35, 0, 0), Reason.TLS_EXPIRED, False),
        (Seen(56, 0, 407), Reason.PROXY_AUTH_REQUIRED, True),
        (Seen(56, 0, 403), Reason.PROXY_AUTH_REQUIRED, False),
        (Seen(0, 200, 0), Reason.INTERNAL_ERROR, False),
    ],
)
def test_curl_agrees_only_with_what_it_may_have_seen(seen: Seen, outcome: Reason | None, *, agrees: bool) -> None:
    assert seen.agrees_with(outcome) is agrees
