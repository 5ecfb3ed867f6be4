"""The report for a ticket: Snapshot -> Markdown as GitHub writes it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from exporter.model.vocabulary import NO_PATTERN, Snapshot, Use
from exporter.report.causes import apart, reported
from exporter.report.findings import (
    Down,
    amount,
    counts,
    details,
    feature_words,
    harmless,
    headline,
    needed_by,
    occurring,
    partly_open,
    unprobed,
)
from exporter.report.reasons import all_words
from exporter.text.numbers import some
from exporter.text.printable import one_line


def check_markdown(snapshot: Snapshot) -> str:
    """Verdict, features, what is down, what is not probed. Whatever a text holds, it stays text and in its cell."""
    return "\n".join(
        (
            "# Configuration Manager endpoints",
            "",
            f"**{prose(headline(snapshot))}**",
            *_features(snapshot),
            *_down(snapshot),
            *_unprobed(snapshot),
        )
    )


def _features(snapshot: Snapshot) -> Iterator[str]:
    if not snapshot.features:
        return
    columns = occurring(snapshot)
    yield from ("", "## Features", "")
    yield table_row(("Feature", "Role", "Cloud", "State", *(state.capitalize() for state in columns)))
    yield table_row(("---", "---", "---", "---", *("---:" for _ in columns)))
    for feature in snapshot.features:
        consumer, number = feature.consumer, counts(feature)
        names = (code(consumer.feature), code(consumer.role), code(consumer.cloud))
        yield table_row((*names, feature_words(feature), *(str(number[state]) for state in columns)))


def _down(snapshot: Snapshot) -> Iterator[str]:
    if found := reported(snapshot):
        yield from ("", "## Down")
    for cause in found:
        yield from (
            "",
            f"### {prose(cause.headline)}; {cause.number}",
            "",
            cause.words.summary,
            "",
            _advice(cause.words.to_do),
        )
        if cause.evidence:
            yield from ("", code(cause.evidence))
        if cause.whole_path:
            yield from ("", f"{prose(some(cause.hosts))}. Needed by {_needed_by(cause.uses)}")
        else:
            yield from ("", *_targets(cause.shown))
    for wildcard in partly_open(snapshot):
        yield from ("", f"## {prose(wildcard.headline)}", "", wildcard.advice, "")
        yield from _targets(wildcard.refused)
    for said, others in harmless(apart(snapshot)):
        yield from ("", f"## {said}", "")
        yield from _targets(others)


def _advice(text: str) -> str:
    """Prose whose keys are marked as code, as in reasons.yaml, though it quotes what stands in a configuration."""
    parts = re.split("(`[^`]+`)", one_line(text))
    return "".join(part if number % 2 else _inert(part) for number, part in enumerate(parts))


def _targets(faults: Iterable[Down]) -> Iterator[str]:
    yield table_row(("Target", "Path", "Reason", "Message", "Needed by"))
    yield table_row(("---",) * 5)
    for fault in faults:
        failure = fault.failure
        yield table_row(
            (
                code(fault.key.target.url),
                code(fault.key.path),
                failure.reason,
                prose(failure.message),
                _needed_by(fault.uses),
            )
        )


def _unprobed(snapshot: Snapshot) -> Iterator[str]:
    found = unprobed(snapshot)
    if not found:
        return
    yield from ("", "## Not probed")
    for why, patterns in found.items():
        words = all_words().unprobed[why]
        yield from ("", f"### {why}: {amount(why, patterns)}", "", words.summary, "")
        yield from (words.to_do, "")
        yield table_row(("Endpoint", "Detail", "Needed by"))
        yield table_row(("---",) * 3)
        for pattern, requirements in patterns.items():
            said = "; ".join(prose(detail) for detail in details(requirements))
            name = "none" if pattern == NO_PATTERN else code(pattern)
            yield table_row((name, said, _needed_by(requirement.use for requirement in requirements)))


def _needed_by(uses: Iterable[Use]) -> str:
    return "; ".join(prose(who) for who in needed_by(uses))


def table_row(cells: Iterable[str]) -> str:
    """A row of a table, of cells that are Markdown already."""
    return f"| {' | '.join(cells)} |"


def prose(text: str) -> str:
    """Prose from outside, in a cell: nothing in it marks up or ends the cell."""
    return _inert(one_line(text))


def _inert(line: str) -> str:
    return re.sub(r"([\\`*<>|~&$\[\]]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", line)


def code(text: str) -> str:
    """Verbatim, in a cell. A bar ends the cell even inside a code span, unless a backslash stands before it."""
    line = re.sub(r"(\\*)\|", r"\1\1\\|", one_line(text))
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"
