"""In the laboratory: an outage is told seconds after its first failure, and a single failure is shown and is none."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from exporter.model.vocabulary import Reason
from tests.lab import Lab
from tests.running import Exporter, Series, eventually, running

pytestmark = [pytest.mark.lab, pytest.mark.timing]

HOST: Final = "dc.services.visualstudio.com"  # one target of one feature
URL: Final = f"https://{HOST}/"
INTERVAL: Final = 4.0
CONFIG: Final = f"""
probe: {{interval: {INTERVAL:.0f}s, timeout: 2s}}
site: {{features: [tenant-attach], roles: [service-connection-point]}}
"""


@pytest.fixture(scope="module")
def exporter(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exporter]:
    directory = tmp_path_factory.mktemp("exporter")
    config = directory / "exporter.yaml"
    config.write_text(CONFIG)
    with running(lab, directory, "--config.file", config) as started:
        eventually("all is well", lambda: started.ready() and value(started.series(), "up") == 1)
        yield started


def value(series: Series, name: str, **labels: str) -> float | None:
    """A gauge of the one target."""
    wanted = {"target": URL, **labels}.items()
    found = (number for (have, at), number in series.items() if have == f"configmgr_endpoint_{name}" and wanted <= at)
    return next(found, None)


def ready(series: Series) -> set[float]:
    """Whether its feature is ready."""
    return {number for (name, _), number in series.items() if name == "configmgr_feature_ready"}


def verdicts(series: Series) -> Counter[str]:
    """What became of first failures."""
    name = "configmgr_exporter_first_failures_total"
    return Counter({dict(at)["verdict"]: int(number) for (have, at), number in series.items() if have == name})


def test_one_refused_connection_is_shown_and_is_no_outage(lab: Lab, exporter: Exporter) -> None:
    seen = [exporter.series()]

    def refuted() -> bool:
        seen.append(exporter.series())
        return verdicts(seen[-1]) - verdicts(seen[0]) == {"refuted": 1}

    with lab.reset_one(HOST, 443):
        eventually("a failure is refuted", refuted)
    assert {value(series, "up") for series in seen} == {1}
    assert set.union(*map(ready, seen)) == {1}
    assert value(seen[-1], "unconfirmed_failure", reason=Reason.CONNECT_REFUSED) == 1


def test_an_outage_is_confirmed_by_a_second_failure_and_ends_with_the_first_success(
    lab: Lab, exporter: Exporter, figure: Callable[[str], None]
) -> None:
    before = exporter.series()
    with lab.reset(HOST):
        begun = time.monotonic()
        eventually("down", lambda: value(exporter.series(), "up") == 0)
        took = time.monotonic() - begun
        down = exporter.series()
    eventually("up", lambda: value(exporter.series(), "up") == 1)
    figure(f"one host blocked, probed every {INTERVAL:.0f} s: confirmed after {took:.1f} s")
    assert value(down, "failure", reason=Reason.CONNECT_REFUSED) == 1
    assert value(down, "unconfirmed_failure") is None
    assert verdicts(exporter.series()) - verdicts(before) == {"confirmed": 1}
