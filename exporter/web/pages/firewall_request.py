"""The firewall request of this moment: (Rules, Snapshot, query) -> what to let through for what is down. Pure."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Final
from urllib.parse import urlencode

from rich.console import Console

from exporter.allowlist.data import rules_csv
from exporter.allowlist.markdown import change_request
from exporter.allowlist.rules import Rule
from exporter.allowlist.terminal import print_rules
from exporter.model.vocabulary import CheckKey, Reason, Role, Snapshot
from exporter.report.causes import Cause, causes
from exporter.report.invocation import Invocation
from exporter.report.reasons import Who
from exporter.text.printable import one_line
from exporter.web.pages.filters import quoted

DOWN: Final = "down"
ALL: Final = "all"
_STATES: Final = (DOWN, ALL)
_WIDTH: Final = 100  # characters of a line of text
_OWNERS_OF_RULES: Final = frozenset({Who.FIREWALL, Who.PROXY, Who.NOBODY})
_BEYOND_RULES: Final = frozenset({Reason.PROXY_UNREACHABLE, Reason.PROXY_AUTH_REQUIRED})  # of the proxy itself


@dataclass(frozen=True, slots=True)
class Form:
    """A notation of the request: how a file of it ends, its type, and who writes it."""

    title: str
    ending: str
    type: str
    write: Callable[[Iterable[Rule], Mapping[str, Role], Invocation], str]


def _markdown(rules: Iterable[Rule], roles: Mapping[str, Role], command: Invocation) -> str:
    return f"{change_request(rules, roles, command)}\n"


def _csv(rules: Iterable[Rule], *_: object) -> str:
    return rules_csv(rules)


def _text(rules: Iterable[Rule], *_: object) -> str:
    out = io.StringIO()
    print_rules(rules, Console(file=out, width=_WIDTH, force_terminal=False, legacy_windows=False))
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


FORMS: Final = MappingProxyType(
    {
        "markdown": Form("Markdown", "md", "text/markdown; charset=utf-8", _markdown),
        "csv": Form("CSV", "csv", "text/csv; charset=utf-8", _csv),
        "text": Form("plain text", "txt", "text/plain; charset=utf-8", _text),
    }
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody asks for; empty: by every path, as a page."""

    state: str = DOWN
    path: str = ""
    form: str = ""

    def href(self, **changes: str) -> str:
        """The relative address of the same with some changes."""
        said = asdict(replace(self, **changes))
        said["format"] = said.pop("form")
        return f"firewall-request?{urlencode({key: value for key, value in said.items() if value})}"


@dataclass(frozen=True, slots=True)
class Requested:
    """What to let through, and the targets that are down and that no rule brings back, by who can."""

    rules: tuple[Rule, ...]
    paths: tuple[str, ...]  # that can be asked for
    targets: int  # that are down and that it is for
    others: tuple[tuple[Who, int], ...]


def asked_for(query: Mapping[str, str], rules: Iterable[Rule]) -> tuple[Asked, tuple[str, ...]]:
    """What an address asks for, and a sentence for each part of it that is not understood."""
    paths = tuple(dict.fromkeys(rule.path for rule in rules))
    known = {"state": _STATES, "path": ("", *paths), "format": ("", *FORMS)}
    chosen = {"state": query.get("state", DOWN), "path": query.get("path", ""), "format": query.get("format", "")}
    mistakes = tuple(
        f"{name}: {quoted(value)} is not known here; expected {', '.join(map(one_line, filter(None, known[name])))}."
        for name, value in chosen.items()
        if value not in known[name]
    )
    return (Asked() if mistakes else Asked(chosen["state"], chosen["path"], chosen["format"])), mistakes


def requested(rules: Iterable[Rule], snapshot: Snapshot, asked: Asked) -> Requested:
    """The rules that are asked for.

    Those of what is down are those whose targets are, where a firewall or a proxy may be why; what decides nothing is
    left out.
    """
    everything = tuple(rules)
    here = tuple(rule for rule in everything if asked.path in {"", rule.path})
    paths = tuple(dict.fromkeys(rule.path for rule in everything))
    if asked.state == ALL:
        return Requested(here, paths, 0, ())
    wanted: set[tuple[str, str]] = set()
    others: Counter[Who] = Counter()
    for cause in causes(snapshot):
        faults = (fault for fault in cause.faults if fault.broken or fault.covered)
        places = {_place(fault.key) for fault in faults if asked.path in {"", fault.key.path}}
        if is_of_rules(cause):
            wanted |= places
        else:
            others[cause.who] += len(places)
    found = tuple(rule for rule in here if any((rule.path, url) in wanted for url in rule.targets))
    served = {(rule.path, url) for rule in found for url in rule.targets} & wanted
    return Requested(found, paths, len(served), tuple((who, number) for who, number in others.most_common() if number))


def is_of_rules(cause: Cause) -> bool:
    """Whether a rule of a firewall or a proxy may bring back what fails by it."""
    return cause.who in _OWNERS_OF_RULES and cause.reason not in _BEYOND_RULES


def _place(key: CheckKey) -> tuple[str, str]:
    return key.path, key.target.url
