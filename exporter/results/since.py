"""Since when a path is down, and a feature not ready: Snapshot -> Unix times. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from exporter.model.patterns import is_wildcard
from exporter.model.vocabulary import Consumer, EndpointReadiness, EndpointState, Snapshot
from exporter.results.history import down_since
from exporter.results.paths import all_judge, says


def paths_down_since(snapshot: Snapshot) -> dict[str, float]:
    """When the last target failed that had worked by each path that is down."""
    return {path: since for path, up in snapshot.paths.items() if not up and (since := _fell(path, snapshot))}


def _fell(path: str, snapshot: Snapshot) -> float | None:
    said = [(say, latest) for latest in snapshot.latest.values() for name, say in says(latest.result) if name == path]
    everybody = all_judge(path, (say for say, _ in said))
    fell = (down_since(latest) for say, latest in said if everybody or not say.inside)
    return max((since for since in fell if since is not None), default=None)


def not_ready_since(snapshot: Snapshot) -> dict[Consumer, float]:
    """When the first of the endpoints went down that keep each feature from being ready."""
    return {
        feature.consumer: min(since)
        for feature in snapshot.features
        if feature.ready is False
        and (since := [_since(one, snapshot) for one in feature.endpoints if one.state is EndpointState.DOWN])
    }


def _since(endpoint: EndpointReadiness, snapshot: Snapshot) -> float:
    """When an endpoint went down: with the first of its targets, a wildcard with the last."""
    of: Callable[[Iterable[float]], float] = max if is_wildcard(endpoint.use.pattern) else min
    fell = (down_since(snapshot.latest[key]) for key in endpoint.checks if key in snapshot.latest)
    return of(since for since in fell if since is not None)
