"""What breaks pages once, says what and why, and ends when it is fixed; what is nothing pages nobody."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
PATIENCE: Final = 300.0  # seconds that a busy machine may take
SETTLED: Final = 12.0  # seconds: longer than anything that might still follow is under way


@pytest.fixture(scope="module")
def running_chain(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with chain(lab, tmp_path_factory.mktemp("chain")) as found:
        yield found


def resolved(chain: Chain, page: Notification) -> list[Notification]:
    """What said of this page that all is well again."""
    return [
        sent
        for sent in chain.notifications()
        if sent.status == "resolved" and sent.labels == page.labels and sent.time > page.time
    ]


def heard(moment: Moment) -> bool:
    """Whether the exporter was: a machine that does much else answers no scrape for a while, and that is a page."""
    alerts = {alert["metric"]["alertname"] for alert in moment.others}
    return "ConfigMgrExporterDown" not in alerts.union(*(page.names for page in moment.pages))


@dataclass(frozen=True)
class Moment:
    """What was seen of an outage."""

    after: float  # seconds until the first page, or until it showed where it is none
    pages: list[Notification]
    over: float = 0.0  # seconds from its end until that was said
    behind: int = 0  # features that were not ready
    others: Sequence[Mapping[str, Any]] = ()  # alerts beside the one


def seen(outage: Callable[[Chain, Lab], Moment], chain: Chain, lab: Lab) -> Moment:
    """An outage that begins when nothing is left of the one before, in a moment in which the exporter was heard."""

    def moment() -> Moment:
        eventually("quiet", chain.quiet, within=PATIENCE)
        return outage(chain, lab)

    return in_a_quiet_moment(moment, heard)


def blocked_host(chain: Chain, lab: Lab) -> Moment:
    """Block the host for as long as anything might follow the page, and return when all is well again."""
    with lab.reset(HOST):
        blocked = time.time()
        paged = chain.until("a page", lambda: chain.pages(blocked), within=PATIENCE) - blocked
        time.sleep(SETTLED)
        pages = chain.pages(blocked)
    opened = time.time()
    over = eventually("resolved", lambda: resolved(chain, pages[0]), within=PATIENCE)
    return Moment(paged, pages, over[0].time - opened)


def test_a_blocked_host_pages_once_with_all_that_one_must_know_and_resolves(
    running_chain: Chain, lab: Lab, figure: Callable[[str], None]
) -> None:
    found = seen(blocked_host, running_chain, lab)
    figure(f"one host blocked, probed every {INTERVAL:.0f} s: paged after {found.after:.1f} s")
    figure(f"unblocked: resolved after {found.over:.1f} s")

    (page,) = found.pages
    (alert,) = page.firing
    said = alert["annotations"]
    assert page.labels == {"feature": "updates-and-servicing", "cloud": "azure-public", "instance": ADDRESS}
    assert alert["labels"]["role"] == "service-connection-point"
    assert alert["labels"]["alertname"] == "ConfigMgrFeatureNotReady"
    assert said["reason"] == "connect_refused"
    assert HOST in said["description"]
    assert said["runbook_url"].endswith("/runbooks/ConfigMgrFeatureNotReady")


def dead_proxy(chain: Chain, lab: Lab) -> Moment:
    """The same with the proxy."""
    with lab.reset(PROXY_HOST):
        dead = time.time()
        paged = chain.until("a page", lambda: chain.pages(dead), within=PATIENCE) - dead
        chain.until(
            "several features are not ready",
            lambda: chain.query("count(configmgr_feature_ready == 0) > 3"),
            within=PATIENCE,
        )
        time.sleep(max(0.0, dead + 2 * INTERVAL + FOR + SETTLED - time.time()))
        behind = chain.query(f"max_over_time(count(configmgr_feature_ready == 0)[{FOR:.0f}s:])")
        others = chain.query('ALERTS{severity=~"critical|warning", alertname!="ConfigMgrPathDown"}')
        pages = chain.pages(dead)
    eventually("resolved", lambda: resolved(chain, pages[0]), within=PATIENCE)
    return Moment(paged, pages, behind=int(behind[0]["value"][1]), others=others)


def test_a_dead_proxy_that_carries_fifty_targets_pages_exactly_once(
    running_chain: Chain, lab: Lab, figure: Callable[[str], None]
) -> None:
    through_it = 'count(count by (target) (configmgr_endpoint_path_info{path="proxy:corporate"}))'
    carried = int(running_chain.query(f"max_over_time({through_it}[{FOR:.0f}s:])")[0]["value"][1])
    found = seen(dead_proxy, running_chain, lab)
    figure(
        f"the proxy of {carried} targets is dead: paged after {found.after:.1f} s, {len(found.pages)} page, "
        f"{found.behind} features behind it"
    )

    assert carried >= 50
    assert found.others == []  # by construction, and not since Alertmanager keeps them silent
    assert [page.names for page in found.pages] == [{"ConfigMgrPathDown"}]  # while the outage lasts
    assert found.pages[0].firing[0]["labels"]["path"] == "proxy:corporate"
    assert found.pages[0].firing[0]["annotations"]["runbook_url"].endswith("/runbooks/ConfigMgrPathDown")


def lost_packet(chain: Chain, lab: Lab) -> Moment:
    """Lose one packet; a connection that opens late shows it."""
    connect = f'configmgr_endpoint_phase_duration_seconds{{target="{URL}", phase="connect"}}'
    late = f"max_over_time({connect}[{FOR:.0f}s]) > 0.9"
    begun = time.time()
    with lab.drop_one(HOST):
        slow = chain.until("the connection that lost a packet opens late", lambda: chain.query(late), within=PATIENCE)
        time.sleep(FOR + SETTLED)
    return Moment(slow - begun, chain.pages(begun))


def test_a_lost_packet_pages_nobody(running_chain: Chain, lab: Lab, figure: Callable[[str], None]) -> None:
    found = seen(lost_packet, running_chain, lab)
    figure(f"one packet lost, seen after {found.after:.1f} s: {len(found.pages)} pages")
    assert found.pages == []
    up = f'min_over_time(configmgr_endpoint_up{{target="{URL}"}}[{FOR:.0f}s])'
    assert running_chain.query(up)[0]["value"][1] == "1"
