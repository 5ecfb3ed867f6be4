"""The alerts: alerts/*.yaml -> the words of their runbooks, and the rules as Prometheus reads them.

Prometheus refuses keys that it does not know, so what stands under `runbook` of a rule is left out for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, BeforeValidator, ValidationInfo

from exporter.config.documents import Document, DocumentError, raise_errors, read
from exporter.config.fields import unknown
from exporter.model.vocabulary import Reason
from exporter.report.commands import Confirmation, all_commands
from exporter.report.searches import searched
from exporter.report.shipped import KEYS_ARE_KNOWN

HERE: Final = Path(__file__).parent / "alerts"
FILES: Final = ("alerts.yaml", "budget.yaml")

EVERY_ROLE: Final = "every role"
SERVICE_CONNECTION_POINT: Final = "service-connection-point"


def link(name: str) -> str:
    """A link to another page."""
    return f"[{name}]({name}.md)"


@dataclass(frozen=True, slots=True)
class Query:
    """What to ask Prometheus, and what the answer shows."""

    expr: str
    shows: str

    __pydantic_config__: ClassVar = KEYS_ARE_KNOWN


@dataclass(frozen=True, slots=True)
class Shared:
    """What the runbooks of several alerts share; `looks` has also what commands.yaml holds."""

    teams: Mapping[str, str]
    queries: Mapping[str, Query]
    looks: Mapping[str, Confirmation]
    texts: Mapping[str, str]

    __pydantic_config__: ClassVar = KEYS_ARE_KNOWN


# ---------------------------------------------------------------- what a rule's runbook names


def _shared_by(info: ValidationInfo) -> Shared:
    if not isinstance(info.context, Shared):
        raise TypeError(info.context)
    return info.context


def _query(value: Any, info: ValidationInfo) -> Any:  # noqa: ANN401 - whatever the file holds
    queries = _shared_by(info).queries
    if isinstance(value, str) and value not in queries:
        raise ValueError(unknown("query", queries, value))
    return queries[value] if isinstance(value, str) else value


def _look(value: Any, info: ValidationInfo) -> Any:  # noqa: ANN401 - whatever the file holds
    if not isinstance(value, list):
        return value
    looks = _shared_by(info).looks
    if wrong := next((name for name in value if name not in looks), None):
        raise ValueError(unknown("look", looks, wrong))
    found = [looks[name] for name in value]
    return Confirmation(
        tuple(dict.fromkeys(command for one in found for command in one.powershell)),
        tuple(dict.fromkeys(command for one in found for command in one.posix)),
    )


def _markdown(text: str, info: ValidationInfo) -> str:
    """The text on long lines, with the shared texts that it names, and with links."""
    searches = {f"search_{reason}": "\n".join(f"- {item}" for item in searched(reason)) for reason in Reason}
    reasons = ", ".join(f"[{reason}]" for reason in Reason)
    texts = {**_shared_by(info).texts, **searches, "reasons": reasons}
    while names := set(re.findall(r"\{(\w+)\}", text)):
        for name in names:
            if name not in texts:
                raise ValueError(unknown("text", texts, name))
            text = text.replace(f"{{{name}}}", texts[name])
    return re.sub(r"\[(\w+)\]", lambda page: link(page[1]), _BREAK.sub(" ", text))


_BREAK: Final = re.compile(r"(?<!\n)\n(?!\n|- ) *")  # a line that goes on; neither a new paragraph nor a new item


@dataclass(frozen=True, slots=True)
class Alert:
    """The words of an alert's runbook."""

    means: str
    effect: str  # on Configuration Manager
    queries: tuple[Annotated[Query, BeforeValidator(_query)], ...]
    calls: tuple[str, ...]  # of the exporter's command
    look: Annotated[Confirmation, BeforeValidator(_look)]
    change: Annotated[str, AfterValidator(_markdown)]
    proof: Annotated[str, AfterValidator(_markdown)]  # that it is fixed
    after: str = ""  # when it fires, where that is no `for`
    search: Annotated[str, AfterValidator(_markdown)] = ""  # in the log of a device
    features_of: str | None = None  # the role whose features, with logs and status messages, belong on the page
    proxies: bool = False  # what kind of proxy each role can use belongs on it
    inspection: bool = False  # what must not be inspected belongs on it
    messages: str = ""  # what else Configuration Manager shows, in Markdown
    at_exporter: bool = False  # the commands are for the exporter's machine
    suffers: bool = True  # Configuration Manager shows it

    __pydantic_config__: ClassVar = KEYS_ARE_KNOWN


# ---------------------------------------------------------------- the files


def _shared() -> Shared:
    document = read(HERE / "shared.yaml")
    shared = document.validate(Shared)
    raise_errors([document])
    if shared is None:
        raise DocumentError(document.mistakes)
    commands = all_commands()
    looks = {str(name): look for name, look in (*shared.looks.items(), *commands.reasons.items())}
    looks |= {"walk": commands.walk, "certificate": commands.certificate}
    return Shared(shared.teams, shared.queries, looks, shared.texts)


def _rules(document: Document) -> Iterator[tuple[tuple[str | int, ...], Mapping[str, Any]]]:
    """Each rule of a file, and where it stands."""
    groups: Any = document.at(("groups",))
    for i, group in enumerate(groups):
        for j, rule in enumerate(group["rules"]):
            yield ("groups", i, "rules", j), rule


def _alerts(shared: Shared) -> Iterator[tuple[str, str, Alert]]:
    """The name, the team and the words of each alert. Raises DocumentError with every mistake of a file."""
    for file in FILES:
        document = read(HERE / file)
        for place, rule in _rules(document):
            alert = document.validate(Alert, (*place, "runbook"), context=shared) if "runbook" in rule else None
            if alert:
                yield rule["alert"], rule["labels"]["team"], alert
        raise_errors([document])


_SHARED: Final = _shared()
_FOUND: Final = tuple(_alerts(_SHARED))
TEAMS: Final[Mapping[str, str]] = MappingProxyType(dict(_SHARED.teams))  # in words
ALERTS: Final[Mapping[str, Alert]] = MappingProxyType({name: alert for name, _, alert in _FOUND})
TEAM_OF: Final[Mapping[str, str]] = MappingProxyType({name: team for name, team, _ in _FOUND})

_RUNBOOK: Final = re.compile(r"^ {8}runbook:\n(?:\n* {10}.*\n)*", re.MULTILINE)


def rules() -> Mapping[str, str]:
    """The files of rules for Prometheus by name: the same text without the runbooks."""
    return {file: _RUNBOOK.sub("", (HERE / file).read_text(encoding="utf-8")) for file in FILES}
