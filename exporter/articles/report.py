"""Say what differs: Differences -> a text, an issue in Markdown, or JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from exporter.articles.difference import DIFFERENT, Difference, Finding, Kind
from exporter.text.numbers import plural
from exporter.text.printable import bare, one_line

_LONGEST: Final = 300  # of what an article prints, as shown
_LONGEST_ISSUE: Final = 60_000  # bytes; GitHub takes 65,536 characters
_SAYS: Final = {
    Kind.NEW: "New: the article has it, the catalogue does not",
    Kind.GONE: "Gone: the catalogue has it, the article does not. Give the row a `status`, `since` and `why`",
    Kind.MOVED: "Moved to another section, which is for another feature, role or cloud",
    Kind.CHANGED: "Changed in scheme or port",
    Kind.UNREAD: "Not read: the article includes it, and it was not there",
}


_TO_DO: Final = """\
What Microsoft documents differs from the catalogue. Each line is to be looked at: a new endpoint becomes a row, or is
left out with a reason in `config/catalogue/vocabulary/articles.yaml`; a row that is gone stays, with `status`, `since`
and `why`.
"""


def as_text(differences: Iterable[Difference], *, everything: bool) -> str:
    """A line for each difference; with `everything`, for each line of the articles."""
    return "\n".join(line for difference in differences for line in _lines(difference, everything=everything))


def _lines(difference: Difference, *, everything: bool) -> Iterator[str]:
    article = difference.article
    yield f"{article.spot}: {_named(difference)}: {_counted(difference)}"
    for finding in difference.findings if everything else difference.different:
        where = " ".join(filter(None, (str(finding.spot or ""), *map(str, finding.rows))))
        parts = (f"{finding.section}: " if finding.section else "", _printed(finding), f": {finding.why}")
        yield f"{finding.kind:8} {where}: {one_line(''.join(parts if finding.why else parts[:2]))}"


def _named(difference: Difference) -> str:
    date = difference.article.date
    return difference.followed.titles[0] + (f" of {date}" if date else ", without a date")


def _counted(difference: Difference) -> str:
    counts = [f"{count} {kind}" for kind in Kind if (count := difference.count(kind))]
    return f"{plural(len(difference.article.lines), 'endpoint')}: {', '.join(counts) or 'none'}"


def _printed(finding: Finding) -> str:
    return bare(finding.pattern, _LONGEST)


# ---------------------------------------------------------------- an issue


def as_markdown(differences: Sequence[Difference]) -> str:
    """An issue that a maintainer could file as it is: what differs, article by article, and what to do."""
    differing = [difference for difference in differences if difference.different]
    if not differing:
        return "The catalogue has everything that the articles list.\n" + _compared(differences)
    parts = [
        _TO_DO,
        *(_article(difference) for difference in differing),
        _compared(differences),
    ]
    return _shortened("\n".join(parts))


def _shortened(issue: str) -> str:
    """The same, cut where it is longer than an issue can be."""
    if len(issue.encode()) <= _LONGEST_ISSUE:
        return issue
    kept = issue.encode()[:_LONGEST_ISSUE].decode(errors="ignore").rpartition("\n")[0]
    left = issue.count("\n") - kept.count("\n")
    return f"{kept}\n\nAnd {plural(left, 'more line')}; `catalogue diff` prints all of them.\n"


def _article(difference: Difference) -> str:
    lines = [f"## [{_named(difference)}]({difference.followed.page})", ""]
    for kind in DIFFERENT:
        findings = [finding for finding in difference.findings if finding.kind is kind]
        if findings:
            lines += [
                f"### {_SAYS[kind]}",
                "",
                "| Endpoint | Section | Article | Catalogue | |",
                "| --- | --- | --- | --- | --- |",
            ]
            lines += map(_row, findings)
            lines.append("")
    return "\n".join(lines)


def _row(finding: Finding) -> str:
    cells = (
        _code(_printed(finding)),
        _code(finding.section),
        _code(str(finding.spot or "")),
        " ".join(_code(str(row)) for row in finding.rows[:5]),
        _code(finding.why) if finding.kind is Kind.UNREAD else finding.why,
    )
    return f"| {' | '.join(cells)} |"


def _code(text: str) -> str:
    """A text of others as code, from which nothing in it can break out of its cell."""
    plain = bare(text, _LONGEST).replace("`", "'").replace("|", "\\|")
    return f"`{plain}`" if plain else ""


def _compared(differences: Iterable[Difference]) -> str:
    rows = [
        f"| [{_named(done)}]({done.followed.page}) | {_code(str(done.article.spot))} | {_counted(done)} |"
        for done in differences
    ]
    return "\n".join(("## What was compared", "", "| Article | File | |", "| --- | --- | --- |", *rows, ""))


# ---------------------------------------------------------------- JSON


def as_json(differences: Iterable[Difference]) -> str:
    """An array of articles with all of their findings."""
    return json.dumps([_value(difference) for difference in differences], indent=2)


def _value(difference: Difference) -> dict[str, Any]:
    article = difference.article
    return {
        "article": difference.followed.name,
        "title": difference.followed.titles[0],
        "page": difference.followed.page,
        "file": article.spot.file,
        "date": article.date or None,
        "different": bool(difference.different),
        "findings": [_finding(finding) for finding in difference.findings],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    spot = finding.spot
    return {
        "kind": finding.kind,
        "pattern": _printed(finding),
        "file": spot.file if spot else None,
        "line": spot.line if spot else None,
        "section": bare(finding.section, _LONGEST),
        "rows": [{"file": row.file, "line": row.line, "feature": row.feature} for row in finding.rows],
        "why": one_line(finding.why),
    }
