"""Every series' name, help and labels: events are counted as they happen, state is read from a Snapshot."""

from __future__ import annotations

import platform
import time
from collections import Counter as Counted
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from exporter import __version__
from exporter.config.version import as_of
from exporter.metrics.text import Exposition, Kept, KeptCounter, KeptHistogram, Labels, lines
from exporter.model.vocabulary import (
    Check,
    CheckKey,
    ClockSource,
    Consumer,
    EndpointState,
    Latest,
    OutOfTurn,
    Phase,
    Plan,
    Reason,
    Requirement,
    Result,
    Snapshot,
    Support,
    TlsFacts,
    Trust,
    Use,
)
from exporter.report.causes import causes
from exporter.report.evidence import OF_CERTIFICATES, decisive
from exporter.report.findings import counts
from exporter.report.reasons import all_words
from exporter.results.readiness import overall
from exporter.results.since import not_ready_since, paths_down_since
from exporter.results.store import ResultStore
from exporter.system.log_queue import dropped

CONSUMER: Final = ("feature", "role", "cloud")
USE: Final = (*CONSUMER, "pattern")
TARGET: Final = (*USE, "target")
PLACED: Final = (*TARGET, "host")
PROBE: Final = ("path", "target")
EVIDENCE: Final = ("path", "host", "reason", "cause", "from", "to", "sni", "proxy", "issuer", "answered_by")

# Seconds. A healthy probe takes 20 ms to 1 s; a lost packet adds 1 s or 3 s; the timeout is at 10 s.
DURATION_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # each is a series of every label set
PHASE_BUCKETS: Final = (0.001, 0.005, 0.01, 0.025, *DURATION_BUCKETS)  # a name that is cached takes less than 1 ms
LAG_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0)

_ON_A_TIMER: Final = "Probed on the exporter's own timer, not on the scrape."
_SHARED: Final = "A probe that serves several label sets is counted under each: sums over them count it more than once."


class Events:
    """Counters and histograms. They start at 0 with the plan and go with it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # `_created` series would be 15 % of a scrape, under names that nobody was promised. The call lacks annotations.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.probes = KeptCounter("configmgr_probes", f"Finished probes. {_SHARED}", CONSUMER, registry=registry)
        self.failures = KeptCounter(
            "configmgr_probe_failures",
            "Failed probes by reason. A reason begins with its first failure, which is no increase yet. All failures: "
            f"configmgr_probes_total - configmgr_probe_duration_seconds_count. {_SHARED}",
            (*CONSUMER, "reason"),
            registry=registry,
        )
        self.duration = KeptHistogram(
            "configmgr_probe_duration_seconds",
            f"Duration of successful probes, all phases together. {_ON_A_TIMER} {_SHARED}",
            CONSUMER,
            buckets=DURATION_BUCKETS,
            registry=registry,
        )
        self.phases = KeptHistogram(
            "configmgr_probe_phase_duration_seconds",
            "Duration of each phase that completed (resolve, connect, proxy, tls, processing) on each path, each probe "
            "counted once. By feature, role and cloud ask configmgr_endpoint_phase_duration_seconds.",
            ("path", "phase"),
            buckets=PHASE_BUCKETS,
            registry=registry,
        )
        self.physical = Counter(
            "configmgr_exporter_probes", "Probes really made, each counted once.", registry=registry
        )
        self.missed = Counter(
            "configmgr_exporter_missed_slots",
            "Places in the interval that passed while the check before was still under way or waiting for its turn.",
            registry=registry,
        )
        self.first_failures = Counter(
            "configmgr_exporter_first_failures",
            "First failures of targets that were up or new, by what became of them: confirmed or refuted by another "
            "attempt, or believed without one since too many failed at once.",
            ("verdict",),
            registry=registry,
        )
        for verdict in ("confirmed", "refuted", "believed"):
            self.first_failures.labels(verdict)
        self.out_of_turn = Counter(
            "configmgr_exporter_probes_out_of_turn",
            "Probes made beside those of each interval, by why: others that fail share their path or their host "
            "(suspected), their path is down (down), or one of these works again (recovered). Counted in "
            "configmgr_exporter_probes_total too, and in no counter or histogram by feature, unless they took a place "
            "in the interval.",
            ("why",),
            registry=registry,
        )
        for why in OutOfTurn:
            self.out_of_turn.labels(why)
        self.lag = Histogram(
            "configmgr_exporter_probe_lag_seconds",
            "How late probes started, against their place in the interval.",
            buckets=LAG_BUCKETS,
            registry=registry,
        )
        self.in_flight = Gauge("configmgr_exporter_probes_in_flight", "Probes under way.", registry=registry)
        self._consumers: frozenset[Consumer] = frozenset()
        self._paths: frozenset[str] = frozenset()

    def adopt(self, plan: Plan) -> None:
        """Begin the series of consumers and paths that are new, and end those of what has gone."""
        consumers = {consumer: None for check in plan.checks for consumer in check.counted_for}
        for consumer in self._consumers - consumers.keys():
            labels = dict(zip(CONSUMER, _labels(consumer), strict=True))
            for metric in (self.probes, self.failures, self.duration):
                metric.remove_by_labels(labels)
        phases = {(check.key.path, phase): None for check in plan.checks for phase in _phases_of(check)}
        paths = frozenset(path for path, _ in phases)
        for path in self._paths - paths:
            self.phases.remove_by_labels({"path": path})
        # 0 before anything has happened, so that the first event is seen as an increase. Only failures by reason are
        # not there before: they would be a quarter of a scrape.
        for consumer in consumers:
            self.probes.labels(*_labels(consumer))
            self.duration.labels(*_labels(consumer))
        for labels_of_phase in phases:
            self.phases.labels(*labels_of_phase)
        self._consumers, self._paths = frozenset(consumers), paths

    def count(self, check: Check, result: Result) -> None:
        """Count a finished probe once for each consumer for whom it decides something, its phases once."""
        failed = result.failure
        for consumer in check.counted_for:
            labels = _labels(consumer)
            self.probes.labels(*labels).inc()
            if failed:
                self.failures.labels(*labels, failed.reason).inc()
            else:
                self.duration.labels(*labels).observe(result.duration)
        for phase, took in result.phases.items():
            if not failed or phase != failed.phase:
                self.phases.labels(check.key.path, phase).observe(took)


def _labels(consumer: Consumer) -> tuple[str, str, str]:
    return (consumer.feature, consumer.role, consumer.cloud)


def _phases_of(check: Check) -> Iterator[Phase]:
    """The phases that a check goes through when all is well."""
    yield from (Phase.RESOLVE, Phase.CONNECT)
    if check.key.target.scheme == "https":
        if check.key.proxy is not None:
            yield Phase.PROXY
        yield Phase.TLS
    yield Phase.PROCESSING


# ---------------------------------------------------------------- state


class State(Kept):
    """Gauges of what the store holds, so that what left the plan is gone.

    The lines of a check are kept as long as the store keeps the same Latest of it, those of features and paths as long
    as its version.
    """

    def __init__(self, store: ResultStore) -> None:
        self._store = store
        self._plan, self._basis = Plan(), _basis_of(Plan())
        self._lines: dict[CheckKey, tuple[Latest | None, tuple[str, ...]]] = {}  # by family; in the plan's order
        self._version = -1
        self._rolled_up: list[tuple[Metric, str]] = []

    def describe(self) -> Iterable[Metric]:
        """Names without samples, so that registering does not need a plan."""
        return families(Snapshot(Plan(), {}, (), {}))

    def collect(self) -> Iterable[Metric]:
        """All state of this moment."""
        return families(self._store.snapshot())

    def show(self, check: Check) -> None:
        """Make the lines of a check ahead of the scrape, so that a scrape does not have to make all of them."""
        self._follow()
        latest = self._store.latest(check.key)
        if latest is not None:
            self._lines[check.key] = self._of(check, latest)

    def _follow(self) -> None:
        """Begin anew with another plan: the same check may serve other uses in it."""
        if self._plan is not self._store.plan:
            self._plan, self._basis = self._store.plan, _basis_of(self._store.plan)
            self._lines = {check.key: _NOTHING for check in self._plan.checks}

    def refresh(self) -> Iterator[None]:
        """Make anew the lines of checks whose result is another, or whose plan is."""
        self._follow()
        lines_of = self._lines
        for (check, latest), (shown, _) in zip(self._store.pinned(), tuple(lines_of.values()), strict=True):
            if latest is not None and latest is not shown:
                lines_of[check.key] = self._of(check, latest)
                yield

    def kept(self) -> Iterator[tuple[Metric, Iterable[str]]]:
        """The families of `collect`."""
        for _ in self.refresh():
            pass
        if self._version != self._store.version:
            self._version, snapshot = self._store.version, self._store.snapshot()
            self._rolled_up = [(family, lines(family)) for family in _rolled_up_families(snapshot)]
        of_checks, rolled_up = tuple(self._lines.values()), self._rolled_up
        times = [
            (family, lines(family))
            for family in _path_times(latest for _, latest in self._store.pinned() if latest is not None)
        ]
        for place, family in enumerate(_endpoint_families(_basis_of(Plan()), ())):
            yield family, [texts[place] for _, texts in of_checks if texts]
        for family, text in (*rolled_up, *times):
            yield family, [text]

    def _of(self, check: Check, latest: Latest) -> tuple[Latest, tuple[str, ...]]:
        return latest, _endpoint_lines(self._basis, check, latest)


_NOTHING: Final[tuple[None, tuple[str, ...]]] = (None, ())


def families(snapshot: Snapshot) -> Iterator[Metric]:
    """The gauges of a snapshot."""
    pinned = [(check, latest) for check in snapshot.plan.checks if (latest := snapshot.latest.get(check.key))]
    yield from _endpoint_families(_basis_of(snapshot.plan), pinned)
    yield from _rolled_up_families(snapshot)
    yield from _path_times(latest for _, latest in pinned)


_Values: TypeAlias = Mapping[Any, float]  # by strings; those that are a Phase or a Reason are keys of another type


def _one(value: float | None) -> _Values:
    return {} if value is None else {"": value}


def _presented_otherwise(tls: TlsFacts) -> float | None:
    return tls.presented_not_after if tls.presented_not_after != tls.not_after else None


def _intercepted(latest: Latest, trusts: frozenset[Trust]) -> bool | None:
    """The verdict by all trusts; None also where these disagree: whose certificate it is can be said of one only."""
    tls = latest.result.evidence.tls
    verdicts = {tls.intercepted(trust) for trust in trusts} if tls else set()
    return verdicts.pop() if len(verdicts) == 1 else None


@dataclass(frozen=True, slots=True)
class _Gauge:
    """A gauge of each target and path, or of each of their uses, and its values by those of its further label."""

    name: str
    help: str
    values: Callable[[Latest, frozenset[Trust]], _Values]
    further: str = ""
    of: tuple[str, ...] = PROBE

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its labels."""
        return (*self.of, self.further) if self.further else self.of


# What holds for a target and its path is said once: under each use it would be twice as many series.
_OF_TARGET: Final = (
    _Gauge(
        "configmgr_endpoint_up",
        f"1: the target is usable from here, by Configuration Manager's own rule; 0: not. {_ON_A_TIMER}",
        lambda latest, _: {"": latest.result.up},
        of=TARGET,
    ),
    _Gauge(
        "configmgr_endpoint_path_info",
        "1, with the path by which the target is probed: direct, proxy:NAME. It leads from what is known of a path and "
        "target, or of a host, to the features, roles, clouds and patterns that need it.",
        lambda latest, _: {latest.result.key.path: 1},
        "path",
        of=PLACED,
    ),
    _Gauge(
        "configmgr_endpoint_failure",
        "1 on the one reason of the last failure; absent while up.",
        lambda latest, _: {failure.reason: 1} if (failure := latest.result.failure) else {},
        "reason",
        of=TARGET,
    ),
    _Gauge(
        "configmgr_endpoint_unconfirmed_failure",
        "1 on the reason of a failed attempt that no other has confirmed: one is due within seconds, or succeeded. "
        "Absent from the next probe on.",
        lambda latest, _: {latest.unconfirmed.reason: 1} if latest.unconfirmed else {},
        "reason",
        of=TARGET,
    ),
    _Gauge(
        "configmgr_endpoint_http_status_code",
        "Status of the last answer.",
        lambda latest, _: _one(latest.result.evidence.status),
    ),
    _Gauge(
        "configmgr_endpoint_last_probe_timestamp_seconds",
        "End of the last probe, Unix time.",
        lambda latest, _: {"": latest.result.finished},
    ),
    _Gauge(
        "configmgr_endpoint_last_success_timestamp_seconds",
        "End of the last successful probe, Unix time. Absent while up, since that is the last probe.",
        lambda latest, _: _one(None if latest.result.up else latest.last_success),
    ),
    _Gauge(
        "configmgr_endpoint_tls_certificate_expiry_timestamp_seconds",
        "Earliest not-after on the path that verified, Unix time; where none did, of all certificates that were seen.",
        lambda latest, _: _one(tls.not_after if (tls := latest.result.evidence.tls) else None),
    ),
    _Gauge(
        "configmgr_endpoint_tls_presented_certificate_expiry_timestamp_seconds",
        "Earliest not-after of what the server sent, Unix time, where that is another than on the path: a certificate "
        "that the path does not need ends first, or one that the server has not sent.",
        lambda latest, _: _one(_presented_otherwise(tls) if (tls := latest.result.evidence.tls) else None),
    ),
    _Gauge(
        "configmgr_endpoint_address_in_range",
        "1: all addresses that the name resolved to lie in `address_ranges`; 0: not, which is normal on content "
        "delivery networks of others. Absent without ranges, and where a proxy resolves the name.",
        lambda latest, _: _one(latest.result.evidence.in_range),
    ),
    _Gauge(
        "configmgr_endpoint_phase_duration_seconds",
        "Last duration of each phase that was reached.",
        lambda latest, _: latest.result.phases,
        "phase",
    ),
    _Gauge(
        "configmgr_endpoint_tls_intercepted",
        "1: the chain ends in a CA that neither is public nor belongs to the service; 0: it does not. Absent if "
        "that is unknown: the certificate is the customer's own, or the chain stops at an unknown issuer.",
        lambda latest, trusts: _one(_intercepted(latest, trusts)),
    ),
    _Gauge(
        "configmgr_endpoint_tls_intercepted_info",
        "1, with the path, for each use of a target of which configmgr_endpoint_tls_intercepted is 1.",
        lambda latest, trusts: {latest.result.key.path: 1} if _intercepted(latest, trusts) else {},
        "path",
        of=TARGET,
    ),
    _Gauge(
        "configmgr_endpoint_tls_unreadable_certificates",
        "Certificates of the handshake that cannot be read, or are too large or too many to be read, so that they say "
        "nothing of whose root it is. Absent while there are none.",
        lambda latest, _: _one((tls.unread or None) if (tls := latest.result.evidence.tls) else None),
    ),
)


@dataclass(frozen=True, slots=True)
class _Basis:
    """What the series of a check rest on beside its result."""

    requirement_of: Mapping[Use, Requirement]
    speakers: frozenset[CheckKey]  # of checks of one path and URL, which differ in the answers they accept, the first

    def trusts(self, check: Check) -> frozenset[Trust]:
        """Who must have issued the certificate, by each requirement that the check serves."""
        known = self.requirement_of
        return frozenset(known[use].endpoint.trust for use in check.uses if use in known)

    def values(self, check: Check) -> Mapping[tuple[str, ...], list[tuple[str, ...]]]:
        """The values of labels in the series of a check; of PROBE once, or not at all."""
        uses: list[tuple[str, ...]] = [(*_use(use), check.key.target.url) for use in check.uses]
        return {
            TARGET: uses,
            PLACED: [(*values, check.key.target.host) for values in uses],
            PROBE: [_probe(check)] if check.key in self.speakers else [],
        }


def _basis_of(plan: Plan) -> _Basis:
    speakers: dict[tuple[str, str], CheckKey] = {}
    for check in plan.checks:
        speakers.setdefault(_probe(check), check.key)
    return _Basis(plan.requirement_of, frozenset(speakers.values()))


def _probe(check: Check) -> tuple[str, str]:
    return (check.key.path, check.key.target.url)


def _endpoint_families(basis: _Basis, pinned: Iterable[tuple[Check, Latest]]) -> Iterator[Metric]:
    """What follows from the latest results, each by itself."""
    seen = [(basis.values(check), latest, basis.trusts(check)) for check, latest in pinned]
    for gauge in _OF_TARGET:
        family = GaugeMetricFamily(gauge.name, gauge.help, labels=gauge.labels)
        for values, latest, trusts in seen:
            found = gauge.values(latest, trusts)
            for labels in values[gauge.of]:
                for further, value in found.items():
                    family.add_metric((*labels, further) if gauge.further else labels, value)
        yield family


def _endpoint_lines(basis: _Basis, check: Check, latest: Latest) -> tuple[str, ...]:
    """What `_endpoint_families` says of a check, as lines of each family: the scrape waits for them, so no detour."""
    trusts = basis.trusts(check)
    label_sets = {
        names: [Labels(dict(zip(names, values, strict=True))) for values in each]
        for names, each in basis.values(check).items()
    }
    texts = []
    for gauge in _OF_TARGET:
        name, extra = gauge.name, gauge.further
        found = gauge.values(latest, trusts)
        text = ""
        for labels in label_sets[gauge.of]:
            for further, value in found.items():
                text += labels.line_with(extra, further, name, value) if extra else labels.line(name, value)
        texts.append(text)
    return tuple(texts)


def _rolled_up_families(snapshot: Snapshot) -> Iterator[Metric]:
    """What follows from the plan, its features and its paths."""
    yield from _feature_families(snapshot)
    yield from _verdicts(snapshot)
    yield from _weights(snapshot.plan)
    yield from _shared(snapshot.plan)
    path = GaugeMetricFamily(
        "configmgr_path_up",
        "0: what fails on this path (dns, direct, proxy:NAME) is explained by the path, not by the endpoints.",
        labels=("path",),
    )
    for name, up in snapshot.paths.items():
        path.add_metric((name,), up)
    yield path
    yield _unexplained(snapshot)
    yield from _since(snapshot)
    family = GaugeMetricFamily(
        "configmgr_path_family_up",
        "1: an address of that family (ipv4, ipv6) opened a connection in the latest probes of the path; 0: none did, "
        "though some were tried and the other family's opened. Absent for what was not tried.",
        labels=("path", "family"),
    )
    for labels, up in snapshot.families.items():
        family.add_metric(labels, up)
    yield family
    yield _evidence(snapshot)


def _unexplained(snapshot: Snapshot) -> Metric:
    """What alerts begin with: in an outage nearly all failures are those of a path, and otherwise there are few."""
    family = GaugeMetricFamily(
        "configmgr_endpoint_unexplained_failure",
        "1 on the reason of each failure that no path explains: neither its path nor dns is down, or its proxy wants a "
        "sign-in.",
        labels=(*TARGET, "path", "reason"),
    )
    down = {path for path, up in snapshot.paths.items() if not up}
    for check in snapshot.plan.checks:
        key, latest = check.key, snapshot.latest.get(check.key)
        failure = latest.result.failure if latest else None
        if failure and (failure.reason is Reason.PROXY_AUTH_REQUIRED or down.isdisjoint((key.path, "dns"))):
            for use in check.uses:
                family.add_metric((*_use(use), key.target.url, key.path, failure.reason), 1)
    return family


def _evidence(snapshot: Snapshot) -> Metric:
    """One series for each cause, by one target that stands for all: what an alert can say of it."""
    family = GaugeMetricFamily(
        "configmgr_failure_evidence_info",
        "1 for each cause of failures (a path that is down, else one reason on one path), by a target that stands for "
        "all: what the log of a firewall or a proxy shows of it. `from` is this machine's address, `to` address, port "
        "and protocol, `sni` the name in the handshake, `issuer` who issued the certificate in the service's place, "
        "`answered_by` the product that did; each empty where it is not known.",
        labels=EVIDENCE,
    )
    for cause in causes(snapshot):
        seen = decisive(cause.result)
        by_issuer = cause.reason in OF_CERTIFICATES
        labels = {
            "path": cause.path,
            "host": cause.hosts[0],
            "reason": cause.reason,
            "cause": cause.failure.cause or "",
            "from": seen.source.address if seen and seen.source else "",
            "to": seen.to if seen else "",
            "sni": (seen.server_name if seen else None) or "",
            "proxy": (seen.proxy if seen else None) or "",
            "issuer": cause.origin if by_issuer else "",
            "answered_by": "" if by_issuer else cause.origin,
        }
        family.add_metric([labels[name] for name in EVIDENCE], 1)
    return family


def _since(snapshot: Snapshot) -> Iterator[Metric]:
    """Since when something is wrong."""
    path = GaugeMetricFamily(
        "configmgr_path_down_since_timestamp_seconds",
        "When the last target failed that had worked by the path, Unix time. Absent while the path is up.",
        labels=("path",),
    )
    for name, moment in paths_down_since(snapshot).items():
        path.add_metric((name,), moment)
    feature = GaugeMetricFamily(
        "configmgr_feature_not_ready_since_timestamp_seconds",
        "When the first of the endpoints went down that keep the feature from being ready, Unix time. Absent while "
        "configmgr_feature_ready is not 0.",
        labels=CONSUMER,
    )
    for consumer, moment in not_ready_since(snapshot).items():
        feature.add_metric(_labels(consumer), moment)
    yield from (path, feature)


def _path_times(latest: Iterable[Latest]) -> Iterator[Metric]:
    """When a path was used last, and when it last worked: for how long nothing has, by the exporter's own clock."""
    probed: dict[str, float] = {}
    worked: dict[str, float] = {}
    for one in latest:
        path, success = one.result.key.path, one.last_success
        probed[path] = max(probed.get(path, 0.0), one.result.finished)
        if success is not None:
            worked[path] = max(worked.get(path, 0.0), success)
    for name, what, times in (
        (
            "configmgr_path_last_probe_timestamp_seconds",
            "End of the last probe by this path (direct, proxy:NAME)",
            probed,
        ),
        ("configmgr_path_last_success_timestamp_seconds", "End of the last probe by this path that succeeded", worked),
    ):
        family = GaugeMetricFamily(name, f"{what}, Unix time.", labels=("path",))
        for path, when in sorted(times.items()):
            family.add_metric((path,), when)
        yield family


def _feature_families(snapshot: Snapshot) -> Iterator[Metric]:
    unprobed = GaugeMetricFamily(
        "configmgr_endpoint_unprobed",
        "1 for each documented endpoint of the selection that has no target, and why.",
        labels=(*USE, "reason"),
    )
    for requirement in snapshot.plan.unprobed:
        if requirement.why_unprobed is not None:
            unprobed.add_metric((*_use(requirement.use), requirement.why_unprobed), 1)
    uninspectable = GaugeMetricFamily(
        "configmgr_endpoint_tls_inspection_unsupported",
        "1 for each documented endpoint that TLS inspection breaks, as the documents say; probed or not.",
        labels=USE,
    )
    for requirement in snapshot.plan.requirements:
        if requirement.endpoint.tls_inspection is Support.UNSUPPORTED:
            uninspectable.add_metric(_use(requirement.use), 1)
    ready = GaugeMetricFamily(
        "configmgr_feature_ready",
        "1: every endpoint of the feature that is probed is usable; 0: not; absent while a first result is pending, or "
        "nothing is probed. Unlike configmgr_feature_verdict, it says nothing of endpoints that could not be probed.",
        labels=CONSUMER,
    )
    endpoints = GaugeMetricFamily(
        "configmgr_feature_endpoints",
        "Documented endpoints of the feature (0 only of those that are up, or down), by state: up, down, unprobed, "
        "pending, reference.",
        labels=(*CONSUMER, "state"),
    )
    for feature in snapshot.features:
        labels = _labels(feature.consumer)
        if feature.ready is not None:
            ready.add_metric(labels, feature.ready)
        number = counts(feature)
        for state in EndpointState:
            if number[state] or state in {EndpointState.UP, EndpointState.DOWN}:
                endpoints.add_metric((*labels, state), number[state])
    yield from (unprobed, uninspectable, ready, endpoints)


def _verdicts(snapshot: Snapshot) -> Iterator[Metric]:
    """The verdicts that reports and pages show."""
    closed = "ready, not_ready, incomplete, nothing_to_check, pending"
    whole = GaugeMetricFamily(
        "configmgr_verdict",
        f"1 on the verdict on everything that is selected: {closed}. Incomplete: nothing needed is down, but a feature "
        "has no target, or an endpoint waits for a parameter.",
        labels=("verdict",),
    )
    whole.add_metric((overall(snapshot.features),), 1)
    each = GaugeMetricFamily(
        "configmgr_feature_verdict",
        f"1 on the verdict on the feature: {closed}, not_supported. Where configmgr_feature_ready is 1 it may be "
        "incomplete, and where that is absent not_ready, while other first results are pending.",
        labels=(*CONSUMER, "verdict"),
    )
    narrow = GaugeMetricFamily(
        "configmgr_endpoint_partly_open",
        "1 for each wildcard that counts as up and of which a target is down: the rule in the firewall or proxy is "
        "probably narrower than the wildcard.",
        labels=USE,
    )
    for feature in snapshot.features:
        each.add_metric((*_labels(feature.consumer), feature.verdict), 1)
        for endpoint in feature.partly_open:
            narrow.add_metric(_use(endpoint.use), 1)
    yield from (whole, each, narrow)


def _weights(plan: Plan) -> Iterator[Metric]:
    """What it means when something fails: nothing, or as much as its feature."""
    reference = GaugeMetricFamily(
        "configmgr_endpoint_reference_only",
        "1 for each documented endpoint that is probed and decides nothing, and why: leave its targets out of alerts.",
        labels=(*USE, "reason"),
    )
    for requirement in plan.requirements:
        if requirement.targets and requirement.endpoint.reference is not None:
            reference.add_metric((*_use(requirement.use), requirement.endpoint.reference), 1)
    info = GaugeMetricFamily(
        "configmgr_feature_info",
        "1, with what it means when the feature is not ready: critical, normal, low.",
        labels=(*CONSUMER, "importance"),
    )
    for consumer, word in plan.importance_of.items():
        info.add_metric((*_labels(consumer), word), 1)
    yield from (reference, info)


def _shared(plan: Plan) -> Iterator[Metric]:
    """What features share: paths and hosts."""
    ways = GaugeMetricFamily(
        "configmgr_feature_path_info", "1 for each path by which the feature is probed.", labels=(*CONSUMER, "path")
    )
    for consumer, path in sorted(
        {(consumer, check.key.path) for check in plan.checks for consumer in check.counted_for}
    ):
        ways.add_metric((*_labels(consumer), path), 1)
    targets = GaugeMetricFamily("configmgr_path_targets", "How many targets are probed by the path.", labels=("path",))
    for path, number in sorted(Counted(path for path, _ in {_probe(check) for check in plan.checks}).items()):
        targets.add_metric((path,), number)
    features_of: dict[str, set[str]] = {}
    for requirement in plan.requirements:
        if requirement.endpoint.decides:
            for target in requirement.targets:
                features_of.setdefault(target.host, set()).add(requirement.use.consumer.feature)
    shared = GaugeMetricFamily(
        "configmgr_host_features",
        "How many features need the host, where more than one does. What decides nothing does not count.",
        labels=("host",),
    )
    for host, features in features_of.items():
        if len(features) > 1:
            shared.add_metric((host,), len(features))
    yield from (ways, targets, shared)


def _use(use: Use) -> tuple[str, str, str, str]:
    return (*_labels(use.consumer), use.pattern)


class _Once(Collector):
    """The state of probes made on demand."""

    def __init__(self, results: Mapping[Check, Latest], requirements: tuple[Requirement, ...]) -> None:
        self._results = results
        self._requirements = requirements

    def collect(self) -> Iterable[Metric]:
        results = [latest.result for latest in self._results.values()]
        yield GaugeMetricFamily(
            "probe_success",
            "1: the target is usable by every path that is asked.",
            all(result.up for result in results),
        )
        yield GaugeMetricFamily(
            "probe_duration_seconds", "The longest of them.", max(result.duration for result in results)
        )
        asked = Plan(tuple(self._results), self._requirements)
        yield from _endpoint_families(_basis_of(asked), self._results.items())


def probe_registry(results: Mapping[Check, Latest], requirements: tuple[Requirement, ...]) -> Exposition:
    """What an on-demand probe exposes: the ecosystem's two names, and the endpoint's gauges."""
    registry = Exposition()
    registry.register(_Once(results, requirements))
    return registry


# ---------------------------------------------------------------- the exporter itself


class Timing:
    """How true the measured times are: by whose clock, how often in doubt, and how punctual the event loop is."""

    def __init__(self, registry: CollectorRegistry, source: ClockSource) -> None:
        self.loop_lag = Histogram(
            "configmgr_exporter_event_loop_lag_seconds",
            "How late the event loop woke a sleeper, twice a second: as far off is what is timed by its clock.",
            buckets=LAG_BUCKETS,
            registry=registry,
        )
        self._late = Counter(
            "configmgr_exporter_late_samples",
            "Phases that may have ended before the exporter noticed, so that their duration may be too long; they are "
            "in gauges and histograms all the same. Counted only where the clock source is the kernel.",
            ("phase",),
            registry=registry,
        )
        for phase in Phase:
            self._late.labels(phase)
        sources = Gauge(
            "configmgr_exporter_clock_source",
            "1 on the clock that times the end of a phase: kernel, which stamps what arrives; loop, the exporter's own "
            "when it gets round to reading.",
            ("source",),
            registry=registry,
        )
        for known in ClockSource:
            sources.labels(known).set(known is source)

    def count(self, result: Result) -> None:
        """Count the late phases of a finished probe."""
        for phase in result.late:
            self._late.labels(phase).inc()


class ReloadStatus:
    """What the last reload of the configuration came to."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._successful = Gauge(
            "configmgr_exporter_config_last_reload_successful",
            "Whether the last attempt to load the configuration succeeded.",
            registry=registry,
        )
        self._when = Gauge(
            "configmgr_exporter_config_last_reload_success_timestamp_seconds",
            "When the configuration was last loaded successfully, Unix time.",
            registry=registry,
        )

    def set(self, *, successful: bool) -> None:
        """Set how a reload ended, now."""
        self._successful.set(successful)
        if successful:
            self._when.set(time.time())


class Conditions:
    """Under which conditions probes are made: how often, and trusting whom."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._interval = Gauge(
            "configmgr_exporter_probe_interval_seconds",
            "How often each target is probed, as configured.",
            registry=registry,
        )
        self._anchors = Gauge(
            "configmgr_trust_anchor_present",
            "1: this root, which Configuration Manager's documents name, is trusted by probes; 0: it is missing.",
            ("anchor",),
            registry=registry,
        )

    def set(self, interval: float, anchors: Mapping[str, bool]) -> None:
        """Set the interval in seconds, and which of the roots are there."""
        self._interval.set(interval)
        for name, present in anchors.items():
            self._anchors.labels(name).set(present)


class LogLines(Collector):
    """What became of the log's lines; counted by its thread."""

    def collect(self) -> Iterable[Metric]:
        """How many are missing in it."""
        yield CounterMetricFamily(
            "configmgr_exporter_log_lines_dropped",
            "Lines of the log that were dropped, since nobody read it in time or it could not be written.",
            value=dropped(),
        )


def registry_for(state: Collector) -> Exposition:
    """A registry with state, process and Python metrics; events are added by who makes them."""
    registry = Exposition()
    _register_state(registry, state)
    registry.register(LogLines())
    Gauge(
        "configmgr_exporter_start_timestamp_seconds",
        "When the exporter started, Unix time, on every system. It changes with each restart.",
        registry=registry,
    ).set_to_current_time()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry


def _register_state(registry: CollectorRegistry, state: Collector) -> None:
    """State, with the words for it, and whose it is."""
    registry.register(state)
    Gauge(
        "configmgr_exporter_build_info",
        "1, with the version of the exporter and of Python.",
        ("version", "python_version"),
        registry=registry,
    ).labels(__version__, platform.python_version()).set(1)
    read = as_of()
    Gauge(
        "configmgr_exporter_catalogue_info",
        "1, with the version of the shipped catalogue: the day of the newest document that it was read from.",
        ("version",),
        registry=registry,
    ).labels(read.isoformat()).set(1)
    Gauge(
        "configmgr_exporter_catalogue_timestamp_seconds",
        "The day of the newest document that the shipped catalogue was read from, Unix time.",
        registry=registry,
    ).set(datetime.combine(read, datetime.min.time(), UTC).timestamp())
    reasons = Gauge(
        "configmgr_failure_reason_info",
        "1 for each reason, with what it means and who can change it: for the text of alerts and tables.",
        ("reason", "summary", "who"),
        registry=registry,
    )
    for reason, words in all_words().reasons.items():
        reasons.labels(reason, words.summary, words.who).set(1)


def of_check(snapshot: Snapshot) -> CollectorRegistry:
    """State after one round, and when that was, which is now; process and Go metrics are those of whoever shows it."""
    registry = CollectorRegistry()
    _register_state(registry, Seen(snapshot))
    Gauge(
        "configmgr_exporter_check_timestamp_seconds",
        "When the last `check` that wrote these metrics ended, Unix time; `serve` has no such series.",
        registry=registry,
    ).set_to_current_time()
    return registry


def textfile(snapshot: Snapshot) -> bytes:
    """The same for the textfile collector of another exporter."""
    return generate_latest(of_check(snapshot))


class Seen(Collector):
    """Gauges of one snapshot, which nobody scrapes twice."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        """All of it."""
        return families(self._snapshot)
