"""The reports for a terminal: Snapshot or Requirements -> a console of any width.

No frames, so that nothing depends on what the terminal can draw. Text folds and is never cut off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from exporter.model.vocabulary import (
    Consumer,
    FeatureReadiness,
    Importance,
    Plan,
    Requirement,
    Snapshot,
    Status,
    Verdict,
    WhyUnprobed,
)
from exporter.report.causes import Cause, apart, reported
from exporter.report.counting import counted
from exporter.report.facts import asking
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
    places,
    unprobed,
    verdict,
)
from exporter.report.reasons import Words, all_words
from exporter.text.numbers import plural, some
from exporter.text.printable import encodable, one_line

_STYLE: Final = {Verdict.READY: "green", Verdict.NOT_READY: "bold red"}
_NO_VERDICT: Final = "yellow"
_APART: Final = 3  # targets of a cause that are shown each by itself
_WORST_FIRST: Final = {Verdict.NOT_READY: 0, Verdict.READY: 2}


def print_check(snapshot: Snapshot, console: Console) -> None:
    """Features, the worst first; what is down, each target once; what is not probed, in sum; the verdict last."""
    page = Page(console)
    for cloud in sorted({feature.consumer.cloud for feature in snapshot.features}):
        page.line(cloud, "bold")
        page.table(_features(snapshot, cloud, page))
    _print_down(snapshot, page)
    _print_unprobed(snapshot, page)
    page.line(headline(snapshot), f"bold {_STYLE.get(verdict(snapshot), _NO_VERDICT)}")


def print_endpoints(plan: Plan, console: Console) -> None:
    """By feature, and within it by who needs it: each endpoint, and what is probed for it or why nothing is."""
    page = Page(console)
    ordered = sorted(plan.requirements, key=attrgetter("use"))
    for (feature, importance), needed in groupby(ordered, key=attrgetter("use.consumer.feature", "importance")):
        page.line(feature if importance is Importance.NORMAL else f"{feature} ({importance})", "bold")
        for consumers, lines in _by_consumers(needed).items():
            for place in places(consumers):
                page.line(f"for {place}", "italic")
            for line in lines:
                page.line(line.name, indent=2)
                for probed in line.probed:
                    page.line(probed, indent=6)
            page.gap()
    page.line(counted(plan).words, "bold")


class Page:
    """A console that shows every text as it is: no markup, no emoji, nothing that the encoding lacks."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def text(self, text: str, style: str = "") -> Text:
        """A text that folds and that the console's encoding can carry."""
        encoding = self._console.encoding
        return Text(encodable(one_line(text), encoding), style, overflow="fold")

    def line(self, text: str, style: str = "", *, indent: int = 0) -> None:
        """A text on lines of its own."""
        self._console.print(Padding(self.text(text, style), (0, 0, 0, indent), expand=False))

    def gap(self) -> None:
        """A free line."""
        self._console.print()

    def words(self, words: Words) -> None:
        """What a reason means and what to do."""
        self.line(words.summary, indent=2)
        self.line(words.to_do, indent=2)

    def table(self, table: Table) -> None:
        """A table, and a free line after it."""
        self._console.print(table)
        self.gap()


# ---------------------------------------------------------------- check


def _features(snapshot: Snapshot, cloud: str, page: Page) -> Table:
    columns = occurring(snapshot)
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("state", "feature", "role"):
        table.add_column(name, overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", overflow="fold")
    here = [feature for feature in snapshot.features if feature.consumer.cloud == cloud]
    for feature in sorted(here, key=_worst_first):
        number = counts(feature)
        table.add_row(
            page.text(feature_words(feature), _STYLE.get(feature.verdict, _NO_VERDICT)),
            page.text(feature.consumer.feature),
            page.text(feature.consumer.role),
            *(page.text(str(number[column])) for column in columns),
        )
    return table


def _worst_first(feature: FeatureReadiness) -> tuple[int, Consumer]:
    return _WORST_FIRST.get(feature.verdict, 1), feature.consumer


def _print_down(snapshot: Snapshot, page: Page) -> None:
    for cause in reported(snapshot):
        _print_cause(cause, page)
    for wildcard in partly_open(snapshot):
        page.line(wildcard.headline, _NO_VERDICT)
        page.line(wildcard.advice, indent=2)
        page.gap()
        for fault in wildcard.refused:
            _print_target(fault, f"{fault.failure.reason}: {fault.failure.message}", page)
        page.gap()
    for said, others in harmless(apart(snapshot)):
        page.line(f"{said}:", _NO_VERDICT)
        for fault in others:
            _print_target(fault, f"{fault.failure.reason}: {fault.failure.message}", page)
        page.gap()


def _print_cause(cause: Cause, page: Page) -> None:
    page.line(f"DOWN: {cause.headline}; {cause.number}", "bold red")
    page.words(cause.words)
    if cause.evidence:
        page.line(cause.evidence, indent=2)
    page.gap()
    if cause.whole_path or len(cause.shown) > _APART:
        _print_together(cause, page)
    else:
        for fault in cause.shown:
            _print_target(fault, fault.failure.message, page)
    page.gap()


def _print_together(cause: Cause, page: Page) -> None:
    """The targets of a cause, of a path only the first ones, and who needs any of them; one message for all alike."""
    messages = {fault.failure.message for fault in cause.shown}
    if cause.whole_path:
        page.line(some(cause.hosts), indent=2)
    else:
        if len(messages) == 1:
            page.line(*messages, indent=2)
        for fault in cause.shown:
            said = "" if len(messages) == 1 else f": {fault.failure.message}"
            page.line(f"{fault.key.target.url} ({fault.key.path}){said}", indent=2)
    for who in asking(use.consumer for use in cause.uses):
        page.line(f"for {who}", indent=6)


def _print_target(fault: Down, message: str, page: Page) -> None:
    page.line(f"{fault.key.target.url} ({fault.key.path}): {message}", indent=2)
    for who in needed_by(fault.uses):
        page.line(f"for {who}", indent=6)


def _print_unprobed(snapshot: Snapshot, page: Page) -> None:
    for why, patterns in unprobed(snapshot).items():
        page.line(f"Not probed: {why}, {amount(why, patterns)}", _NO_VERDICT)
        page.words(all_words().unprobed[why])
        for hint in _hints(why, patterns):
            page.line(hint, indent=4)
        page.gap()


def _hints(why: WhyUnprobed, patterns: Mapping[str, Sequence[Requirement]]) -> list[str]:
    """What to set and how many endpoints wait for it, else which endpoints they are."""
    if why is WhyUnprobed.NOT_SUPPORTED:
        return list(needed_by(need.use for needs in patterns.values() for need in needs))
    if why is not WhyUnprobed.MISSING_PARAMETER:
        return list(patterns)
    waiting = Counter(detail for needed in patterns.values() for detail in details(needed))
    return [f"{detail} ({plural(number, 'endpoint')})" for detail, number in waiting.most_common()]


# ---------------------------------------------------------------- endpoints


@dataclass(frozen=True, slots=True)
class _Line:
    """An endpoint as it is listed."""

    name: str
    probed: tuple[str, ...]


def _listed(requirement: Requirement) -> _Line:
    status = requirement.endpoint.status
    marks: list[str] = [] if status is Status.ACTIVE else [status]
    marks += [] if (why := requirement.endpoint.reference) is None else [f"reference only: {why}"]
    name = f"{requirement.use.pattern} ({', '.join(marks)})" if marks else requirement.use.pattern
    if requirement.targets:
        return _Line(name, tuple(target.url for target in requirement.targets))
    said = filter(None, (requirement.why_unprobed, requirement.detail))
    return _Line(name, (f"not probed: {': '.join(said)}",))


def _by_consumers(requirements: Iterable[Requirement]) -> dict[tuple[Consumer, ...], list[_Line]]:
    """Endpoints that the same consumers need stand together."""
    consumers_of: dict[_Line, list[Consumer]] = {}
    for requirement in requirements:
        consumers_of.setdefault(_listed(requirement), []).append(requirement.use.consumer)
    lines_for: dict[tuple[Consumer, ...], list[_Line]] = {}
    for line, consumers in consumers_of.items():
        lines_for.setdefault(tuple(consumers), []).append(line)
    return lines_for
