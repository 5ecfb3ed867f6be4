"""Facts as the values of JSON, under the same key in whatever is written: `check`, `endpoints` and the status. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from exporter.model.vocabulary import (
    CheckKey,
    Consumer,
    Endpoint,
    EndpointReadiness,
    EndpointState,
    FeatureReadiness,
    Importance,
    Latest,
    Plan,
    Requirement,
    Result,
    Snapshot,
    SocketAddress,
)
from exporter.report.causes import Cause
from exporter.report.counting import counted
from exporter.report.evidence import connections, presented_by, request, server_name
from exporter.report.findings import verdict, why

_UP: Final[Mapping[EndpointState, bool]] = {EndpointState.UP: True, EndpointState.DOWN: False}


def consumer(who: Consumer) -> dict[str, str]:
    """Who needs something."""
    return {"feature": who.feature, "role": who.role, "cloud": who.cloud}


def state(found: EndpointState) -> dict[str, Any]:
    """What an endpoint or a target came to; `up` is null while there is no verdict."""
    return {"state": found, "up": _UP.get(found)}


def endpoint(found: EndpointReadiness) -> dict[str, Any]:
    """What an endpoint came to; `up` also where that decides nothing."""
    narrow = {"refused": [check(key) for key in found.refused]} if found.refused else {}
    return {"state": found.state, "up": _UP.get(found.seen), "partly_open": bool(found.refused), **narrow}


def whole(snapshot: Snapshot) -> dict[str, Any]:
    """What everything comes to, why there is no verdict where there is none, and how much it is of."""
    found = verdict(snapshot)
    return {
        "ready": found.ready,
        "verdict": found,
        "why": list(why(snapshot)),
        "counts": asdict(counted(snapshot.plan)),
    }


def feature(found: FeatureReadiness, plan: Plan) -> dict[str, Any]:
    """What a feature comes to for one role in one cloud; `ready` is null where it is not known."""
    return {
        **consumer(found.consumer),
        "importance": plan.importance_of.get(found.consumer, Importance.NORMAL),
        "ready": found.verdict.ready,
        "verdict": found.verdict,
    }


def weight(documented: Endpoint) -> dict[str, Any]:
    """Whether an endpoint decides something, and if not, why."""
    return {"decides": True} if documented.reference is None else {"decides": False, "because": documented.reference}


def not_probed(requirement: Requirement) -> dict[str, Any]:
    """Why an endpoint has no target."""
    return {"reason": requirement.why_unprobed, "detail": requirement.detail}


def check(key: CheckKey) -> dict[str, str]:
    """What is probed, and by which path."""
    return {"target": key.target.url, "path": key.path}


def outcome(latest: Latest | None) -> dict[str, Any]:
    """What came of the last probe of a target, in seconds; as far as it has one."""
    result = latest.result if latest else None
    failure, evidence = (result.failure, result.evidence) if result else (None, None)
    return {
        **state(result.state if result else EndpointState.PENDING),
        "reason": failure.reason if failure else None,
        "cause": failure.cause if failure else None,
        "message": failure.message if failure else None,
        "http_status": evidence.status if evidence else None,
        "way": asdict(evidence.way) if evidence and evidence.way else None,
        "phases": dict(result.phases) if result else {},
        "evidence": seen(result) if result else None,
    }


def seen(result: Result) -> dict[str, Any]:
    """What the log of a firewall or a proxy shows of a probe. Times are Unix seconds, durations seconds."""
    shown, failure = connections(result), result.failure
    return {
        "connections": [
            {
                "from": end(one.source),
                "to": end(one.destination),
                "protocol": one.protocol,
                "at": one.at,
                "seconds": one.seconds,
                "outcome": one.outcome,
            }
            for one in shown
        ],
        "sni": server_name(result.key),
        "proxy": result.key.proxy if result.through_proxy else None,
        "request": request(result.key) if result.through_proxy else None,
        "issuer": presented_by(result),
        "answered_by": failure.answered_by if failure else None,
    }


def end(found: SocketAddress | None) -> dict[str, Any] | None:
    """One end of a connection; the port is null where it is not known."""
    return {"address": found.address, "port": found.port or None} if found else None


def cause(found: Cause) -> dict[str, Any]:
    """What has to be changed once, and what is down by it. `since` is null where nothing was probed before."""
    return {
        "path": found.path,
        "whole_path": found.whole_path,
        "reason": found.reason,
        "cause": found.failure.cause,
        "headline": found.headline,
        "who": found.who,
        "by": found.origin or None,
        "since": found.since,
        "harmless": found.harmless,
        "importance": found.importance,
        "features": list(found.features),
        "hosts": list(found.hosts),
        "targets": [check(key) for key in found.targets],
        "evidence": found.evidence or None,
    }
