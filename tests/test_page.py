"""What people look at: the status page, the page of a target, and the same facts as data."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from types import MappingProxyType, SimpleNamespace
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlsplit

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter import __version__
from exporter.model.vocabulary import (
    Answer,
    Cause,
    Check,
    CheckKey,
    Consumer,
    Contact,
    Endpoint,
    EndpointState,
    Evidence,
    Failure,
    Importance,
    Phase,
    Plan,
    Proxy,
    Reason,
    Requirement,
    Result,
    Snapshot,
    Target,
    Tried,
    Use,
)
from exporter.plan.checks import plan
from exporter.report.facts import Probe, words_for
from exporter.report.findings import headline
from exporter.results.readiness import failures_to_come
from exporter.results.store import ResultStore
from exporter.web.pages import ASSETS, REFRESH, SOON, status, status_page, target_page
from exporter.web.pages.bars import FULL
from exporter.web.pages.filters import Filters, choices, read
from exporter.web.pages.overview import overview
from exporter.web.pages.troubles import Since
from exporter.web.routes import Service, create_app
from tests.strategies import CLOUDS, FEATURES, PROXIES, ROLES, plans_with_results

Drawn = tuple[Plan, dict[CheckKey, Result]]
PATHS: Final = ("direct", *(f"proxy:{name}" for name in PROXIES))
VOID = {"meta", "link", "input"}
CHECK: Final = Check(
    CheckKey(Target("https://host.example/")), (Use(Consumer("updates", "client", "azure-public"), "host.example"),)
)


def snapshot_of(drawn: Drawn) -> Snapshot:
    store = ResultStore(drawn[0])
    for result in drawn[1].values():
        store.record(result)
    return store.snapshot()


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
    found = status(snapshot_of(drawn), NOW)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["version"] == __version__


@given(plans_with_results())
def test_every_target_of_the_plan_is_told_with_what_came_of_it(drawn: Drawn) -> None:
    work, results = drawn
    told = status(snapshot_of(drawn), NOW)["targets"]
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
        assert (target["address"], target["http_status"]) == (result.evidence.address, result.evidence.status)
        assert (target["tls"] is None) == (result.evidence.tls is None)


@given(plans_with_results())
def test_every_feature_is_told_with_its_endpoints(drawn: Drawn) -> None:
    snapshot = snapshot_of(drawn)
    told = status(snapshot, NOW)
    assert told["paths"] == snapshot.paths
    assert [(Consumer(f["feature"], f["role"], f["cloud"]), f["verdict"], f["ready"]) for f in told["features"]] == [
        (feature.consumer, feature.verdict, feature.verdict.ready) for feature in snapshot.features
    ]
    for shown, feature in zip(told["features"], snapshot.features, strict=True):
        needs = [need for need in snapshot.plan.requirements if need.use.consumer == feature.consumer]
        assert shown["importance"] in {need.importance for need in needs}
        assert [(endpoint["pattern"], endpoint["state"]) for endpoint in shown["endpoints"]] == [
            (endpoint.use.pattern, endpoint.state) for endpoint in feature.endpoints
        ]
        targets: list[dict[str, Any]] = [target for endpoint in shown["endpoints"] for target in endpoint["targets"]]
        assert all(target in ({k: t[k] for k in ("target", "path")} for t in told["targets"]) for target in targets)


@given(plans_with_results())
def test_what_is_not_probed_is_told_with_the_reason(drawn: Drawn) -> None:
    assert [
        (Consumer(line["feature"], line["role"], line["cloud"]), line["pattern"], line["reason"], line["detail"])
        for line in status(snapshot_of(drawn), NOW)["unprobed"]
    ] == [(need.use.consumer, need.use.pattern, need.why_unprobed, need.detail) for need in drawn[0].unprobed]


# ---------------------------------------------------------------- as a page

NOW: Final = 1_800_000_100.0  # after every result that is drawn
queries: Final = st.fixed_dictionaries(
    {},
    optional={
        "feature": st.sampled_from(FEATURES),
        "role": st.sampled_from(ROLES),
        "cloud": st.sampled_from(CLOUDS),
        "path": st.sampled_from(PATHS),
        "state": st.sampled_from(EndpointState),
        "target": st.sampled_from(["a.example", "HTTPS", "nothing such"]),
        "page": st.sampled_from(["1", "2", "99999"]),
    },
)


@given(plans_with_results(), queries)
def test_every_page_is_whole_whatever_the_filters(drawn: Drawn, query: dict[str, str]) -> None:
    snapshot = snapshot_of(drawn)
    known = {value for values in choices(snapshot).values() for value in values}
    page = status_page(snapshot, query, NOW)
    unknown = [
        value for name, value in query.items() if name in {"feature", "role", "cloud", "path"} and value not in known
    ]
    assert Page(page.text)
    assert page.status == (400 if unknown else 200)
    assert all(f"{value!r} is not known here" in unescape(page.text) for value in unknown)


@given(plans_with_results())
def test_everything_that_is_down_is_in_one_cause_with_its_words_and_what_it_breaks(drawn: Drawn) -> None:
    snapshot = snapshot_of(drawn)
    found = overview(snapshot, Filters(show="all"), NOW).troubles
    assert sorted(repr(row.key) for trouble in found for row in trouble.rows) == sorted(
        repr(key) for key, result in drawn[1].items() if result.failure
    )
    text = words_on(status_page(snapshot, {"show": "all"}, NOW).text)
    for trouble in found:
        assert trouble.cause.headline in text
        assert trouble.cause.words.remedy.replace("`", "") in text
    assert len({trouble.id for trouble in found}) == len(found)


def words_on(text: str) -> str:
    return " ".join(unescape(re.sub("<[^>]*>", "", text)).split())


@given(plans_with_results(), st.dictionaries(st.sampled_from(FEATURES), st.sampled_from(Importance)))
def test_of_features_in_one_state_the_critical_ones_come_first_and_say_so(
    drawn: Drawn, important: dict[str, Importance]
) -> None:
    snapshot = snapshot_of(drawn)
    needs = tuple(
        replace(need, importance=important.get(need.use.consumer.feature, Importance.NORMAL))
        for need in snapshot.plan.requirements
    )
    snapshot = replace(snapshot, plan=replace(snapshot.plan, requirements=needs))
    rows = overview(snapshot, Filters(), NOW).features
    assert [row.importance for row in rows] == [important.get(row.feature, Importance.NORMAL) for row in rows]
    for state in {row.state for row in rows}:
        alike = [list(Importance).index(row.importance) for row in rows if row.state == state]
        assert alike == sorted(alike)


@given(plans_with_results())
def test_nothing_that_matters_is_left_out(drawn: Drawn) -> None:
    snapshot = snapshot_of(drawn)
    view = overview(snapshot, Filters(), NOW)
    to_come = failures_to_come(snapshot.plan, {key: latest.result for key, latest in snapshot.latest.items()})
    assert {trouble.cause.path for trouble in view.troubles if trouble.cause.whole_path} == {
        path for path, up in snapshot.paths.items() if not up
    }
    assert sorted(role.consumer for row in view.features for role in row.roles) == [
        feature.consumer for feature in snapshot.features
    ]
    assert {(row.pattern, group.why) for group in view.unprobed for row in group.rows} == {
        (need.use.pattern, need.why_unprobed) for need in snapshot.plan.unprobed
    }
    assert {(threat.pattern, key) for threat in view.threats for key in threat.keys} == {
        (use.pattern, key) for key, use in to_come
    }


@given(plans_with_results(), queries)
def test_filters_leave_exactly_what_fits(drawn: Drawn, query: dict[str, str]) -> None:
    snapshot = snapshot_of(drawn)
    filters, _ = read(query, choices(snapshot))
    shown = {row.key: row.state for row in overview(snapshot, filters, NOW).targets.rows}
    for check in snapshot.plan.checks:
        result = drawn[1].get(check.key)
        state = "pending" if result is None else "up" if result.up else "down"
        fits = any(
            filters.feature in {"", use.consumer.feature}
            and filters.role in {"", use.consumer.role}
            and filters.cloud in {"", use.consumer.cloud}
            and any(filters.target.lower() in text for text in (use.pattern, check.key.target.url))
            for use in check.uses
        )
        fits = fits and filters.path in {"", check.key.path}
        assert (check.key in shown) == (fits and filters.state in {"", state})


@given(plans_with_results(), queries)
def test_the_verdict_is_that_of_the_whole_site_whatever_is_filtered(drawn: Drawn, query: dict[str, str]) -> None:
    snapshot = snapshot_of(drawn)
    view, whole = overview(snapshot, read(query, choices(snapshot))[0], NOW), overview(snapshot, Filters(), NOW)
    assert view.answer == whole.answer
    assert f"{view.answer.verdict.words.upper()}: {view.answer.summary}" == headline(snapshot_of(drawn))


@given(queries)
def test_an_address_made_of_filters_is_read_as_the_same_filters(query: dict[str, str]) -> None:
    known = {"feature": FEATURES, "role": ROLES, "cloud": CLOUDS, "path": PATHS, "state": tuple(EndpointState)}
    filters, mistakes = read(query, known)
    again, _ = read(dict(parse_qsl(urlsplit(filters.href()).query)), known)
    assert (again, mistakes) == (filters, ())
    assert read(dict(parse_qsl(urlsplit(filters.href(page=7)).query)), known)[0].page == 7


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"feature": "update"}, "feature: 'update' is not known here. Did you mean updates?"),
        ({"state": "sideways"}, "state: 'sideways' is not known here. It may have left"),
        ({"page": "-1"}, "page: '-1' is not a page's number."),
        ({"page": "²"}, "page: '²' is not a page's number."),
        ({"cloud": "x" * 5000}, f"cloud: '{'x' * 60}...' is not known here."),
    ],
)
def test_a_filter_that_cannot_be_followed_is_named_and_left_out(query: dict[str, str], words: str) -> None:
    page = status_page(snapshot_of((Plan((CHECK,)), {})), query, NOW)
    assert page.status == 400
    assert words in unescape(page.text)
    assert CHECK.key.target.url in Page(page.text).texts


@given(plans_with_results())
def test_each_target_has_a_page_of_its_own_by_each_path(drawn: Drawn) -> None:
    snapshot = snapshot_of(drawn)
    for check in snapshot.plan.checks:
        page = target_page(snapshot, {"url": check.key.target.url, "path": check.key.path}, NOW)
        texts = "\n".join(Page(page.text).texts)
        result = drawn[1].get(check.key)
        assert page.status == 200
        assert check.key.target.url in texts
        assert all(use.consumer.feature in texts for use in check.uses)
        if result and result.failure:
            needs = tuple(snapshot.plan.requirement_of[use] for use in check.uses)
            assert words_for(Probe(check, result, needs), result.failure).summary in texts


@given(plans_with_results(), st.sampled_from(["https://a.example/none", "", "a b", "https://x.example/"]))
def test_a_target_that_is_none_gets_a_page_that_leads_back(drawn: Drawn, url: str) -> None:
    page = target_page(snapshot_of(drawn), {"url": url}, NOW)
    assert page.status == 404
    assert "./" in Page(page.text).links


def test_another_path_than_those_to_a_target_is_answered_with_the_right_ones() -> None:
    page = target_page(snapshot_of((Plan((CHECK,)), {})), {"url": CHECK.key.target.url, "path": "proxy:gone"}, NOW)
    assert page.status == 404
    assert "target?url=https%3A%2F%2Fhost.example%2F&path=direct" in Page(page.text).links


def test_the_history_of_a_target_is_on_its_page_and_in_the_status() -> None:
    store = ResultStore(Plan((CHECK,)))
    for number, reason in enumerate([None, Reason.DNS_TIMEOUT, Reason.DNS_TIMEOUT, None]):
        failure = Failure(Phase.RESOLVE, reason, "it was seen") if reason else None
        store.record(Result(CHECK.key, 60.0 * number, {Phase.RESOLVE: 0.5}, failure=failure))
    texts = Page(target_page(store.snapshot(), {"url": CHECK.key.target.url}, NOW).text).texts
    (told,) = status(store.snapshot(), NOW)["targets"]
    assert "dns_timeout" in texts
    assert "1970-01-01 00:01:00" in texts
    assert [(spell["reason"], spell["probes"]) for spell in told["history"]] == [
        (None, 1),
        ("dns_timeout", 2),
        (None, 1),
    ]
    assert [over.spell.probes for over in overview(store.snapshot(), Filters(), NOW).recovered] == [2]


@given(plans_with_results())
def test_a_bar_is_never_longer_than_full_and_shows_every_phase(drawn: Drawn) -> None:
    for row in overview(snapshot_of(drawn), Filters(), NOW).targets.rows:
        if row.latest and row.bar:
            assert [piece.phase for piece in row.bar.pieces] == list(row.latest.result.phases)
            assert sum(piece.width for piece in row.bar.pieces) <= FULL + 1e-6
            assert [piece.failed for piece in row.bar.pieces[:-1]] == [False] * (len(row.bar.pieces) - 1)


def test_a_time_that_may_be_too_long_is_said_to_be_at_most_so_long() -> None:
    phases = {Phase.RESOLVE: 0.004, Phase.CONNECT: 0.018}
    result = Result(CHECK.key, 0.0, phases, late=frozenset({Phase.CONNECT}))
    snapshot = snapshot_of((Plan((CHECK,)), {CHECK.key: result}))
    for page in (status_page(snapshot, {}, NOW), target_page(snapshot, {"url": CHECK.key.target.url}, NOW)):
        assert "resolve 4 ms, connect at most 18 ms" in page.text
    assert "connect at most <b>18 ms</b>" in page.text


@given(st.text(st.sampled_from("<>&'\"=/ script"), max_size=30))
def test_a_url_and_a_servers_words_are_text_on_the_page_and_nothing_else(text: str) -> None:
    url = f"https://host.example/?{text.replace(' ', '+')}"
    key = CheckKey(Target(url))
    check = Check(key, CHECK.uses)
    answer = Answer(502, (("server", text),), text)
    failure = Failure(Phase.PROCESSING, Reason.HTTP_STATUS, f"it said {text}")
    failed = Result(key, 0.0, {Phase.RESOLVE: 1.0}, Evidence(dialogue=(answer,), answer=answer), failure)
    snapshot = snapshot_of((Plan((check,)), {key: failed}))
    for page in (status_page(snapshot, {"role": text}, NOW), target_page(snapshot, {"url": url}, NOW)):
        ours = re.sub(r'<script src="./assets/[^"]*" data-seconds="30" defer></script>|rel="stylesheet"', "", page.text)
        assert not re.search("<script|<[^>]* on[a-z]+=|style=", ours)
        assert url in "".join(Page(page.text).texts)


def test_what_each_address_came_to_is_on_the_page_and_in_the_data() -> None:
    tried = (
        Tried("fd00:1ab::7", Contact.SILENT, 0.2514),
        Tried("10.1.2.3", Contact.REFUSED, 0.0012, "Connection refused"),
    )
    seen = Evidence(("10.1.2.3", "fd00:1ab::7"), tried=tried)
    failure = Failure(Phase.CONNECT, Reason.CONNECT_REFUSED, "in words", Cause.PRIVATE_ADDRESS)
    store = ResultStore(Plan((CHECK,)))
    store.record(Result(CHECK.key, 0.0, {Phase.CONNECT: 0.3}, seen, failure))
    text = unescape(target_page(store.snapshot(), {"url": CHECK.key.target.url}, 0.0).text)
    assert "to fd00:1ab::7/tcp (SNI host.example), 00:00:00 UTC, no answer within 251.4 ms" in text
    assert "to 10.1.2.3/tcp (SNI host.example), 00:00:00 UTC, Connection refused after 1.2 ms" in text
    assert "a private endpoint or a zone of your own answers for the name: ask DNS first" in text
    (told,) = status(store.snapshot(), NOW)["targets"]
    assert told["addresses"] == ["10.1.2.3", "fd00:1ab::7"]
    assert told["tried"][1] == {
        "address": "10.1.2.3",
        "contact": "refused",
        "seconds": 0.0012,
        "error": "Connection refused",
        "port": 0,
        "local": None,
        "at": 0.0,
    }


def test_the_data_tell_of_a_family_that_is_dead() -> None:
    tried = (Tried("fd00:1ab::7", Contact.SILENT, 0.25), Tried("192.0.2.1", Contact.OPENED, 0.01))
    store = ResultStore(Plan((CHECK,)))
    store.record(Result(CHECK.key, 0.0, {Phase.CONNECT: 0.3}, Evidence(tried=tried)))
    assert status(store.snapshot(), NOW)["families"] == [
        {"path": "direct", "family": "ipv4", "up": True},
        {"path": "direct", "family": "ipv6", "up": False},
    ]


def test_each_page_says_which_place_it_is_of() -> None:
    snapshot = snapshot_of((Plan((CHECK,), site="P01 <Berlin>"), {}))
    for page in (
        status_page(snapshot, {}, NOW),
        target_page(snapshot, {"url": CHECK.key.target.url}, NOW),
        target_page(snapshot, {"url": "https://none.example/"}, NOW),
    ):
        assert "· P01 &lt;Berlin&gt;</title>" in page.text
        assert page.text.count("P01 &lt;Berlin&gt;") == 2
    assert status(snapshot, NOW)["site"] == "P01 <Berlin>"
    assert headline(snapshot).endswith(" (P01 <Berlin>)")


def test_a_proxy_is_named_and_its_address_is_not_shown() -> None:
    work = plan(
        (Requirement(CHECK.uses[0], Endpoint("host.example"), None, (CHECK.key.target,)),),
        {"secret": Proxy("secret", "http://hidden.corp.example:3128")},
        {"client": "secret"},
    )
    (check,) = work.checks
    snapshot = snapshot_of((work, {check.key: Result(check.key, 0.0, {Phase.RESOLVE: 1.0})}))
    text = target_page(snapshot, {"url": CHECK.key.target.url}, NOW).text
    assert "proxy:secret" in text
    assert "hidden.corp" not in text


# ---------------------------------------------------------------- the answer

MIDNIGHT: Final = 1_800_000_000.0 // 86400 * 86400
OTHER: Final = Check(CheckKey(Target("https://other.example/")), (Use(CHECK.uses[0].consumer, "other.example"),))
THIRD: Final = Check(
    CheckKey(Target("https://third.example/"), "corporate"),
    (Use(Consumer("co-management", "client", "azure-public"), "third.example"),),
)
BOTH: Final = Plan((CHECK, OTHER, THIRD))


def store_of(*probes: tuple[Check, float, Reason | None], work: Plan = BOTH) -> ResultStore:
    """What came of probes at some minutes after midnight; without a reason, they are up."""
    store = ResultStore(work)
    for check, minute, reason in probes:
        failure = Failure(Phase.PROCESSING, reason, "seen in words") if reason else None
        store.record(Result(check.key, MIDNIGHT + 60 * minute, {Phase.RESOLVE: 0.0}, failure=failure))
    return store


def page_of(store: ResultStore, minute: float, **query: str) -> str:
    return words_on(status_page(store.snapshot(), query, MIDNIGHT + 60 * minute).text)


def test_what_is_wrong_whose_it_is_and_since_when_comes_first() -> None:
    down = [
        (check, at, reason)
        for at in (60, 90, 95)
        for check, reason in ((CHECK, Reason.HTTP_STATUS), (OTHER, Reason.HTTP_STATUS), (THIRD, Reason.PROXY_DENIED))
    ]
    store = store_of((CHECK, 0, None), (OTHER, 0, None), (THIRD, 0, None), *down)
    text = page_of(store, 100)
    lead = "2 features cannot work since 01:00 UTC (40 min)"
    first = text[text.index(lead) : text.index("As of 2027")]
    assert text.index("✗ Not ready") < text.index(lead) < text.index("What is down") < text.index("Readiness")
    assert re.search(r"host.example and 1 more host: .* since 01:00 UTC \(40 min\) 2 targets breaks updates", first)
    assert re.search(r"third.example: denied by the proxy corporate owner: proxy since", first)
    assert "Firewall request for what is down" in first


def test_at_most_three_causes_are_in_the_answer_and_the_others_are_counted() -> None:
    reasons = (Reason.HTTP_STATUS, Reason.DNS_NOT_FOUND, Reason.CONNECT_REFUSED, Reason.TLS_EXPIRED, Reason.HTTP_RESET)
    checks = [Check(CheckKey(Target(f"https://h{n}.example/")), CHECK.uses) for n in range(5)]
    store = store_of(
        *((check, 1, reason) for check, reason in zip(checks, reasons, strict=True)), work=Plan(tuple(checks))
    )
    page = status_page(store.snapshot(), {}, NOW).text
    assert page[: page.index('id="filters"')].count('<li><a href="#cause-') == 3
    assert "and 2 more" in words_on(page)
    assert page.count('<article class="fault"') == 5


def test_what_was_never_seen_well_may_have_begun_before() -> None:
    assert "since 00:05 UTC or before (3 min)" in page_of(store_of((CHECK, 5, Reason.HTTP_STATUS)), 8)


def test_another_day_is_named_with_the_time() -> None:
    store = store_of((CHECK, 0, None), (CHECK, 5, Reason.HTTP_STATUS))
    assert "since Jan 15 00:05 UTC (2 days)" in page_of(store, 3 * 24 * 60)
    assert "since 2027-01-15 00:05 UTC (300 days)" in page_of(store, 300 * 24 * 60 + 10)


def test_while_first_results_come_in_the_page_says_how_many_there_are() -> None:
    assert "First results are coming in: 1 of 3 targets probed so far." in page_of(store_of((CHECK, 0, None)), 1)


def test_equal_causes_are_one_row_whose_targets_are_folded_and_cut() -> None:
    checks = tuple(Check(CheckKey(Target(f"https://h{n:02}.example/")), CHECK.uses) for n in range(40))
    store = store_of(*((check, 1, Reason.HTTP_STATUS) for check in checks), work=Plan(checks))
    page = status_page(store.snapshot(), {}, NOW).text
    whole = status_page(store.snapshot(), {"show": "all"}, NOW).text
    section = page[page.index('id="down"') : page.index('id="readiness"')]
    assert section.count("<article") == 1
    assert section.count('<tr><th scope="row"') == 10
    assert "40 targets: h00.example, h01.example, h02.example and 37 more" in words_on(section)
    assert "And 30 more: everything that is down" in words_on(section)
    assert whole[whole.index('id="down"') : whole.index('id="readiness"')].count('<tr><th scope="row"') == 40


def test_failures_that_are_over_are_shown_and_those_that_last_are_in_what_is_down_only() -> None:
    store = store_of(
        (CHECK, 0, None),
        (CHECK, 1, Reason.HTTP_STATUS),
        (CHECK, 2, None),
        (OTHER, 2, Reason.DNS_ERROR),
        (THIRD, 3, Reason.HTTP_RESET),
        (THIRD, 4, None),
    )
    recovered = overview(store.snapshot(), Filters(), NOW).recovered
    assert [(over.key, over.spell.reason) for over in recovered] == [
        (THIRD.key, Reason.HTTP_RESET),
        (CHECK.key, Reason.HTTP_STATUS),
    ]
    assert "Failures that are over" in page_of(store, 5)
    assert "Failures that are over" not in page_of(store_of((OTHER, 2, Reason.DNS_ERROR)), 5)


def test_a_feature_that_is_not_ready_says_since_when_and_how_available_it_was() -> None:
    store = store_of(
        *((check, at, None) for check in (CHECK, OTHER) for at in range(0, 60, 10)),
        (CHECK, 60, Reason.HTTP_STATUS),
        (OTHER, 70, Reason.DNS_ERROR),
        (CHECK, 80, Reason.HTTP_RESET),
        (THIRD, 80, None),
    )
    (row,) = (row for row in overview(store.snapshot(), Filters(), MIDNIGHT + 5400).features if row.since)
    assert (row.feature, row.since) == ("updates", Since(MIDNIGHT + 3600, seen=True))
    assert row.day.words == "24 h: up in 85.7 % of probes; failures (UTC) 01:00 to now; no data for 22 of 24 h"
    text = page_of(store, 90)
    told = status(store.snapshot(), MIDNIGHT + 5400)
    (updates,) = (feature for feature in told["features"] if feature["feature"] == "updates")
    assert updates["not_ready_since"] == MIDNIGHT + 3600
    assert updates["availability"] == {"day": 6 / 7, "week": 6 / 7}
    assert told["counted_since"] == MIDNIGHT
    assert [target["availability"]["day"] for target in told["targets"]] == [6 / 8, 6 / 7, 1.0]
    assert "not ready since 01:00 UTC (30 min)" in text
    assert "Counted since 00:00 UTC, when this exporter started" in text


def test_a_wildcard_is_down_since_the_last_of_its_targets_is() -> None:
    uses = (Use(CHECK.uses[0].consumer, "*.example"),)
    one, two = (Check(CheckKey(Target(f"https://{name}.example/")), uses) for name in ("one", "two"))
    store = store_of(
        (one, 0, None),
        (two, 0, None),
        (one, 5, Reason.HTTP_STATUS),
        (two, 9, Reason.HTTP_STATUS),
        work=Plan((one, two)),
    )
    (row,) = overview(store.snapshot(), Filters(), NOW).features
    assert row.since == Since(MIDNIGHT + 9 * 60, seen=True)


def test_warnings_of_the_configuration_are_on_the_page_and_what_they_say_is_text() -> None:
    warnings = [f"exporter.yaml:{line}: proxies.<b>: no role uses it" for line in range(8)]
    page = status_page(snapshot_of((Plan((CHECK,)), {})), {}, NOW, warnings).text
    assert page.count("proxies.&lt;b&gt;: no role uses it") == 5
    assert "And 3 more" in page


def test_filters_are_folded_until_one_is_set_and_none_has_one_value_only() -> None:
    snapshot = store_of((CHECK, 0, None)).snapshot()
    plain, narrow = (status_page(snapshot, query, NOW).text for query in ({}, {"state": "up"}))
    assert '<details class="filters" id="filters">' in plain
    assert '<details class="filters" id="filters" open>' in narrow
    assert re.findall(r'<select name="([a-z]+)">', plain) == ["feature", "path", "state"]


# ---------------------------------------------------------------- as it is served


BROWSER: Final = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def asked(store: ResultStore, path: str, headers: Mapping[str, str] = MappingProxyType({})) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(cast(Service, SimpleNamespace(store=store, warnings=()))))
        async with httpx.AsyncClient(transport=transport, base_url="http://exporter.example") as client:
            return await client.get(path, headers=headers)

    return anyio.run(ask)


@pytest.mark.parametrize("path", ["/", "/?state=nonsense", "/target?url=x", "/runbooks/", "/assets/style.css"])
def test_what_is_served_runs_one_file_of_its_own_and_is_shown_in_nobodys_frame(path: str) -> None:
    headers = asked(ResultStore(), path).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy.pop("default-src") == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["style-src"] == policy["img-src"] == policy["form-action"] == "'self'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_pages_refresh_by_themselves_unless_that_is_switched_off() -> None:
    store = ResultStore(Plan((CHECK,)))
    url = f"/target?url={CHECK.key.target.url}"
    assert refreshes(asked(store, url).text) == str(REFRESH)
    assert {refreshes(asked(store, path).text) for path in ("/", "/?state=up")} == {str(SOON)}  # for a first result
    store.record(Result(CHECK.key, 0.0, {}))
    assert {refreshes(asked(store, path).text) for path in ("/", "/?state=up")} == {str(REFRESH)}
    quiet = ("/?refresh=off", f"{url}&refresh=off", "/target?url=x", "/runbooks/")
    assert {refreshes(asked(store, path).text) for path in quiet} == {None}


def refreshes(text: str) -> str | None:
    """After how many seconds a page looks again: by its script, and in the same time without."""
    by_script = re.search(r'data-seconds="([0-9]+)"', text)
    without = re.search(r'<noscript><meta http-equiv="refresh" content="([0-9]+)"></noscript>', text)
    assert (by_script and by_script[1]) == (without and without[1])
    return by_script and by_script[1]


def test_a_file_of_a_page_is_kept_for_good_by_its_mark_and_asked_for_again_without() -> None:
    links = [link for link in Page(asked(ResultStore(), "/").text).links if link.startswith("./assets/")]
    assert len(links) == 2
    links.append("./assets/refresh.js?v=" + ASSETS["refresh.js"].mark)
    for link in links:
        answer = asked(ResultStore(), link.removeprefix("."))
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert asked(ResultStore(), link.removeprefix(".").partition("?")[0]).headers["cache-control"] == "no-cache"
    assert asked(ResultStore(), "/assets/nothing.css").status_code == 404


@pytest.mark.parametrize(
    ("path", "home"), [("/nothing", "./"), ("/runbooks/nothing", "../"), ("/some/where/else", "../../")]
)
def test_where_there_is_no_page_a_person_is_led_home_and_a_program_gets_a_line(path: str, home: str) -> None:
    answer = asked(ResultStore(), path, BROWSER)
    assert answer.status_code == 404
    assert {home, f"{home}runbooks/"} <= set(Page(answer.text).links)
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    line = asked(ResultStore(), path)
    assert (line.status_code, line.text.count("\n")) == (404, 1)
    assert line.headers["content-type"] == "text/plain; charset=utf-8"


def test_the_links_of_no_page_are_short_however_deep_its_address() -> None:
    assert len(asked(ResultStore(), "/a" * 3000, BROWSER).text) < 3000


def test_a_command_is_selected_as_a_whole() -> None:
    style = asked(ResultStore(), "/assets/style.css").text
    assert re.search(r"^pre code \{[^}]*\buser-select: all\b", style, re.MULTILINE)


def test_every_link_to_the_runbook_of_a_target_names_it_and_its_path() -> None:
    key = replace(CHECK.key, proxy="corporate")
    result = Result(key, 0.0, {}, failure=Failure(Phase.CONNECT, Reason.CONNECT_TIMEOUT, "no answer"))
    snapshot = snapshot_of((Plan((replace(CHECK, key=key),)), {key: result}))
    pages = (status_page(snapshot, {}, NOW), target_page(snapshot, {"url": key.target.url}, NOW))
    for page in pages:
        links = [link for link in Page(page.text).links if "runbooks/" in link and not link.endswith("runbooks/")]
        asked_for = [dict(parse_qsl(urlsplit(link).query)) for link in links]
        assert asked_for
        assert asked_for == [{"target": key.target.url, "path": key.path}] * len(links)


def test_the_page_of_a_target_says_what_to_search_for_in_the_log() -> None:
    result = Result(CHECK.key, 0.0, {}, failure=Failure(Phase.CONNECT, Reason.CONNECT_TIMEOUT, "no answer"))
    snapshot = snapshot_of((Plan((CHECK,)), {CHECK.key: result}))
    said = "".join(Page(target_page(snapshot, {"url": CHECK.key.target.url}, NOW).text).texts)
    assert "What to search for in the log" in said
    assert f"destination {CHECK.key.target.host} or one of its addresses, TCP port 443" in said
