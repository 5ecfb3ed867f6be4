"""The firewall request of this moment: the rules of what is down, by path, as a page and as files."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Final, cast

import anyio
import httpx
import pytest

from exporter import allowlist as lists
from exporter.model.vocabulary import DIRECT, Failure, Phase, Reason, Result
from exporter.results.store import ResultStore
from exporter.service.exporter import Exporter
from exporter.service.load import Source, deploy, network_of
from exporter.web.pages.firewall_request import ALL, Asked, requested
from exporter.web.routes import Service, create_app
from tests.pages import broken, empty, healthy, site_rules

RULES: Final = site_rules()[0]


def asked(store: ResultStore, query: str) -> httpx.Response:
    service = cast(Service, SimpleNamespace(store=store, rules=site_rules))

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(service))
        async with httpx.AsyncClient(transport=transport, base_url="http://exporter.example") as client:
            return await client.get(f"/firewall-request{query}")

    return anyio.run(ask)


def test_the_rules_are_those_whose_targets_are_down_by_the_path() -> None:
    found = requested(RULES, broken().snapshot(), Asked())
    denied, silent = "https://download.microsoft.com/", "https://enterpriseregistration.windows.net/"
    assert {rule.host for rule in found.rules if rule.path == "proxy:corporate"} >= {"download.microsoft.com"}
    assert all(
        rule.path == "proxy:corporate" for rule in found.rules if denied in rule.targets
    )  # it is up by the other one
    assert any(silent in rule.targets for rule in found.rules if rule.path == DIRECT)
    assert len(found.rules) < len(RULES) / 4


def test_a_path_narrows_and_all_is_everything_that_the_site_needs() -> None:
    snapshot = broken().snapshot()
    paths = {rule.path for rule in requested(RULES, snapshot, Asked(path=DIRECT)).rules}
    assert paths == {DIRECT}
    assert requested(RULES, snapshot, Asked(ALL)).rules == RULES
    assert requested(RULES, snapshot, Asked(ALL, DIRECT)).rules == tuple(rule for rule in RULES if rule.path == DIRECT)


@pytest.mark.parametrize(
    ("reason", "phase", "who"),
    [
        (Reason.DNS_NOT_FOUND, Phase.RESOLVE, "DNS"),
        (Reason.TLS_EXPIRED, Phase.TLS, "PKI"),
        (Reason.PROXY_UNREACHABLE, Phase.CONNECT, "proxy"),
    ],
)
def test_what_no_rule_brings_back_is_counted_and_not_requested(reason: Reason, phase: Phase, who: str) -> None:
    store = healthy()
    check = next(check for check in store.plan.checks if check.key.proxy and len(check.uses) > 1)
    last = store.snapshot().latest[check.key].result
    store.record(Result(check.key, last.finished + 60, {phase: 0.1}, failure=Failure(phase, reason, "in words")))
    found = requested(RULES, store.snapshot(), Asked())
    assert found.rules == ()
    assert found.others == ((who, 1),)
    page = asked(store, "")
    assert f"1 target is down for a reason that no rule removes: {who}." in page.text


def test_the_files_are_those_that_the_command_writes() -> None:
    store = broken()
    wanted = requested(RULES, store.snapshot(), Asked(path=DIRECT)).rules
    markdown, table, text = (
        asked(store, f"?state=down&path=direct&format={each}") for each in ("markdown", "csv", "text")
    )
    assert markdown.text == f"{lists.change_request(wanted, site_rules()[1])}\n"
    assert list(csv.DictReader(io.StringIO(table.text))) == list(csv.DictReader(io.StringIO(lists.rules_csv(wanted))))
    assert "enterpriseregistration.windows.net" in text.text
    assert [answer.headers["content-type"] for answer in (markdown, table, text)] == [
        "text/markdown; charset=utf-8",
        "text/csv; charset=utf-8",
        "text/plain; charset=utf-8",
    ]
    assert [answer.headers["content-disposition"] for answer in (markdown, table, text)] == [
        'attachment; filename="firewall-request.md"',
        'attachment; filename="firewall-request.csv"',
        'inline; filename="firewall-request.txt"',
    ]
    assert all("content-security-policy" in answer.headers for answer in (markdown, table, text))


def test_the_page_shows_the_request_and_leads_to_its_files() -> None:
    page = asked(broken(), "?path=proxy%3Acorporate")
    assert page.status_code == 200
    assert "Firewall request: Microsoft Configuration Manager" in page.text
    assert "download.microsoft.com" in page.text
    assert "enterpriseregistration.windows.net" not in page.text
    assert "firewall-request?state=down&amp;path=proxy%3Acorporate&amp;format=csv" in page.text


@pytest.mark.parametrize("made", [healthy, empty])
def test_where_nothing_is_down_the_page_says_so(made: Callable[[], ResultStore]) -> None:
    page = asked(made(), "")
    assert page.status_code == 200
    assert "Nothing that is down can be brought back by a rule" in page.text


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?state=up", "state: &#39;up&#39; is not known here; expected down, all."),
        ("?path=proxy%3Agone", "path: &#39;proxy:gone&#39; is not known here; expected direct, proxy:corporate."),
        ("?format=pdf", "format: &#39;pdf&#39; is not known here; expected markdown, csv, text."),
        ("?format=%3Cscript%3E", "&lt;script&gt;"),
    ],
)
def test_what_is_not_understood_is_named(query: str, words: str) -> None:
    page = asked(broken(), query)
    assert page.status_code == 400
    assert words in page.text


def test_the_rules_are_those_of_the_configuration_in_force(tmp_path: Path) -> None:
    file = tmp_path / "exporter.yaml"
    file.write_text("site: {roles: [client], features: [delivery-optimization]}")
    source = Source(file)
    deployment = deploy(source)
    exporter = Exporter(source, deployment, network_of(deployment))
    before, roles = exporter.rules()
    file.write_text("site: {roles: [console], features: [console-feedback]}")
    anyio.run(exporter.reload)
    after, _ = exporter.rules()
    assert {rule.role for rule in before} == {"client"}
    assert {rule.role for rule in after} == {"console"}
    assert exporter.rules()[0] is after  # found once
    assert "console" in roles
