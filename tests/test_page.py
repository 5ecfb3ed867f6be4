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
from exporter.report.findings import headline
from exporter.report.reasons import all_words
from exporter.results.readiness import failures_to_come
from exporter.results.store import ResultStore
from exporter.web.pages import REFRESH, status, status_page, target_page
from exporter.web.pages.bars import FULL
from exporter.web.pages.filters import Filters, choices, read
from exporter.web.pages.overview import overview
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
        assert (target["address"], target["http_status"]) == (result.evidence.address, result.evidence.status)
        assert (target["tls"] is None) == (result.evidence.tls is None)


@given(plans_with_results())
def test_every_feature_is_told_with_its_endpoints(drawn: Drawn) -> None:
    snapshot = snapshot_of(drawn)
    told = status(snapshot)
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
        for line in status(snapshot_of(drawn))["unprobed"]
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
def test_all_that_is_down_is_told_with_its_words_and_what_it_breaks(drawn: Drawn) -> None:
    snapshot = snapshot_of(drawn)
    faults = overview(snapshot, Filters()).faults
    found = [(row.key, fault.reason) for fault in faults for row in fault.rows]
    wanted = [(key, result.failure.reason) for key, result in drawn[1].items() if result.failure]
    assert sorted(map(repr, found)) == sorted(map(repr, wanted))
    text = unescape(re.sub("<[^>]*>", "", status_page(snapshot, {}, NOW).text))
    assert all(fault.words.summary in text and fault.words.remedy.replace("`", "") in text for fault in faults)


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
    rows = overview(snapshot, Filters()).features
    assert [row.importance for row in rows] == [important.get(row.feature, Importance.NORMAL) for row in rows]
    for state in {row.state for row in rows}:
        alike = [list(Importance).index(row.importance) for row in rows if row.state == state]
        assert alike == sorted(alike)


@given(plans_with_results())
def test_nothing_that_matters_is_left_out(drawn: Drawn) -> None:
    snapshot = snapshot_of(drawn)
    view = overview(snapshot, Filters())
    text = unescape(status_page(snapshot, {}, NOW).text)
    to_come = failures_to_come(snapshot.plan, {key: latest.result for key, latest in snapshot.latest.items()})
    assert all(f"The path {path} is down" in text for path, up in snapshot.paths.items() if not up)
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
    shown = {row.key: row.state for row in overview(snapshot, filters).targets.rows}
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
    view, whole = overview(snapshot, read(query, choices(snapshot))[0]), overview(snapshot, Filters())
    assert (view.verdict, view.summary, view.blamed) == (whole.verdict, whole.summary, whole.blamed)
    assert f"{view.verdict.words.upper()}: {view.summary}" == headline(snapshot_of(drawn))


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
        assert result is None or result.up or all_words().reasons[result.failure.reason].summary in texts  # type: ignore[union-attr]


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
    (told,) = status(store.snapshot())["targets"]
    assert "dns_timeout" in texts
    assert "1970-01-01 00:01:00" in texts
    assert [(spell["reason"], spell["probes"]) for spell in told["history"]] == [
        (None, 1),
        ("dns_timeout", 2),
        (None, 1),
    ]
    assert [failed.spell.probes for failed in overview(store.snapshot(), Filters()).failed] == [2]


@given(plans_with_results())
def test_a_bar_is_never_longer_than_full_and_shows_every_phase(drawn: Drawn) -> None:
    for row in overview(snapshot_of(drawn), Filters()).targets.rows:
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
        assert not re.search("<script|<[^>]* on[a-z]+=|style=", page.text.replace('rel="stylesheet"', ""))
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
    (told,) = status(store.snapshot())["targets"]
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
    assert status(store.snapshot())["families"] == [
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
    assert status(snapshot)["site"] == "P01 <Berlin>"


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


# ---------------------------------------------------------------- as it is served


BROWSER: Final = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def asked(store: ResultStore, path: str, headers: Mapping[str, str] = MappingProxyType({})) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(cast(Service, SimpleNamespace(store=store))))
        async with httpx.AsyncClient(transport=transport, base_url="http://exporter.example") as client:
            return await client.get(path, headers=headers)

    return anyio.run(ask)


@pytest.mark.parametrize("path", ["/", "/?state=nonsense", "/target?url=x", "/runbooks/", "/assets/style.css"])
def test_what_is_served_runs_nothing_and_is_shown_in_nobodys_frame(path: str) -> None:
    headers = asked(ResultStore(), path).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy.pop("default-src") == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["style-src"] == policy["img-src"] == policy["form-action"] == "'self'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_pages_refresh_by_themselves_unless_that_is_switched_off() -> None:
    store = ResultStore(Plan((CHECK,)))
    url = f"/target?url={CHECK.key.target.url}"
    assert {asked(store, path).headers["refresh"] for path in ("/", "/?state=up", url)} == {str(REFRESH)}
    quiet = ("/?refresh=off", f"{url}&refresh=off", "/target?url=x", "/runbooks/")
    assert [path for path in quiet if "refresh" in asked(store, path).headers] == []


def test_a_file_of_a_page_is_kept_for_good_by_its_mark_and_asked_for_again_without() -> None:
    links = [link for link in Page(asked(ResultStore(), "/").text).links if link.startswith("./assets/")]
    assert len(links) == 2
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
