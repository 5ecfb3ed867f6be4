"""The page of one target: (Snapshot, its checks) -> everything that is known of it, by each path. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from exporter.model.vocabulary import Check, EndpointState, Latest, Plan, Snapshot
from exporter.report.commands import EXAMPLE_PROXY, Command, all_commands, by_path, filled
from exporter.report.facts import (
    Fact,
    Probe,
    asking,
    connection,
    documented,
    documents,
    handshake,
    handshake_with_proxy,
    to_come,
    traces,
    words_for,
)
from exporter.report.invocation import Invocation, Shell
from exporter.report.quoted import quoted
from exporter.report.reasons import Words
from exporter.report.searches import searched
from exporter.web.pages.availability import DAY, WEEK, Availability, availability, of_target
from exporter.web.pages.bars import Bar, bar


@dataclass(frozen=True, slots=True)
class Shown:
    """A command line for this target, and what it shows."""

    line: str
    shows: str


@dataclass(frozen=True, slots=True)
class Route:
    """Everything that is known of a target by one path. What follows the state is empty until the first result."""

    check: Check
    state: EndpointState
    needed_by: tuple[str, ...]
    documented: tuple[str, ...]
    latest: Latest | None = None
    words: Words | None = None  # of the failure
    threat: tuple[str, ...] = ()
    bar: Bar | None = None
    facts: tuple[tuple[str, tuple[Fact, ...]], ...] = ()  # heading -> facts
    traces: tuple[Fact, ...] = ()
    documents: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()  # what the log of a firewall or a proxy shows
    explain: str = ""  # the exporter's own command
    powershell: tuple[Shown, ...] = ()
    posix: tuple[Shown, ...] = ()
    lives: tuple[Availability, ...] = ()  # of a day and of a week


def route(check: Check, snapshot: Snapshot, now: float, command: Invocation) -> Route:
    """A target by one path; `command` is how the exporter is called by hand."""
    needs = tuple(snapshot.plan.requirement_of[use] for use in check.uses if use in snapshot.plan.requirement_of)
    latest = snapshot.latest.get(check.key)
    if latest is None:
        return Route(check, EndpointState.PENDING, tuple(asking(check.consumers)), tuple(documented(needs)))
    result = latest.result
    probe = Probe(check, result, needs)
    confirmation = all_commands().reasons[result.failure.reason] if result.failure else all_commands().walk
    return Route(
        check,
        result.state,
        tuple(asking(check.consumers)),
        tuple(documented(needs)),
        latest=latest,
        words=words_for(probe, result.failure) if result.failure else None,
        threat=tuple(to_come(probe.uninspectable)) if probe.threatened else (),
        bar=bar(result, result.duration),
        facts=_seen(probe),
        traces=tuple(traces(needs)) if probe.troubled else (),
        documents=documents(probe),
        searches=searched(result.failure.reason, check.key.target) if result.failure else (),
        explain=command.explain(check.key.target.url, check.key.path),
        powershell=_commands(confirmation.powershell, check, Shell.POWERSHELL),
        posix=_commands(confirmation.posix, check, Shell.POSIX),
        lives=tuple(availability(of_target(latest), span, now) for span in (DAY, WEEK)),
    )


def _seen(probe: Probe) -> tuple[tuple[str, tuple[Fact, ...]], ...]:
    evidence = probe.result.evidence
    blocks = [("Connection", tuple(connection(probe.result)))]
    if evidence.proxy_tls:
        blocks.append(("Certificate of the proxy", tuple(handshake_with_proxy(evidence.proxy_tls, probe.result))))
    blocks += [
        (f"Answer {number} of the proxy to CONNECT", tuple(quoted(answer)))
        for number, answer in enumerate(evidence.dialogue, 1)
    ]
    if evidence.tls:
        blocks.append(("Certificate", tuple(handshake(evidence.tls, probe))))
    if evidence.answer:
        blocks.append(("Answer", tuple(quoted(evidence.answer))))
    return tuple(blocks)


def _commands(commands: Iterable[Command], check: Check, shell: Shell) -> tuple[Shown, ...]:
    """The commands for this target. The proxy of the examples stands for the real one, whose address is a secret."""
    key = check.key
    return tuple(
        Shown(filled(by_path(command, key.proxy), key.target, EXAMPLE_PROXY, shell), command.shows)
        for command in commands
        if command.is_for(key.target)
    )


# ---------------------------------------------------------------- a target that is none

_ALIKE: Final = 3
_LONGEST: Final = 200  # characters that are compared: it takes the square of their number


def alike(url: str, plan: Plan) -> tuple[str, ...]:
    """Targets of the plan that somebody may have meant."""
    return tuple(get_close_matches(url[:_LONGEST], {check.key.target.url for check in plan.checks}, n=_ALIKE))
