"""The allow list for programs: Rules -> JSON, CSV. Pure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Final

from exporter.allowlist.comparison import Comparison
from exporter.allowlist.difference import Difference
from exporter.allowlist.rules import Rule
from exporter.model.vocabulary import Importance
from exporter.report.data import inert

HEADER: Final = (
    "role",
    "path",
    "host",
    "protocol",
    "ports",
    "tls_inspection",
    "authenticated_proxy",
    "features",
    "clouds",
    "patterns",
    "conditions",
    "docs",
    "missing",
    "importance",
)


def rules_json(rules: Iterable[Rule]) -> str:
    """An array of objects with the fields of Rule, in ASCII: what `--diff` and `check --against` read."""
    return json.dumps([asdict(rule) for rule in rules], indent=2)


def difference_json(found: Difference) -> str:
    """An object with the rules that were added and removed, and those that changed, as they were and as they are."""
    report = {
        "added": [asdict(rule) for rule in found.added],
        "removed": [asdict(rule) for rule in found.removed],
        "changed": [{"before": asdict(was), "after": asdict(now)} for was, now in found.changed],
    }
    return json.dumps(report, indent=2)


def comparison_json(compared: Comparison) -> str:
    """An object: whether the list is complete, what it lacks, and what could not be judged and for which reason."""
    report = {
        "complete": not compared.missing,
        "allowed": len(compared.allowed),
        "missing": [asdict(rule) for rule in compared.missing],
        "unjudged": [{"rule": asdict(rule), "reason": reason} for rule, reason in compared.unjudged],
    }
    return json.dumps(report, indent=2)


def rules_csv(rules: Iterable[Rule]) -> str:
    """A header and one record for each rule, as RFC 4180 has it; several values in a cell stand between semicolons.

    The importance is that of the most important feature. A cell that a spreadsheet would run as a formula gets an
    apostrophe before it.
    """
    out = io.StringIO(newline="")
    table = csv.writer(out)
    table.writerow(HEADER)
    for rule in rules:
        needs = rule.needed_for
        cells = (
            *(rule.role, rule.path, rule.host, rule.protocol, rule.ports),
            *(rule.tls_inspection or "", rule.authenticated_proxy or ""),
            _joined(need.feature for need in needs),
            _joined(need.cloud for need in needs),
            _joined(need.pattern for need in needs),
            _joined(need.condition for need in needs),
            _joined(need.docs for need in needs),
            rule.missing or "",
            min((need.importance for need in needs), key=list(Importance).index, default=""),
        )
        table.writerow([inert(cell) for cell in cells])
    return out.getvalue()


def _joined(values: Iterable[str | None]) -> str:
    return "; ".join(dict.fromkeys(filter(None, values)))
