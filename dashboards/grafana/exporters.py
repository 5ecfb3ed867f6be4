"""Exporter: whether the exporters themselves are well, keep their rhythm and stay small."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.grafana import board
from dashboards.grafana.board import cell, runbook, to
from dashboards.grafana.panels import (
    BAD,
    GOOD,
    UP,
    WARN,
    WORST,
    Column,
    Panel,
    Question,
    Steps,
    Words,
    history,
    lines,
    listing,
)
from dashboards.grafana.promql import NOT_HEARD, by, distinct, of_exporter

_RELOAD: Final[Words] = {1: ("in force", GOOD), 0: ("last reload failed", BAD)}
_PROBED: Final = of_exporter("configmgr_endpoint_last_probe_timestamp_seconds")
_INTERVAL: Final = of_exporter("configmgr_exporter_probe_interval_seconds")
_OLDEST: Final = f"(time() - {by('min', 'instance', _PROBED)}) / on (instance) {by('min', 'instance', _INTERVAL)}"
_SILENT: Final[Words] = {0: ("not answering", BAD), 2: ("gone", WORST)}
_STALE: Final = 3  # intervals: from here on a result is too old to be believed


def dashboard() -> Dashboard:
    """The dashboard, from whether they answer down to what they cost."""
    return board.dashboard(
        "exporter",
        "Do the exporters answer, do they keep their rhythm, and what do they cost?",
        board.site(hidden=True),
        [_exporters(), _not_heard(), _up(), *_rhythm(), *_truth(), *_cost()],
    )


def _exporters() -> Panel:
    features = by("count", "instance, feature", of_exporter("configmgr_feature_endpoints"))
    loaded = of_exporter("configmgr_exporter_config_last_reload_success_timestamp_seconds")
    return listing(
        Question(
            1,
            "Are the exporters well?",
            "Each exporter that Prometheus is to scrape. The oldest result is given in intervals of probing: more than "
            "three are too old to be believed. By the clock `kernel` times are true even if it is busy; by its own, "
            "`loop`, they may be too long.",
            "No exporter is to be scraped: Prometheus has no target of this job.",
            (24, 7),
            [runbook("ConfigMgrExporterDown", "What to do when an exporter is down")],
        ),
        [
            by("max", "instance", of_exporter("up")),
            by("max", "instance, version, python_version", of_exporter("configmgr_exporter_build_info")),
            distinct("instance", of_exporter("configmgr_endpoint_path_info")),
            by("count", "instance", features),
            _OLDEST,
            by("min", "instance", of_exporter("configmgr_exporter_config_last_reload_successful")),
            f"1000 * {by('max', 'instance', loaded)}",
            f"{by('max', 'instance, source', of_exporter('configmgr_exporter_clock_source'))} == 1",
        ],
        [
            Column("instance", "Instance", links=[to("readiness", "What is ready there", instance=cell("instance"))]),
            Column("Value #A", "State", 90, words=UP),
            Column("version", "Version", 110),
            Column("python_version", "Python", 110),
            Column("Value #C", "Targets", 100),
            Column("Value #D", "Features", 100),
            Column("Value #E", "Oldest, intervals", 160, "none", 1, steps=(GOOD, {2: WARN, _STALE: BAD})),
            Column("Value #F", "Configuration", 180, words=_RELOAD),
            Column("Value #G", "Loaded", 160, "dateTimeFromNow"),
            Column("source", "Clock", 80),
        ],
        sort="State",
        hidden=["Value #B", "Value #H"],
    )


def _not_heard() -> Panel:
    labels = "job, instance"
    last = f"max by ({labels}) (max_over_time(timestamp({of_exporter('up')} == 1)[1d:1m]))"
    return listing(
        Question(
            14,
            "Which exporters are not heard?",
            "Those that Prometheus has known within a day and has no good scrape of now: of their sites nothing is "
            "known. not answering: the scrape fails. gone: there is no scrape any more, since an agent sends nothing, "
            "or since discovery has lost it; what you have taken away yourself stands here for a day.",
            "All are heard.",
            (24, 5),
            [runbook("ConfigMgrExporterVanished", "What to do when nothing is heard")],
        ),
        [
            f"{by('max', labels, of_exporter('up'))} == 0 or 2 * ({NOT_HEARD})",
            f"1000 * {last} and on ({labels}) ({NOT_HEARD}) or 0 * ({NOT_HEARD})",
        ],
        [
            Column("instance", "Instance", links=[to("readiness", "What was ready there", instance=cell("instance"))]),
            Column("job", "Job", 200),
            Column("Value #A", "State", 200, words=_SILENT),
            Column("Value #B", "Last heard", 260, unit="dateTimeFromNow", words={0: ("not for a day", None)}),
        ],
        sort="Last heard",
        descending=True,
    )


def _up() -> Panel:
    return history(
        Question(
            2,
            "When did an exporter not answer?",
            "Whether Prometheus could scrape it. A gap is a time in which it was not a target.",
            "No exporter was to be scraped in this time.",
            (24, 5),
            [runbook("ConfigMgrExporterDown", "What to do when an exporter is down")],
        ),
        {"{{instance}}": by("max", "instance", of_exporter("up"))},
        UP,
    )


def _third(
    id_: int,
    title: str,
    description: str,
    expression: str,
    unit: str,
    link: build.DashboardLink,
    *,
    limits: Steps | None = None,
) -> Panel:
    """A curve for each instance, a third of the dashboard wide."""
    question = Question(id_, title, description, "No exporter was scraped in this time.", (8, 8), [link])
    return lines(question, {"{{instance}}": expression}, unit=unit, limits=limits)


def _rhythm() -> list[Panel]:
    made = by("sum", "instance", f"rate({of_exporter('configmgr_exporter_probes_total')}[$__rate_interval])")
    checks = by("count", "instance", by("count", "instance, path, target", of_exporter("configmgr_endpoint_path_info")))
    planned = f"{checks} / {by('min', 'instance', _INTERVAL)}"
    late = by(
        "sum", "le, instance", f"rate({of_exporter('configmgr_exporter_probe_lag_seconds_bucket')}[$__rate_interval])"
    )
    missed = of_exporter("configmgr_exporter_missed_slots_total")
    stale = runbook("ConfigMgrProbesStale", "What to do when results are old")
    slots = runbook("ConfigMgrSlotsMissed", "What to do when slots are missed")
    return [
        _third(
            3,
            "Are all probes made?",
            "Probes made, as a share of those that the plan asks for in the same time. Below 100 % for long: it does "
            "not keep up.",
            f"{made} / ({planned})",
            "percentunit",
            stale,
        ),
        _third(
            4,
            "How old is the oldest result?",
            "In intervals of probing. One is as it should be; three are too old.",
            _OLDEST,
            "none",
            stale,
            limits={_STALE: BAD},
        ),
        _third(
            5,
            "Were slots missed?",
            "Places in the interval that passed while the check before was still under way or waiting for its turn.",
            by("sum", "instance", f"increase({missed}[$__rate_interval])"),
            "short",
            slots,
            limits={1: WARN},
        ),
        _third(
            6,
            "Do probes start late?",
            "99 of 100 probes began no later than this after their place in the interval.",
            f"histogram_quantile(0.99, {late})",
            "s",
            slots,
            limits={1: WARN},
        ),
        _third(
            7,
            "How many probes are under way?",
            "At the moment of each scrape. Many at once are probes that hang; the limit is `probe.concurrency`.",
            by("max", "instance", of_exporter("configmgr_exporter_probes_in_flight")),
            "short",
            slots,
        ),
        _third(
            8,
            "How long does a scrape take?",
            "As Prometheus sees it. It gives up after ten seconds unless it is configured otherwise.",
            by("max", "instance", of_exporter("scrape_duration_seconds")),
            "s",
            runbook("ConfigMgrExporterDown", "What to do when an exporter is down"),
            limits={5: WARN, 10: BAD},
        ),
    ]


def _truth() -> list[Panel]:
    lag = by(
        "sum",
        "le, instance",
        f"rate({of_exporter('configmgr_exporter_event_loop_lag_seconds_bucket')}[$__rate_interval])",
    )
    late = of_exporter("configmgr_exporter_late_samples_total")
    slots = runbook("ConfigMgrSlotsMissed", "What to do when the exporter is too busy")
    never = "No exporter was scraped in this time."
    return [
        lines(
            Question(
                12,
                "How late is the event loop?",
                "99 of 100 times it woke a sleeper no later than this. Where the clock is `loop`, times of probes may "
                "be too long by as much.",
                never,
                (12, 8),
                [slots],
            ),
            {"{{instance}}": f"histogram_quantile(0.99, {lag})"},
            unit="s",
            limits={0.1: WARN},
        ),
        lines(
            Question(
                13,
                "How many times are in doubt?",
                "Phases that may have ended before the exporter noticed, so that their time is at most what is shown. "
                "Many of them: the exporter is too busy, or packets are lost on the way.",
                never,
                (12, 8),
                [slots],
            ),
            {"{{phase}} {{instance}}": by("sum", "instance, phase", f"increase({late}[$__rate_interval])")},
            unit="short",
        ),
    ]


def _cost() -> list[Panel]:
    processor = of_exporter("process_cpu_seconds_total")
    down = runbook("ConfigMgrExporterDown", "What to do when an exporter is down")
    return [
        _third(
            9,
            "How much memory?",
            "Resident memory. It is known on Linux only.",
            by("max", "instance", of_exporter("process_resident_memory_bytes")),
            "bytes",
            down,
        ),
        _third(
            10,
            "How much of a processor?",
            "100 % is one core. It is known on Linux only.",
            by("sum", "instance", f"rate({processor}[$__rate_interval])"),
            "percentunit",
            down,
        ),
        _third(
            11,
            "How many series?",
            "Samples of one scrape: what this exporter costs Prometheus.",
            by("max", "instance", of_exporter("scrape_samples_scraped")),
            "short",
            down,
        ),
    ]
