"""The report on single probes: a Snapshot -> a console of any width, phase by phase, with all evidence. Pure."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from math import ceil
from typing import Final

from rich.console import Console, JustifyMethod
from rich.padding import Padding
from rich.table import Column, Table

from exporter.model.vocabulary import Result, Snapshot
from exporter.report.asked import Asked
from exporter.report.evidence import moment
from exporter.report.facts import (
    Probe,
    asking,
    cause,
    connection,
    documented,
    documents,
    handshake,
    handshake_with_proxy,
    to_come,
    traces,
)
from exporter.report.findings import partly_open
from exporter.report.quoted import quoted
from exporter.report.terminal import Page
from exporter.text.secrets import harmless

_BAR: Final = 24  # characters, for the longest phase


def print_asked(asked: Asked, snapshot: Snapshot, console: Console) -> None:
    """Every probe that was asked for; after several of them, what they come to."""
    print_probes(snapshot, console)
    results = [latest.result for latest in snapshot.latest.values()]
    if len(results) > 1:
        up, usable = sum(result.up for result in results), asked.usable(snapshot)
        rest = "; of a wildcard, one target is enough" if usable and up < len(results) else ""
        for wildcard in partly_open(snapshot):
            if not {use.pattern for use in asked.uses}.isdisjoint(wildcard.patterns):
                _Sheet(console).line(f"{wildcard.headline}. {wildcard.advice}", "yellow")
        verdict = f"{'USABLE' if usable else 'NOT USABLE'}: {up} of {len(results)} up{rest}"
        _Sheet(console).line(verdict, _style(up=usable))


def probes_text(snapshot: Snapshot, width: int) -> str:
    """The same, less what they come to, as text."""
    out = io.StringIO()
    print_probes(snapshot, Console(file=out, width=width, force_terminal=False, legacy_windows=False))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def print_probes(snapshot: Snapshot, console: Console) -> None:
    """Each check that has a result: verdict, phases, what was seen on the way, who needs it, the cause, what to do."""
    requirement_of = snapshot.plan.requirement_of
    for check in snapshot.plan.checks:
        if check.key in snapshot.latest:
            needs = tuple(requirement_of[use] for use in check.uses if use in requirement_of)
            _print_probe(Probe(check, snapshot.latest[check.key].result, needs), _Sheet(console))


def _print_probe(probe: Probe, sheet: _Sheet) -> None:
    evidence = probe.result.evidence
    _print_verdict(probe.result, sheet)
    sheet.facts("Phases", _phases(probe.result), justify=("left", "right", "left"))
    sheet.facts("Connection", connection(probe.result))
    if evidence.proxy_tls:
        sheet.facts("Certificate of the proxy", handshake_with_proxy(evidence.proxy_tls, probe.result))
    for number, answer in enumerate(evidence.dialogue, 1):
        sheet.facts(f"Answer {number} of the proxy to CONNECT", quoted(answer))
    if evidence.tls:
        sheet.facts("Certificate", handshake(evidence.tls, probe))
    if evidence.answer:
        sheet.facts("Answer", quoted(evidence.answer))
    sheet.lines("Documented as", documented(probe.needs))
    sheet.lines("Needed by", asking(probe.check.consumers))
    if probe.result.failure:
        sheet.lines("Likely cause", cause(probe, probe.result.failure))
    if probe.threatened:
        sheet.lines("Failure to come", to_come(probe.uninspectable))
    if probe.troubled:
        sheet.facts("The same fault in Configuration Manager", traces(probe.needs))
    sheet.lines("Documents", documents(probe))


def _print_verdict(result: Result, sheet: _Sheet) -> None:
    sheet.line(f"{'UP' if result.up else 'DOWN'}: {result.key.target.url} ({result.key.path})", _style(up=result.up))
    if result.failure:
        sheet.line(harmless(f"{result.failure.reason}: {result.failure.message}"), indent=2)
    attempts = f", the last of {result.attempts} attempts" if result.attempts > 1 else ""
    sheet.line(f"probed {moment(result.started):%Y-%m-%d %H:%M:%S} UTC{attempts}", indent=2)
    sheet.gap()


def _style(*, up: bool) -> str:
    return "bold green" if up else "bold red"


class _Sheet(Page):
    """A page of headed blocks; one that has nothing to say is left out."""

    def facts(self, heading: str, rows: Iterable[Sequence[str]], *, justify: Sequence[JustifyMethod] = ()) -> None:
        """A block in columns."""
        found = list(rows)
        if not found:
            return
        columns = [Column(overflow="fold", justify=how) for how in justify or ["left"] * len(found[0])]
        table = Table.grid(*columns, padding=(0, 2, 0, 0))
        for row in found:
            table.add_row(*map(self.text, row))
        self.line(heading, "bold")
        self._console.print(Padding(table, (0, 0, 0, 2), expand=False))
        self.gap()

    def lines(self, heading: str, lines: Iterable[str]) -> None:
        """A block of sentences or names."""
        self.facts(heading, ((line,) for line in lines))


def _phases(result: Result) -> Iterator[tuple[str, str, str]]:
    longest = max(result.phases.values(), default=0.0)
    failed = result.failure.phase if result.failure else None
    for phase, took in result.phases.items():
        bar = "#" * ceil(_BAR * (took / longest)) if longest else ""
        remarks = ("FAILED" if phase is failed else "", "at most" if phase in result.late else "")
        yield phase, f"{took * 1000:.1f} ms", " ".join(filter(None, (bar, *remarks)))
    yield "together", f"{result.duration * 1000:.1f} ms", ""
