"""A page for everything that may page somebody, true to the words, the rules and the catalogue; and served by us."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast
from urllib.parse import urlencode

import anyio
import httpx
import pytest
import typer
import yaml
from markdown_it import MarkdownIt
from starlette.applications import Starlette

from dashboards.alert_words import ALERTS, TEAM_OF, TEAMS, rules
from dashboards.runbooks import DOCUMENTS, INDEX, LOCAL_SYSTEM, SHOWN, pages
from exporter.cli import app
from exporter.config import catalogue
from exporter.config.authorities import load_authorities
from exporter.model.vocabulary import Check, CheckKey, Consumer, Plan, Reason, Target, Use, WhyUnprobed
from exporter.report.commands import all_commands, filled
from exporter.report.invocation import PROGRAM, Invocation
from exporter.report.reasons import Words, all_words
from exporter.report.searches import searched
from exporter.results.store import ResultStore
from exporter.web.routes import Service, create_app
from exporter.web.runbooks import EXAMPLE_FILE, PUT_IN_TARGET, anchor, page, shipped
from tests.test_docs import documented_series
from tests.test_page import Page

ROOT: Final = Path(__file__).parents[1]
CATALOGUE: Final = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "config/catalogue").rglob("*.yaml"))
RULES: Final = [
    rule
    for path in sorted((ROOT / "dashboards/rules").glob("*.yaml"))
    for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
RAISED: Final = {rule["alert"]: rule for rule in RULES if "alert" in rule}
PAGES: Final = pages()
SECTIONS: Final = [  # in this order; no page has another
    *("What it means", "Whose it is", "What to change", "What to search for in the log", "How to confirm it"),
    *("How to prove that it is fixed", "Configuration Manager", "Documents"),
]
SEARCHED, CONFIRM, PROOF = SECTIONS[3:6]
REASONS: Final[list[tuple[str, Words]]] = [*all_words().reasons.items(), *all_words().unprobed.items()]


def sections(name: str) -> dict[str, str]:
    """What stands under each heading of the second level."""
    _, *parts = re.split(r"^## (.*)\n\n", PAGES[f"{name}.md"], flags=re.MULTILINE)
    return {heading: text.strip() for heading, text in zip(parts[::2], parts[1::2], strict=True)}


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)\n```$", text, re.DOTALL | re.MULTILINE)


def links(text: str) -> Iterator[str]:
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        for part in token.children or ():
            if part.type == "link_open":
                yield str(part.attrGet("href"))


# ---------------------------------------------------------------- which pages there are


def test_there_is_a_page_for_each_alert_and_reason_and_one_for_all_of_them() -> None:
    wanted = [*RAISED, *Reason, *WhyUnprobed]
    assert RAISED
    assert sorted(PAGES) == sorted([INDEX, f"{LOCAL_SYSTEM}.md", *(f"{name}.md" for name in wanted)])


def test_the_files_are_what_is_built() -> None:
    files = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "dashboards/runbooks").iterdir()}
    assert files == PAGES
    made = rules()
    assert made == {name: (ROOT / "dashboards/rules" / name).read_text(encoding="utf-8") for name in made}


def test_rules_are_what_their_files_say_without_the_runbooks() -> None:
    said = {name: yaml.safe_load((ROOT / "dashboards/alerts" / name).read_text(encoding="utf-8")) for name in rules()}
    with_runbook = [rule for file in said.values() for group in file["groups"] for rule in group["rules"]]
    assert [rule.pop("runbook")["means"] for rule in with_runbook if "runbook" in rule] == [
        alert.means for alert in ALERTS.values()
    ]
    assert {name: yaml.safe_load(text) for name, text in rules().items()} == said


def test_the_root_whose_lack_is_alerted_is_sought_by_its_thumbprint() -> None:
    look = ALERTS["ConfigMgrTrustAnchorMissing"].look.powershell[0]
    required = load_authorities(catalogue.shipped() / "vocabulary" / "authorities.yaml").required_roots
    sha1 = {root.name: root.sha1 for root in required}
    assert sha1["DigiCert Global Root G2"].upper() in look.line


@pytest.mark.parametrize("name", RAISED)
def test_an_alert_says_when_it_fires_by_its_rule_or_in_words(name: str) -> None:
    assert ("for" in RAISED[name]) is not bool(ALERTS[name].after)


def test_an_alert_leads_to_its_page() -> None:
    ways = {name: rule["annotations"]["runbook_url"].partition("?")[0].rpartition("/") for name, rule in RAISED.items()}
    assert {name: last for name, (_, _, last) in ways.items()} == {name: name for name in RAISED}
    assert {first for first, _, _ in ways.values()} == {"http://localhost:10965/runbooks"}


def test_the_index_leads_to_every_page_once() -> None:
    assert sorted(links(PAGES[INDEX])) == sorted(PAGES.keys() - {INDEX})


# ---------------------------------------------------------------- what they say


EVERYWHERE: Final = {"What it means", "Whose it is", "What to change", CONFIRM, PROOF, "Documents"}


@pytest.mark.parametrize("name", [*ALERTS, *(name for name, _ in REASONS)])
def test_a_page_has_its_sections_in_the_order_of_those_who_act(name: str) -> None:
    found = sections(name)
    assert list(found) == [heading for heading in SECTIONS if heading in found]
    assert found.keys() >= EVERYWHERE
    assert all(found.values())


@pytest.mark.parametrize("reason", Reason)
def test_whoever_runs_a_device_is_shown_what_to_search_for_and_the_exporters_own_fault_is_in_no_other_log(
    reason: Reason,
) -> None:
    found = sections(reason)
    there = reason is not Reason.INTERNAL_ERROR
    assert ({SEARCHED, SHOWN} <= found.keys()) == there
    assert found.get(SEARCHED, "") == "\n".join(f"- {text}" for text in searched(reason))
    assert all(place in found[SEARCHED] for place in ("role's server", "go.microsoft.com") if reason.startswith("tls"))


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_about_the_site_says_what_to_search_for_and_one_about_the_exporter_speaks_of_it_alone(
    name: str,
) -> None:
    found, alert = sections(name), ALERTS[name]
    assert not (alert.at_exporter and found.keys() & {SEARCHED, SHOWN})
    assert (SHOWN in found) == (alert.suffers and not alert.at_exporter)
    assert (SEARCHED in found) == bool(alert.search)
    assert (SEARCHED in found) == (TEAM_OF[name] != "sre" and "Certificate" not in name and not alert.at_exporter)


def test_what_the_service_connection_point_reports_of_itself_stands_once() -> None:
    assert [name for name, text in PAGES.items() if "11410 (all checks passed)" in text] == [
        "ConfigMgrServiceConnectionPointCannotReachCloud.md"
    ]


@pytest.mark.parametrize(("reason", "words"), REASONS)
def test_the_words_of_a_reason_are_those_of_the_command_explain(reason: str, words: Words) -> None:
    found = sections(reason)
    assert found["What it means"].startswith(words.summary)
    assert found["What to change"].startswith(words.remedy)
    assert f"[{reason}]({reason}.md) ({words.who}): {words.summary}\n" in PAGES[INDEX]


@pytest.mark.parametrize("reason", Reason)
def test_the_page_of_a_reason_shows_every_command_that_confirms_it(reason: Reason) -> None:
    text = sections(reason)[CONFIRM]
    confirmation = all_commands().reasons[reason]
    assert set(blocks(text, "powershell")) >= set(map(filled, confirmation.powershell))
    assert set(blocks(text, "sh")) >= set(map(filled, confirmation.posix))
    assert (reason is Reason.INTERNAL_ERROR) == (f"({LOCAL_SYSTEM}.md)" not in text)


def test_one_page_shows_how_to_act_as_local_system_and_which_proxy_it_uses() -> None:
    commands = all_commands()
    wanted = [*commands.its_proxies, *commands.local_system, *commands.revocation]
    assert blocks(PAGES[f"{LOCAL_SYSTEM}.md"], "powershell") == list(map(filled, wanted))
    assert "*Proxy*" in PAGES[f"{LOCAL_SYSTEM}.md"]


def test_who_is_told_is_whom_the_page_names() -> None:
    team_of = {name: rule["labels"]["team"] for name, rule in RAISED.items()}
    assert set(team_of.values()) == set(TEAMS)
    assert {name: sections(name)["Whose it is"] for name in ALERTS} == {name: TEAMS[team_of[name]] for name in RAISED}


def test_what_the_service_connection_point_reports_itself_is_what_its_alert_asks_for() -> None:
    name = "ConfigMgrServiceConnectionPointCannotReachCloud"
    (asked,) = re.findall(r'feature=~"([^"]+)"', RAISED[name]["expr"])
    (told,) = re.findall(r"^That concerns: (.*)\.$", sections(name)[SHOWN], re.MULTILINE)
    assert told == ", ".join(f"`{feature}`" for feature in asked.split("|"))


def test_the_features_are_shown_with_all_their_logs_and_messages() -> None:
    shown = sections("ConfigMgrFeatureNotReady")[SHOWN].replace("\\", "")
    groups = catalogue.load().groups
    said = {text for group in groups for text in (group.feature, *group.logs, *group.messages)}
    assert [text for text in said if text.replace("\\", "") not in shown] == []


def test_no_log_and_no_status_message_is_named_that_the_catalogue_does_not_name() -> None:
    text = "".join(PAGES.values())
    logs, messages = set(re.findall(r"\b\w+\.log\b", text)), set(re.findall(r"\b(?:9\d{3}|1[01]\d{3}|53\d{3})\b", text))
    known = set(re.findall(r"\w+", CATALOGUE))
    ports = set(re.findall(r"1\d{4}", CATALOGUE)) | {"10965"}  # of a cloud management gateway, and our own
    assert {log for log in logs if log.lower() not in CATALOGUE.lower()} == {"access.log"}  # which is Squid's
    assert messages - known - ports == set()
    assert {"11488", "11410", "9605"} <= messages


# ---------------------------------------------------------------- where they lead


@pytest.mark.parametrize("name", PAGES)
def test_a_link_between_pages_leads_to_a_heading_that_there_is(name: str) -> None:
    for link in links(PAGES[name]):
        if not link.startswith("https://"):
            file, _, place = link.partition("#")
            there = PAGES[file or name]
            assert not place or place in {anchor(heading) for heading in re.findall(r"^#+ (.*)$", there, re.MULTILINE)}


def test_a_link_to_elsewhere_is_one_of_the_catalogue_or_has_its_source() -> None:
    known = {document.url for document in DOCUMENTS} | set(re.findall(r"https://\S+", CATALOGUE))
    found = {link for text in PAGES.values() for link in links(text) if link.startswith("https://")}
    assert found - known == set()
    assert {document.url for document in DOCUMENTS} <= found


def test_a_document_names_a_source_of_the_catalogue_or_says_what_it_is() -> None:
    sources = catalogue.load().sources
    assert [document for document in DOCUMENTS if document.source not in sources and " " not in document.source] == []
    assert [document for document in DOCUMENTS if " " in document.source and "configmgr" in document.url] == []


# ---------------------------------------------------------------- what they have people type

QUERIES: Final = sorted({query for text in PAGES.values() for query in blocks(text, "promql")})


def test_series_in_queries_exist() -> None:
    suffixes = ("", "_bucket", "_sum", "_count")
    exposed = {f"{name}{suffix}" for name in documented_series() for suffix in suffixes}
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    named = {name for query in QUERIES for name in re.findall(r"\b(?:\w+:)?configmgr[\w:]+", query)}
    assert named
    assert named - exposed - recorded == set()


@pytest.mark.lab
def test_promtool_accepts_every_query(tmp_path: Path) -> None:
    rules = [{"record": f"query:number:{number}", "expr": query} for number, query in enumerate(QUERIES)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "runbooks", "rules": rules}]}))
    check = ["promtool", "check", "rules", "--lint=none", str(tmp_path / "rules.yml")]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def calls() -> list[list[str]]:
    lines = {line for text in PAGES.values() for block in blocks(text, "sh") for line in block.splitlines()}
    return sorted(shlex.split(line)[1:] for line in lines if line.startswith(f"{PROGRAM} "))


@pytest.mark.parametrize("call", calls(), ids=" ".join)
def test_a_call_of_the_exporter_is_understood(call: list[str]) -> None:
    group: Any = typer.main.get_command(app)
    name, *arguments = call
    assert group.get_command(None, name).make_context(name, arguments)


def test_powershell_is_closed_and_never_takes_curl_for_curl() -> None:
    found = {block for text in PAGES.values() for block in blocks(text, "powershell")}
    assert [block for block in found if re.search(r"\bcurl\b(?!\.exe)", block)] == []
    assert [block for block in found if any(block.count(a) != block.count(b) for a, b in ("()", "[]", "{}"))] == []
    assert [block for block in found if block.count("'") % 2 or block.count('"') % 2] == []


# ---------------------------------------------------------------- as they are served


NO_EXPORTER: Final = cast(Service, SimpleNamespace())  # no page asks anything of it


def asked(path: str, method: str = "GET", app: Starlette | None = None) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app or create_app(NO_EXPORTER))
        async with httpx.AsyncClient(transport=transport, base_url="http://exporter.example") as client:
            return await client.request(method, path)

    return anyio.run(ask)


NAMES: Final = sorted(file.removesuffix(".md") for file in PAGES)


@pytest.mark.parametrize("name", ["", *NAMES])
def test_every_page_is_served(name: str) -> None:
    answer = asked(f"/runbooks/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert asked(f"/runbooks/{name}", "HEAD").status_code == 200


@pytest.mark.parametrize("name", NAMES)
def test_a_served_page_says_all_that_its_file_says(name: str) -> None:
    read = Page(asked(f"/runbooks/{name}").text)
    said = " ".join("".join(read.texts).split())
    code = [block for kind in ("promql", "sh", "powershell") for block in blocks(PAGES[f"{name}.md"], kind)]
    without_file = [block.replace(f" --config.file {EXAMPLE_FILE}", "") for block in code]
    assert [block for block in without_file if " ".join(block.split()) not in said] == []
    headings = re.findall(r"^#+ (.*)$", PAGES[f"{name}.md"], re.MULTILINE)
    assert [heading for heading in headings if heading.replace("`", "") not in said] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_served_link_leads_to_a_served_heading(name: str) -> None:
    for link in Page(asked(f"/runbooks/{name}").text).links:
        if not link.startswith(("https://", "../")):
            there, _, place = link.partition("#")
            answer = asked(f"/runbooks/{there or name}")
            assert answer.status_code == 200
            assert not place or f'id="{place}"' in answer.text


@pytest.mark.parametrize("name", NAMES)
def test_a_served_page_loads_its_look_and_nothing_else(name: str) -> None:
    text = asked(f"/runbooks/{name}").text
    loaded = re.findall(r'<link rel="\w+" href="../assets/([\w.-]+)\?', text)
    assert loaded == ["style.css", "unknown.svg"]
    assert len(re.findall("<link", text)) == len(loaded)
    assert re.findall(r"<(?:script|img|iframe|object|base)\b|\b(?:src|style|on\w+)=|@import|url\(", text) == []


URL: Final = "https://portal.corp.example:8443/it's?a=1&b=<b>`x`"
KEY: Final = CheckKey(Target(URL), "corporate")
STORE: Final = ResultStore(Plan((Check(KEY, (Use(Consumer("portal", "client", "azure-public"), URL),)),)))
COMMAND: Final = Invocation(config_file="/etc/a b/exporter.yaml", roles=("client",))
ABOUT_IT: Final = create_app(cast(Service, SimpleNamespace(store=STORE)), COMMAND)
QUERY: Final = urlencode({"target": URL, "path": "proxy:corporate"})


class Codes(HTMLParser):
    """The commands of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.blocks: list[str] = []
        self._depth = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - given
        self._depth += tag == "pre"
        self.blocks += [""] if tag == "pre" else []

    def handle_endtag(self, tag: str) -> None:
        self._depth -= tag == "pre"

    def handle_data(self, data: str) -> None:
        if self._depth:
            self.blocks[-1] += data


@pytest.mark.parametrize("name", NAMES)
def test_a_page_that_is_asked_for_a_target_speaks_of_no_other(name: str) -> None:
    text = asked(f"/runbooks/{name}?{QUERY}", app=ABOUT_IT).text
    read, codes = Page(text), Codes(text).blocks
    assert not [block for block in codes if "go.microsoft.com" in block]
    assert PUT_IN_TARGET.split("`", maxsplit=1)[0] not in "".join(read.texts)
    assert f"../target?{urlencode({'url': URL, 'path': 'proxy:corporate'})}" in read.links
    calls = [shlex.split(line) for block in codes for line in block.splitlines() if line.startswith(PROGRAM)]
    assert all(call[call.index("--config.file") + 1] == COMMAND.config_file for call in calls)
    assert [call for call in calls if URL in call] == [
        [PROGRAM, "explain", URL, "--path", "proxy:corporate", "--config.file", COMMAND.config_file, "--role", "client"]
        for _ in range(PAGES[f"{name}.md"].count(f"{PROGRAM} explain 'https://go.microsoft.com/'"))
    ]


@pytest.mark.parametrize("reason", ["proxy_denied", "tls_timeout", "connect_timeout"])
def test_what_to_search_for_and_to_type_is_that_of_the_target(reason: str) -> None:
    text = asked(f"/runbooks/{reason}?{QUERY}", app=ABOUT_IT).text
    said, codes = "".join(Page(text).texts), Codes(text).blocks
    assert "portal.corp.example" in said
    assert "8443" in said
    assert any("curl.exe --proxy 'http://proxy.corp.example:3128' -sS" in block for block in codes)
    assert any("it''s" in block for block in codes)  # PowerShell
    assert any("it'\"'\"'s" in block for block in codes)  # sh


@pytest.mark.parametrize(
    "query",
    [
        urlencode({"target": "https://elsewhere.example/", "path": "direct"}),
        urlencode({"target": URL, "path": "direct"}),
        urlencode({"target": "https://[", "path": "direct"}),
        "target=",
    ],
)
def test_a_target_that_is_not_in_the_plan_stands_on_no_page(query: str) -> None:
    assert (
        asked(f"/runbooks/tls_timeout?{query}", app=ABOUT_IT).text == asked("/runbooks/tls_timeout", app=ABOUT_IT).text
    )


def test_a_link_to_another_page_keeps_the_target() -> None:
    links = Page(asked(f"/runbooks/tls_timeout?{QUERY}", app=ABOUT_IT).text).links
    assert f"LocalSystem?{QUERY}" in links
    assert f"ConfigMgrTlsInspectionUnsupported?{QUERY}#what-to-change" in links


@pytest.mark.parametrize("name", ["nothing", "README.md", "dns_timeout.md", "%2e%2e", "..%2f..%2fREADME", "%00", "é"])
def test_what_is_no_page_is_not_found_and_the_index_is_named(name: str) -> None:
    answer = asked(f"/runbooks/{name}")
    assert answer.status_code == 404
    assert page(name) is None


def test_one_who_errs_is_told_where_all_pages_are() -> None:
    answer = asked("/runbooks/ConfigMgrNothing")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == "no runbook of this name; /runbooks/ lists them all\n"


def test_the_index_does_not_lead_to_itself() -> None:
    assert "./" not in Page(asked("/runbooks/").text).links
    assert "./" in Page(asked("/runbooks/dns_timeout").text).links


def test_the_index_is_found_without_its_last_slash() -> None:
    assert asked("/runbooks").headers["location"] == "/runbooks/"  # not that of a host that the request names


def test_the_pages_travel_with_the_package() -> None:
    build = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert shipped() == ROOT / "dashboards" / "runbooks"
    assert '"dashboards/runbooks" = "exporter/data/runbooks"' in build
