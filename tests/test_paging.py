"""What breaks pages once, says what and why, and ends when it is fixed; what is nothing pages nobody."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest

from tests.lab import PROXY_HOST, Lab
from tests.paging import INTERVAL, PACE, Chain, Notification, chain
from tests.running import ADDRESS, eventually, in_a_quiet_moment

pytestmark = [pytest.mark.lab, pytest.mark.timing]

HOST: Final = "definitionupdates.microsoft.com"  # that one feature needs, for one role, and which pages
URL: Final = f"https://{HOST}/"
FOR: Final = 120 / PACE  # seconds that what fails waits at most, before it is a page of its own
SETTLED: Final = 6.0  # seconds: longer than anything that might still follow is under way


@pytest.fixture(scope="module")
def running_chain(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with chain(lab, tmp_path_factory.mktemp("chain")) as found:
        yield found


@pytest.fixture
def quiet(running_chain: Chain) -> Chain:
    """The chain with nothing left of what was broken before."""
    eventually("quiet", running_chain.quiet, within=120)
    return running_chain


def resolved(chain: Chain, page: Notification) -> list[Notification]:
    """What said of this page that all is well again."""
    return [
        sent
        for sent in chain.notifications()
        if sent.status == "resolved" and sent.labels == page.labels and sent.time > page.time
    ]


def test_a_blocked_host_pages_once_with_all_that_one_must_know_and_resolves(
    quiet: Chain, lab: Lab, figure: Callable[[str], None]
) -> None:
    with lab.reset(HOST):
        blocked = time.time()
        paged = quiet.until("a page", lambda: quiet.pages(blocked), within=60) - blocked
        time.sleep(SETTLED)
        pages = quiet.pages(blocked)
    opened = time.time()
    eventually("resolved", lambda: resolved(quiet, pages[0]), within=120)
    fixed = resolved(quiet, pages[0])[0].time - opened
    figure(f"one host blocked, probed every {INTERVAL:.0f} s: paged after {paged:.1f} s")
    figure(f"unblocked: resolved after {fixed:.1f} s")

    (page,) = pages
    (alert,) = page.firing
    said = alert["annotations"]
    assert page.labels == {"feature": "updates-and-servicing", "cloud": "azure-public", "instance": ADDRESS}
    assert alert["labels"]["role"] == "service-connection-point"
    assert alert["labels"]["alertname"] == "ConfigMgrFeatureNotReady"
    assert said["reason"] == "connect_refused"
    assert HOST in said["description"]
    assert said["runbook_url"].endswith("/runbooks/ConfigMgrFeatureNotReady")


def heard(pages: list[Notification]) -> bool:
    """Whether the exporter was: at this pace a second in which the machine does something else is a missed scrape."""
    return all("ConfigMgrExporterDown" not in page.names for page in pages)


@dataclass(frozen=True)
class DeadProxy:
    """What was seen while a proxy was dead, and after it."""

    seconds: float  # until the first page
    pages: list[Notification]
    behind: int  # features that were not ready
    others: list[dict[str, Any]]  # alerts beside the one


def dead_proxy(chain: Chain, lab: Lab) -> DeadProxy:
    """Kill the proxy for as long as anything might follow, and return when all is well again."""
    eventually("quiet", chain.quiet, within=120)
    with lab.reset(PROXY_HOST):
        dead = time.time()
        paged = chain.until("a page", lambda: chain.pages(dead), within=60) - dead
        chain.until(
            "several features are not ready", lambda: chain.query("count(configmgr_feature_ready == 0) > 3"), within=60
        )
        time.sleep(max(0.0, dead + 2 * INTERVAL + FOR + SETTLED - time.time()))
        behind = int(chain.query("count(configmgr_feature_ready == 0)")[0]["value"][1])
        others = chain.query('ALERTS{severity=~"critical|warning", alertname!="ConfigMgrPathDown"}')
        pages = chain.pages(dead)
    eventually("resolved", lambda: resolved(chain, pages[0]), within=120)
    return DeadProxy(paged, pages, behind, others)


def test_a_dead_proxy_that_carries_fifty_targets_pages_exactly_once(
    quiet: Chain, lab: Lab, figure: Callable[[str], None]
) -> None:
    carried = int(
        quiet.query('count(count by (target) (configmgr_endpoint_path_info{path="proxy:corporate"}))')[0]["value"][1]
    )
    seen = in_a_quiet_moment(lambda: dead_proxy(quiet, lab), lambda seen: heard(seen.pages))
    figure(
        f"the proxy of {carried} targets is dead: paged after {seen.seconds:.1f} s, {len(seen.pages)} page, "
        f"{seen.behind} features behind it"
    )

    assert carried >= 50
    assert seen.others == []  # by construction, and not since Alertmanager keeps them silent
    assert [page.names for page in seen.pages] == [{"ConfigMgrPathDown"}]  # while the outage lasts
    assert seen.pages[0].firing[0]["labels"]["path"] == "proxy:corporate"
    assert seen.pages[0].firing[0]["annotations"]["runbook_url"].endswith("/runbooks/ConfigMgrPathDown")


def lost_packet(chain: Chain, lab: Lab, figure: Callable[[str], None]) -> list[Notification]:
    """What is paged when one packet is lost."""
    eventually("quiet", chain.quiet, within=120)
    begun = time.time()
    with lab.drop_one(HOST):
        slow = chain.until(
            "the connection that lost a packet opens late",
            lambda: chain.query(f'configmgr_endpoint_phase_duration_seconds{{target="{URL}", phase="connect"}} > 0.9'),
            within=3 * INTERVAL,
        )
        time.sleep(FOR + SETTLED)
    pages = chain.pages(begun)
    figure(f"one packet lost, seen after {slow - begun:.1f} s: {len(pages)} pages")
    return pages


def test_a_lost_packet_pages_nobody(quiet: Chain, lab: Lab, figure: Callable[[str], None]) -> None:
    assert in_a_quiet_moment(lambda: lost_packet(quiet, lab, figure), heard) == []
    assert quiet.query(f'min_over_time(configmgr_endpoint_up{{target="{URL}"}}[30s])')[0]["value"][1] == "1"
