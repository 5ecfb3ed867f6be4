"""What `check` and `endpoints` print: exact on golden files, and lawful on whatever may come.

After a wanted change of the words, `UPDATE_GOLDEN=1 pytest tests/test_report.py` writes the golden files anew.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt  # rich depends on it
from rich.cells import cell_len
from rich.console import Console

from exporter.model.vocabulary import (
    Answer,
    CheckKey,
    Consumer,
    Contact,
    Endpoint,
    EndpointState,
    Evidence,
    Failure,
    Phase,
    Plan,
    Proxy,
    Reason,
    Requirement,
    Result,
    Snapshot,
    SocketAddress,
    Status,
    Support,
    Target,
    Tried,
    Use,
    Verdict,
    WhyUnprobed,
)
from exporter.plan.checks import plan
from exporter.report import (
    check_json,
    check_junit,
    check_markdown,
    endpoints_csv,
    endpoints_json,
    print_check,
    print_endpoints,
)
from exporter.report.causes import apart, causes
from exporter.report.findings import down, headline, needed_by, partly_open, verdict
from exporter.results.store import ResultStore
from exporter.text.printable import one_line
from exporter.web.pages import status
from tests.junit_schema import violations
from tests.strategies import proxy_maps, vias

GOLDEN: Final = Path(__file__).parent / "data" / "report"
PROXIES: Final = {"corporate": Proxy("corporate", "http://proxy.corp.example:3128", no_proxy=(".corp.example",))}
VIA: Final = {"service-connection-point": "corporate"}

# ---------------------------------------------------------------- snapshots made by hand

SCP = Consumer("updates-and-servicing", "service-connection-point", "azure-public")
CLIENT = Consumer("co-management", "client", "azure-public")
POINT = Consumer("co-management", "management-point", "azure-public")
GOVERNMENT = Consumer("co-management", "client", "azure-us-government")
CMG = Consumer("cloud-services", "cmg-connection-point", "azure-public")

DOCUMENTED = tuple(
    Requirement(
        Use(consumer, endpoint.pattern),
        endpoint,
        "https://learn.microsoft.com/example",
        tuple(map(Target, urls)),
        why,
        detail,
    )
    for consumers, endpoint, urls, why, detail in (
        (
            (SCP, CLIENT, POINT, GOVERNMENT),
            Endpoint("go.microsoft.com", ("https", "http"), source=("SEED",)),
            ("https://go.microsoft.com/", "http://go.microsoft.com/"),
            None,
            None,
        ),
        (
            (SCP,),
            Endpoint("*.manage.microsoft.com", tls_inspection=Support.UNSUPPORTED),
            ("https://gateway.configmgr.manage.microsoft.com/", "https://eu.gateway.configmgr.manage.microsoft.com/"),
            None,
            None,
        ),
        (
            (CLIENT,),
            Endpoint("https://petrol.example/feedback?version=1", status=Status.DEPRECATED, condition="before 2603"),
            ("https://petrol.example/feedback?version=1",),
            None,
            None,
        ),
        (
            (CMG, SCP),
            Endpoint("<name>.blob.core.windows.net"),
            (),
            WhyUnprobed.MISSING_PARAMETER,
            "set site.parameters.cloud_service_name",
        ),
        ((SCP,), Endpoint("*.akamaiedge.net"), (), WhyUnprobed.NO_REPRESENTATIVE, "no document names a host"),
        ((SCP,), Endpoint("time.example", ("udp",)), (), WhyUnprobed.NOT_HTTP, "udp cannot be probed over HTTP"),
    )
    for consumer in consumers
)
REQUIREMENTS = tuple(sorted(DOCUMENTED, key=lambda requirement: requirement.use))


def tried(key: CheckKey, failure: Failure) -> tuple[Tried, ...]:
    """The address that was asked for a connection, of the target or of its proxy."""
    contact, error = Contact.OPENED, None
    if failure.reason is Reason.CONNECT_TIMEOUT:
        contact = Contact.SILENT
    elif failure.reason is Reason.PROXY_UNREACHABLE:
        contact, error = Contact.REFUSED, "Connection refused"
    port = 3128 if key.proxy else key.target.port
    return (Tried("192.0.2.7", contact, 0.5, error, port, SocketAddress("10.20.0.5", 50122), 1_700_000_000.25),)


def snapshot_of(work: Plan, failures: Mapping[tuple[str, str], Failure]) -> Snapshot:
    """Every check probed; the targets and paths named in `failures` failed so."""
    store = ResultStore(work)
    for check in work.checks:
        failure = failures.get((check.key.target.url, check.key.path))
        phases = {Phase.RESOLVE: 0.25, Phase.CONNECT: 0.5}
        evidence = Evidence(tried=tried(check.key, failure)) if failure else Evidence(answer=Answer(200))
        store.record(Result(check.key, 1_700_000_000.0, phases, evidence, failure))
    return store.snapshot()


WHOLE = plan(REQUIREMENTS, PROXIES, VIA)
PROBED = plan([requirement for requirement in REQUIREMENTS if requirement.targets], PROXIES, VIA)
TIMEOUT = Failure(Phase.CONNECT, Reason.CONNECT_TIMEOUT, "no answer within the timeout")
NO_PROXY = Failure(Phase.CONNECT, Reason.PROXY_UNREACHABLE, "no connection to the proxy: Connection refused")
COVERED = (
    ("https://eu.gateway.configmgr.manage.microsoft.com/", "proxy:corporate"),
    Failure(Phase.PROXY, Reason.PROXY_DENIED, "the proxy answered CONNECT with 403"),
)
FAILURES = {
    ("https://go.microsoft.com/", "direct"): TIMEOUT,
    ("https://go.microsoft.com/", "proxy:corporate"): Failure(
        Phase.PROXY, Reason.PROXY_ERROR, "the proxy answered CONNECT with 503"
    ),
    COVERED[0]: COVERED[1],
    ("https://petrol.example/feedback?version=1", "direct"): Failure(
        Phase.TLS, Reason.TLS_UNTRUSTED, "unable to get | local\n`issuer` <certificate>\x1b[31m"
    ),
}
OUTAGE = {(check.key.target.url, check.key.path): NO_PROXY if check.key.proxy else TIMEOUT for check in WHOLE.checks}
SNAPSHOTS: Final = {
    "healthy": snapshot_of(PROBED, {}),
    "narrow": snapshot_of(PROBED, dict([COVERED])),
    "broken": snapshot_of(WHOLE, FAILURES),
    "covered": snapshot_of(WHOLE, dict([COVERED])),
    "pending": ResultStore(WHOLE).snapshot(),
    "outage": snapshot_of(WHOLE, OUTAGE),
    "empty": ResultStore().snapshot(),
}


# ---------------------------------------------------------------- any snapshot

WILD = st.sampled_from(
    ["*.manage.microsoft.com", "<name>.blob.core.windows.net", "a|b", "=1+1", "[red]x[/]", ":smile:"]
)
TEXTS = WILD | st.text(min_size=1, max_size=60) | st.text(alphabet="\\|`*_<>&[]\x00\x1b\ud800 \n", min_size=1)
CONSUMERS = st.builds(
    Consumer,
    st.sampled_from(["co-management", "tenant-attach", "updates-and-servicing"]),
    st.sampled_from(["client", "service-connection-point", "asset-intelligence-synchronization-point"]),
    st.sampled_from(["azure-public", "azure-us-government"]),
)
URLS = st.builds(
    "https://{}.example/{}".format,
    st.text(alphabet="abc", min_size=1, max_size=3) | st.just("long-" * 30),
    st.text(alphabet="abc%&=|`_é", max_size=120),
)
ENDPOINTS = st.builds(
    Endpoint,
    pattern=TEXTS,
    status=st.sampled_from(Status),
    condition=st.none() | TEXTS,
    source=st.lists(TEXTS, max_size=2).map(tuple),
)


@st.composite
def requirements(draw: st.DrawFn) -> tuple[Requirement, ...]:
    endpoint, docs = draw(ENDPOINTS), draw(st.none() | TEXTS)
    targets = draw(st.lists(URLS.map(Target), max_size=3, unique=True).map(tuple))
    why = None if targets else draw(st.sampled_from(WhyUnprobed))
    detail = None if targets else draw(TEXTS)
    consumers = draw(st.lists(CONSUMERS, min_size=1, max_size=4, unique=True))
    return tuple(
        Requirement(Use(consumer, endpoint.pattern), endpoint, docs, targets, why, detail) for consumer in consumers
    )


def unlike(found: Iterable[Iterable[Requirement]]) -> tuple[Requirement, ...]:
    """One requirement for each use, as they come from the catalogue."""
    return tuple({requirement.use: requirement for some in found for requirement in some}.values())


ANY_REQUIREMENTS = st.lists(requirements(), max_size=6).map(unlike)
FAILED = st.builds(Failure, st.sampled_from(Phase), st.sampled_from(Reason), TEXTS)
PHASES = st.dictionaries(st.sampled_from(Phase), st.floats(0, 100))


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    store = ResultStore(plan(draw(ANY_REQUIREMENTS), draw(proxy_maps), draw(vias)))
    for check in store.plan.checks:
        if draw(st.booleans() | st.just(value=True)):
            store.record(Result(check.key, 0.0, draw(PHASES), Evidence(), draw(st.none() | FAILED)))
    return store.snapshot()


ANY_SNAPSHOT = snapshots()


# ---------------------------------------------------------------- golden files


def printed(value: Any, into: Callable[[Any, Console], None], width: int = 80) -> str:
    out = io.StringIO()
    into(value, Console(file=out, width=width, force_terminal=False))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


CHECK: Final[dict[str, Callable[[Snapshot], str]]] = {
    "json": check_json,
    "xml": check_junit,
    "md": check_markdown,
    "txt": lambda snapshot: printed(snapshot, print_check),
}
LISTING: Final[dict[str, Callable[[tuple[Requirement, ...]], str]]] = {
    "json": endpoints_json,
    "csv": endpoints_csv,
    "txt": lambda requirements: printed(plan(requirements, PROXIES, VIA), print_endpoints),
}


def golden(name: str, text: str) -> str:
    """The file as it stands; line ends are a matter of the checkout."""
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text("\n".join(text.splitlines()) + "\n", encoding="utf-8")
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("form", CHECK)
@pytest.mark.parametrize("name", SNAPSHOTS)
def test_a_check_reads_as_its_golden_file(name: str, form: str) -> None:
    text = CHECK[form](SNAPSHOTS[name])
    assert text.splitlines() == golden(f"{name}.{form}", text).splitlines()


@pytest.mark.parametrize("form", LISTING)
def test_endpoints_read_as_their_golden_file(form: str) -> None:
    text = LISTING[form](REQUIREMENTS)
    assert text.splitlines() == golden(f"endpoints.{form}", text).splitlines()


# ---------------------------------------------------------------- check


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("healthy", Verdict.READY),
        ("narrow", Verdict.READY),
        ("covered", Verdict.INCOMPLETE),
        ("broken", Verdict.NOT_READY),
        ("outage", Verdict.NOT_READY),
        ("pending", Verdict.PENDING),
        ("empty", Verdict.NOTHING_TO_CHECK),
    ],
)
def test_every_form_of_a_check_says_the_same_verdict(name: str, expected: Verdict) -> None:
    snapshot = SNAPSHOTS[name]
    said = json.loads(check_json(snapshot))
    assert verdict(snapshot) is expected
    assert (said["verdict"], said["ready"]) == (expected, {"ready": True, "not_ready": False}.get(expected))
    assert f"**{expected.words.upper()}: " in check_markdown(snapshot)
    assert f"\n{expected.words.upper()}: " in f"\n{printed(snapshot, print_check)}"
    assert json.loads(json.dumps(status(snapshot, 0.0)))["verdict"] == expected
    root = ET.fromstring(check_junit(snapshot))  # noqa: S314 - our own output
    assert (root.attrib["failures"] != "0") is (expected is Verdict.NOT_READY)
    assert (root.attrib["errors"] != "0") is (expected is Verdict.NOTHING_TO_CHECK)


def test_what_is_incomplete_says_which_keys_to_set_in_every_form() -> None:
    snapshot, key = SNAPSHOTS["covered"], "set site.parameters.cloud_service_name"
    assert any(key in sentence for sentence in json.loads(check_json(snapshot))["why"])
    assert all(key in " ".join(text.split()) for text in (check_markdown(snapshot), printed(snapshot, print_check)))
    assert f'<skipped message="missing_parameter: {key}"' in check_junit(snapshot)


def test_a_wildcard_of_which_a_host_is_down_is_partly_open_in_every_form() -> None:
    snapshot, refused = SNAPSHOTS["narrow"], COVERED[0][0]
    (wildcard,) = partly_open(snapshot)
    assert (wildcard.patterns, [fault.key.target.url for fault in wildcard.refused]) == (
        ("*.manage.microsoft.com",),
        [refused],
    )
    assert "rule in the firewall or proxy is probably narrower" in wildcard.advice
    for text in (check_markdown(snapshot), printed(snapshot, print_check), check_junit(snapshot)):
        assert wildcard.advice in " ".join(text.split())
    for document in (json.loads(check_json(snapshot)), json.loads(json.dumps(status(snapshot, 0.0)))):
        endpoints = [endpoint for feature in document["features"] for endpoint in feature["endpoints"]]
        assert {endpoint["pattern"] for endpoint in endpoints if endpoint["partly_open"]} == set(wildcard.patterns)
        assert [endpoint["refused"] for endpoint in endpoints if "refused" in endpoint] == [
            [{"target": refused, "path": "proxy:corporate"}]
        ]


def test_two_spellings_of_a_wildcard_are_one_and_count_as_two_endpoints() -> None:
    (first,) = [need for need in REQUIREMENTS if need.use.pattern == "*.manage.microsoft.com"]
    second = replace(first, use=replace(first.use, pattern="https://*.manage.microsoft.com"))
    snapshot = snapshot_of(plan([first, second], PROXIES, VIA), dict([COVERED]))
    (wildcard,) = partly_open(snapshot)
    words = "*.manage.microsoft.com and https://*.manage.microsoft.com are partly open: 1 of 2 targets down"
    assert wildcard.headline == words
    assert "2 wildcards partly open" in headline(snapshot)


def test_a_wildcard_whose_hosts_are_unknown_to_dns_is_not_said_to_be_a_matter_of_a_firewall() -> None:
    unknown = Failure(Phase.RESOLVE, Reason.DNS_NOT_FOUND, "the name does not exist")
    (wildcard,) = partly_open(snapshot_of(WHOLE, {COVERED[0]: unknown}))
    assert "firewall" not in wildcard.advice


@given(ANY_SNAPSHOT)
def test_each_failed_check_is_down_once_with_all_its_uses(snapshot: Snapshot) -> None:
    faults = down(snapshot)
    uses_of = {check.key: check.uses for check in snapshot.plan.checks}
    failed = [
        check.key for check in snapshot.plan.checks if (found := snapshot.latest.get(check.key)) and not found.result.up
    ]
    assert [fault.key for fault in faults] == failed
    assert all(sorted(fault.uses) == list(uses_of[fault.key]) for fault in faults)
    assert any(fault.broken for fault in faults) is (verdict(snapshot) is Verdict.NOT_READY)


@given(ANY_SNAPSHOT)
def test_json_keeps_the_contract(snapshot: Snapshot) -> None:
    report = json.loads(check_json(snapshot))
    assert report["ready"] is verdict(snapshot).ready
    assert [{name: found[name] for name in ("feature", "role", "cloud", "ready")} for found in report["features"]] == [
        {
            "feature": feature.consumer.feature,
            "role": feature.consumer.role,
            "cloud": feature.consumer.cloud,
            "ready": feature.verdict.ready,
        }
        for feature in snapshot.features
    ]
    for found, feature in zip(report["features"], snapshot.features, strict=True):
        assert [endpoint["pattern"] for endpoint in found["endpoints"]] == [e.use.pattern for e in feature.endpoints]
        for endpoint, known in zip(found["endpoints"], feature.endpoints, strict=True):
            assert endpoint["up"] is {EndpointState.UP: True, EndpointState.DOWN: False}.get(known.state)
            assert ("reason" in endpoint) is (endpoint["targets"] == [])
            assert [target["target"] for target in endpoint["targets"]] == [key.target.url for key in known.checks]
            for target in endpoint["targets"]:
                assert target.keys() >= {"target", "up", "reason", "phases"}
                assert (target["reason"] in list(Reason)) is (target["up"] is False)
                assert set(target["phases"]) <= set(Phase)


@given(ANY_SNAPSHOT)
@example(SNAPSHOTS["covered"])
def test_each_fact_has_the_same_key_in_check_endpoints_and_status(snapshot: Snapshot) -> None:
    checked, told = json.loads(check_json(snapshot)), json.loads(json.dumps(status(snapshot, 0.0)))
    listed = json.loads(endpoints_json(snapshot.plan.requirements))
    for checked_feature, told_feature in zip(checked["features"], told["features"], strict=True):
        of_what_went_before = {"not_ready_since", "availability"}  # a check knows one moment
        assert told_feature.keys() - of_what_went_before == checked_feature.keys()
        for one, other in zip(checked_feature["endpoints"], told_feature["endpoints"], strict=True):
            assert {key: one[key] for key in ("pattern", "state", "up")} == {
                key: other[key] for key in ("pattern", "state", "up")
            }
    target_of = {(target["target"], target["path"]): target for target in told["targets"]}
    for checked_feature in checked["features"]:
        for target in (target for endpoint in checked_feature["endpoints"] for target in endpoint["targets"]):
            assert target.items() <= target_of[target["target"], target["path"]].items()
    why = [
        {"pattern": endpoint["pattern"], "reason": endpoint["reason"], "detail": endpoint["detail"]}
        for checked_feature in checked["features"]
        for endpoint in checked_feature["endpoints"]
        if not endpoint["targets"]
    ]
    keys = ("pattern", "reason", "detail")
    for document in (told["unprobed"], [line for line in listed if not line["targets"]]):
        assert sorted(map(repr, why)) == sorted(repr({key: line[key] for key in keys}) for line in document)


@given(ANY_SNAPSHOT)
@example(SNAPSHOTS["covered"])
def test_junit_parses_and_its_numbers_add_up(snapshot: Snapshot) -> None:
    root = ET.fromstring(check_junit(snapshot))  # noqa: S314 - our own output
    for above in (root, *root.iter("testsuite")):
        cases = list(above.iter("testcase"))
        assert int(above.attrib["tests"]) == len(cases)
        assert int(above.attrib["failures"]) == sum(case.find("failure") is not None for case in cases)
        if above is not root:
            assert int(above.attrib["skipped"]) == sum(case.find("skipped") is not None for case in cases)
        assert int(above.attrib["errors"]) == sum(case.find("error") is not None for case in cases)
        assert float(above.attrib["time"]) == pytest.approx(sum(float(c.attrib["time"]) for c in cases), abs=0.01)
    assert len(root) == len(snapshot.features) + int(root.attrib["errors"])
    assert {case.attrib["classname"] for case in root.iter("testcase")} == {suite.attrib["name"] for suite in root}
    assert (root.attrib["failures"] == "0") is (verdict(snapshot) is not Verdict.NOT_READY)
    assert all(failure.attrib["message"] in list(Reason) for failure in root.iter("failure"))


@given(ANY_SNAPSHOT)
@example(SNAPSHOTS["covered"])
def test_junit_is_valid_by_the_schema_that_jenkins_uses(snapshot: Snapshot) -> None:
    assert violations(check_junit(snapshot)) == []


def test_the_schema_of_jenkins_refuses_what_it_does_not_know() -> None:
    suite = '<testsuite name="s" tests="1" failures="0" errors="0" skipped="0" time="0.5">{}</testsuite>'
    broken = [
        '<testsuites skipped="0"/>',
        "<testsuites>" + suite.format('<testcase classname="c"/>') + "</testsuites>",
        suite.format('<testcase name="c"><passed/></testcase>'),
        suite.format("words"),
        suite.replace("0.5", "1e3"),
        "<report/>",
    ]
    assert violations(suite.format('<testcase name="c" time="1"><failure type="t">words</failure></testcase>')) == []
    assert [report for report in broken if not violations(report)] == []


def tables(markdown: str) -> Iterator[list[list[str]]]:
    """The cells of each table, as a reader of Markdown sees them."""
    rows: list[list[str]] = []
    for token in MarkdownIt().enable(["table", "strikethrough"]).parse(markdown):
        if token.type == "table_open":
            rows = []
        elif token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and token.level > 3:  # in a cell
            assert all(part.type in {"text", "text_special", "code_inline"} for part in token.children or ())
            rows[-1].append("".join(part.content for part in token.children or ()))
        elif token.type == "table_close":
            yield rows


@given(ANY_SNAPSHOT)
def test_no_text_breaks_a_markdown_table(snapshot: Snapshot) -> None:
    markdown = check_markdown(snapshot)
    found = list(tables(markdown))
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    assert sum(len(rows) + 1 for rows in found) == len(lines)
    assert all(len(row) == len(rows[0]) for rows in found for row in rows)
    shown = [row for rows in found for row in rows[1:]]
    for fault in apart(snapshot):
        facts = [fault.key.target.url, fault.key.path, fault.failure.reason, one_line(fault.failure.message)]
        assert [*facts, "; ".join(needed_by(fault.uses))] in shown


@given(ANY_SNAPSHOT, st.integers(60, 200))
def test_every_line_of_a_check_fits_the_width(snapshot: Snapshot, width: int) -> None:
    lines = printed(snapshot, print_check, width).splitlines()
    assert max(map(cell_len, lines)) <= width


@given(ANY_SNAPSHOT)
def test_a_check_folds_and_loses_nothing(snapshot: Snapshot) -> None:
    narrow, wide = (printed(snapshot, print_check, width) for width in (80, 5000))
    assert sorted("".join(narrow.split())) == sorted("".join(wide.split()))
    assert all(f"{fault.key.target.url} ({fault.key.path})" in wide for fault in apart(snapshot))
    for cause in causes(snapshot):
        assert not cause.shown or f"DOWN: {cause.headline}; {cause.number}\n" in wide


@given(ANY_SNAPSHOT)
def test_no_text_steers_the_terminal_or_exceeds_its_encoding(snapshot: Snapshot) -> None:
    out = io.BytesIO()
    console = Console(file=io.TextIOWrapper(out, encoding="ascii", write_through=True), width=80)
    print_check(snapshot, console)
    text = out.getvalue().decode("ascii")
    assert text.replace("\n", "").isprintable()


# ---------------------------------------------------------------- endpoints


@given(ANY_REQUIREMENTS)
def test_endpoints_json_keeps_the_contract(requirements: tuple[Requirement, ...]) -> None:
    listed = json.loads(endpoints_json(requirements))
    for found, requirement in zip(listed, requirements, strict=True):
        assert found.keys() >= {"feature", "role", "cloud", "pattern", "targets", "status", "docs"}
        assert Use(Consumer(found["feature"], found["role"], found["cloud"]), found["pattern"]) == requirement.use
        assert found["targets"] == [target.url for target in requirement.targets]
        assert found.get("reason") == requirement.why_unprobed
        assert ("reason" in found) is not bool(found["targets"])


@given(ANY_REQUIREMENTS)
def test_csv_gives_back_every_cell_and_no_formula(requirements: tuple[Requirement, ...]) -> None:
    text = endpoints_csv(requirements)
    header, *records = csv.reader(io.StringIO(text, newline=""))
    assert header == [
        "feature",
        "role",
        "cloud",
        "pattern",
        "status",
        "targets",
        "reason",
        "docs",
        "decides",
        "because",
        "importance",
    ]
    for record, requirement in zip(records, requirements, strict=True):
        cells = dict(zip(header, record, strict=True))
        assert cells["pattern"].removeprefix("'") == requirement.use.pattern.removeprefix("'")
        assert cells["targets"].split() == [target.url for target in requirement.targets]
        assert cells["reason"] == (requirement.why_unprobed or "")
        assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in record)


def test_csv_lines_end_as_the_standard_says() -> None:
    assert endpoints_csv(()) == "feature,role,cloud,pattern,status,targets,reason,docs,decides,because,importance\r\n"


@given(ANY_REQUIREMENTS, st.integers(40, 200))
def test_every_line_of_the_endpoints_fits_the_width(requirements: tuple[Requirement, ...], width: int) -> None:
    lines = printed(plan(requirements, {}, {}), print_endpoints, width).splitlines()
    assert all(cell_len(line) <= width for line in lines)


@given(ANY_REQUIREMENTS)
def test_endpoints_fold_and_lose_nothing(requirements: tuple[Requirement, ...]) -> None:
    narrow, wide = (printed(plan(requirements, {}, {}), print_endpoints, width) for width in (80, 5000))
    assert "".join(narrow.split()) == "".join(wide.split())
    assert all(target.url in wide for requirement in requirements for target in requirement.targets)
