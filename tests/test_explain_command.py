"""`explain` and `/probe?debug=true`: one probe shown to a person, exact on golden files, and discreet whatever comes.

After a wanted change of the words, `UPDATE_GOLDEN=1 pytest tests/test_explain_command.py` writes the golden files anew.
"""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from rich.cells import cell_len
from rich.console import Console

from exporter.allowlist.rules import Rule
from exporter.metrics.text import Exposition
from exporter.model.vocabulary import (
    Answer,
    Cause,
    Certificate,
    CheckKey,
    Consumer,
    Contact,
    Endpoint,
    Evidence,
    Failure,
    Phase,
    Proxy,
    Question,
    Reason,
    Requirement,
    Result,
    Role,
    Root,
    Site,
    Snapshot,
    SocketAddress,
    Status,
    Support,
    Target,
    TlsFacts,
    Tried,
    Trust,
    Use,
    VersionRange,
    WhyUnprobed,
)
from exporter.plan.checks import plan
from exporter.report import Asked, asked, print_asked, probes_text, why_none
from exporter.report.reasons import all_words
from exporter.results.store import ResultStore
from exporter.web.routes import create_app
from tests.lab import Lab
from tests.running import command, eventually, running
from tests.strategies import phases_of, reasons_of

GOLDEN: Final = Path(__file__).parent / "data" / "explain"
BEGUN: Final = 1_700_000_000.0
PROXIES: Final = {"corporate": Proxy("corporate", "http://proxy.corp.example:3128", "svc", "password")}
VIA: Final = {"service-connection-point": "corporate"}

# ---------------------------------------------------------------- a plan and results made by hand

CLIENT = Consumer("co-management", "client", "azure-public")
GOVERNMENT = Consumer("co-management", "client", "azure-us-government")
POINT = Consumer("co-management", "management-point", "azure-public")
CONSOLE = Consumer("console-documentation", "console", "azure-public")
SCP = Consumer("tenant-attach", "service-connection-point", "azure-public")
GATEWAY = "https://gateway.configmgr.manage.microsoft.com/"
US_GATEWAY = "https://us.gateway.configmgr.manage.microsoft.com/"


def needed(consumers: Iterable[Consumer], endpoint: Endpoint, *urls: str, **more: Any) -> list[Requirement]:
    """One requirement for each consumer, as the catalogue would give it."""
    return [
        Requirement(
            Use(consumer, endpoint.pattern),
            endpoint,
            f"https://learn.microsoft.com/{consumer.feature}",
            tuple(map(Target, urls)),
            **more,
            logs=(f"{consumer.feature}.log (client)", "hman.log (site server)"),
            messages=("11410/11411/11412 SMS_SERVICE_CONNECTOR",) if consumer is SCP else (),
            troubleshooting=f"https://learn.microsoft.com/{consumer.feature}/troubleshoot",
        )
        for consumer in consumers
    ]


DOCUMENTED: Final = (
    *needed(
        (CLIENT, GOVERNMENT, POINT, CONSOLE, SCP),
        Endpoint("go.microsoft.com", ("https", "http"), note="A redirector"),
        "https://go.microsoft.com/",
        "http://go.microsoft.com/",
    ),
    *needed((SCP,), Endpoint("https://go.microsoft.com/fwlink/?LinkID=1"), "https://go.microsoft.com/fwlink/?LinkID=1"),
    *needed(
        (CLIENT, SCP),
        Endpoint("*.manage.microsoft.com", tls_inspection=Support.UNSUPPORTED, condition="co-managed devices only"),
        GATEWAY,
        US_GATEWAY,
    ),
    *needed((SCP,), Endpoint("https://*.manage.microsoft.com", tls_inspection=Support.UNSUPPORTED), GATEWAY),
    *needed(
        (CLIENT,),
        Endpoint("<name>.blob.core.windows.net"),
        why_unprobed=WhyUnprobed.MISSING_PARAMETER,
        detail="set site.parameters.cloud_service_name",
    ),
    *needed((CLIENT,), Endpoint("cmg.corp.example", trust=Trust.CUSTOMER), "https://cmg.corp.example/"),
)
WORK: Final = plan(DOCUMENTED, PROXIES, VIA)


def key_of(url: str, proxy: str | None = None) -> CheckKey:
    (key,) = [check.key for check in WORK.checks if check.key.target.url == url and check.key.proxy == proxy]
    return key


def only(*results: Result) -> Snapshot:
    """These results, and no other check."""
    store = ResultStore(replace(WORK, checks=tuple(c for c in WORK.checks if c.key in {r.key for r in results})))
    for result in results:
        store.record(result)
    return store.snapshot()


def shown(result: Result, width: int = 80) -> str:
    return probes_text(only(result), width)


LEAF = Certificate(
    "CN=go.microsoft.com,O=Microsoft Corporation,C=US",
    "CN=Microsoft Azure RSA TLS Issuing CA 03,O=Microsoft Corporation,C=US",
    1_690_000_000.0,
    1_720_000_000.0,
    "ab" * 32,
)
ISSUER = Certificate(LEAF.issuer, "CN=DigiCert Global Root G2,C=US", 1_600_000_000.0, 1_780_000_000.0, "cd" * 32)
FORGED = Certificate(
    "CN=*.manage.microsoft.com", "CN=Corp Inspection CA,O=Corp", 1_699_000_000.0, 1_702_000_000.0, "ef" * 32
)
CROSSED = Certificate("CN=DigiCert Global Root G2,C=US", "CN=Old Root", 1_400_000_000.0, 1_600_000_000.0, "aa" * 32)
ANCHOR = Certificate(CROSSED.subject, CROSSED.subject, 1_400_000_000.0, 2_100_000_000.0, "bb" * 32)
UNREADABLE = Certificate(None, None, None, None, "99" * 32, 1234)
VERIFIED = TlsFacts("TLSv1.3", (LEAF, ISSUER, CROSSED, UNREADABLE), Root.PUBLIC, (LEAF, ISSUER, ANCHOR), verified=True)


def tried(address: str, contact: Contact, seconds: float, error: str | None = None) -> Tried:
    """An address that was asked for TLS, from an address of its own family."""
    local = SocketAddress("2001:db8::ff" if ":" in address else "10.20.0.5", 50122)
    return Tried(address, contact, seconds, error, 443, local, BEGUN + 0.5)


ADDRESSES = ("192.0.2.1", "2001:db8::1")
REDIRECT = Answer(302, (("Location", "https://www.microsoft.com/"), ("Set-Cookie", "MUID=1234; Path=/")))
DENIED = Answer(
    407,
    (
        ("Server", "squid/6.6"),
        ("X-Squid-Error", "ERR_CACHE_ACCESS_DENIED 0"),
        ("Proxy-Authenticate", "Negotiate"),
        ("Proxy-Authenticate", 'Basic realm="Corp, internet", charset="UTF-8"'),
        ("Via", "1.1 proxy.corp.example (squid/6.6)"),
    ),
    "<html><head><title>ERROR: Cache Access Denied</title><style>body { color: red }</style></head>"
    "<body><h1>ERROR</h1><!-- why --><p>Sorry, you are not currently allowed to request&nbsp;it.</p></body></html>",
)
CHALLENGED = Answer(407, (("Proxy-Authenticate", "Negotiate oYGgMIGdoAMKAQE="),))

RESULTS: Final = {
    "healthy": Result(
        key_of("https://go.microsoft.com/"),
        BEGUN,
        {Phase.RESOLVE: 0.0121, Phase.CONNECT: 0.0203, Phase.TLS: 0.1, Phase.PROCESSING: 0.05},
        Evidence(ADDRESSES, ADDRESSES[0], (), VERIFIED, REDIRECT),
    ),
    "proxy-dialogue": Result(
        key_of("https://go.microsoft.com/", "corporate"),
        BEGUN,
        {Phase.RESOLVE: 0.001, Phase.CONNECT: 0.002, Phase.PROXY: 0.3},
        Evidence(("192.0.2.9",), "192.0.2.9", (DENIED, CHALLENGED)),
        Failure(Phase.PROXY, Reason.PROXY_AUTH_REQUIRED, "the proxy answered CONNECT with 407"),
        2,
    ),
    "inspected": Result(
        key_of(GATEWAY),
        BEGUN,
        {Phase.RESOLVE: 0.01, Phase.CONNECT: 0.01, Phase.TLS: 0.02, Phase.PROCESSING: 0.2},
        Evidence(ADDRESSES[:1], ADDRESSES[0], (), TlsFacts("TLSv1.2", (FORGED,), Root.PRIVATE), Answer(403)),
    ),
    "proxy-certificate": Result(
        key_of("https://go.microsoft.com/", "corporate"),
        BEGUN,
        {Phase.RESOLVE: 0.001, Phase.CONNECT: 0.004},
        Evidence(("192.0.2.9",), "192.0.2.9", proxy_tls=TlsFacts(None, (FORGED,), Root.PRIVATE)),
        Failure(
            Phase.CONNECT,
            Reason.PROXY_UNREACHABLE,
            "the proxy's own certificate: Hostname mismatch, certificate is not valid for 'proxy.corp.example'.",
            Cause.PROXY_CERTIFICATE,
        ),
    ),
    "connect-timeout": Result(
        key_of("https://go.microsoft.com/"),
        BEGUN,
        {Phase.RESOLVE: 0.015, Phase.CONNECT: 9.985},
        Evidence(ADDRESSES, tried=tuple(tried(address, Contact.SILENT, 9.7) for address in ADDRESSES)),
        Failure(Phase.CONNECT, Reason.CONNECT_TIMEOUT, f"no answer within the timeout ({', '.join(ADDRESSES)})"),
        2,
    ),
    "one-family-dead": Result(
        key_of("http://go.microsoft.com/"),
        BEGUN,
        {Phase.RESOLVE: 3.0121, Phase.CONNECT: 0.2703, Phase.PROCESSING: 0.05},
        Evidence(
            ("10.1.2.3", "2001:db8::1", "2001:db8::2"),
            "10.1.2.3",
            answer=Answer(404),
            tried=(
                replace(tried("2001:db8::1", Contact.NO_WAY, 0.0001, "Network is unreachable"), local=None),
                tried("10.1.2.3", Contact.OPENED, 0.0201),
                tried("2001:db8::2", Contact.SILENT, 0.25),
            ),
            unanswered=Question.AAAA,
        ),
    ),
    "hidden": Result(
        key_of("https://go.microsoft.com/"),
        BEGUN,
        {Phase.RESOLVE: 0.0021},
        Evidence(("127.0.0.1",), by_dns=False),
        Failure(
            Phase.RESOLVE,
            Reason.DNS_ERROR,
            "the name resolves to 127.0.0.1: this machine's hosts file hides it",
            Cause.SINKHOLE,
        ),
    ),
}


@pytest.mark.parametrize("name", RESULTS)
def test_a_probe_reads_as_its_golden_file(name: str) -> None:
    path, text = GOLDEN / f"{name}.txt", shown(RESULTS[name])
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text.splitlines() == path.read_text(encoding="utf-8").splitlines()


# ---------------------------------------------------------------- what is shown

FAILURES: Final = [
    (key, phase, reason)
    for key in (key_of("https://go.microsoft.com/"), key_of("https://go.microsoft.com/", "corporate"))
    for phase in phases_of(key)
    for reason in reasons_of(phase, key.proxy)
]


def test_every_reason_and_path_is_looked_at() -> None:
    assert {reason for _, _, reason in FAILURES} == set(Reason)
    assert {key.path for key, _, _ in FAILURES} == {"direct", "proxy:corporate"}


@pytest.mark.parametrize(("key", "phase", "reason"), FAILURES)
def test_a_failure_is_shown_with_its_phase_its_cause_and_what_to_do(
    key: CheckKey, phase: Phase, reason: Reason
) -> None:
    passed = phases_of(key)
    taken = dict.fromkeys(passed[: passed.index(phase) + 1], 0.1)
    text = shown(Result(key, BEGUN, taken, Evidence(), Failure(phase, reason, "in words")), 1000)
    words = all_words().reasons[reason]
    assert text.startswith(f"DOWN: {key.target.url} ({key.path})\n  {reason}: in words\n")
    assert [line.split()[0] for line in text.splitlines() if line.endswith("FAILED")] == [phase]
    remedy = re.sub(r"\\{\w+\\}", ".+", re.escape(words.for_one or words.remedy))
    asked = re.escape(f"Likely cause\n  {words.summary}\n  To do ({words.who}): ")
    assert re.search(rf"{asked}{remedy}\n", text)
    assert "The same fault in Configuration Manager\n" in text
    assert "/troubleshoot\n" in text


def test_a_firewall_is_asked_for_by_role_pattern_address_port_and_time() -> None:
    evidence = Evidence(addresses=("192.0.2.7", "192.0.2.8"))
    failure = Failure(Phase.CONNECT, Reason.CONNECT_TIMEOUT, "silence")
    taken = {Phase.RESOLVE: 0.1, Phase.CONNECT: 10.0}
    text = shown(Result(key_of("https://go.microsoft.com/"), BEGUN, taken, evidence, failure), 1000)
    (asked,) = (line for line in text.splitlines() if "To do (firewall)" in line)
    assert "Allow TCP port 443 outbound from client, console, management-point to go.microsoft.com" in asked
    assert (
        f"to 192.0.2.7, 192.0.2.8, TCP port 443, at {datetime.fromtimestamp(BEGUN, UTC):%Y-%m-%d %H:%M:%S} UTC" in asked
    )
    assert "{" not in asked


def test_a_healthy_probe_speaks_of_no_fault() -> None:
    text = shown(RESULTS["healthy"])
    assert text.startswith("UP: ")
    assert not any(words in text for words in ("FAILED", "cause", "Failure", "fault", "troubleshoot"))


def test_features_with_the_same_roles_and_clouds_share_a_line() -> None:
    text = shown(RESULTS["healthy"], 200)
    lines = text.partition("Needed by\n")[2].partition("\n\n")[0].splitlines()
    assert [line.strip() for line in lines] == [
        "co-management: client, management-point (azure-public)",
        "co-management: client (azure-us-government)",
        "console-documentation: console (azure-public)",
    ]


def inspection(url: str, leads_to: Root | None) -> str:
    """The text, and what is said of inspection in it."""
    tls = TlsFacts("TLSv1.3", (LEAF,), leads_to)
    phases = dict.fromkeys((Phase.RESOLVE, Phase.CONNECT, Phase.TLS, Phase.PROCESSING), 0.1)
    return shown(Result(key_of(url), BEGUN, phases, Evidence(tls=tls, answer=Answer(200))), 1000)


@pytest.mark.parametrize("leads_to", [Root.PUBLIC, Root.MICROSOFT_PRODUCT])
def test_the_service_s_own_certificate_threatens_nothing(leads_to: Root) -> None:
    text = inspection(GATEWAY, leads_to)
    assert "none seen" in text
    assert "the documents do not support it for *.manage.microsoft.com" in text
    assert "Failure to come" not in text


def test_inspection_that_the_documents_allow_is_only_told() -> None:
    text = inspection("https://go.microsoft.com/", Root.PRIVATE)
    assert "inspection  possible" in text
    assert "Failure to come" not in text


def test_a_customer_s_own_certificate_is_not_called_inspected() -> None:
    assert "inspection  unknown" in inspection("https://cmg.corp.example/", Root.PRIVATE)


def test_inspection_that_breaks_a_feature_is_told_of_a_probe_that_is_up() -> None:
    text = inspection(GATEWAY, Root.PRIVATE)
    assert text.startswith("UP: ")
    assert "Failure to come\n" in text
    assert "expect a failure of co-management." in text
    assert "co-management.log" in text


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        (-86400 * 2, 86400 * 3 + 60, "3 days left"),
        (-86400 * 9, -86400 * 2, "EXPIRED 2 days ago"),
        (86400 * 2, 86400 * 9, "not valid for another 2 days"),
        (86400, 86400 * 9, "not valid for another 1 day"),
        (2399, 86400, "not valid for another 40 minutes"),
        (-86400, -3 * 3600 - 20, "EXPIRED 3 hours ago"),
        (-86400, 2391, "40 minutes left"),
        (-86400, 86399, "24 hours left"),
        (-86400, 60, "1 minute left"),
        (-86400, 20, "less than a minute left"),
        (-BEGUN - 86400 * 10_000, 253_402_300_799.0 - BEGUN, "9999-12-31 23:59 UTC"),
    ],
)
def test_a_certificate_s_validity_is_told_as_of_the_probe(first: float, last: float, words: str) -> None:
    certificate = replace(LEAF, not_before=BEGUN + first, not_after=BEGUN + last)
    result = Result(key_of(GATEWAY), BEGUN, {}, Evidence(tls=TlsFacts("TLSv1.3", (certificate,), Root.PUBLIC)))
    assert words in shown(result, 200)


# ---------------------------------------------------------------- whatever comes

NASTY: Final = st.text(alphabet="\\|`*_<>&[]\x00\x1b\x9b\ud800\u202e\xa0 \n\tü:=,\"';", max_size=60)
TEXTS: Final = st.text(max_size=60) | NASTY | st.just("long-" * 40)
HEADERS: Final = st.lists(
    st.tuples(
        TEXTS | st.sampled_from(["Set-Cookie", "Proxy-Authenticate", "WWW-Authenticate", "Location", "Via"]), TEXTS
    ),
    max_size=4,
).map(tuple)
PAGES: Final = TEXTS | st.lists(
    st.sampled_from(["<p>", "</", "<style", "<!--", "-->", "&lt;", "&#x1b;", "x", " "])
).map("".join)
ANSWERS: Final = st.builds(Answer, st.integers(0, 999), HEADERS, PAGES)
MOMENTS: Final = st.floats(-2_000_000_000, 253_402_300_799)
CERTIFICATES: Final = st.builds(Certificate, TEXTS, TEXTS, MOMENTS, MOMENTS, TEXTS)
TLS: Final = st.builds(
    TlsFacts,
    st.none() | TEXTS,
    st.lists(CERTIFICATES, max_size=3).map(tuple),
    st.none() | st.sampled_from(Root),
)
EVIDENCE: Final = st.builds(
    Evidence,
    st.lists(TEXTS, max_size=3).map(tuple),
    st.none() | TEXTS,
    st.lists(ANSWERS, max_size=2).map(tuple),
    st.none() | TLS,
    st.none() | ANSWERS,
)
ANY_RESULT: Final = st.builds(
    Result,
    st.sampled_from([check.key for check in WORK.checks]),
    st.floats(0, 4e9),
    st.dictionaries(st.sampled_from(Phase), st.floats(0, 3600)),
    EVIDENCE,
    st.none() | st.builds(Failure, st.sampled_from(Phase), st.sampled_from(Reason), TEXTS),
    st.integers(1, 10),
)


@given(ANY_RESULT, st.integers(60, 200))
def test_every_line_fits_the_width(result: Result, width: int) -> None:
    lines = shown(result, width).splitlines()
    assert max(map(cell_len, lines)) <= width


@given(ANY_RESULT)
def test_a_probe_folds_and_loses_nothing(result: Result) -> None:
    narrow, wide = (shown(result, width) for width in (60, 5000))
    assert sorted("".join(narrow.split())) == sorted("".join(wide.split()))


@given(ANY_RESULT)
def test_no_text_steers_the_terminal_or_exceeds_its_encoding(result: Result) -> None:
    out = io.BytesIO()
    console = Console(file=io.TextIOWrapper(out, encoding="ascii", write_through=True), width=80)
    print_asked(Asked(WORK, ()), only(result), console)
    assert out.getvalue().decode("ascii").replace("\n", "").isprintable()


def test_a_text_that_is_cut_off_says_by_how_much() -> None:
    answer = Answer(200, (("X-Long", "x" * 1000),), "<p>" + "word " * 500)
    text = shown(Result(key_of(GATEWAY), BEGUN, {}, Evidence(answer=answer)), 1000)
    assert f" {'x' * 300}... (700 characters more)\n" in text
    assert "word ... (2099 characters more)\n" in text
    assert text.count("word ") == 80


# ---------------------------------------------------------------- secrets

SECRETS: Final = st.binary(min_size=9, max_size=40).map(
    lambda data: "S3cR" + base64.b64encode(data).decode()
)  # what gives a token away is that it is no word


@given(
    SECRETS,
    st.sampled_from(["Negotiate", "NTLM", "Basic", "Bearer", "Foo"]),
    st.sampled_from(["", ', Basic realm="a, b"']),
)
def test_no_secret_that_a_server_gives_back_is_shown(secret: str, scheme: str, other: str) -> None:
    token, quoted = f"{scheme} {secret}{other}", quote(secret, safe="")
    headers = (
        ("Set-Cookie", f"session={secret}; Path=/; Secure"),
        ("set-cookie", secret.rstrip("=")),
        ("Set-Cookie", f"{secret.rstrip('=')}; Path=/"),
        ("Proxy-Authenticate", token),
        ("WWW-Authenticate", f'Digest realm="x", {token}'),
        ("Proxy-Authentication-Info", secret),
        ("Proxy-Authorization", token),
        ("Cookie", f"a={secret}"),
        ("Location", f"https://svc:{quoted}@proxy.example/"),
        ("X-Debug", f"Proxy-Authorization: {token}"),
        ("X-Debug", f"NTLM {secret}"),
    )
    answer = Answer(407, headers, f"<pre>CONNECT a:443\nProxy-Authorization: {token}\nhttp://u:{quoted}@p/</pre>")
    failure = Failure(Phase.PROXY, Reason.PROXY_ERROR, f"http://svc:{quoted}@proxy.example refused NTLM {secret}")
    evidence = Evidence(dialogue=(answer, answer), answer=answer)
    text = shown(Result(key_of("https://go.microsoft.com/", "corporate"), BEGUN, {}, evidence, failure), 5000)
    assert secret.rstrip("=") not in text
    assert quoted not in text
    assert "session (not shown)" in text
    assert f"{scheme} (not shown){other}" in text


def test_a_proxy_is_shown_by_its_name_only() -> None:
    text = shown(RESULTS["connect-timeout"]) + shown(RESULTS["inspected"])
    proxied = shown(replace(RESULTS["connect-timeout"], key=key_of("https://go.microsoft.com/", "corporate")))
    assert "proxy:corporate" in proxied
    assert not any(secret in text + proxied for secret in ("proxy.corp.example", "3128", "svc", "password"))


@pytest.mark.parametrize(
    "value",
    [
        'Basic realm="Corp Proxy, Inc", charset="UTF-8"',
        'Digest realm="x", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c0", qop="auth"',
        "Negotiate, NTLM",
        'Bearer authorization_uri="https://login.windows.net/common/oauth2/authorize", resource_id=x',
    ],
)
def test_a_challenge_without_a_token_is_shown_whole(value: str) -> None:
    answer = Answer(407, (("Proxy-Authenticate", value),), "Basic Authentication is required")
    text = shown(Result(key_of(GATEWAY), BEGUN, {}, Evidence(answer=answer)), 1000)
    assert value in text
    assert "Basic Authentication is required" in text


# ---------------------------------------------------------------- what a word means


def urls(found: Asked | None) -> list[tuple[str, str]]:
    assert found is not None
    return [(check.key.target.url, check.key.path) for check in found.plan.checks]


HTTPS: Final = [("https://go.microsoft.com/", "direct"), ("https://go.microsoft.com/", "proxy:corporate")]
HTTP: Final = [("http://go.microsoft.com/", "direct"), ("http://go.microsoft.com/", "proxy:corporate")]
GATEWAYS: Final = [(url, path) for url in (GATEWAY, US_GATEWAY) for path in ("direct", "proxy:corporate")]
LINK: Final = [("https://go.microsoft.com/fwlink/?LinkID=1", "proxy:corporate")]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("https://go.microsoft.com/", HTTPS),
        ("https://go.microsoft.com", HTTPS),
        ("HTTPS://Go.Microsoft.com:443", HTTPS),
        ("https://go.microsoft.com/fwlink/?LinkID=1", LINK),
        ("go.microsoft.com", HTTP + HTTPS),
        ("Go.Microsoft.com", HTTP + HTTPS),
        ("go.microsoft.com:443", HTTPS + LINK),
        ("*.manage.microsoft.com", GATEWAYS),
        ("https://*.manage.microsoft.com", GATEWAYS[1:2]),
        ("gateway.configmgr.manage.microsoft.com", GATEWAYS[:2]),
        ("cmg.corp.example", [("https://cmg.corp.example/", "direct")]),
    ],
)
def test_a_word_is_a_target_or_an_endpoint_or_a_host(word: str, meant: list[tuple[str, str]]) -> None:
    assert urls(asked(WORK, word)) == meant


@pytest.mark.parametrize(
    "word",
    [
        "",
        "https://go.microsoft.com/other",
        "https://portal.corp.example/",
        "<name>.blob.core.windows.net",
        "microsoft.com",
        "http://[::1",
        "https://go.microsoft.com:99999/",
    ],
)
def test_nothing_else_is_probed(word: str) -> None:
    assert asked(WORK, word) is None


def ended(word: str, *down: tuple[str, str]) -> tuple[bool, str]:
    """Whether a word is usable, and the last line, when these targets and paths are down."""
    usable, lines = explained(word, *down)
    return usable, lines[-1]


def explained(word: str, *down: tuple[str, str]) -> tuple[bool, list[str]]:
    """Whether a word is usable, and every line."""
    found = asked(WORK, word)
    assert found is not None
    store = ResultStore(found.plan)
    for check in found.plan.checks:
        failed = (check.key.target.url, check.key.path) in down
        failure = Failure(Phase.CONNECT, Reason.CONNECT_REFUSED, "refused") if failed else None
        store.record(Result(check.key, BEGUN, {Phase.RESOLVE: 0.1, Phase.CONNECT: 0.1}, Evidence(), failure))
    out = io.StringIO()
    print_asked(found, store.snapshot(), Console(file=out, width=80))
    return found.usable(store.snapshot()), out.getvalue().splitlines()


def test_an_endpoint_is_usable_when_all_its_targets_are() -> None:
    assert ended("go.microsoft.com") == (True, "USABLE: 4 of 4 up")
    assert ended("go.microsoft.com", HTTP[0]) == (False, "NOT USABLE: 3 of 4 up")


def test_a_wildcard_is_usable_when_one_target_is_for_whoever_needs_it() -> None:
    words = "USABLE: 3 of 4 up; of a wildcard, one target is enough"
    assert ended("*.manage.microsoft.com", GATEWAYS[2]) == (True, words)
    assert ended("*.manage.microsoft.com", GATEWAYS[0], GATEWAYS[2]) == (False, "NOT USABLE: 2 of 4 up")


def test_a_wildcard_that_is_partly_open_is_said_to_be() -> None:
    _, whole = explained("*.manage.microsoft.com")
    _, partly = explained("*.manage.microsoft.com", GATEWAYS[2])
    said = "*.manage.microsoft.com is partly open: 1 of 2 targets down. The rule in the firewall or proxy"
    assert said in " ".join(" ".join(partly).split())
    assert "partly open" not in " ".join(whole)


def test_a_host_of_a_wildcard_stands_for_itself() -> None:
    assert ended("us.gateway.configmgr.manage.microsoft.com", GATEWAYS[2])[0] is False


# ---------------------------------------------------------------- why a word means nothing

SITE: Final = Site(features=("co-management",), roles=("client",), version="2403", parameters={"region": "europe"})


def why(word: str, *documented: Requirement, site: Site = SITE) -> list[str]:
    return why_none(word, WORK, (*DOCUMENTED, *documented), site).splitlines()


def test_an_endpoint_without_a_target_says_why_and_what_to_set() -> None:
    first, *rest = why("<Name>.blob.core.windows.net")
    assert first == "'<Name>.blob.core.windows.net': not probed"
    assert rest[0].strip().startswith("missing_parameter: ")
    assert rest[-1].strip() == "set site.parameters.cloud_service_name"


@pytest.mark.parametrize(
    ("consumer", "facts", "lacking"),
    [
        (replace(CLIENT, feature="deploy-edge"), {}, "feature deploy-edge (`site.features`, `--feature`)"),
        (POINT, {}, "role management-point (`site.roles`, `--role`)"),
        (GOVERNMENT, {}, "cloud azure-us-government (`site.clouds`, `--cloud`)"),
        (CLIENT, {"status": Status.RETIRED}, "status retired (`site.statuses`)"),
        (CLIENT, {"versions": VersionRange(last="1810")}, "a version up to 1810 (`site.version`)"),
        (CLIENT, {"versions": VersionRange("2407", "2503")}, "a version from 2407 up to 2503 (`site.version`)"),
        (CLIENT, {"only_for": {"region": ("asia", "us")}}, "asia or us (`site.parameters.region`)"),
        (
            GOVERNMENT,
            {"status": Status.DEPRECATED},
            "cloud azure-us-government (`site.clouds`, `--cloud`), status deprecated (`site.statuses`)",
        ),
    ],
)
@pytest.mark.parametrize("word", ["other.example", "https://Other.example", "other.example:443"])
def test_an_endpoint_that_is_not_selected_says_what_it_takes(
    consumer: Consumer, facts: dict[str, Any], lacking: str, word: str
) -> None:
    (requirement,) = needed((consumer,), Endpoint("other.example", **facts), "https://other.example/")
    found = [f"'{word}': documented, but not selected here; what would select it:", f"  {lacking}"]
    assert why(word, requirement) == found


def test_of_many_ways_to_select_an_endpoint_the_shortest_are_told_once() -> None:
    endpoint = Endpoint("other.example")
    everywhere = needed((GOVERNMENT, CONSOLE, SCP, POINT), endpoint, "https://other.example/")
    _, *lines = why("other.example", *everywhere, *everywhere)
    assert [line.strip() for line in lines] == [
        "cloud azure-us-government (`site.clouds`, `--cloud`)",
        "role management-point (`site.roles`, `--role`)",
    ]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("go.microsof.com", "go.microsoft.com"),
        ("https://go.microsof.com/", "https://go.microsoft.com/"),
        ("*.manage.microsoft.con", "*.manage.microsoft.com"),
    ],
)
def test_a_slip_is_corrected(word: str, meant: str) -> None:
    assert why(word) == [f"{word!r}: unknown target or endpoint, did you mean {meant}?"]


def test_a_strange_word_is_met_with_where_to_look() -> None:
    assert why("zzz") == ["'zzz': unknown target or endpoint; the command `endpoints` lists them all"]


def test_a_host_under_a_wildcard_says_how_to_have_it_probed() -> None:
    _, hint = why("https://fef.msua01.manage.microsoft.com/")
    assert hint.strip() == (
        "It lies under *.manage.microsoft.com, https://*.manage.microsoft.com: "
        "to have it probed, give it as `probe` in a group of your own."
    )


def test_a_word_with_a_password_or_control_characters_is_not_repeated() -> None:
    said = "\n".join((*why("https://svc:secret@go.microsoft.com/"), *why("a\x1b[31mb")))
    assert "secret" not in said
    assert "\x1b" not in said


# ---------------------------------------------------------------- on demand


class OneProbe:
    """What the HTTP side asks, with one result for everything."""

    warnings: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.store = ResultStore(WORK)
        self.registry = Exposition()
        self.asked: list[CheckKey] = []

    async def probe(self, keys: Iterable[CheckKey], within: float | None = None) -> dict[CheckKey, Result]:  # noqa: ARG002
        self.asked += keys
        return {key: replace(RESULTS["connect-timeout"], key=key) for key in self.asked}

    async def reload(self) -> None:
        raise AssertionError

    def rules(self) -> tuple[tuple[Rule, ...], Mapping[str, Role]]:
        raise AssertionError


def get(service: OneProbe, path: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://exporter") as client:
            return await client.get(path)

    return anyio.run(ask)


def test_a_debugged_probe_is_the_report_and_then_the_metrics() -> None:
    service = OneProbe()
    answer = get(service, "/probe?target=https://go.microsoft.com&debug=true")
    report, _, metrics = answer.text.partition("Metrics\n\n")
    samples = {sample.name for family in text_string_to_metric_families(metrics) for sample in family.samples}
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert report == "".join(
        probes_text(only(replace(RESULTS["connect-timeout"], key=key)), 100) for key in service.asked
    )
    assert samples > {"probe_success", "probe_duration_seconds", "configmgr_endpoint_failure"}
    assert [key.path for key in service.asked] == ["direct", "proxy:corporate"]


def test_without_debug_the_metrics_come_alone() -> None:
    plain, off = (get(OneProbe(), f"/probe?target={GATEWAY}{more}") for more in ("", "&debug=false"))
    assert plain.text == off.text
    assert plain.text.startswith("# HELP probe_success ")


@pytest.mark.parametrize("debug", ["", "1", "True", "yes"])
def test_debug_is_true_or_false(debug: str) -> None:
    service = OneProbe()
    answer = get(service, f"/probe?target={GATEWAY}&debug={debug}")
    assert (answer.status_code, answer.text) == (400, f"debug: expected true or false, found {debug!r}\n")
    assert not service.asked


# ---------------------------------------------------------------- as users run it

HOST: Final = "dc.services.visualstudio.com"


@pytest.fixture
def proxied(lab: Lab, tmp_path: Path) -> Path:
    """A configuration that sends the service connection point through the proxy that wants a password."""
    path = tmp_path / "exporter.yaml"
    path.write_text(
        "site: {features: [tenant-attach, url-forwarding]}\n"
        f"proxies: {{corporate: {{url: '{lab.auth_proxy_url}'}}}}\n"
        "via: {service-connection-point: corporate}\n"
    )
    return path


@pytest.mark.lab
def test_a_healthy_target_ends_with_0_and_is_asked_once(lab: Lab) -> None:
    lab.clear_requests()
    done = command(lab, "explain", f"https://{HOST}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"UP: https://{HOST}/ (direct)\n")
    assert f"connected to      {lab.address_of[HOST]}" in done.stdout
    assert "issued by   CN=Laboratory Issuing CA" in done.stdout
    assert "200 OK" in done.stdout
    assert "tenant-attach: service-connection-point (azure-public)" in done.stdout
    assert len(lab.requests()) == 1


@pytest.mark.lab
def test_a_dropped_target_ends_with_1_and_names_the_firewall(lab: Lab, tmp_path: Path) -> None:
    config = tmp_path / "exporter.yaml"
    config.write_text("probe: {timeout: 1s, attempts: 1}\n")
    with lab.drop(HOST):
        done = command(lab, "explain", HOST, "--config.file", config)
    assert done.returncode == 1, done.stderr
    assert (
        f"DOWN: https://{HOST}/ (direct)\n  connect_timeout: no answer from {lab.address_of[HOST]} port 443 within "
        in done.stdout
    )
    assert f"name resolved to  {lab.address_of[HOST]}" in done.stdout
    assert "To do (firewall): " in done.stdout


@pytest.mark.lab
def test_what_the_proxy_says_is_shown_and_each_path_by_itself(lab: Lab, proxied: Path) -> None:
    done = command(lab, "explain", "https://go.microsoft.com", "--config.file", proxied)
    assert done.returncode == 1, done.stderr
    assert "UP: https://go.microsoft.com/ (direct)\n" in done.stdout
    assert "DOWN: https://go.microsoft.com/ (proxy:corporate)\n  proxy_auth_required: " in done.stdout
    assert "Answer 1 of the proxy to CONNECT" in done.stdout
    assert 'Basic realm="proxy.corp.example"' in done.stdout
    assert "ERR_CACHE_ACCESS_DENIED" in done.stdout
    assert done.stdout.endswith("NOT USABLE: 1 of 2 up\n")


@pytest.mark.lab
def test_every_target_of_a_pattern_is_probed(lab: Lab) -> None:
    with lab.reset("us.gateway.configmgr.manage.microsoft.com"):
        done = command(lab, "explain", "https://*.manage.microsoft.com", "--feature", "tenant-attach")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\nUP: ") + done.stdout.startswith("UP: ") > 1
    assert "DOWN: https://us.gateway.configmgr.manage.microsoft.com/ (direct)\n" in done.stdout
    assert "Failure to come" in done.stdout  # the laboratory's root is nobody's
    assert done.stdout.splitlines()[-1].startswith("USABLE: ")


@pytest.mark.lab
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["https://go.microsof.com/"], "did you mean https://go.microsoft.com/?"),
        (["https://portal.corp.example/"], "unknown target or endpoint"),
        (["*.manage.microsoft.us"], "cloud azure-us-government (`site.clouds`, `--cloud`)"),
        ([HOST, "--feature", "deploy-edge"], "feature tenant-attach (`site.features`, `--feature`)"),
        (["<name>.blob.core.windows.net"], "set site.parameters.cloud_service_name"),
        ([], "Missing argument"),
    ],
)
def test_a_word_that_is_not_probed_ends_with_2_and_says_why(lab: Lab, arguments: list[str], said: str) -> None:
    lab.clear_requests()
    done = command(lab, "explain", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert not lab.requests()


@pytest.mark.lab
def test_a_parameter_that_limits_the_site_is_named(lab: Lab, tmp_path: Path) -> None:
    config = tmp_path / "exporter.yaml"
    config.write_text("site: {parameters: {intune_region: europe}}\n")
    done = command(lab, "explain", "go-amer.trouter.communications.svc.cloud.microsoft", "--config.file", config)
    assert done.returncode == 2
    assert "north-america (`site.parameters.intune_region`)" in done.stderr


@pytest.mark.lab
def test_a_probe_can_be_debugged_on_demand(lab: Lab, tmp_path: Path) -> None:
    rarely = tmp_path / "exporter.yaml"
    rarely.write_text("probe: {interval: 1h}")  # so that no other probe asks meanwhile
    with running(lab, tmp_path, "--feature", "tenant-attach", "--config.file", rarely) as exporter:
        eventually("first results", exporter.ready)
        lab.clear_requests()
        answer = exporter.get(f"/probe?target=https://{HOST}&debug=true")
        asked_for = lab.requests(HOST)
        refused = exporter.get(f"/probe?target=https://{HOST}&debug=please")
    assert answer.status == 200
    assert answer.body.startswith(f"UP: https://{HOST}/ (direct)\n")
    assert "\nprobe_success 1.0\n" in answer.body
    assert len(asked_for) == 1
    assert refused.status == 400
