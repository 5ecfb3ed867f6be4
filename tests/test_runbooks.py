"""A page for everything that may page somebody, true to the words, the rules and the catalogue; and served by us."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import anyio
import httpx
import pytest
import typer
import yaml
from markdown_it import MarkdownIt

from dashboards.alert_words import ALERTS, TEAMS, rules
from dashboards.runbooks import DOCUMENTS, EXPORTER, INDEX, SHOWN, pages
from exporter.cli import app
from exporter.config import catalogue
from exporter.config.authorities import load_authorities
from exporter.model.vocabulary import Reason, WhyUnprobed
from exporter.report.commands import all_commands, filled
from exporter.report.reasons import Words, all_words
from exporter.web.routes import Service, create_app
from exporter.web.runbooks import anchor, page, shipped
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
SECTIONS: Final = [
    *("What it means", "How to confirm it", "What to change", "Who can change it"),
    *("What Configuration Manager shows", "Documents"),
]
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


def test_there_is_a_page_for_each_alert_and_reason_and_no_other() -> None:
    wanted = [*RAISED, *Reason, *WhyUnprobed]
    assert RAISED
    assert sorted(PAGES) == sorted([INDEX, *(f"{name}.md" for name in wanted)])


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


def test_an_alert_leads_to_its_page() -> None:
    ways = {name: rule["annotations"]["runbook_url"].rpartition("/") for name, rule in RAISED.items()}
    assert {name: last for name, (_, _, last) in ways.items()} == {name: name for name in RAISED}
    assert {first for first, _, _ in ways.values()} == {"http://localhost:10965/runbooks"}


def test_the_index_leads_to_every_page_once() -> None:
    assert sorted(links(PAGES[INDEX])) == sorted(PAGES.keys() - {INDEX})


# ---------------------------------------------------------------- what they say


@pytest.mark.parametrize("name", [name for name, _ in REASONS])
def test_the_page_of_a_reason_has_every_section(name: str) -> None:
    found = sections(name)
    assert list(found) == SECTIONS
    assert all(found.values())


@pytest.mark.parametrize("name", ALERTS)
def test_the_page_of_an_alert_has_every_section_and_the_effect(name: str) -> None:
    found = sections(name)
    assert list(found) == [SECTIONS[0], "What it does to Configuration Manager", *SECTIONS[1:]]
    assert all(found.values())
    assert all(f"\n### {way}" in found["How to confirm it"] for way in ("The exporter's command", "PowerShell"))


@pytest.mark.parametrize(("reason", "words"), REASONS)
def test_the_words_of_a_reason_are_those_of_the_command_explain(reason: str, words: Words) -> None:
    found = sections(reason)
    assert found["What it means"].startswith(words.summary)
    assert found["What to change"].startswith(words.remedy)
    assert f"[{reason}]({reason}.md) ({words.who}): {words.summary}\n" in PAGES[INDEX]


@pytest.mark.parametrize("reason", Reason)
def test_the_page_of_a_reason_shows_every_command_that_confirms_it(reason: Reason) -> None:
    text = sections(reason)["How to confirm it"]
    confirmation = all_commands().reasons[reason]
    assert set(blocks(text, "powershell")) >= set(map(filled, confirmation.powershell))
    assert set(blocks(text, "sh")) >= set(map(filled, confirmation.posix))
    assert reason is Reason.INTERNAL_ERROR or all(filled(command) in text for command in all_commands().as_local_system)


def test_who_is_told_is_whom_the_page_names() -> None:
    team_of = {name: rule["labels"]["team"] for name, rule in RAISED.items()}
    assert set(team_of.values()) == set(TEAMS)
    assert {name: sections(name)["Who can change it"] for name in ALERTS} == {
        name: TEAMS[team_of[name]] for name in RAISED
    }


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
    assert {log for log in logs if log.lower() not in CATALOGUE.lower()} == set()
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
    return sorted(shlex.split(line)[1:] for line in lines if line.startswith(f"{EXPORTER} "))


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


def asked(path: str, method: str = "GET") -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(NO_EXPORTER))
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
    assert [block for block in code if " ".join(block.split()) not in said] == []
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
