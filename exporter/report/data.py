"""The reports for programs: Snapshot -> JSON; Requirements -> JSON, CSV. Pure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import Any, Final

from exporter.model.vocabulary import (
    EndpointReadiness,
    EndpointState,
    Requirement,
    Snapshot,
)
from exporter.report import values
from exporter.report.causes import causes

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def check_json(snapshot: Snapshot) -> str:
    """The whole snapshot, in ASCII. Durations are in seconds; `up` and `ready` are null while there is no verdict."""
    report = {
        **values.whole(snapshot),
        "causes": [values.cause(cause) for cause in causes(snapshot)],
        "features": [
            {
                **values.feature(feature, snapshot.plan),
                "endpoints": [_endpoint(endpoint, snapshot) for endpoint in feature.endpoints],
            }
            for feature in snapshot.features
        ],
    }
    return json.dumps(report, indent=2)


def endpoints_json(requirements: Iterable[Requirement]) -> str:
    """One object for each endpoint and consumer, in ASCII; `reason` and `detail` only where there is no target."""
    return json.dumps([_requirement(requirement) for requirement in requirements], indent=2)


def endpoints_csv(requirements: Iterable[Requirement]) -> str:
    """A header, and one record for each endpoint and consumer; RFC 4180, so lines end in CRLF.

    A cell that a spreadsheet would run as a formula gets an apostrophe before it. No documented pattern begins so,
    and no host name can; what a program must read to the letter is in the JSON.
    """
    out = io.StringIO(newline="")
    table = csv.writer(out)
    table.writerow(
        (
            "feature",
            "role",
            "cloud",
            "pattern",
            "status",
            "targets",
            "reason",
            "docs",
            "decides",
            "because",
            "importance",
        )
    )
    for requirement in requirements:
        consumer = requirement.use.consumer
        cells = (
            consumer.feature,
            consumer.role,
            consumer.cloud,
            requirement.use.pattern,
            requirement.endpoint.status,
            " ".join(target.url for target in requirement.targets),
            requirement.why_unprobed or "",
            requirement.docs or "",
            str(requirement.endpoint.decides).lower(),
            requirement.endpoint.reference or "",
            requirement.importance,
        )
        table.writerow([inert(cell) for cell in cells])
    return out.getvalue()


def _endpoint(endpoint: EndpointReadiness, snapshot: Snapshot) -> dict[str, Any]:
    latest, requirement = snapshot.latest, snapshot.plan.requirement_of[endpoint.use]
    facts: dict[str, Any] = {
        "pattern": endpoint.use.pattern,
        **values.endpoint(endpoint),
        **values.weight(requirement.endpoint),
        "targets": [{**values.check(key), **values.outcome(latest.get(key))} for key in endpoint.checks],
    }
    if endpoint.state is EndpointState.UNPROBED:
        facts |= values.not_probed(requirement)
    return facts


def _requirement(requirement: Requirement) -> dict[str, Any]:
    endpoint = requirement.endpoint
    facts: dict[str, Any] = {
        **values.consumer(requirement.use.consumer),
        "pattern": requirement.use.pattern,
        "targets": [target.url for target in requirement.targets],
        "status": endpoint.status,
        "importance": requirement.importance,
        **values.weight(endpoint),
        "docs": requirement.docs,
        "condition": endpoint.condition,
        "tls_inspection": endpoint.tls_inspection,
        "authenticated_proxy": endpoint.authenticated_proxy,
        "source": list(endpoint.source),
    }
    if not requirement.targets:
        facts |= values.not_probed(requirement)
    return facts


def inert(cell: str) -> str:
    """A cell that no spreadsheet runs as a formula."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
