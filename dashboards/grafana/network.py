"""Network triage: which path, which reason, which target, and what to ask of whom."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.grafana import board
from dashboards.grafana.board import COLUMN, PATH, REASON, ROW, TARGET, VALUE, cell, runbook, to
from dashboards.grafana.panels import (
    BAD,
    GOOD,
    PHASES,
    UP,
    WARN,
    Column,
    Panel,
    Question,
    history,
    lines,
    listing,
    matrix,
)
from dashboards.grafana.promql import (
    PROBE_LABELS,
    by,
    chosen,
    distinct,
    failing_since,
    failures,
    of_exporter,
    on,
    path_of,
    phases,
    with_host,
)

_CHOSEN: Final = chosen("target")
_BY_PATH: Final = path_of(*_CHOSEN, *chosen("path"))
_FAILURES: Final = failures(*chosen("reason", "target"), path=chosen("path"))
_TIMINGS: Final = to("latency", "Where the time goes")


def dashboard() -> Dashboard:
    """The dashboard, from the shared paths down to single targets."""
    return board.dashboard(
        "network",
        "What fails on which path and for which reason; what to change in the firewall, the proxy or the DNS; and "
        "whose change it is.",
        [*board.site(), PATH, REASON, TARGET],
        [_paths(), _reasons(), _requests(), _path_history(), _failing_over_time(), _phases(), _proxies()],
    )


def _paths() -> Panel:
    labels = "instance, path"
    targets = distinct(labels, _BY_PATH)
    failing = f"{distinct(labels, _FAILURES)} or 0 * {targets}"
    state = by("min", labels, of_exporter("configmgr_path_up", *chosen("path")))
    return listing(
        Question(
            1,
            "Which shared path is broken?",
            "Name resolution (dns), the direct way out, and each proxy. down: everything that goes through it fails "
            "and points at it. A path that is up though many of its targets fail for one reason is filtered or "
            "inspected.",
            "No result yet: no exporter is scraped, or no probe has finished.",
            (12, 8),
            [runbook("ConfigMgrPathDown", "What to do when a path is down")],
        ),
        [state, targets, failing, f"({failing}) / {targets}"],
        [
            Column("path", "Path", links=[to("network", "Only this path", path=cell("path"))]),
            Column("instance", "Instance", 180),
            Column("Value #A", "State", 80, words=UP),
            Column("Value #B", "Targets", 80),
            Column("Value #C", "Failing", 80),
            Column("Value #D", "Share", 90, "percentunit", 0, steps=(GOOD, {0.0001: WARN, 0.5: BAD})),
        ],
        sort="Failing",
        descending=True,
    )


def _reasons() -> Panel:
    return matrix(
        Question(
            2,
            "How many targets fail, for which reason and on which path?",
            "Each target counts once for every instance, however many features need it. The reason begins with the "
            "phase that failed: dns, connect, proxy, tls or http.",
            "No failure is reported.",
            (12, 8),
            [_TIMINGS],
        ),
        distinct("reason, path", _FAILURES),
        row="reason",
        column="path",
        cells=Column(steps=(WARN, {10: BAD}), links=[to("network", "Only these", reason=ROW, path=COLUMN)], empty=""),
    )


def _requests() -> Panel:
    labels = "instance, path, target, host, reason, summary, who"
    failing = with_host(_FAILURES)
    status = of_exporter("configmgr_endpoint_http_status_code", *_CHOSEN)
    answered = by("max", labels, f"{failing} {on(PROBE_LABELS)} {status}")
    return listing(
        Question(
            3,
            "What is to be changed, where, and by whom?",
            "Each target that fails, newest first, with what a firewall, proxy or DNS team needs: the address that "
            "was asked, the entry of the documents to allow, the path it was asked by, what happened, and whose "
            "change it is.",
            "No failure is reported.",
            (24, 14),
            [_TIMINGS],
        ),
        [
            by("count", labels, by("count", f"{labels}, feature", failing)),
            failing_since(labels, failing),
            f"{answered} or 0 * {by('max', labels, failing)}",
        ],
        [
            Column("target", "Target", 300, links=[to("latency", "How far probes come", target=cell("target"))]),
            Column("host", "Allow", 210),
            Column("path", "Path", 120),
            Column("reason", "Reason", 150, links=[runbook(VALUE, "What it means and what to do")]),
            Column("who", "Who", 110),
            Column("summary", "In words", wrap=True),
            Column("Value #C", "Answer", 65, words={0: ("none", None)}),
            Column("Value #B", "Fails since", 110, unit="dateTimeFromNow"),
            Column("Value #A", "Features", 75, links=[to("readiness", "Which features")]),
            Column("instance", "Instance", 110),
        ],
        sort="Fails since",
        descending=True,
    )


def _path_history() -> Panel:
    return history(
        Question(
            4,
            "When was a path down?",
            "The state of each shared path over time, and of IPv4 and IPv6 on it where they were tried.",
            "No path was watched in this time.",
            (12, 8),
            [runbook("ConfigMgrPathDown", "What to do when a path is down")],
        ),
        {
            "{{path}} at {{instance}}": of_exporter("configmgr_path_up", *chosen("path")),
            "{{family}} by {{path}} at {{instance}}": of_exporter("configmgr_path_family_up", *chosen("path")),
        },
        UP,
    )


def _failing_over_time() -> Panel:
    return lines(
        Question(
            5,
            "When did targets fail, and for which reason?",
            "Targets that failed at each moment, each counted once for every instance.",
            "No failure was reported in this time.",
            (12, 8),
            [_TIMINGS],
        ),
        {"{{reason}}": distinct("reason", _FAILURES)},
        unit="short",
        stacked=True,
    )


def _phases() -> Panel:
    return matrix(
        Question(
            6,
            "How long does each phase take on each path?",
            "The mean of the last probe of every target. The phase in which a probe failed counts with the time it "
            "took to fail: ten seconds in one phase are a timeout. Through a proxy, resolve and connect are the way "
            "to the proxy.",
            "No result yet.",
            (12, 8),
            [_TIMINGS],
        ),
        by("avg", "path, phase", phases(*_CHOSEN, *chosen("path"))),
        row="path",
        column="phase",
        order=tuple(PHASES),
        cells=Column(unit="s", steps=("transparent", {1: WARN, 5: BAD}), empty="", links=[_TIMINGS]),
    )


def _proxies() -> Panel:
    buckets = of_exporter("configmgr_probe_phase_duration_seconds_bucket", *chosen("path"), 'phase="proxy"')
    rate = by("sum", "le", f"rate({buckets}[$__rate_interval])")
    return lines(
        Question(
            7,
            "How long do proxies take to open a tunnel?",
            "The CONNECT exchange, with the sign-in where there is one, of tunnels that did open.",
            "No tunnel was opened: no role goes through a proxy, or the proxies open none.",
            (12, 8),
            [_TIMINGS],
        ),
        {
            "half are faster than": f"histogram_quantile(0.5, {rate})",
            "95 % are faster than": f"histogram_quantile(0.95, {rate})",
        },
        unit="s",
    )
