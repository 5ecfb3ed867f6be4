"""What must be let through for what is down: (Rules, Snapshot) -> Rules, and what was seen of it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from exporter.allowlist.rules import Rule
from exporter.model.vocabulary import CheckKey, Reason, Result, Snapshot
from exporter.report.causes import Cause, causes
from exporter.report.evidence import OF_CERTIFICATES, Connection, decisive
from exporter.report.reasons import Who

_OWNERS_OF_RULES: Final = frozenset({Who.FIREWALL, Who.PROXY, Who.NOBODY})
_BEYOND_RULES: Final = frozenset({Reason.PROXY_UNREACHABLE, Reason.PROXY_AUTH_REQUIRED})  # of the proxy itself


@dataclass(frozen=True, slots=True)
class Seen:
    """A target that is down, and the connection on which it failed, where one is known."""

    result: Result
    connection: Connection | None
    inspected_by: str = ""  # who issued its certificate, where that is why it fails


@dataclass(frozen=True, slots=True)
class Closed:
    """What a rule of a firewall or a proxy may bring back, and how much no rule does, by who can."""

    rules: tuple[Rule, ...]
    seen: tuple[Seen, ...]  # of the targets of these rules
    others: tuple[tuple[Who, int], ...]  # targets


def closed(rules: Iterable[Rule], snapshot: Snapshot) -> Closed:
    """The rules whose targets are down, where a firewall or a proxy may be why.

    What decides nothing is left out.
    """
    here = tuple(rules)
    paths = {rule.path for rule in here}
    wanted: dict[tuple[str, str], CheckKey] = {}
    issuers: dict[CheckKey, str] = {}
    others: Counter[Who] = Counter()
    for cause in causes(snapshot):
        faults = (fault for fault in cause.faults if fault.broken or fault.covered)
        places = {_place(fault.key): fault.key for fault in faults if fault.key.path in paths}
        if is_of_rules(cause):
            wanted |= places
            issuers |= dict.fromkeys(cause.targets, cause.origin if cause.reason in OF_CERTIFICATES else "")
        else:
            others[cause.who] += len(places)
    found = tuple(rule for rule in here if any((rule.path, url) in wanted for url in rule.targets))
    served = {(rule.path, url) for rule in found for url in rule.targets}
    results = [snapshot.latest[key].result for place, key in wanted.items() if place in served]
    return Closed(
        found,
        tuple(Seen(result, decisive(result), issuers[result.key]) for result in results),
        tuple((who, number) for who, number in others.most_common() if number),
    )


def is_of_rules(cause: Cause) -> bool:
    """Whether a rule of a firewall or a proxy may bring back what fails by it."""
    return cause.who in _OWNERS_OF_RULES and cause.reason not in _BEYOND_RULES


def _place(key: CheckKey) -> tuple[str, str]:
    return key.path, key.target.url
