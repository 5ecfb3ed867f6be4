"""Latency: how long probes take, in which phase, to which targets, and whether that is as usual."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.grafana import board
from dashboards.grafana.board import BY, ROW, TARGET, cell, runbook, to
from dashboards.grafana.panels import (
    BAD,
    GOOD,
    PHASES,
    WARN,
    Column,
    Panel,
    Question,
    gauges,
    heat,
    heat_rows,
    lines,
    listing,
    matrix,
    number,
)
from dashboards.grafana.promql import PROBE_LABELS, by, chosen, of_site, phases

_WHOLE: Final = of_site("configmgr_probe_duration_seconds_bucket")
_PROBE: Final = ", ".join(PROBE_LABELS)
_SECONDS: Final = phases(*chosen("target"))
_RECORDED: Final = "instance_feature_role_cloud:configmgr_probe_duration_seconds"
_SLOW: Final = {1.0: WARN, 5.0: BAD}
_TRIAGE: Final = to("network", "What fails, and why")


def dashboard() -> Dashboard:
    """The dashboard, from all probes together down to the phases of single targets."""
    return board.dashboard(
        "latency",
        "How long does it take to reach what Configuration Manager needs, where does the time go, and is that as "
        "usual?",
        [*board.site(), BY, TARGET],
        [*_numbers(), _heat(), _now(), *_split(), _slowest(), *_phases(), *_usual()],
    )


def _quantile(quantile: float, labels: str = "") -> str:
    """The quantile of successful probes; without a probe it would be NaN."""
    rate = by("sum", f"{labels}, le" if labels else "le", f"rate({_WHOLE}[$__rate_interval])")
    return f"histogram_quantile({quantile:g}, {rate}) >= 0"


def _numbers() -> list[Panel]:
    quantiles = {
        1: (0.5, "Half are faster than"),
        2: (0.95, "95 of 100 are faster than"),
        3: (0.99, "99 of 100 are faster than"),
    }
    return [
        number(
            Question(
                id_,
                title,
                f"The {quantile:g} quantile of how long successful probes took lately, all phases together.",
                "no probe succeeded",
                (8, 4),
                [_TRIAGE],
            ),
            _quantile(quantile),
            unit="s",
            steps=_SLOW,
            decimals=None,
        )
        for id_, (quantile, title) in quantiles.items()
    ]


def _heat() -> Panel:
    return heat(
        Question(
            4,
            "How long do probes take?",
            "Successful probes by their duration. A band that moves up is a slower way; a second band is a part of "
            "the targets, or of the addresses behind them, that is slower than the rest.",
            "No probe succeeded in this time.",
            (16, 9),
            [_TRIAGE],
        ),
        by("sum", "le", f"rate({_WHOLE}[$__rate_interval])"),
    )


def _now() -> Panel:
    return gauges(
        Question(
            10,
            "How long does each ${by} take now?",
            "95 of 100 successful probes were faster than this lately. `Split by`, above, says of what there is a bar.",
            "No probe succeeded lately.",
            (8, 9),
            [_TRIAGE],
        ),
        "{{$by}}",
        _quantile(0.95, "$by"),
        unit="s",
        steps=_SLOW,
    )


def _split() -> list[Panel]:
    empty = "No probe succeeded in this time."
    curves = {
        12: (0.5, "Half of the probes of each ${by} are faster than"),
        13: (0.95, "95 of 100 probes of each ${by} are faster than"),
        14: (0.99, "99 of 100 probes of each ${by} are faster than"),
    }
    return [
        heat_rows(
            Question(
                11,
                "When was which ${by} slow?",
                "95 of 100 successful probes were faster than this at each moment, as a colour. A row that is light "
                "is slow by itself; a column that is light is what all rows share.",
                empty,
                (24, 11),
                [_TRIAGE],
            ),
            "{{$by}}",
            _quantile(0.95, "$by"),
            unit="s",
        ),
        *(
            lines(
                Question(
                    id_,
                    title,
                    f"The {quantile:g} quantile of how long successful probes took, all phases together, from the "
                    "histogram itself: it needs no recording rule.",
                    empty,
                    (8, 9),
                    [_TRIAGE],
                ),
                {"{{$by}}": _quantile(quantile, "$by")},
                unit="s",
            )
            for id_, (quantile, title) in curves.items()
        ),
    ]


def _slowest() -> Panel:
    whole = by("sum", _PROBE, _SECONDS)
    slowest = f"topk(20, {by('max', 'target', whole)})"
    inside = by("max", "target, phase", f"{_SECONDS} and on ({_PROBE}) topk by (target) (1, {whole})")
    return matrix(
        Question(
            5,
            "Which targets are the slowest, and in which phase?",
            "The last probe of the twenty slowest targets, usable or not, from the instance and by the path where it "
            "took longest. Ten seconds in one phase are a timeout.",
            "No result yet.",
            (24, 12),
            [_TRIAGE],
        ),
        f'label_replace({slowest}, "phase", "all", "", "") or {inside} and on (target) {slowest}',
        row="target",
        column="phase",
        order=("all", *PHASES),
        width=520,
        sort=("all", True),
        cells=Column(
            unit="s",
            steps=("transparent", _SLOW),
            empty="",
            links=[to("latency", "Only this target", target=ROW), to("network", "Why it fails", target=ROW)],
        ),
    )


def _phases() -> list[Panel]:
    probes = f"scalar(count({by('count', _PROBE, _SECONDS)}))"
    return [
        lines(
            Question(
                6,
                "Where does the time go?",
                "The mean of each phase over the chosen targets, also those that fail and those that need no such "
                "phase: stacked, they are the mean of the whole probe.",
                "No result in this time.",
                (12, 9),
                [_TRIAGE],
            ),
            {"{{phase}}": f"{by('sum', 'phase', _SECONDS)} / {probes}"},
            unit="s",
            stacked=True,
            colors=PHASES,
        ),
        lines(
            Question(
                7,
                "How slow is each phase at its worst?",
                "95 of 100 of the chosen targets were faster than this in their last probe. The phase in which a probe "
                "failed counts with the time it took to fail.",
                "No result in this time.",
                (12, 9),
                [_TRIAGE],
            ),
            {"{{phase}}": f"quantile by (phase) (0.95, {_SECONDS})"},
            unit="s",
            colors=PHASES,
        ),
    ]


def _usual() -> list[Panel]:
    labels = "instance, feature, role, cloud"
    now, month = (by("max", labels, of_site(f"{_RECORDED}:mean_rate{window}")) for window in ("30m", "30d"))
    slowest = f"topk(20, {now} / {month})"
    return [
        listing(
            Question(
                8,
                "Is any feature slower than usual?",
                "How long successful probes took on average, in the last half hour and in the last 30 days. What takes "
                "the most times as long as usual is first.",
                "No history yet: the recording rules are not loaded, or have just begun.",
                (15, 10),
                [runbook("ConfigMgrSlow", "What to do when a feature is slow")],
            ),
            [
                slowest,
                f"{now} and on ({labels}) {slowest}",
                f"{month} and on ({labels}) {slowest}",
            ],
            [
                Column("feature", "Feature", links=[to("latency", "Only this feature", feature=cell("feature"))]),
                Column("role", "Role", 180),
                Column("cloud", "Cloud", 100),
                Column("instance", "Instance", 110),
                Column("Value #B", "Half an hour", 100, "s"),
                Column("Value #C", "30 days", 75, "s"),
                Column("Value #A", "Times the usual", 110, "none", 1, steps=(GOOD, {2.0: WARN, 5.0: BAD})),
            ],
            sort="Times the usual",
            descending=True,
        ),
        lines(
            Question(
                9,
                "How did the mean go?",
                "The mean duration of successful probes of the half hour before each moment, by feature: the slowest "
                "role, cloud and instance of each.",
                "No history yet: the recording rules are not loaded, or have just begun.",
                (9, 10),
                [_TRIAGE],
            ),
            {"{{feature}}": by("max", "feature", of_site(f"{_RECORDED}:mean_rate30m"))},
            unit="s",
        ),
    ]
