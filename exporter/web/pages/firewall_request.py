"""The firewall request of this moment: (Rules, Snapshot, query) -> what to let through for what is down. Pure."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Final
from urllib.parse import urlencode

from rich.console import Console

from exporter.allowlist.data import rules_csv
from exporter.allowlist.down import Seen, closed
from exporter.allowlist.markdown import change_request
from exporter.allowlist.rules import Rule
from exporter.allowlist.terminal import print_rules
from exporter.model.vocabulary import Role, Snapshot
from exporter.report.invocation import Invocation
from exporter.report.reasons import Who
from exporter.text.printable import one_line
from exporter.web.pages.filters import quoted

DOWN: Final = "down"
ALL: Final = "all"
_STATES: Final = (DOWN, ALL)
_WIDTH: Final = 100  # characters of a line of text


@dataclass(frozen=True, slots=True)
class Form:
    """A notation of the request: how a file of it ends, its type, and who writes it."""

    title: str
    ending: str
    type: str
    write: Callable[[Requested, Mapping[str, Role], Invocation], str]


def _markdown(found: Requested, roles: Mapping[str, Role], command: Invocation) -> str:
    return f"{change_request(found.rules, roles, command, found.seen)}\n"


def _csv(found: Requested, *_: object) -> str:
    return rules_csv(found.rules)


def _text(found: Requested, *_: object) -> str:
    out = io.StringIO()
    print_rules(found.rules, Console(file=out, width=_WIDTH, force_terminal=False, legacy_windows=False))
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
    seen: tuple[Seen, ...]  # of the targets that are down and that it is for
    others: tuple[tuple[Who, int], ...]

    @property
    def targets(self) -> int:
        """How many are down that it is for."""
        return len(self.seen)


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
        return Requested(here, paths, (), ())
    found = closed(here, snapshot)
    return Requested(found.rules, paths, found.seen, found.others)
