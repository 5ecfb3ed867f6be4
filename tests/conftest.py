"""One laboratory for all tests that are marked `lab`, and no silence where it cannot be built."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator

import pytest

from tests.lab import EXTRA_HOSTS, Lab, catalogue_hosts, unavailable

_IN_CI = os.environ.get("CI") == "true"
_WHY = pytest.StashKey[str]()
_SKIPPED = pytest.StashKey[int]()
_FIGURES = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    with Lab.start(catalogue_hosts() | EXTRA_HOSTS) as running:
        yield running


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Takes a measured figure, to be printed at the end of the run."""
    return request.config.stash.setdefault(_FIGURES, []).append


@pytest.hookimpl(trylast=True)  # when what -k and -m deselect is gone
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("lab")]
    if marked and (reason := unavailable()):
        config.stash[_WHY], config.stash[_SKIPPED] = reason, len(marked)
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _IN_CI and _SKIPPED in session.config.stash:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(
    wrapper=True, tryfirst=True
)  # around pytest's own summary, so that nothing comes between it and the end
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> Generator[None]:
    if measured := config.stash.get(_FIGURES, None):
        terminalreporter.section("figures")
        terminalreporter.write("".join(f"{figure}\n" for figure in measured))
    yield
    if _SKIPPED in config.stash:
        verdict = ", and with CI=true that fails the run" if _IN_CI else ""
        line = f"{config.stash[_SKIPPED]} lab tests skipped{verdict}: {config.stash[_WHY]}"
        terminalreporter.write_line(line, red=_IN_CI, yellow=not _IN_CI)
