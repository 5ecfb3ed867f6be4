"""The facts of the status page as data: a Snapshot -> JSON values. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from exporter import __version__
from exporter.config.version import as_of
from exporter.model.vocabulary import Check, CheckKey, Latest, Snapshot, TlsFacts, Use
from exporter.report import values
from exporter.report.causes import causes
from exporter.results.readiness import failures_to_come
from exporter.results.since import not_ready_since, paths_down_since
from exporter.web.pages.availability import DAY, WEEK, Counted, availability, of_feature, of_target


def status(snapshot: Snapshot, now: float) -> dict[str, Any]:
    """Everything that is known at a moment, as JSON values. Times are Unix seconds, durations seconds."""
    since = not_ready_since(snapshot)
    return {
        "version": __version__,
        "catalogue": as_of().isoformat(),
        "site": snapshot.plan.site,
        "counted_since": snapshot.began,
        **values.whole(snapshot),
        "causes": [values.cause(cause) for cause in causes(snapshot)],
        "paths": dict(snapshot.paths),
        "paths_down_since": paths_down_since(snapshot),
        "families": [{"path": path, "family": family, "up": up} for (path, family), up in snapshot.families.items()],
        "features": [
            {
                **values.feature(feature, snapshot.plan),
                "not_ready_since": since.get(feature.consumer),
                "availability": _availability(of_feature(feature.endpoints, snapshot.latest), now),
                "endpoints": [
                    {
                        "pattern": endpoint.use.pattern,
                        **values.endpoint(endpoint),
                        **_weight(snapshot, endpoint.use),
                        "targets": [values.check(key) for key in endpoint.checks],
                    }
                    for endpoint in feature.endpoints
                ],
            }
            for feature in snapshot.features
        ],
        "targets": [_target(check, snapshot.latest.get(check.key), now) for check in snapshot.plan.checks],
        "failures_to_come": [{**values.check(key), **_use(use)} for key, use in _to_come(snapshot)],
        "unprobed": [
            {**_use(requirement.use), **values.not_probed(requirement)} for requirement in snapshot.plan.unprobed
        ],
    }


def _to_come(snapshot: Snapshot) -> tuple[tuple[CheckKey, Use], ...]:
    return failures_to_come(snapshot.plan, {key: latest.result for key, latest in snapshot.latest.items()})


def _weight(snapshot: Snapshot, use: Use) -> dict[str, Any]:
    requirement = snapshot.plan.requirement_of.get(use)
    return values.weight(requirement.endpoint) if requirement else {}


def _use(use: Use) -> dict[str, str]:
    return {**values.consumer(use.consumer), "pattern": use.pattern}


def _availability(counted: Counted, now: float) -> dict[str, float | None]:
    """The share of probes that found it up, in the last day and the last week; null where there were none."""
    return {name: availability(counted, span, now).ratio for name, span in (("day", DAY), ("week", WEEK))}


def _target(check: Check, latest: Latest | None, now: float) -> dict[str, Any]:
    facts: dict[str, Any] = {
        **values.check(check.key),
        **values.outcome(latest),
        "needed_by": [_use(use) for use in check.uses],
    }
    if latest is None:
        return facts
    result = latest.result
    return facts | {
        "since": latest.since,
        "availability": _availability(of_target(latest), now),
        "last_probe": result.finished,
        "last_success": latest.last_success,
        "attempts": result.attempts,
        "address": result.evidence.address,
        "addresses": list(result.evidence.addresses),
        "tried": [asdict(tried) for tried in result.evidence.tried],
        "unanswered": result.evidence.unanswered,
        "proxy_tls": _tls(result.evidence.proxy_tls),
        "tls": _tls(result.evidence.tls),
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
        "unreadable": tls.unread,
        "not_after": tls.not_after,
        "presented_not_after": tls.presented_not_after,
        "chain": [asdict(certificate) for certificate in tls.chain],
        "path": [asdict(certificate) for certificate in tls.path],
    }
