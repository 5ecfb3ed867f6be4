"""Articles that list endpoints, beside the catalogue: small ones of each shape that Microsoft's have, and odd ones."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from exporter.articles import reading, report
from exporter.articles.difference import Difference, Kind
from exporter.articles.following import compared_all
from exporter.articles.printed import printed
from exporter.articles.reading import Unreadable, read
from exporter.cli import app
from exporter.config.articles import load_articles
from exporter.config.catalogue import shipped
from exporter.config.documents import DocumentError
from exporter.model.vocabulary import Status
from tests.tools import articles as fetching
from tests.tools.articles import fetch

ROWS: Final = """
- feature: portal
  title: Portal
  roles: [client]
  endpoints:
    - {pattern: portal.example.com, source: SEED}
    - {pattern: "*.cdn.example.com", schemes: [https, http], source: SEED}
    - {pattern: "https://portal.example.com/start?Id=7", source: SEED}
    - {pattern: old.example.com, status: retired, since: 2023-Q2, why: It ended, source: SEED}
    - {pattern: young.example.com, source: [IE2026, INTUNE]}
- feature: portal
  roles: [client]
  clouds: [azure-us-government]
  endpoints:
    - {pattern: portal.example.us, source: SEED}
"""
UPDATES: Final = """
- feature: updates
  title: Updates
  roles: [software-update-point]
  endpoints:
    - {pattern: "http://update.example.com", source: SEED}
    - {pattern: "https://update.example.com", source: SEED}
    - {pattern: "<name>.store.example.com", probe: ["https://x.store.example.com/"], source: SEED}
    - pattern: time.example.com
      schemes: [udp]
      ports: [123]
      source: SEED
    - {pattern: quirk.example.com, source: SEED}
"""
FOLLOWED: Final = """
portal-endpoints:
  titles: [Portal endpoints]
  page: https://learn.example/portal-endpoints
  markdown: docs/portal/endpoints/portal.md
  revisions: {SEED: "2020-08-11", IE2026: "2026-06-08"}
  renamed: {<name>: <prefix>}
  sections:
    - {headings: [Portal, Portal start], features: [portal]}
    - headings: [Updates]
      features: [updates]
      roles: [software-update-point]
      earlier: {ports: [80, 443, 8080], until: "2021-02-05", why: The text lost TCP 8080}
    - {headings: [Portal > Games], left_out: Nobody plays}
    - {headings: [All hosts], features: [portal, updates], repeats: true}
  left_out:
    - {hosts: ["*.contoso.com"], why: An example}
  on_purpose:
    - {hosts: [quirk.example.com], why: A quirk of ours}
"""
FRONT: Final = '---\ntitle: Portal endpoints\nms.date: "2026-06-08T00:00:00Z"\n---\n\n# Portal endpoints\n\n'
PORTAL: Final = """\
## Portal

Allow these, as in `granite.contoso.com`:

- `portal.example.com` (public cloud)
- `*.cdn.example.com`
- `https://portal.example.com/start?id=7` for the start
- `young.example.com`
- US Government cloud
  - `portal.example.us`
"""
UPDATES_SECTION: Final = """\
## Updates

| Endpoint | For | Ports |
| --- | --- | --- |
| `http://update.example.com` `https://update.example.com` | both | TCP: 80, 443 |
| `<prefix>.store.example.com` | content | **TCP:** 443 |
| `time.example.com` | the time | **UDP:** 123 |
"""
TEXT: Final = FRONT + PORTAL + "\n" + UPDATES_SECTION

Compare = Callable[..., Difference]


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("catalogue")
    shutil.copytree(shipped() / "vocabulary", folder / "vocabulary")
    (folder / "portal.yaml").write_text(ROWS, encoding="utf-8")
    (folder / "updates.yaml").write_text(UPDATES, encoding="utf-8")
    (folder / "vocabulary/articles.yaml").write_text(FOLLOWED, encoding="utf-8")
    return folder


@pytest.fixture
def compare(tmp_path: Path, catalogue: Path) -> Compare:
    def compare(text: str, name: str = "article.md", **beside: str) -> Difference:
        for stem, included in beside.items():
            (tmp_path / f"{stem}.md").write_text(included, encoding="utf-8")
        (tmp_path / name).write_text(text, encoding="utf-8")
        (difference,), mistakes = compared_all([tmp_path / name], catalogue)
        assert not mistakes
        return difference

    return compare


def different(difference: Difference) -> list[tuple[str, str]]:
    return [(finding.kind, finding.pattern) for finding in difference.different]


# ---------------------------------------------------------------- what differs


def test_an_article_that_the_catalogue_follows_differs_in_nothing(compare: Compare) -> None:
    done = compare(TEXT)
    assert different(done) == []
    assert done.count(Kind.SAME) == 9
    assert [finding.why for finding in done.findings if finding.kind is Kind.LEFT_OUT] == ["An example"]


def test_what_is_new_or_gone_is_said_with_where_it_stands(compare: Compare) -> None:
    done = compare(TEXT.replace("`young.example.com`", "`newer.example.com`"))
    new, gone = done.different
    assert (new.kind, new.pattern, new.section) == (Kind.NEW, "newer.example.com", "Portal")
    assert new.spot is not None
    assert new.spot.line == TEXT[: TEXT.index("`young")].count("\n") + 1
    assert (gone.kind, gone.pattern) == (Kind.GONE, "young.example.com")
    assert [(Path(row.file).name, row.line) for row in gone.rows] == [("portal.yaml", 10)]


def test_a_line_under_another_heading_has_moved(compare: Compare) -> None:
    moved = "- `young.example.com`\n"
    done = compare(TEXT.replace(moved, "") + "\n" + moved)
    assert different(done) == [(Kind.MOVED, "young.example.com")]
    assert done.different[0].why == "the catalogue has it for portal (client)"
    assert done.different[0].rows[0].line == 10


def test_a_line_for_another_cloud_has_moved(compare: Compare) -> None:
    done = compare(TEXT.replace("- US Government cloud", "- Azure public cloud"))
    assert different(done) == [(Kind.MOVED, "portal.example.us")]
    assert done.different[0].why == "the catalogue has it for portal (client, azure-us-government)"


def test_a_line_for_another_role_has_moved(compare: Compare, catalogue: Path, tmp_path: Path) -> None:
    folder = tmp_path / "catalogue"
    shutil.copytree(catalogue, folder)
    (folder / "updates.yaml").write_text(UPDATES.replace("software-update-point", "site-server"), encoding="utf-8")
    (tmp_path / "article.md").write_text(TEXT, encoding="utf-8")
    (done,), _ = compared_all([tmp_path / "article.md"], folder)
    assert {finding.kind for finding in done.different} == {Kind.MOVED}
    assert {finding.why for finding in done.different} == {"the catalogue has it for updates (site-server)"}
    assert different(compare(TEXT)) == []


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("`https://update.example.com` |", "|", "the article asks for 80, the catalogue for 80 and 443"),
        (
            "`*.cdn.example.com`",
            "`https://*.cdn.example.com`",
            "the article asks for 443, the catalogue for 80 and 443",
        ),
        ("`portal.example.com`", "`portal.example.com:8443`", "the article asks for 8443, the catalogue for 443"),
        ("**UDP:** 123", "**UDP:** 124", "the article asks for 124, the catalogue for 123"),
        ("Allow these", "Allow these on TCP port 80", "the article asks for 80, the catalogue for 443"),
        ("Allow these", "Allow these (HTTP/Port 80)", "the article asks for 80, the catalogue for 443"),
    ],
)
def test_another_scheme_or_port_is_a_change(compare: Compare, before: str, after: str, fault: str) -> None:
    done = compare(TEXT.replace(before, after, 1))
    assert {finding.kind for finding in done.different} == {Kind.CHANGED}
    assert fault in {finding.why for finding in done.different}


def test_ports_that_a_text_names_for_something_else_change_nothing(compare: Compare) -> None:
    text = "Peers use TCP port 7680, and UDP port 3544.\n\nVersion 2107 or later, port agnostic.\n\nAllow these"
    assert different(compare(TEXT.replace("Allow these", text))) == []


def test_a_row_that_one_section_asks_less_of_than_another_is_no_change(compare: Compare) -> None:
    more = "\n## Portal start\n\nOn TCP port 443:\n\n- `*.cdn.example.com`\n"
    assert different(compare(TEXT.replace("- `*.cdn.example.com`", "- `http://*.cdn.example.com`") + more)) == []


def test_a_section_that_is_not_followed_is_said_to_be_none(compare: Compare) -> None:
    done = compare(f"{TEXT}\n## Holograms\n\n- `holo.example.com`\n- `portal.example.com`\n")
    assert different(done) == [(Kind.NEW, "holo.example.com"), (Kind.NEW, "portal.example.com")]
    first, second = done.different
    assert first.why == "in a section that the catalogue does not follow yet"
    assert second.why.endswith("; the catalogue has it for portal (client)")


def test_what_differs_on_purpose_is_said_to_be_known(compare: Compare) -> None:
    why = ["A quirk of ours"]
    absent = compare(TEXT)
    assert [finding.why for finding in absent.findings if finding.kind is Kind.KNOWN] == why
    listed = compare(TEXT + "| `http://quirk.example.com` | x | TCP: 80 |\n")
    assert different(listed) == []
    assert [finding.why for finding in listed.findings if finding.kind is Kind.KNOWN] == why


def test_what_is_left_out_needs_no_row(compare: Compare) -> None:
    done = compare(TEXT.replace(UPDATES_SECTION, "") + f"\n### Games\n\n- `chess.example.com`\n\n{UPDATES_SECTION}")
    assert different(done) == []
    assert ("chess.example.com", "Nobody plays") in {(finding.pattern, finding.why) for finding in done.findings}


def test_a_list_of_all_hosts_repeats_what_is_known_and_may_name_what_is_new(compare: Compare) -> None:
    hosts = "portal.example.com\nimages.cdn.example.com\ntime.example.com\nelse.example.com\n"
    done = compare(f"{TEXT}\n## All hosts:\n\n```\n{hosts}```\n")
    assert different(done) == [(Kind.NEW, "else.example.com")]
    assert done.different[0].spot is not None
    assert str(done.different[0].spot).endswith(f":{TEXT.count(chr(10)) + 8}")


def test_a_section_that_links_to_another_stands_for_what_that_lists(compare: Compare) -> None:
    linked = TEXT.replace("## Portal\n", "## Portal\n\n- [Common hosts](#common-hosts)\n").replace(
        "- `young.example.com`\n", ""
    )
    done = compare(f"{linked}\n## Common hosts\n\n- `young.example.com`\n")
    assert (Kind.GONE, "young.example.com") not in different(done)


def test_a_sentence_is_no_list(compare: Compare) -> None:
    known = "The portal asks `portal.example.com` first.\n\n> [!NOTE]\n> - `update.example.com` is not for it.\n\n"
    assert different(compare(TEXT.replace("Allow these", f"{known}Allow these"))) == []
    done = compare(TEXT.replace("Allow these", "Mind `unknown.example.com`.\n\nAllow these"))
    assert different(done) == [(Kind.NEW, "unknown.example.com")]


# ---------------------------------------------------------------- revisions


def test_an_older_revision_lacks_only_what_is_older(compare: Compare) -> None:
    older = TEXT.replace("2026-06-08T00:00:00Z", "2020-08-11").replace("- `young.example.com`\n", "")
    assert different(compare(older)) == []
    done = compare(older.replace("- `portal.example.com`", "- `old.example.com`\n- `portal.example.com`"))
    assert different(done) == []
    assert "retired since 2023-Q2" in {finding.why for finding in done.findings}


def test_a_row_with_a_status_may_still_be_listed(compare: Compare) -> None:
    assert different(compare(TEXT.replace("- `young", "- `old.example.com`\n- `young"))) == []


def test_the_ports_of_an_earlier_revision_are_known_with_their_day(compare: Compare) -> None:
    more = TEXT.replace("TCP: 80, 443", "TCP: 80, 443").replace("**TCP:** 443", "**TCP:** 443, 8080")
    (changed,) = compare(more).different
    assert changed.kind is Kind.CHANGED
    older = more.replace('"2026-06-08T00:00:00Z"', "08/11/2020").replace("- `young", "- `old")
    done = compare(older)
    assert different(done) == []
    known = [finding.why for finding in done.findings if finding.kind is Kind.KNOWN and finding.spot]
    assert known == ["The text lost TCP 8080 (80 and 443 and 8080 until 2021-02-05)"]


# ---------------------------------------------------------------- shapes


PUBLISHED: Final = """\
<!DOCTYPE html>
<html lang="en-us"><head><title>Portal endpoints - Configuration Manager | Microsoft Learn</title>
<meta name="ms.date" content="2026-06-08T00:00:00Z" /><script>var x = "evil.example.com"</script></head>
<body><header><code>header.example.com</code></header><main id="main"><div class="content">
<h1 id="p">Portal endpoints</h1><nav><ul><li><code>nav.example.com</code></li></ul></nav>
<h2 id="portal">Portal</h2><p>Allow these, as in <code>granite.contoso.com</code>:</p>
<div class="NOTE"><p>Note</p><ul><li>Not <code>update.example.com</code>.</li></ul></div>
<ul><li><code>portal.example.com</code> (public cloud)</li><li><p><code>*.cdn.example.com</code></p></li>
<li><code>https://portal.example.com/start?id=7</code> for the start</li>
<li><code>young.example.com</code><!-- 4711 --></li>
<li>US Government cloud<ul><li><code>portal.example.us</code></li></ul></li></ul>
<h2 id="updates">Updates</h2>
<div class="has-inner-focus"><table><thead><tr><th>Endpoint</th><th>For</th><th>Ports</th></tr></thead><tbody>
<tr><td><code>http://update.example.com</code> <code>https://update.example.com</code></td><td>both</td>
<td>TCP: 80, 443</td></tr>
<tr><td><code>&lt;prefix&gt;.store.example.com</code></td><td>content</td><td><strong>TCP:</strong> 443</td></tr>
<tr><td><code>time.example.com</code></td><td>the time</td><td><strong>UDP:</strong> 123</td></tr></tbody></table></div>
</div></main><footer><code>footer.example.com</code></footer></body></html>
"""


def test_a_published_page_is_read_like_its_markdown(compare: Compare) -> None:
    page = compare(PUBLISHED, "article.html")
    assert different(page) == []
    assert page.article.date == "2026-06-08"
    text = compare(TEXT)
    assert {finding.pattern for finding in page.findings} == {
        *(finding.pattern for finding in text.findings),
        "update.example.com",
    }
    changed = compare(PUBLISHED.replace("young", "newer"), "article.html")
    assert different(changed) == [(Kind.NEW, "newer.example.com"), (Kind.GONE, "young.example.com")]


@pytest.mark.parametrize(
    "line",
    [
        r"- \*.cdn.example.com",
        r"- http\://\*.cdn.example.com and https\://*.cdn.example.com",
        "- '*.CDN.example.com'",
        "- *.cdn.example.com, *.cdn.example.com",
        "- **\\*.cdn.example.com**",
        "- [`*.cdn.example.com`](https://elsewhere.example.com/x.y.z)",
        "- `*.cdn.example<.com`",
        "- `*.cdn.example.com`<!-- internal.example.com -->",
        "1. `*.cdn.example.com` by Setup.exe, version 1.5.6, e.g. at 10.0.0.1/24 or 2001:db8::/32",
        "<ul><li>*.cdn.example.com</li></ul>",
    ],
)
def test_an_endpoint_is_found_however_it_is_set(compare: Compare, line: str) -> None:
    assert different(compare(TEXT.replace("- `*.cdn.example.com`", line))) == []


def test_what_an_article_includes_is_read_where_it_stands(compare: Compare) -> None:
    including = FRONT + "## Portal\n\n[!INCLUDE [The portal](portal.md)]\n\n" + UPDATES_SECTION
    portal = "---\nms.topic: include\n---\n" + PORTAL.removeprefix("## Portal\n")
    assert different(compare(including, portal=portal)) == []
    done = compare(including, portal=portal.replace("young", "newer"))
    assert [Path(finding.spot.file).name for finding in done.different if finding.spot] == ["portal.md"]
    assert [finding.spot.line for finding in done.different if finding.spot] == [10]


def test_rows_of_a_part_that_is_not_there_are_not_said_to_be_gone(compare: Compare) -> None:
    done = compare(FRONT + "## Portal\n\n[!INCLUDE [The portal](nowhere.md)]\n\n" + UPDATES_SECTION)
    assert different(done) == [(Kind.UNREAD, "nowhere.md")]
    assert done.different[0].section == "Portal"


def test_tabs_stay_within_their_section(compare: Compare) -> None:
    tab = "# [Public](#tab/public)\n\n- `young.example.com`\n\n---\n"
    assert (
        different(compare(TEXT.replace("- `young.example.com`\n", "").replace("## Updates", f"{tab}\n## Updates")))
        == []
    )


def test_a_list_of_questions_is_read_with_the_lines_of_its_file(compare: Compare) -> None:
    questions = """\
### YamlMime:FAQ
metadata:
  ms.date: 06/08/2026
title: Portal endpoints
sections:
  - name: General
    questions:
      - question: Portal
        answer: |
"""
    portal = "".join(f"          {line}\n" for line in PORTAL.splitlines()[1:])
    updates = "".join(f"          {line}\n" for line in UPDATES_SECTION.splitlines()[1:])
    text = f"{questions}{portal}      - question: Updates\n        answer: |\n{updates}"
    assert different(compare(text, "faq.yml")) == []
    new, _ = compare(text.replace("young", "newer"), "faq.yml").different
    assert new.spot is not None
    assert new.spot.line == text[: text.index("young")].count("\n") + 1


# ---------------------------------------------------------------- what is no article


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty; download it anew"),
        (b"\xff\xfe\xfa", "is not UTF-8"),
        (b"caf\xe9 portal", "the byte 0xe9 is not UTF-8; save the article in UTF-8"),
        (b"# Cooking\n", "is titled 'Cooking', and none of the articles that the catalogue follows: Portal endpoints"),
        (b"Just words.\n", "has no title, and none of the articles that the catalogue follows: Portal endpoints"),
        (b"---\ntitle: [\n---\n# x\n", "line 3: what stands in front of it is not valid YAML"),
        (b"### YamlMime:FAQ\ntitle: 7\n", "is no list of questions as the documentation has them; save it anew"),
        (b"### YamlMime:FAQ\n[\n", "line 3: not valid YAML"),
        (b"[!INCLUDE [x](article.md)]\n", "includes what includes it; remove the line"),
        (b"[!INCLUDE [x](/etc/passwd)]\n", "includes what is no .md file beside it"),
        (b"[!INCLUDE [x](/etc/x.md)]\n", "includes what is no .md file beside it"),
        (b"[!INCLUDE [x](y.md)]\n" * 65, "more than 64 includes; an article has a few"),
        (b"- `a.example.com`\n" * 100_000, "holds more than 512 KiB, several times the longest article"),
        (b"- `a.example.com`\n" * 20_000, "holds with its includes more than 256 KiB"),
        (b"".join(b"- `a%d.example.com`\n" % i for i in range(10_001)), "lists more than 10000 endpoints"),
    ],
    ids=lambda value: value[:24].decode("latin-1") if isinstance(value, bytes) else "",
)
def test_a_source_that_is_none_is_refused_in_words(tmp_path: Path, catalogue: Path, content: bytes, why: str) -> None:
    path = tmp_path / "article.md"
    path.write_bytes(content)
    differences, (mistake,) = compared_all([path], catalogue)
    assert not differences
    assert mistake.startswith(f"{path}: ")
    assert why in mistake


def test_what_is_no_file_is_refused_in_words(tmp_path: Path, catalogue: Path) -> None:
    _, mistakes = compared_all([tmp_path, tmp_path / "nowhere.md"], catalogue)
    assert [mistake.partition(": ")[2].partition(":")[0] for mistake in mistakes] == ["cannot be read"] * 2


KIB: Final = 512  # half of one is enough for what grows faster than a text, and deeper than Python can go
HOSTILE: Final = {
    "brackets": "[" * 64 * KIB,
    "images": "![[" * 21 * KIB,
    "stars": "*a " * 21 * KIB,
    "quotes": "> " * 32 * KIB,
    "items": "- " * 32 * KIB,
    "backticks": "".join("`" * (i % 60 + 1) + " " for i in range(2 * KIB)),
    "columns": "|a" * 16 * KIB + "|\n" + "|-" * 16 * KIB + "|\n",
    "angles": "<" * 64 * KIB,
    "placeholders": "`" + "<a" * 32 * KIB + "`",
    "labels": "`" + "a." * 32 * KIB + "`",
    "stars in a host": "`" + "*." * 32 * KIB + "`",
    "nothing but ports": "port " * 12 * KIB,
    "page: deep": "<html>" + "<div>" * 12 * KIB,
    "page: tables": "<html>" + "<table><tr><td>" * 4 * KIB,
    "page: comments": "<html>" + "<!--" * 16 * KIB,
    "page: attributes": "<html><a " + " ".join(f"{i:x}" for i in range(8 * KIB)) + ">",
    "page: headings": "<html>" + "<h1><h6>" * 8 * KIB,
    "page: nulls": "<html>" + "\0\x01" * 32 * KIB,
    "page: nothing": "<html>",
    "page: not one": "<!doctype html",
    "page: unclosed": "<html><main><ul><li><code>a.example.com<pre><td><tr></li></table></ul><th><a href='#x'>",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_ends_in_words(tmp_path: Path, catalogue: Path, text: str) -> None:
    path = tmp_path / "article.md"
    path.write_text(text, encoding="utf-8")
    differences, mistakes = compared_all([path], catalogue)
    assert len(differences) + len(mistakes) == 1


PIECES: Final = (*"<>ab.*`|-#[]()/\\:\n ", "<li>", "<td>", "</ul>", "<div data-unread=0>", "a.example.com", "\0")


@given(text=st.lists(st.sampled_from(PIECES)).map("".join))
@settings(max_examples=100)
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.md"
    for begin in ("# Portal endpoints\n\n", "<html><main>"):
        path.write_text(begin + text, encoding="utf-8")
        try:
            article = read(path)
        except Unreadable:
            continue
        assert all(line.printed.text for line in article.lines)


# ---------------------------------------------------------------- reports


def test_json_accounts_for_every_line(compare: Compare) -> None:
    done = compare(TEXT.replace("young", "newer"))
    (value,) = json.loads(report.as_json([done]))
    assert value["different"]
    assert (value["article"], value["date"]) == ("portal-endpoints", "2026-06-08")
    assert [finding["kind"] for finding in value["findings"]].count("new") == 1
    assert len(value["findings"]) == len(done.article.lines) + len([x for x in done.findings if x.spot is None])


def test_an_issue_names_each_difference_and_nothing_in_it_breaks_out(compare: Compare) -> None:
    text = TEXT.replace("young", "newer").replace("## Portal\n", "## Portal | @all `x` &lt;b&gt;\n\n### Portal\n")
    issue = report.as_markdown([compare(text)])
    (row,) = (line for line in issue.splitlines() if line.startswith("| `newer.example.com`"))
    assert "`Portal \\| @all x <b> > Portal`" in row
    assert row.replace("\\|", "").count("|") == 6
    assert "## [Portal endpoints of 2026-06-08](https://learn.example/portal-endpoints)" in issue
    assert "### Gone: the catalogue has it" in issue
    assert "portal.yaml:10`" in issue


def test_an_issue_about_nothing_says_so(compare: Compare) -> None:
    assert report.as_markdown([compare(TEXT)]).startswith("The catalogue has everything that the articles list.\n")


# ---------------------------------------------------------------- the command


SMALL: Final = "---\ntitle: Azure Certificate Authority details\nms.date: 2019-01-01\n---\n"


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["catalogue", "diff", *arguments])
    return done.exit_code, done.stdout, done.stderr


def test_the_exit_status_says_whether_anything_differs(tmp_path: Path) -> None:
    same, new = tmp_path / "same.md", tmp_path / "new.md"
    same.write_text(SMALL, encoding="utf-8")
    new.write_text(
        SMALL + "# x\n## Certificate downloads and revocation lists\n- `new.example.com`\n", encoding="utf-8"
    )
    assert run(str(same))[0] == 0
    status, out, _ = run(str(same), str(new))
    assert status == 1
    assert f"new      {new}:7: Certificate downloads and revocation lists: new.example.com: " in out
    assert run(str(new), "--format", "json")[0] == 1
    assert run(str(new), "--format", "markdown")[1].startswith("What Microsoft documents differs")


def test_a_source_that_is_none_ends_in_its_own_status(tmp_path: Path) -> None:
    strange = tmp_path / "strange.md"
    strange.write_text("# Cooking\n", encoding="utf-8")
    status, out, error = run(str(strange), str(tmp_path / "nowhere.md"))
    assert (status, out) == (2, "")
    assert error.splitlines()[0].startswith(f"{strange}: is titled 'Cooking', and none of the articles")
    assert "nowhere.md: cannot be read: " in error


def test_without_the_extra_the_command_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.system.extras.find_spec", lambda _: None)
    status, _, error = run("x.md")
    assert status == 2
    assert error == (
        "catalogue diff: needs lxml, which an optional extra brings: "
        "pip install -c constraints.txt '.[articles]', in the folder that the exporter was installed from\n"
    )


# ---------------------------------------------------------------- the shipped catalogue


def test_every_shipped_pattern_is_found_as_it_is_printed() -> None:
    _, rows = load_articles()
    unlike = [
        row.endpoint.pattern
        for row in rows
        if "." in row.endpoint.pattern  # else it is no host that an article could print, as `<other clients>`
        and [found.text for found in printed(row.endpoint.pattern, marked=True)] != [row.endpoint.pattern]
    ]
    assert unlike == []


def test_every_row_of_a_followed_article_can_be_found_in_it() -> None:
    articles, rows = load_articles()
    lost = [
        (followed.name, str(row))
        for followed in articles
        for row in rows
        if row.endpoint.source
        and row.endpoint.source[0] in followed.revisions
        and row.endpoint.status is Status.ACTIVE
        and not any(row.feature in section.features for section in followed.sections)
    ]
    assert lost == []


def test_a_mistake_in_the_file_of_articles_is_named(tmp_path: Path, catalogue: Path) -> None:
    folder = tmp_path / "catalogue"
    shutil.copytree(catalogue, folder)
    file = folder / "vocabulary/articles.yaml"
    file.write_text(
        FOLLOWED.replace("[portal]}", "[portl]}").replace("SEED:", "SEEDS:").replace("<name>:", "name:"),
        encoding="utf-8",
    )
    with pytest.raises(DocumentError) as caught:
        load_articles(folder)
    assert str(caught.value).splitlines() == [
        f"{file}:7: portal-endpoints.renamed.name: expected a placeholder as \"<name>\", found 'name'",
        f"{file}:9: portal-endpoints.sections[0].features[0]: 'portl': unknown feature, did you mean portal?",
    ]


def test_an_issue_is_no_longer_than_one_can_be(compare: Compare) -> None:
    many = "".join(f"- `{'x' * 60}{i}.example.com`\n" for i in range(2000))
    issue = report.as_markdown([compare(TEXT.replace("## Updates", f"{many}\n## Updates"))])
    assert len(issue.encode()) < 65_536
    assert "more lines; `catalogue diff` prints all of them" in issue


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """Repositories as GitHub's, with two of the articles, one of which has an include."""
    azure = tmp_path / "origin/MicrosoftDocs/azure-docs"
    folder = azure / "articles/security/fundamentals"
    (folder / "includes").mkdir(parents=True)
    (folder / "azure-certificate-authority-details.md").write_text(
        f"{SMALL}# Azure Certificate Authority details\n## Certificate downloads and revocation lists\n"
        "[!INCLUDE [x](includes/hosts.md)]\n",
        encoding="utf-8",
    )
    (folder / "includes/hosts.md").write_text("- `new.example.com`\n", encoding="utf-8")
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
    for step in (["init", "--quiet"], ["add", "."], [*identity, "commit", "--quiet", "-m", "x"]):
        subprocess.run(["git", "-C", azure, *step], check=True)
    return tmp_path / "origin"


def test_the_articles_are_fetched_with_what_they_include(tmp_path: Path, origin: Path) -> None:
    files, faults = fetch(load_articles()[0], tmp_path / "fetched", f"file://{origin}/")
    assert [file.name for file in files] == ["azure-certificate-authority-details.md"]
    assert [fault.partition(":")[0] for fault in faults] == [
        "MicrosoftDocs/memdocs",
        "MicrosoftDocs/windows-itpro-docs",
        "MicrosoftDocs/windowsserverdocs",
    ]
    (difference,), _ = compared_all(files)
    assert (Kind.NEW, "new.example.com") in different(difference)


def test_an_article_that_is_not_there_ends_in_its_own_status(
    tmp_path: Path, origin: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    issue = tmp_path / "issue.md"
    status = fetching.main(["--origin", f"file://{origin}/", "--output", str(issue)])
    assert status == 2
    assert "MicrosoftDocs/memdocs: " in capfd.readouterr().err
    text = issue.read_text(encoding="utf-8")
    assert "| `new.example.com` |" in text
    assert "`MicrosoftDocs/azure-docs/articles/security/fundamentals/includes/hosts.md:1`" in text


def test_limits_hold_for_articles_as_they_are() -> None:
    assert reading.MAX_MARKDOWN >= 6 * 42_000
