"""One laboratory for all tests of a process that are marked `lab`, and no silence where it cannot be built."""

from __future__ import annotations

import gc
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark.expression import Expression
from hypothesis import settings

from tests.kerberos import Domain
from tests.lab import EXTRA_HOSTS, Lab, catalogue_hosts, unavailable
from tests.lab.windows import Windows, missing_windows, windows_in
from tests.pythons import missing_python

# The machine decides how fast a test is, so there is no deadline; a run of CI finds the same as the run before it.
settings.register_profile("exporter", max_examples=40, deadline=None, derandomize="CI" in os.environ)
settings.load_profile("exporter")

# By this jsonschema would check IRIs, which no schema here has: it builds 38 parsers, for more than a second.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

_COUNTING = "COVERAGE_PROCESS_CONFIG"  # by which coverage has a program that is started counted as well
_IN_CI = os.environ.get("CI") == "true"
# They take longest, so they begin first and the others fill the gaps.
_LONGEST = (
    "test_walk.py",
    "test_soak.py",
    "test_service.py",
    "test_endurance.py",
    "test_end_to_end.py",
    "test_command_line.py",
    "test_rules.py",
    "test_attack.py",
    "test_names.py",
    "test_kerberos.py",
    "test_lab.py",
    "test_page_browser.py",
    "test_stack.py",
    "test_commands.py",
    "test_serve.py",
    "test_hostile.py",
    "test_log.py",
)
# What they look at is no code of the exporter, or a process of it that others start as well: counting branches doubles
# their time, and finds none that nobody else takes.
_UNCOUNTED = frozenset(
    {
        "test_alertmanager.py",
        "test_dashboards.py",
        "test_docs.py",
        "test_endurance.py",
        "test_rules.py",
        "test_runbooks.py",
        "test_skipped.py",
        "test_supply.py",
        "test_words.py",
        "test_workflows.py",
    }
)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    with Lab.start(catalogue_hosts() | EXTRA_HOSTS) as running:
        yield running


@pytest.fixture(scope="session")
def windows(lab: Lab) -> Iterator[Windows]:
    with windows_in(lab) as running:
        yield running


@pytest.fixture(scope="session")
def domain(lab: Lab) -> Iterator[Domain]:
    made = Domain(lab)
    made.add("locked", "-allow_tix")
    made.add("stale", "-pwexpire", "yesterday")
    with made.running():
        yield made


@pytest.fixture
def uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts no branches in the programs that a test starts: others take the same, and it would double their work."""
    monkeypatch.delenv(_COUNTING, raising=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """What is not counted itself starts no program that is."""
    counting = os.environ.pop(_COUNTING, None) if item.path.name in _UNCOUNTED else None
    try:
        return (yield)
    finally:
        if counting is not None:
            os.environ[_COUNTING] = counting


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Takes a measured figure, to be printed at the end of the run."""
    return lambda text: record_property("figure", text)


_MARKS = ("lab", "other_python", "windows", "timing")

# What a mark asks for, and why it is not there, in words; None: it is.
_WANTED: Mapping[str, Callable[[], str | None]] = {
    "lab": unavailable,
    "other_python": missing_python,
    "windows": missing_windows,
}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A file is left out where no test can have the marks that -m asks for: each process would read it for nothing."""
    asked: str = config.option.markexpr
    if collection_path.suffix != ".py" or not asked or set(re.findall(r"\w+", asked)) - {*_MARKS, "and", "or", "not"}:
        return None
    text = collection_path.read_text(encoding="utf-8")
    of_all = {mark for mark in _MARKS if re.search(rf"^pytestmark = .*\.mark\.{mark}\b", text, re.MULTILINE)}
    of_some = [mark for mark in _MARKS if f".mark.{mark}" in text and mark not in of_all]
    wanted = Expression.compile(asked)
    choices = [{*of_all, *choice} for choice in product(*((mark, "") for mark in of_some))]
    return None if any(wanted.evaluate(lambda mark, /, **_: mark in some) for some in choices) else True  # noqa: B023


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Thousands of tests are no garbage: looking for some among them, now or later, would take much of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)  # when what -k and -m deselect is gone
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: (rank.get(item.path.name, len(rank)), not item.get_closest_marker("lab")))
    for item in items:  # what is drawn differs from run to run, and counting doubles its time as well
        if item.path.name in _UNCOUNTED or item.get_closest_marker("hypothesis"):
            item.add_marker("no_cover")
    for mark, missing in _WANTED.items():
        marked = [item for item in items if item.get_closest_marker(mark)]
        if marked and (reason := missing()):
            for item in marked:
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if _IN_CI and reporter is not None and _skipped(reporter):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(
    wrapper=True, tryfirst=True
)  # around pytest's own summary, so that nothing comes between it and the end
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None]:
    figures = [
        f"{text}\n"
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        for name, text in getattr(report, "user_properties", ())
        if name == "figure" and report.when == "call"
    ]
    if figures:
        terminalreporter.section("figures")
        terminalreporter.write("".join(figures))
    yield
    for line in _on_windows(terminalreporter):
        terminalreporter.write_line(line)
    verdict = ", and with CI=true that fails the run" if _IN_CI else ""
    for mark, (count, reason) in _skipped(terminalreporter).items():
        line = f"{count} {mark} tests skipped{verdict}: {reason}"
        terminalreporter.write_line(line, red=_IN_CI, yellow=not _IN_CI)


def _on_windows(reporter: pytest.TerminalReporter) -> Iterator[str]:
    """What the Windows laboratory ran, and what wine could not show of it, each reason with its count."""
    found = {kind: _of_windows(reporter.getreports(kind)) for kind in ("passed", "failed", "skipped")}
    if not (found["passed"] or found["failed"]):
        return
    passed, failed = len(found["passed"]), len(found["failed"])
    not_shown = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in found["skipped"])
    yield f"Windows laboratory: {passed + failed} run, {passed} passed; {not_shown.total()} that wine cannot show"
    for reason, count in not_shown.items():
        yield f"  {count}: {reason}"


def _of_windows(reports: Iterable[Any]) -> list[Any]:
    return [report for report in reports if "windows" in report.keywords and report.when != "teardown"]


def _skipped(reporter: pytest.TerminalReporter) -> Mapping[str, tuple[int, str]]:
    """How many tests were skipped for want of something, and why that is missing, by the mark that asks for it."""
    reports = reporter.getreports("skipped")
    counts = {mark: sum(mark in report.keywords for report in reports) for mark in _WANTED}
    return {mark: (count, reason) for mark, count in counts.items() if count and (reason := _WANTED[mark]())}
