"""The facts of the status page as data: a Snapshot -> JSON values. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from exporter import __version__
from exporter.model.vocabulary import Check, CheckKey, EndpointState, Latest, Requirement, Snapshot, TlsFacts, Use
from exporter.results.readiness import failures_to_come


def status(snapshot: Snapshot) -> dict[str, Any]:
    """All that is known, as JSON values. Times are Unix seconds, durations seconds."""
    return {
        "version": __version__,
        "paths": dict(snapshot.paths),
        "families": [{"path": path, "family": family, "up": up} for (path, family), up in snapshot.families.items()],
        "features": [
            {
                **_consumer(feature.endpoints[0].use),
                "ready": feature.ready,
                "endpoints": [
                    {
                        "pattern": endpoint.use.pattern,
                        "state": endpoint.state,
                        "targets": [{"target": key.target.url, "path": key.path} for key in endpoint.checks],
                    }
                    for endpoint in feature.endpoints
                ],
            }
            for feature in snapshot.features
        ],
        "targets": [_target(check, snapshot.latest.get(check.key)) for check in snapshot.plan.checks],
        "failures_to_come": [
            {"target": key.target.url, "path": key.path, **_consumer(use), "pattern": use.pattern}
            for key, use in _to_come(snapshot)
        ],
        "unprobed": [_unprobed(requirement) for requirement in snapshot.plan.unprobed],
    }


def _to_come(snapshot: Snapshot) -> tuple[tuple[CheckKey, Use], ...]:
    return failures_to_come(snapshot.plan, {key: latest.result for key, latest in snapshot.latest.items()})


def _consumer(use: Use) -> dict[str, str]:
    consumer = use.consumer
    return {"feature": consumer.feature, "role": consumer.role, "cloud": consumer.cloud}


def _target(check: Check, latest: Latest | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "target": check.key.target.url,
        "path": check.key.path,
        "state": EndpointState.PENDING,
        "needed_by": [{**_consumer(use), "pattern": use.pattern} for use in check.uses],
    }
    if latest is None:
        return facts
    result = latest.result
    return facts | {
        "state": result.state,
        "reason": result.failure.reason if result.failure else None,
        "cause": result.failure.cause if result.failure else None,
        "message": result.failure.message if result.failure else None,
        "since": latest.since,
        "last_probe": result.finished,
        "last_success": latest.last_success,
        "attempts": result.attempts,
        "address": result.evidence.address,
        "addresses": list(result.evidence.addresses),
        "tried": [asdict(tried) for tried in result.evidence.tried],
        "unanswered": result.evidence.unanswered,
        "way": asdict(result.evidence.way) if result.evidence.way else None,
        "status": result.evidence.status,
        "proxy_tls": _tls(result.evidence.proxy_tls),
        "tls": _tls(result.evidence.tls),
        "phases": dict(result.phases),
        "late": sorted(result.late),
        "history": [asdict(spell) for spell in latest.history],
    }


def _tls(tls: TlsFacts | None) -> dict[str, Any] | None:
    if tls is None:
        return None
    return {
        "protocol": tls.protocol,
        "leads_to": tls.leads_to,
        "verified": tls.verified,
        "missing_issuer": tls.missing,
        "not_after": tls.not_after,
        "presented_not_after": tls.presented_not_after,
        "chain": [asdict(certificate) for certificate in tls.chain],
        "path": [asdict(certificate) for certificate in tls.path],
    }


def _unprobed(requirement: Requirement) -> dict[str, Any]:
    return {
        **_consumer(requirement.use),
        "pattern": requirement.use.pattern,
        "reason": requirement.why_unprobed,
        "detail": requirement.detail,
    }
