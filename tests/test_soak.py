"""A good minute of what `make soak` does for fifteen, with fewer targets, for other tests run beside it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab import Lab
from tests.tools.soak import counters, gone_back, not_events, run

BEFORE = """\
# HELP configmgr_probes_total Finished probes.
# TYPE configmgr_probes_total counter
configmgr_probes_total{role="client"} 7.0
configmgr_probes_total{role="console"} 7.0
# HELP configmgr_probe_phase_duration_seconds Duration of phases.
# TYPE configmgr_probe_phase_duration_seconds histogram
configmgr_probe_phase_duration_seconds_bucket{le="+Inf",path="direct"} 3.0
configmgr_probe_phase_duration_seconds_count{path="direct"} 3.0
configmgr_probe_phase_duration_seconds_bucket{le="+Inf",path="proxy:corporate"} 3.0
configmgr_probe_phase_duration_seconds_count{path="proxy:corporate"} 3.0
# HELP configmgr_endpoint_up Whether it is up.
# TYPE configmgr_endpoint_up gauge
configmgr_endpoint_up{role="client"} 1.0
"""


@pytest.mark.lab
def test_after_all_that_can_go_wrong_the_exporter_is_as_before(
    lab: Lab, tmp_path: Path, figure: Callable[[str], None]
) -> None:
    assert run(lab, tmp_path, targets=100, seconds=70, seed=1, tell=figure) == []


def test_a_counter_that_is_less_or_gone_is_noticed_and_a_gauge_may_fall() -> None:
    after = BEFORE.replace('"client"} 7.0', '"client"} 6.0').replace('probes_total{role="console"} 7.0\n', "up 0\n")
    noticed = gone_back(counters(BEFORE), counters(after.replace("} 1.0", "} 0.0")))
    assert [dict(labels)["role"] for _, labels in noticed] == ["client", "console"]


def test_a_counter_of_a_path_may_end_with_the_name_of_its_proxy_alone() -> None:
    noticed = gone_back(counters(BEFORE), counters(re.sub(r".*path=.*\n", "", BEFORE)))
    assert {dict(labels)["path"] for _, labels in noticed} == {"direct"}


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ('ts=2026-11-26T08:00:00Z level=warning logger=exporter msg="target is down" reason=dns_timeout', True),
        ("ts=2026-11-26T08:00:00Z level=error logger=asyncio msg=oops", False),
        ('ts=2026-11-26T08:00:00Z level=error logger=exporter msg=oops exception="Traceback', False),
        ("ts=2026-11-26T08:0", False),
        ("--- Logging error ---", False),
    ],
)
def test_what_is_no_whole_event_is_noticed(line: str, event: bool) -> None:
    assert not_events(line) == ([] if event else [line])
