"""Pieces of PromQL that several panels share. Every one is text with Grafana's variables in it."""

from __future__ import annotations

from typing import Final

EXPORTER_LABELS: Final = ("job", "instance")
CONSUMER_LABELS: Final = (*EXPORTER_LABELS, "feature", "role", "cloud")
USE_LABELS: Final = (*CONSUMER_LABELS, "pattern")
TARGET_LABELS: Final = (*USE_LABELS, "target")
PROBE_LABELS: Final = (*EXPORTER_LABELS, "path", "target")


def chosen(*labels: str) -> tuple[str, ...]:
    """The matchers that keep what is chosen at the top of the dashboard for these labels."""
    return tuple(f'{label}=~"${label}"' for label in labels)


_CHOSEN: Final = chosen("job", "site", "instance")


def of_exporter(metric: str, *matchers: str) -> str:
    """A series of the exporters that are chosen."""
    return f"{metric}{{{', '.join((*_CHOSEN, *matchers))}}}"


def of_site(metric: str, *matchers: str) -> str:
    """A series of the exporters, features, roles and clouds that are chosen."""
    return of_exporter(metric, *chosen("feature", "role", "cloud"), *matchers)


def of_all(metric: str, *matchers: str) -> str:
    """The same of every exporter, whichever is chosen: for what compares them."""
    return f"{metric}{{{', '.join((*chosen('job', 'feature', 'role', 'cloud'), *matchers))}}}"


def by(aggregation: str, labels: str, expression: str) -> str:
    """An aggregation that keeps these labels."""
    return f"{aggregation} by ({labels}) ({expression})"


def distinct(labels: str, expression: str) -> str:
    """How many targets there are for these labels, each counted once, however many features need it."""
    keep = f"{labels}, " if labels else ""
    return by("count", labels, by("count", f"{keep}job, instance, target", expression))


def on(labels: tuple[str, ...], take: str = "") -> str:
    """What joins many series to one by these labels, and takes these from the one."""
    return f"* on ({', '.join(labels)}) group_left ({take})"


def with_host(expression: str) -> str:
    """The same with a label `host`: the pattern as firewalls take it, without scheme, port and path."""
    return f'label_replace({expression}, "host", "$1", "pattern", "(?:https?://)?([^/:]+).*")'


# ---------------------------------------------------------------- exporters, and alerts

# As ConfigMgrExporterVanished does: whoever was there within a day should be there now.
EXPECTED: Final = by("group", "job, instance", f"last_over_time({of_exporter('up')}[1d])")
NOT_HEARD: Final = f"{EXPECTED} unless on (job, instance) {of_exporter('up')} == 1"


def alerts(name: str, *matchers: str) -> str:
    """A series that Prometheus keeps of our alerts: of the exporters that are chosen, and of those that name none."""
    where = (f'{label}=~"${label}|"' for label in ("job", "site", "instance"))
    return f"{name}{{{', '.join((*where, *matchers))}}}"


NOTIFY: Final = ('alertname=~"ConfigMgr.+"', 'severity=~"critical|warning"')  # `info` notifies nobody
FIRING: Final = alerts("ALERTS", 'alertstate="firing"', *NOTIFY)
ACTIVE_SINCE: Final = f"{alerts('ALERTS_FOR_STATE', *NOTIFY)} and ignoring (alertstate) {FIRING}"  # Unix time


# ---------------------------------------------------------------- failures

FEATURE_READY: Final = of_site("configmgr_feature_ready")


def path_of(*matchers: str) -> str:
    """1 for each target, with the path by which it is asked."""
    return of_site("configmgr_endpoint_path_info", *matchers)


def of_probes(metric: str, *matchers: str) -> str:
    """A series of each target and path, of those that the features, roles and clouds need that are chosen."""
    return f"{of_exporter(metric, *matchers)} and on ({', '.join(PROBE_LABELS)}) {path_of(*matchers)}"


def phases(*matchers: str) -> str:
    """What each phase of the last probes took, each probe once, though two replicas of an exporter may be heard."""
    seconds = of_probes("configmgr_endpoint_phase_duration_seconds", *matchers)
    return by("max", f"{', '.join(PROBE_LABELS)}, phase", seconds)


def failures(*matchers: str, path: tuple[str, ...] = ()) -> str:
    """1 for each target that fails, with its reason in words, who can fix it, and the path it was asked by."""
    failure = of_site("configmgr_endpoint_failure", *matchers)
    asked = f"{on(TARGET_LABELS, 'path')} {path_of(*path)}"
    words = f"{on((*EXPORTER_LABELS, 'reason'), 'summary, who')} {of_exporter('configmgr_failure_reason_info')}"
    return f"{failure} {asked} {words}"


def failing_since(labels: str, failing: str) -> str:
    """When the first of these targets, with their paths, was last usable, in milliseconds, as Grafana takes times.

    For one that never was, when the exporter's configuration was loaded.
    """
    loaded = of_exporter("configmgr_exporter_config_last_reload_success_timestamp_seconds")
    probed = of_exporter("configmgr_endpoint_last_probe_timestamp_seconds")
    never = f"0 * {probed} + on ({', '.join(EXPORTER_LABELS)}) group_left () {loaded}"
    success = of_exporter("configmgr_endpoint_last_success_timestamp_seconds")
    good = f"({success} or on ({', '.join(PROBE_LABELS)}) ({never}))"
    return f"1000 * {by('min', labels, f'{failing} {on(PROBE_LABELS)} {good}')}"


def not_ready_since(labels: str) -> str:
    """When the first of the endpoints went down that keep a feature from being ready, in milliseconds."""
    return f"1000 * {by('min', labels, of_site('configmgr_feature_not_ready_since_timestamp_seconds'))}"
