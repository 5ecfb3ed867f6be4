"""Read allow lists that exist: file -> Rules that were written before, or what a device lets through."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from exporter.allowlist import squid_conf
from exporter.allowlist.allowed import Allowed, Entry
from exporter.allowlist.data import HEADER
from exporter.allowlist.hosts import can_be_written, plain
from exporter.allowlist.rules import Rule, span
from exporter.reading.documents import DocumentError, Mistake, read_text, spelled
from exporter.reading.fields import found

_MAX_BYTES: Final = 1 << 24
_JSON: Final = re.compile(r"\s*(?:\{|\[\s*[{\]])")  # an address of IPv6 may begin with a bracket, too
_COMMENT: Final = re.compile(r"\s*(?:(?:#|//|;).*)?")
# A line of a list: a host or a wildcard, perhaps as a URL; what a path narrows down is none.
_LISTED: Final = re.compile(
    r"(?:https?://)?(?P<host>\[[0-9a-f:.]+\]|[a-z0-9_*.-]+|[0-9a-f:]+:[0-9a-f:.]+)(?::(?P<port>[0-9]{1,5}))?(?P<path>/\S*)?",
    re.IGNORECASE,
)


def read_rules(path: Path) -> tuple[Rule, ...]:
    """The rules that `allowlist --format json` wrote. Raises DocumentError."""
    return _rules(read_text(path, _MAX_BYTES), str(path))


def read_allowed(path: Path) -> Allowed:
    """What the allow list of a device lets through, known by its content. Raises DocumentError.

    It may be the JSON or CSV of `allowlist`, a configuration of Squid, or a list with a host or a wildcard a line.
    """
    text, file = read_text(path, _MAX_BYTES), str(path)
    if _JSON.match(text):
        return _of(Entry(rule.host, rule.protocol, span(rule.ports)) for rule in _rules(text, file))
    if text.startswith(",".join(HEADER)):
        return _of(_records(text, file))
    if squid_conf.is_squid_conf(text):
        return _of_squid(text, file)
    return _of(_listed(text, file))


def _of(entries: Iterable[Entry]) -> Allowed:
    known = tuple(entry for entry in entries if can_be_written(entry.host.removeprefix(".")))
    return Allowed(lambda host, protocol, port: any(entry.allows(host, protocol, port) for entry in known))


def _of_squid(text: str, file: str) -> Allowed:
    try:
        verdict = squid_conf.allows(text)
    except squid_conf.NotUnderstood as error:
        raise DocumentError([Mistake(file, error.line, "", str(error))]) from None
    return Allowed(lambda host, scheme, port: verdict(squid_conf.Request(host, port, scheme)), web_only=True)


def _rules(text: str, file: str) -> tuple[Rule, ...]:
    try:
        rules = TypeAdapter(tuple[Rule, ...]).validate_python(json.loads(text))
        for rule in rules:
            span(rule.ports)
    except json.JSONDecodeError as error:
        raise DocumentError([Mistake(file, error.lineno, "", f"not JSON: {error.msg}; {_ANEW}")]) from None
    except ValidationError as error:
        detail = error.errors(include_url=False, include_input=False)[0]
        raise DocumentError([Mistake(file, 1, spelled(detail["loc"]), f"no rule of an allow list; {_ANEW}")]) from None
    except (ValueError, RecursionError):
        raise DocumentError([Mistake(file, 1, "", f"no JSON of an allow list; {_ANEW}")]) from None
    return rules


def _records(text: str, file: str) -> Iterable[Entry]:
    table = csv.DictReader(io.StringIO(text, newline=""))
    for record in table:
        try:
            yield Entry(plain(record["host"]), record["protocol"], span(record["ports"]))
        except (TypeError, ValueError, AttributeError):
            message = "no record of an allow list; write the file anew by `allowlist --format csv`"
            raise DocumentError([Mistake(file, table.line_num, "", message)]) from None


def _listed(text: str, file: str) -> Iterable[Entry]:
    entries, mistakes = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        first, _, rest = line.strip().partition(" ")
        match = _LISTED.fullmatch(first)
        if _COMMENT.fullmatch(line):
            continue
        if match is None or not _COMMENT.fullmatch(rest):
            message = f"expected a host, a wildcard or an acl of Squid, found {found(line.strip())}"
            mistakes.append(Mistake(file, number, "", message))
        elif match["path"] in {None, "/", "/*"}:
            port = match["port"] and int(match["port"])
            entries.append(Entry(plain(match["host"].strip("[]")), None, range(port, port + 1) if port else None))
    if len(mistakes) >= len(entries):
        message = "holds no allow list; expected hosts line by line, or acl lines of Squid"
        raise DocumentError([Mistake(file, 1, "", message)])
    if mistakes:
        raise DocumentError(mistakes)
    return entries


_ANEW: Final = "write the file anew by `allowlist --format json`"
