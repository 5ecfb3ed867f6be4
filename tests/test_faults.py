"""What faults there are to inject, how their verdicts are judged, and the other Python that gives some of them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from exporter.model.vocabulary import Cause, Reason
from exporter.probe.connecting import NO_ANSWER
from tests.faults import FAULTS, HOSTS, Chain, Fault, Outcome, Via, Way
from tests.lab import Lab
from tests.pythons import OTHER, OTHER_PYTHON, pythons
from tests.tools import truth
from tests.tools.truth import Cell, Seen, markdown, rows

ROOT: Final = Path(__file__).parents[1]


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


def cell(fault: Fault, way: Way, reported: Outcome, *, python: str = "3.11", intercepted: bool | None = None) -> Cell:
    return Cell(fault, way, python, reported, "", fault.cause_on(way), intercepted, Seen(0, 200, 0))


def test_the_matrix_is_documented() -> None:
    told = {Chain.PUBLIC: False, Chain.PRIVATE: True, Chain.UNTOLD: None}
    right = [
        cell(fault, way, fault.expected[way], intercepted=fault.via is Via.INSPECTING or told[fault.chain])
        for fault in FAULTS
        for way in Way
    ]
    accuracy = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
    assert accuracy.endswith(f"\n{markdown(right)}\n")
    assert f" {len(FAULTS)} faults" in accuracy
    assert re.search(rf"\s{len(right)}\sverdicts", accuracy)
    assert f"[{len(FAULTS)} injected faults](docs/accuracy.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("python", ["3.11", OTHER])
def test_a_wrong_verdict_shows_in_the_table_by_whichever_python(python: str) -> None:
    fault = FAULTS[0]
    row = [cell(fault, way, fault.expected[way]) for way in Way]
    wrong = cell(fault, Way.DIRECT, Reason.INTERNAL_ERROR, python=python)
    assert "✗" not in markdown(row)
    for cells in ([wrong, *row], [*row, wrong]):
        assert "| ✗ `internal_error` |" in markdown(cells)


def test_a_cause_belongs_to_the_verdict_on_the_paths_where_it_can_be_known() -> None:
    sinkhole = next(fault for fault in FAULTS if fault.cause is Cause.SINKHOLE)
    scheme = next(fault for fault in FAULTS if fault.cause is Cause.PROXY_SCHEME)
    assert [sinkhole.cause_on(way) for way in Way] == [Cause.SINKHOLE, None, None]
    assert [scheme.cause_on(way) for way in Way] == [None, Cause.PROXY_SCHEME, Cause.PROXY_SCHEME]
    found = cell(sinkhole, Way.DIRECT, Reason.DNS_ERROR)
    assert (found.right, replace(found, cause=None).right) == (True, False)


@pytest.mark.parametrize(
    ("chain", "right"),
    [(Chain.PUBLIC, {False, None}), (Chain.PRIVATE, {True}), (Chain.UNTOLD, {None})],
)
def test_whose_certificate_it_is_belongs_to_the_verdict(chain: Chain, right: set[bool | None]) -> None:
    fault = next(fault for fault in FAULTS if fault.chain is chain and fault.via is Via.CORPORATE)
    reported = fault.expected[Way.DIRECT]
    seen = {told for told in (True, False, None) if cell(fault, Way.DIRECT, reported, intercepted=told).right}
    assert seen == right


def test_schemes_share_a_row_only_where_they_read_alike() -> None:
    pair = [fault for fault in FAULTS if fault.name == "name not found"]
    alike = [cell(fault, way, None) for fault in pair for way in Way]
    apart = [cell(fault, way, None) for fault in pair[:1] for way in Way]
    apart += [cell(pair[1], way, Reason.DNS_ERROR) for way in Way]
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


# ---------------------------------------------------------------- the other Python


def other_python(directory: Path) -> subprocess.CompletedProcess[str]:
    """Look for it, and make its environment in this directory, where it could be anywhere in there only."""
    env = {"PATH": str(directory / "bin"), "HOME": str(directory)}
    (directory / "bin").mkdir(exist_ok=True)
    (directory / "bin" / "rm").symlink_to("/bin/rm")
    asked = ["/bin/sh", str(ROOT / "tests" / "other_python.sh"), str(directory / "python")]
    return subprocess.run(asked, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_where_there_is_no_other_python_that_is_said_and_no_environment_is_made(tmp_path: Path) -> None:
    (tmp_path / "python").mkdir()
    done = other_python(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"Python {OTHER}: not found on the path or among pyenv's versions\n"
    assert not (tmp_path / "python").exists()


@pytest.mark.parametrize("place", ["path", "home"])
def test_a_python_of_another_version_under_that_name_is_not_taken(tmp_path: Path, place: str) -> None:
    shim = {
        "path": tmp_path / f"python{OTHER}",
        "home": tmp_path / ".pyenv" / "versions" / f"{OTHER}.9" / "bin" / "python",
    }
    shim[place].parent.mkdir(parents=True, exist_ok=True)
    shim[place].write_text("#!/bin/sh\nexit 127\n")
    shim[place].chmod(0o755)
    done = other_python(tmp_path)
    assert "not found" in done.stdout


@pytest.mark.other_python
def test_the_other_python_runs_what_is_tested() -> None:
    told = "import exporter, sys; print('%d.%d' % sys.version_info[:2], exporter.__file__)"
    done = subprocess.run([OTHER_PYTHON, "-c", told], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.split() == [OTHER, str(ROOT / "exporter" / "__init__.py")]


# ---------------------------------------------------------------- what a busy machine spoils


@pytest.mark.parametrize(
    ("reported", "message", "cause", "spoiled"),
    [
        (Reason.TLS_TIMEOUT, NO_ANSWER, None, True),
        (Reason.PROXY_ERROR, NO_ANSWER, None, True),
        (Reason.TLS_HANDSHAKE, "the other side refuses", None, True),  # without its cause, which is asked for beside
        (Reason.TLS_HANDSHAKE, "the other side refuses", Cause.EXPECTS_TLS, False),
        (Reason.HTTP_RESET, "reset", None, False),
        (None, "status 200", None, False),
    ],
)
def test_what_a_wait_may_have_spoiled_gets_another_look_and_nothing_else(
    reported: Outcome, message: str, cause: Cause | None, spoiled: bool
) -> None:
    fault = next(fault for fault in FAULTS if fault.cause_on(Way.DIRECT) is Cause.STRICTER_CLIENT)
    seen = replace(cell(fault, Way.DIRECT, reported), message=message, cause=cause)
    assert (seen.right, seen.spoiled) == (False, spoiled)


@pytest.mark.lab
def test_another_look_is_the_one_that_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    def spoiling(lab: Lab, questions: Sequence[truth.Question], python: str) -> list[dict[str, Any]]:
        """The answers, of which the first look at each spoils the first."""
        answers = ask(lab, questions, python)
        if python not in {first for first, _ in asked}:
            answers[0] |= {"reported": Reason.TLS_TIMEOUT, "message": NO_ANSWER}
        asked.append((python, len(questions)))
        return answers

    ask = truth.ask_exporter
    monkeypatch.setattr(truth, "ask_exporter", spoiling)
    monkeypatch.setattr(truth, "missing_windows", lambda: "not asked here")
    cells = truth.measure(FAULTS[:2], tmp_path)
    assert [str(each) for each in cells if not each.right] == []
    assert sum(each.looks == 2 for each in cells) == len(pythons())
    assert sorted(number for _, number in asked) == sorted([1, len(cells) // len(pythons())] * len(pythons()))
