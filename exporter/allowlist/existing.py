"""Read allow lists that exist: file -> Rules that were written before, or what a list lets through.

Only lists whose meaning is certain: what the rules of a proxy or a firewall come to, only the device itself knows.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from exporter.allowlist.comparison import Entry
from exporter.allowlist.data import HEADER
from exporter.allowlist.hosts import can_be_written, plain
from exporter.allowlist.rules import Rule
from exporter.config.documents import DocumentError, Mistake, read_text
from exporter.config.fields import found
from exporter.model.patterns import span
from exporter.model.vocabulary import DEFAULT_PORTS

_MAX_BYTES: Final = 1 << 24
_JSON: Final = re.compile(r"\s*(?:\{|\[\s*[{\]])")  # an address of IPv6 may begin with a bracket, too
_DELIMITERS: Final = ",;\t"  # what spreadsheets write between cells, by the language of their user
_COMMENT: Final = re.compile(r"(?:(?:#|//|;).*)?")
_COMMENT_BEHIND: Final = re.compile(r"(?:(?:#|//).*)?")
# A line of a list: a host or a wildcard, perhaps as a URL; what a path narrows down is none.
_LISTED: Final = re.compile(
    r"(?:(?P<scheme>https?)://)?(?P<host>\[[0-9a-f:.]+\]|[a-z0-9_*.][a-z0-9_*.-]*|[0-9a-f:]+:[0-9a-f:.]+)"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<path>/\S*)?",
    re.IGNORECASE,
)
_ANEW: Final = "write the file anew by `allowlist --format json`"
_ASK: Final = (
    "expected hosts, wildcards and URLs one a line, or the json, csv or edl of `allowlist`; "
    "to test a proxy or a firewall, run the exporter through it: `check` asks it"
)


def read_rules(path: Path) -> tuple[Rule, ...]:
    """The rules that `allowlist --format json` wrote. Raises DocumentError."""
    return _rules(read_text(path, _MAX_BYTES), str(path), _ANEW)


def read_allowed(path: Path) -> tuple[Entry, ...]:
    """What an allow list lets through, known by its content. Raises DocumentError.

    It may be the JSON, CSV or EDL of `allowlist`, or a list with a host, a wildcard or a URL a line.
    """
    text, file = read_text(path, _MAX_BYTES), str(path)
    entries: Iterable[Entry]
    if _JSON.match(text):
        entries = (Entry(rule.host, rule.protocol, span(rule.ports)) for rule in _rules(text, file, _ASK))
    elif delimiter := _delimiter(text):
        entries = _records(text, file, delimiter)
    else:
        entries = _listed(text, file)
    return tuple(entry for entry in entries if can_be_written(entry.host.removeprefix(".")))


def _rules(text: str, file: str, remedy: str) -> tuple[Rule, ...]:
    try:
        rules = TypeAdapter(tuple[Rule, ...]).validate_python(json.loads(text))
        for rule in rules:
            span(rule.ports)
    except json.JSONDecodeError as error:
        raise DocumentError([Mistake(file, error.lineno, (), f"not JSON: {error.msg}; {remedy}")]) from None
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        raise DocumentError([Mistake(file, 1, detail["loc"], f"no rule of an allow list; {remedy}")]) from None
    except (ValueError, RecursionError):
        raise DocumentError([Mistake(file, 1, (), f"no JSON of an allow list; {remedy}")]) from None
    return rules


def _delimiter(text: str) -> str | None:
    """What stands between the cells, if these are records of `allowlist`, perhaps with columns taken out."""
    first, _, _ = text.partition("\n")
    with suppress(csv.Error):  # a cell that is longer than any of ours
        for delimiter in _DELIMITERS:
            header = next(csv.reader([first.rstrip("\r")], delimiter=delimiter), [])
            if {"host", "protocol", "ports"} <= set(header) <= set(HEADER):
                return delimiter
    return None


def _records(text: str, file: str, delimiter: str) -> Iterator[Entry]:
    table = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for record in table:
            if any(record.values()):  # or it is a spreadsheet's empty row
                yield Entry(plain(record["host"]), record["protocol"], span(record["ports"]))
    except (TypeError, ValueError, AttributeError, csv.Error):
        message = "no record of an allow list; write the file anew by `allowlist --format csv`"
        raise DocumentError([Mistake(file, table.line_num, (), message)]) from None


def _listed(text: str, file: str) -> Iterable[Entry]:
    entries, mistakes = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if _COMMENT.fullmatch(line.strip()):
            continue
        first, *rest = line.split(maxsplit=1)
        match = _LISTED.fullmatch(first)
        if match is None or not all(map(_COMMENT_BEHIND.fullmatch, rest)):
            message = f"expected a host, a wildcard or a URL alone on its line, found {found(line.strip())}"
            mistakes.append(Mistake(file, number, (), message))
        elif match["path"] in {None, "/", "/*"}:
            entries.append(_entry(match))
    if entries and not mistakes:
        return entries
    why = mistakes or [Mistake(file, 1, (), "lists nothing")]
    is_list = len(mistakes) < len(entries)
    raise DocumentError([replace(why[0], message=f"{why[0].message}; {_ASK}"), *(why[1:] if is_list else ())])


def _entry(match: re.Match[str]) -> Entry:
    """A URL allows its scheme alone, and without a port, the port of that."""
    scheme = match["scheme"] and match["scheme"].lower()
    port = int(match["port"]) if match["port"] else DEFAULT_PORTS.get(scheme or "")
    return Entry(plain(match["host"].strip("[]")), scheme, range(port, port + 1) if port else None)
