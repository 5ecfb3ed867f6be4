"""What Jenkins takes as a report of tests: the rules of junit-10.xsd, which its xUnit plugin validates by.

https://github.com/jenkinsci/xunit-plugin, src/main/resources/org/jenkinsci/plugins/xunit/types/model/xsd
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as ET


@dataclass(frozen=True)
class Rule:
    """What an element may hold."""

    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()
    children: frozenset[str] = frozenset()
    text: bool = False


_OUTPUT: Final = frozenset({"system-out", "system-err"})
_RERUNS: Final = frozenset({"rerunFailure", "rerunError", "flakyFailure", "flakyError"})
_OUTCOME: Final = Rule(optional=frozenset({"type", "message"}), text=True)
RULES: Final[Mapping[str, Rule]] = {
    "testsuites": Rule(
        optional=frozenset({"name", "time", "tests", "failures", "errors"}), children=frozenset({"testsuite"})
    ),
    "testsuite": Rule(
        required=frozenset({"name", "tests", "failures", "errors"}),
        optional=frozenset(
            {"group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url"}
        ),
        children=_OUTPUT | {"testsuite", "properties", "testcase"},
    ),
    "testcase": Rule(
        required=frozenset({"name"}),
        optional=frozenset({"time", "classname", "group"}),
        children=_OUTPUT | _RERUNS | {"skipped", "error", "failure"},
    ),
    "failure": _OUTCOME,
    "error": _OUTCOME,
    "skipped": _OUTCOME,
}
_TIME: Final = re.compile(r"[0-9,]*(\.[0-9]*)?")  # of a suite, or of all


def violations(report: str) -> list[str]:
    """Where a report breaks the schema, element by element."""
    root = ET.fromstring(report)  # noqa: S314 - our own output
    return list(_broken(root)) if root.tag in {"testsuites", "testsuite"} else [f"begins with <{root.tag}>"]


def _broken(element: ET.Element) -> Iterator[str]:
    rule = RULES[element.tag]
    given = frozenset(element.attrib)
    if missing := rule.required - given:
        yield f"<{element.tag}> lacks {sorted(missing)}"
    if surplus := given - rule.required - rule.optional:
        yield f"<{element.tag}> has {sorted(surplus)}"
    if element.tag != "testcase" and not _TIME.fullmatch(element.get("time", "")):
        yield f"<{element.tag}> has the time {element.get('time')!r}"
    around = (element.text or "") + "".join(child.tail or "" for child in element)
    if around.strip() and not rule.text:
        yield f"<{element.tag}> has text"
    for child in element:
        if child.tag in rule.children:
            yield from _broken(child)
        else:
            yield f"<{element.tag}> holds <{child.tag}>"
