"""The firewall request of this moment: the rules of what is down, by path, as a page and as files."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import anyio
import httpx
import pytest
from typer.testing import CliRunner

from exporter import allowlist as lists
from exporter.cli import app
from exporter.model.vocabulary import DIRECT, Failure, Phase, Reason, Result
from exporter.results.store import ResultStore
from exporter.service.exporter import Exporter
from exporter.service.load import Source, deploy, network_of
from exporter.web.pages.firewall_request import ALL, Asked, requested
from exporter.web.routes import Service, create_app
from tests.pages import broken, empty, healthy, site_rules
from tests.servers import serving, status

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
    found = requested(RULES, store.snapshot(), Asked(path=DIRECT))
    wanted = found.rules
    markdown, table, text = (
        asked(store, f"?state=down&path=direct&format={each}") for each in ("markdown", "csv", "text")
    )
    assert markdown.text == f"{lists.change_request(wanted, site_rules()[1], seen=found.seen)}\n"
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


# ---------------------------------------------------------------- what the log shows


def test_the_request_says_what_the_log_of_the_firewall_shows() -> None:
    found = requested(RULES, broken().snapshot(), Asked(path=DIRECT))
    text = lists.change_request(found.rules, site_rules()[1], seen=found.seen)
    (row,) = (line for line in text.splitlines() if "SNI enterpriseregistration.windows.net" in line)
    assert re.search(r"^\| 20\S+ \S+ \| `10\.20\.30\.40:50122` \| `203\.0\.113\.7:443/tcp` \| .* \| no answer", row)
    denied = requested(RULES, broken().snapshot(), Asked(path="proxy:corporate"))
    text = lists.change_request(denied.rules, site_rules()[1], seen=denied.seen)
    assert "| `203.0.113.7:3128/tcp` | `CONNECT download.microsoft.com:443` |" in text


def test_only_what_is_down_now_is_written_and_nothing_where_all_is_up(tmp_path: Path) -> None:
    config = tmp_path / "exporter.yaml"

    def written(*ports: int) -> Any:
        endpoints = ", ".join(f"{{pattern: 'http://127.0.0.1:{port}/'}}" for port in ports)
        config.write_text(
            "site: {features: [portal], roles: [client]}\nprobe: {attempts: 1, timeout: 2s}\n"
            f"groups: [{{feature: portal, roles: [client], endpoints: [{endpoints}]}}]\n"
        )
        call = ["allowlist", "--config.file", str(config), "--only-down", "--format"]
        return [CliRunner().invoke(app, [*call, form]) for form in ("json", "markdown")]

    with serving(status(200)) as server:
        data, text = written(server.port, 1)
        nothing, _ = written(server.port)
    assert (data.exit_code, text.exit_code, nothing.exit_code) == (0, 0, 0)
    assert [rule["ports"] for rule in json.loads(data.stdout)] == ["1"]
    assert re.search(r"\| `127\.0\.0\.1:\d+` \| `127\.0\.0\.1:1/tcp` \| `http://127\.0\.0\.1:1/` \| ", text.stdout)
    assert json.loads(nothing.stdout) == []
    assert "nothing down that a rule" in nothing.stderr


def test_what_is_down_is_not_compared_with_an_older_list(tmp_path: Path) -> None:
    refused = CliRunner().invoke(app, ["allowlist", "--only-down", "--diff", str(tmp_path / "old.json")])
    assert refused.exit_code == 2
    assert "does not go with" in refused.stderr
