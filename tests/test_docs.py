"""What people read says what there is, all of it and nothing else; and its examples are true."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from enum import StrEnum
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from markdown_it import MarkdownIt

from exporter import __version__
from exporter.cli.allowlist import AllowlistFormat
from exporter.cli.check import CheckFormat
from exporter.cli.listing import EndpointsFormat
from exporter.config import catalogue
from exporter.config import settings as config
from exporter.config.documents import DocumentError
from exporter.config.fields import Section
from exporter.config.groups import GroupSection
from exporter.config.settings import MainSection
from exporter.metrics.families import probe_registry
from exporter.model.vocabulary import (
    Catalogue,
    EndpointState,
    Importance,
    Phase,
    Reason,
    Settings,
    Status,
    WhyReference,
    WhyUnprobed,
)
from exporter.probe.classify import REFUSED
from exporter.probe.net import USER_AGENT
from exporter.service.exporter import Exporter
from exporter.service.load import Source, deploy
from exporter.system.log import LogFormat, LogLevel
from exporter.web.routes import create_app
from tests.lab import Lab
from tests.running import at_a_terminal
from tests.strategies import PREFIX
from tests.tools.reference import COMMANDS, PAGE, REMEDY, Series, all_families, built, described, exemplary, keys_of
from tests.walk import PAGES

ROOT: Final = Path(__file__).parents[1]
README: Final = PAGES["README.md"]
REFERENCE: Final = PAGES[PAGE.relative_to(ROOT).as_posix()]
CONFIGURATION: Final = PAGES["docs/configuration.md"]
NAME: Final = "configmgr-endpoint-exporter"
WORDS: Final = 1800  # of the README, at most
ALIKE: Final = 12  # so many words in a row on two pages are one fact in two places

# ---------------------------------------------------------------- reading Markdown


def rows(*header: str, page: str = README) -> list[dict[str, str]]:
    """The rows of the one table with this header."""
    lines = iter(page.splitlines())
    for line in lines:
        if cells(line) == list(header):
            next(lines)
            found = []
            while (line := next(lines)).startswith("|"):
                found.append(dict(zip(header, cells(line), strict=True)))
            return found
    raise AssertionError(f"no table with the header {header}")


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []


def code(text: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", text)


def section(heading: str) -> str:
    """What the reference has under a heading, up to the next one."""
    found: list[str] = re.findall(rf"^#+ {heading}\n(.*?)(?=^#|\Z)", REFERENCE, re.DOTALL | re.MULTILINE)
    (text,) = found
    return text


def snippets(language: str) -> list[str]:
    """The fenced blocks in a language, on all pages."""
    fence = re.compile(rf"^```{language}\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    return [text for page in PAGES.values() for text in fence.findall(page)]


def prose(page: str) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE)


# ---------------------------------------------------------------- commands

OPTIONS: Final = ("Option", "Value", "Default", "Meaning")


def options_of(name: str) -> list[dict[str, str]]:
    """The rows of a command's options in the reference."""
    found = section(f"`{name}(?: [A-Z.-]+)?`")
    return rows(*OPTIONS, page=found) if "| Option |" in found else []


@pytest.mark.parametrize("name", COMMANDS)
def test_the_options_are_documented_with_their_defaults(name: str) -> None:
    documented = {row["Option"]: row["Default"] for row in options_of(name)}
    existing = {
        f"`{option}`": f"`{parameter.default}`" if parameter.default else ""
        for parameter in COMMANDS[name].params
        if parameter.param_type_name == "option"
        for option in parameter.opts
    }
    assert documented == existing


@pytest.mark.parametrize(
    ("option", "of", "words"),
    [
        ("--format", "check", CheckFormat),
        ("--format", "endpoints", EndpointsFormat),
        ("--format", "allowlist", AllowlistFormat),
        ("--log.level", "serve", LogLevel),
        ("--log.format", "serve", LogFormat),
    ],
)
def test_the_words_that_an_option_takes_are_documented(option: str, of: str, words: type[StrEnum]) -> None:
    (row,) = [row for row in options_of(of) if row["Option"] == f"`{option}`"]
    assert code(row["Value"]) == list(words)


def calls() -> Iterator[list[str]]:
    """The arguments of each call of the exporter in a shell's block, or by `make run`."""
    blocks = "".join([*snippets("sh"), *snippets("powershell"), *snippets("console")])
    for line in re.sub(r"\\\n(> )?", "", blocks).splitlines():
        found = re.search(rf"{NAME}(?P<arguments>$| .*)", line)
        if found and not line.startswith("docker build"):
            yield arguments_of(found["arguments"]) or ["serve"]
    for arguments in re.findall(r'make run ARGS="([^"]*)"', "".join(PAGES.values())):
        yield ["serve", *shlex.split(arguments)]


def arguments_of(line: str) -> list[str]:
    """What a shell gives to a program, up to where it goes on to another or writes to a file."""
    shell = shlex.shlex(line.replace(" 2>", " >"), posix=True, punctuation_chars=True)
    shell.whitespace_split = True
    return list(takewhile(lambda word: not set(word) <= set("|&;<>"), shell))


@pytest.mark.parametrize("call", list(calls()), ids=" ".join)
def test_a_call_that_is_shown_is_understood(call: list[str]) -> None:
    depth = 2 if " ".join(call[:2]) in COMMANDS else 1
    name = " ".join(call[:depth])
    assert COMMANDS[name].make_context(name, call[depth:]).info_name == name


# ---------------------------------------------------------------- configuration

KEYS: Final = ("Key", "Value", "Default", "Meaning")


@pytest.fixture(scope="module")
def shipped() -> Catalogue:
    return catalogue.load()


def defaults(section: type[Section], prefix: str = "") -> dict[str, Any]:
    """Every key below a section as the reference spells it, and the value that it has when it is left out."""
    return {key: field.get_default(call_default_factory=True) for key, field in keys_of(section, prefix)}


def put(document: Any, key: str, value: Any) -> Any:
    """The document with a value at a key in the reference's spelling, or without that key where the value is `...`."""
    *way, last = (
        key.replace("features.NAME", "features.tenant-attach")
        .replace("NAME", "corporate")
        .replace("[]", ".0")
        .split(".")
    )
    place = document
    for step in way:
        place = place[0] if step == "0" else place.setdefault(step, {})
    if value is ...:
        place.pop(last, None)
    else:
        place[last] = value
    return document


def required() -> Any:
    """No more than must be there for every documented key to have a place."""
    return {
        "proxies": {"corporate": {"url": "http://proxy.corp.example:3128"}},
        "groups": [
            {
                "feature": "portal",
                "endpoints": [
                    {
                        "pattern": "portal.corp.example",
                        "extra_ports": [{"ports": "8443", "protocol": "tcp", "when": "always"}],
                    }
                ],
            }
        ],
    }


DOCUMENTED: Final = {
    f"{prefix}{row['Key']}".replace("`", ""): row["Default"].strip("`")
    for heading, prefix in (("Configuration", ""), ("Groups of endpoints", "groups[]."))
    for row in rows(*KEYS, page=section(heading))
}


@pytest.mark.parametrize("key", DOCUMENTED)
def test_a_documented_default_is_what_a_key_means_that_is_left_out(
    key: str, shipped: Catalogue, tmp_path: Path
) -> None:
    def reading(document: Any) -> Settings:
        path = tmp_path / "exporter.yaml"
        path.write_text(yaml.safe_dump(document))
        return config.load(path, shipped)

    value = yaml.safe_load(DOCUMENTED[key])
    around = dict if key in required() else required
    if value == "required":
        with pytest.raises(DocumentError):
            reading(put(required(), key, ...))
    elif value is None:  # in YAML the same as leaving the key out, so the schema itself is asked
        assert not (defaults(MainSection) | defaults(GroupSection, "groups[]."))[key]
    else:
        assert reading(put(around(), key, value)) == reading(put(around(), key, ...))


def kind_of(snippet: str) -> str:
    match yaml.safe_load(snippet):
        case list():
            return "groups"
        case {"scrape_configs": _}:
            return "scrape"
        case {"basic_auth_users": _}:
            return "web"
        case {"features": _}:
            return "features"
        case dict(keys) if keys.keys() <= MainSection.keys().keys():
            return "configuration"
    raise AssertionError(f"of no known kind:\n{snippet}")


def yaml_snippet(kind: str) -> str:
    """The one YAML block of its kind."""
    (found,) = [text for text in snippets("yaml") if kind_of(text) == kind]
    return found


def test_the_configuration_that_is_shown_probes_the_groups_that_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "exporter.yaml"
    assert "`group_files: [portal.yaml]`" in CONFIGURATION
    path.write_text(yaml_snippet("configuration") + "group_files: [portal.yaml]\n")
    (tmp_path / "portal.yaml").write_text(yaml_snippet("groups"))
    (tmp_path / "proxy-password").write_text("secret\n")
    work = deploy(Source(path)).plan
    own = {
        check.key.target.url for check in work.checks if any(c.feature == "intranet-portal" for c in check.consumers)
    }
    assert own == {
        "https://portal.corp.example/health",
        "https://login.corp.example/",
        "http://login.corp.example/",
        "https://a.cdn.corp.example/",
        "https://granitefalls.blob.corp.example/",
    }
    assert {check.key.path for check in work.checks} == {"direct", "proxy:corporate"}


def test_what_is_said_of_features_holds(tmp_path: Path) -> None:
    path = tmp_path / "exporter.yaml"
    path.write_text(yaml_snippet("features"))
    work = deploy(Source(path)).plan
    decides = {need.use.pattern: need.endpoint.decides for need in work.requirements}
    assert decides["http://ntservicepack.microsoft.com"]
    assert not decides["http://ocsp.msocsp.com"]
    of_attach = {need.importance for need in work.requirements if need.use.consumer.feature == "tenant-attach"}
    assert of_attach == {Importance.CRITICAL}
    reasons = {code(row["`because`"])[0] for row in rows("`because`", "Means", page=CONFIGURATION)}
    assert reasons == set(WhyReference)


# ---------------------------------------------------------------- the vocabulary


def test_features_are_documented_with_their_roles_and_whether_they_are_active(shipped: Catalogue) -> None:
    needed: dict[str, set[str]] = {role: set() for role in shipped.roles}
    everywhere, active = set(), set()
    for group in shipped.groups:
        if any(endpoint.status is Status.ACTIVE for endpoint in group.endpoints):
            active.add(group.feature)
        if not group.roles:
            everywhere.add(group.feature)
        for role in group.roles:
            needed[role].add(group.feature)
    table = rows("Role", "Features that need it", page=CONFIGURATION)
    documented = {row["Role"].strip("`"): row["Features that need it"] for row in table}
    italic = {role: set(re.findall(r"\*`([^`]+)`\*", features)) for role, features in documented.items()}
    assert {role: set(code(features)) for role, features in documented.items()} == needed
    assert italic == {role: features - active for role, features in needed.items()}
    assert set(re.findall(r"`([^`]+)` \([^)]*\) is needed by every\srole", CONFIGURATION)) == everywhere


def test_clouds_statuses_and_states_are_documented(shipped: Catalogue) -> None:
    series = {row["Series"]: row["Meaning"] for row in rows(*METRICS, page=REFERENCE)}
    (clouds,) = re.findall(r"^Clouds: (.*)\.$", CONFIGURATION, re.MULTILINE)
    (statuses,) = [row["Value"] for row in rows(*KEYS, page=REFERENCE) if row["Key"] == "`site.statuses`"]
    assert code(clouds) == list(shipped.clouds)
    assert code(statuses) == list(Status)
    assert series["`configmgr_feature_endpoints`"].endswith(f"by state: {', '.join(EndpointState)}.")


def test_phases_and_reasons_are_documented_in_their_order() -> None:
    phases = ("Phase", "Lasts", "Fails with")
    table = rows(*phases, page=PAGES["docs/verdicts.md"])
    failing = {code(row["Phase"])[0]: code(row["Fails with"])[0] for row in table}
    assert failing == {phase: f"{PREFIX[phase]}*" for phase in Phase}
    reasons = rows("Reason", "Meaning", "What to change", "Who", page=REFERENCE)
    assert [code(row["Reason"])[0] for row in reasons] == list(Reason)
    unprobed = rows("Reason", "Meaning", "What to change", "Who", page=section("Reasons not to probe"))
    assert [code(row["Reason"])[0] for row in unprobed] == list(WhyUnprobed)


def test_the_refused_statuses_are_documented() -> None:
    page = " ".join(PAGES["docs/verdicts.md"].split())
    (refused,) = re.findall(r"Eight statuses do not count: ([0-9, ]+ and [0-9]+)\.", page)
    assert [int(status) for status in re.findall("[0-9]+", refused)] == list(REFUSED)


# ---------------------------------------------------------------- metrics and routes

METRICS: Final = ("Series", "Type", "Labels", "Meaning")


def test_the_traffic_is_that_of_the_shipped_catalogue() -> None:
    page = " ".join(PAGES["docs/operations.md"].split())
    assert f"Without a configuration there are {len(deploy(Source()).plan.checks)} targets" in page
    assert f"`{USER_AGENT}`" in page


def test_the_date_of_the_catalogue_is_that_of_its_newest_source() -> None:
    sources = (ROOT / "config/catalogue/vocabulary/sources.yaml").read_text(encoding="utf-8")
    assert f"documents as of {max(re.findall('20[0-9]{2}-[0-9]{2}-[0-9]{2}', sources))}," in " ".join(README.split())


@pytest.fixture(scope="module")
def exporter() -> Exporter:
    return exemplary()


@pytest.fixture(scope="module")
def exposed(exporter: Exporter) -> Series:
    return described(all_families(exporter))


def documented_series() -> Series:
    return {code(row["Series"])[0]: (row["Type"], set(code(row["Labels"]))) for row in rows(*METRICS, page=REFERENCE)}


def test_every_series_is_documented_with_its_type_and_its_labels(exposed: Series) -> None:
    assert documented_series() == exposed


def test_what_a_probe_on_demand_gives_is_documented(exporter: Exporter, exposed: Series) -> None:
    store = exporter.store.snapshot()
    latest = {check: store.latest[check.key] for check in store.plan.checks}
    given = described(probe_registry(latest, store.plan.requirements).collect())
    assert given.keys() - exposed.keys() == {
        word for word in code(prose(PAGES["docs/operations.md"])) if word.startswith("probe_")
    }


def test_series_named_anywhere_exist_and_samples_that_are_shown_have_their_labels(exposed: Series) -> None:
    suffixes = ("", "_bucket", "_sum", "_count")
    existing = {f"{name}{suffix}" for name in exposed for suffix in suffixes}
    named = {name for page in PAGES.values() for name in re.findall(r"configmgr_[a-z_]*[a-z](?![a-z_]|_\*)", page)}
    samples = re.findall(r"^(configmgr_\w+)\{(.*)\} ", "".join(snippets("text")), re.MULTILINE)
    assert named <= existing
    assert samples
    assert all(set(re.findall(r"(\w+)=", labels)) == exposed[name][1] for name, labels in samples)


def test_labels_that_queries_group_by_exist(exposed: Series) -> None:
    known = set.union({"le"}, *(labels for _, labels in exposed.values()))
    grouped = re.findall(r"by \(([^)]*)\)", "".join(snippets("promql")))
    assert grouped
    assert {label for labels in grouped for label in labels.split(", ")} <= known


def test_the_routes_are_documented(exporter: Exporter) -> None:
    routes: Any = create_app(exporter).routes
    existing = {f"{method} {route.path}" for route in routes for method in route.methods - {"HEAD"}}
    assert {row["Request"].strip("`") for row in rows("Request", "Answer", page=REFERENCE)} == existing


# ---------------------------------------------------------------- pages


def test_the_readme_is_read_in_ten_minutes() -> None:
    assert len(README.split()) <= WORDS


def test_nothing_is_said_twice() -> None:
    """But for figures, what is made from the code, the changelog, and the package, which needs its own description."""
    places: dict[tuple[str, ...], set[str]] = {}
    for page in PAGES.keys() - {PAGE.relative_to(ROOT).as_posix(), "CHANGELOG.md", "docs/package.md"}:
        text = re.sub(r"<!-- measured -->.*<!-- /measured -->", "", prose(PAGES[page]), flags=re.DOTALL)
        words = re.findall(r"[\w'`*/]+", re.sub(r"\]\([^)]*\)", "", text).lower())
        for run in zip(*(words[at:] for at in range(ALIKE)), strict=False):
            places.setdefault(run, set()).add(page)
    assert [(" ".join(run), found) for run, found in places.items() if len(found) > 1] == []


def test_a_picture_of_the_status_page_is_near_the_top_of_the_readme() -> None:
    first, *_ = re.findall(r"^!\[.*\]\((.*)\)$|^## ", README, re.MULTILINE)
    picture = (ROOT / first).read_bytes()
    assert picture.startswith(b"\x89PNG\r\n")
    assert len(picture) < 60_000


def test_the_description_of_the_package_needs_no_file_beside_it() -> None:
    (name,) = re.findall(r'^readme = "(.*?)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    shown = MarkdownIt("commonmark").enable("table").render(PAGES[name])
    assert "<h1>" in shown
    assert not re.findall(r'(?:href|src)="(?!https://)', shown)


def test_nothing_in_the_reference_lacks_its_meaning() -> None:
    tables = re.findall(r"^\|.* Meaning \|$\n((?:\|.*\n?)+)", REFERENCE, re.MULTILINE)
    assert len(tables) > 15
    assert [line for table in tables for line in table.splitlines() if line.endswith("| |")] == []
    assert "--- |\n\n" not in REFERENCE  # nor is a table empty


def test_the_reference_is_what_the_code_gives() -> None:
    assert built() == REFERENCE, REMEDY


def anchors(page: str) -> set[str]:
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


LINKS: Final = [
    pytest.param(page, link, id=f"{page}: {link}")
    for page, text in PAGES.items()
    for link in re.findall(r"\[[^\]]+\]\(([^)\s]+)\)", prose(text))
    if not link.startswith("https://")
]


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_a_link_leads_somewhere(page: str, link: str) -> None:
    path, _, anchor = link.partition("#")
    leads_to = os.path.normpath(Path(page).parent / path) if path else page
    assert (ROOT / leads_to).exists()
    assert not anchor or anchor in anchors(PAGES[leads_to])


def test_no_host_is_named_that_the_catalogue_does_not_name() -> None:
    references = {"grafana.com", "keepachangelog.com", "prometheus.io", "python.org", "semver.org", "thanos.io"}
    known = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "config/catalogue").rglob("*.yaml")).lower()
    host = re.compile(r"\b(?:[a-z0-9-]+\.)+(?:com|dev|io|microsoft|ms|net|org|us)\b")
    named = {found for page in PAGES.values() for found in host.findall(page.lower())}
    assert {found for found in named - references if found not in known} == set()


def test_the_targets_of_make_are_documented_and_listed_by_its_help() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    listed = re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE)
    named = re.findall(r"(?:`|^)make ([a-z]+)", "".join(PAGES.values()), re.MULTILINE)
    assert set(named) == set(listed) == set(phony.split())


def test_what_calls_itself_pure_is_held_to_it() -> None:
    (contract,) = (
        contract
        for contract in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
            "contracts"
        ]
        if contract["name"].startswith("Pure modules")
    )
    held = tuple(contract["source_modules"])
    pure = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "exporter").rglob("*.py")
        if "Pure." in (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")
    }
    assert {module for module in pure if not any(f"{module}.".startswith(f"{name}.") for name in held)} == set()


def test_the_modules_are_listed_where_contributors_look() -> None:
    package = ROOT / "exporter"
    folders = {f"exporter/{path.parent.name}/" for path in package.glob("*/__init__.py")}
    modules = {f"exporter/{path.name}" for path in package.glob("*.py")} - {"exporter/__init__.py"}
    listed = [
        word
        for row in rows("Where", "What belongs there", "Kind", page=PAGES["CONTRIBUTING.md"])
        for word in code(row["Where"])
    ]
    assert {word for word in listed if word.startswith("exporter/")} == modules | folders


def test_the_bundle_is_named_with_this_version() -> None:
    named = re.findall(rf"{NAME}-(\d+\.\d+\.\d+)", "".join(PAGES.values()))
    assert set(named) == {__version__}


def test_the_changelog_begins_with_this_version() -> None:
    versions = re.findall(r"^## \[(.*?)\]", PAGES["CHANGELOG.md"], re.MULTILINE)
    assert versions[0] == __version__


# ---------------------------------------------------------------- examples that need programs


@pytest.mark.lab
def test_promtool_accepts_the_scrape_configuration_and_the_queries(tmp_path: Path) -> None:
    (tmp_path / "prometheus.yml").write_text(yaml_snippet("scrape"))
    queries = [text for text in "\n".join(snippets("promql")).split("\n\n") if text.strip()]
    rules = [{"record": f"query:number:{number}", "expr": query} for number, query in enumerate(queries)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "readme", "rules": rules}]}))
    for kind, file in (("config", "prometheus.yml"), ("rules", "rules.yml")):
        done = subprocess.run(["promtool", "check", kind, tmp_path / file], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert len(rules) >= 5


@pytest.mark.lab
def test_the_example_of_a_check_is_what_the_program_prints(lab: Lab) -> None:
    (example,) = re.findall(r"^```console\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    call, _, printed = example.partition("\n")
    with lab.reset("download.microsoft.com", 443):
        done = at_a_terminal(lab, *shlex.split(call.removeprefix(f"$ {NAME} ")))
    assert _without_numbers(done.stdout) == _without_numbers(printed)
    assert done.returncode == 1


def _without_numbers(printed: str) -> list[str]:
    """What a check prints, paragraph by paragraph, less the addresses and the times, which differ with each probe."""
    paragraphs = [" ".join(part.split()) for part in printed.strip().split("\n\n")]
    return [re.sub(r"\d+\.\d+\.\d+\.\d+(:\d{5})?|\d\d:\d\d:\d\d|[\d.]+(?= ms)", "…", part) for part in paragraphs]
