"""What people look at: the landing page, and the same facts as data."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from exporter import __version__
from exporter.model import Check, CheckKey, Consumer, Failure, Phase, Plan, Reason, Result, Snapshot, Target, Use
from exporter.page import landing, status
from exporter.state import Board
from tests.strategies import plans_with_results

Drawn = tuple[Plan, dict[CheckKey, Result]]
VOID = {"meta"}


def snapshot_of(drawn: Drawn) -> Snapshot:
    board = Board(drawn[0])
    for result in drawn[1].values():
        board.record(result)
    return board.snapshot()


class Page(HTMLParser):
    """The texts and links of a page; refuses elements that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.links: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self._open.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


# ---------------------------------------------------------------- as data


@given(plans_with_results())
def test_the_status_is_json(drawn: Drawn) -> None:
    found = status(snapshot_of(drawn))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["version"] == __version__


@given(plans_with_results())
def test_every_target_of_the_plan_is_told_with_what_came_of_it(drawn: Drawn) -> None:
    work, results = drawn
    told = status(snapshot_of(drawn))["targets"]
    assert [(target["target"], target["path"]) for target in told] == [
        (check.key.target.url, check.key.path) for check in work.checks
    ]
    for target, check in zip(told, work.checks, strict=True):
        assert target["needed_by"] == [
            {"feature": c.feature, "role": c.role, "cloud": c.cloud, "pattern": use.pattern}
            for use in check.uses
            for c in [use.consumer]
        ]
        result = results.get(check.key)
        if result is None:
            assert target["state"] == "pending"
            continue
        assert target["state"] == ("up" if result.up else "down")
        assert target["reason"] == (result.failure.reason if result.failure else None)
        assert target["last_success"] == (result.finished if result.up else None)
        assert (target["last_probe"], target["phases"]) == (result.finished, result.phases)
        assert (target["address"], target["status"]) == (result.evidence.address, result.evidence.status)
        assert (target["tls"] is None) == (result.evidence.tls is None)


@given(plans_with_results())
def test_every_feature_is_told_with_its_endpoints(drawn: Drawn) -> None:
    snapshot = snapshot_of(drawn)
    told = status(snapshot)
    assert told["paths"] == snapshot.paths
    assert [(Consumer(f["feature"], f["role"], f["cloud"]), f["ready"]) for f in told["features"]] == [
        (feature.consumer, feature.ready) for feature in snapshot.features
    ]
    for shown, feature in zip(told["features"], snapshot.features, strict=True):
        assert [(endpoint["pattern"], endpoint["state"]) for endpoint in shown["endpoints"]] == [
            (endpoint.use.pattern, endpoint.state) for endpoint in feature.endpoints
        ]
        targets: list[dict[str, Any]] = [target for endpoint in shown["endpoints"] for target in endpoint["targets"]]
        assert all(target in ({k: t[k] for k in ("target", "path")} for t in told["targets"]) for target in targets)


@given(plans_with_results())
def test_what_is_not_probed_is_told_with_the_reason(drawn: Drawn) -> None:
    assert [
        (Consumer(line["feature"], line["role"], line["cloud"]), line["pattern"], line["reason"], line["detail"])
        for line in status(snapshot_of(drawn))["unprobed"]
    ] == [(need.use.consumer, need.use.pattern, need.why_unprobed, need.detail) for need in drawn[0].unprobed]


# ---------------------------------------------------------------- as a page


@given(plans_with_results())
def test_the_page_counts_features_and_targets_and_names_those_that_are_down(drawn: Drawn) -> None:
    work, results = drawn
    snapshot = snapshot_of(drawn)
    page = Page(landing(snapshot))
    ready = [feature.ready for feature in snapshot.features]
    (counts,) = (text for text in page.texts if text.startswith("Features ready"))
    assert list(map(int, re.findall("[0-9]+", counts))) == [
        ready.count(True),
        len(ready),
        ready.count(False),
        sum(result.up for result in results.values()),
        len(work.checks),
    ]
    down = {result.key.target.url for result in results.values() if not result.up}
    assert {text for text in page.texts if "://" in text} == down


def test_the_page_leads_on() -> None:
    page = Page(landing(Board().snapshot()))
    assert {"/metrics", "/api/v1/status", "/-/healthy", "/-/ready"} <= set(page.links)
    assert "Down" not in page.texts


@given(st.text(st.sampled_from("<>&'\"=/ script"), max_size=30))
def test_a_url_is_text_on_the_page_and_nothing_else(text: str) -> None:
    key = CheckKey(Target(f"https://host.example/?{text}"))
    check = Check(key, (Use(Consumer("updates", "client", "azure-public"), "host.example"),))
    failed = Result(key, 0.0, {Phase.RESOLVE: 1.0}, failure=Failure(Phase.RESOLVE, Reason.DNS_TIMEOUT, ""))
    page = Page(landing(snapshot_of((Plan((check,)), {key: failed}))))
    assert "".join(text for text in page.texts if "://" in text) == key.target.url
