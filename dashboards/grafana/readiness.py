"""Readiness: which feature works for which role, since when not, and what to do about it."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.grafana import board
from dashboards.grafana.board import COLUMN, ROW, VALUE, cell, runbook, to
from dashboards.grafana.panels import (
    BAD,
    GOOD,
    READY,
    UNKNOWN,
    WARN,
    WORST,
    Column,
    Panel,
    Question,
    Words,
    history,
    lines,
    listing,
    matrix,
    number,
)
from dashboards.grafana.promql import (
    ACTIVE_SINCE,
    EXPECTED,
    FEATURE_READY,
    FIRING,
    NOT_HEARD,
    by,
    distinct,
    failing_since,
    failures,
    not_ready_since,
    of_all,
    of_exporter,
    of_site,
)
from exporter.model.vocabulary import Verdict
from exporter.report.reasons import all_words

_LABELS: Final = "feature, role, cloud"
_SHARE: Final[Words] = {
    1: ("ready", GOOD),
    (0.0001, 0.9999): ("some cannot", WARN),
    0: ("not ready", BAD),
    -1: ("no result", UNKNOWN),
}
_VERDICT: Final[Words] = {
    1: ("works again", GOOD),
    (0.0001, 0.9999): ("only some cannot", WARN),
    0: ("nobody can", WORST),
}
_SEVERITY: Final[Words] = {"critical": ("critical", BAD), "warning": ("warning", WARN)}
_WHOLE: Final[Words] = {
    Verdict.READY: ("READY", GOOD),
    Verdict.NOT_READY: ("NOT READY", BAD),
    Verdict.INCOMPLETE: ("INCOMPLETE", WARN),
    Verdict.NOTHING_TO_CHECK: ("NOTHING TO CHECK", UNKNOWN),
    Verdict.PENDING: ("PENDING", UNKNOWN),
    "not_heard": ("NOT HEARD", WORST),
}
_BUDGET: Final = "instance_feature_role_cloud:configmgr_error_budget_remaining:ratio30d"
_NOT_READY: Final = "instance_feature_role_cloud:configmgr_feature_not_ready:seconds1h"
_TRIAGE: Final = to("network", "Which targets fail, and why")


def dashboard() -> Dashboard:
    """The dashboard, from what is at stake down to how it went."""
    return board.dashboard(
        "readiness",
        "Can each feature of Configuration Manager reach what it needs, for each role and in each cloud?",
        board.site(),
        [
            *_at_a_glance(),
            _causes(),
            _alerts(),
            _places(),
            _matrix(),
            _not_ready(),
            _by_instance(),
            _history(),
            *_budget(),
            _unprobed(),
        ],
    )


def _at_a_glance() -> list[Panel]:
    size = (3, 4)
    failing = of_site("configmgr_endpoint_up")
    return [
        number(
            Question(
                1,
                "Features",
                "Features, each counted once for every role and cloud that needs it, that cannot work at one instance "
                "at least.",
                "no result yet",
                size,
                [_TRIAGE],
            ),
            f"sum({by('min', _LABELS, FEATURE_READY)} == bool 0)",
            unit="suffix:not ready",
            none="all ready",
            steps={1: BAD},
        ),
        number(
            Question(
                2,
                "Targets",
                "Addresses that are not usable, each counted once for every instance, however many features need it.",
                "no result yet",
                size,
                [_TRIAGE],
            ),
            f"sum({by('min', 'job, instance, target', failing)} == bool 0)",
            unit="suffix:failing",
            none="all usable",
            steps={1: BAD},
        ),
        number(
            Question(
                3,
                "Shared paths",
                "Name resolution, the direct way out and each proxy: what everything that goes through them depends "
                "on.",
                "no result yet",
                size,
                [_TRIAGE],
            ),
            f"sum({of_exporter('configmgr_path_up')} == bool 0)",
            unit="suffix:down",
            none="all up",
            steps={1: WORST},
        ),
        number(
            Question(
                4,
                "Least error budget",
                "What is left of the 30 days' error budget where the least is left. 100 %: always ready; below 0 %: "
                "not ready for longer than the objective allows.",
                "no history yet",
                size,
                [_TRIAGE],
            ),
            f"min({of_site(_BUDGET)})",
            unit="percentunit",
            lowest=WORST,
            steps={0: BAD, 0.25: WARN, 0.5: GOOD},
        ),
        number(
            Question(
                5,
                "Exporters expected",
                "How many exporters there should be: those that Prometheus has known within a day. Each watches one "
                "place.",
                "none is known",
                size,
                [to("exporter", "How the exporters are")],
            ),
            f"count({EXPECTED})",
            unit="short",
            lowest=UNKNOWN,
            steps={},
        ),
        number(
            Question(
                7,
                "Not heard",
                "Exporters of these that do not answer, or are gone: of their sites nothing is known.",
                "none is known",
                size,
                [to("exporter", "Which, and since when")],
            ),
            f"count({NOT_HEARD}) or 0 * count({EXPECTED})",
            unit="suffix:not heard",
            none="all are heard",
            steps={1: WORST},
        ),
        number(
            Question(
                8,
                "Alerts",
                "Alerts that fire and call a person or are a ticket.",
                "none is known",
                size,
                [to("exporter", "How the exporters are")],
            ),
            f"count({FIRING}) or 0 * count({EXPECTED})",
            unit="suffix:firing",
            none="none fires",
            steps={1: BAD},
        ),
        number(
            Question(
                6,
                "Not probed",
                "Documented endpoints that nothing is probed for. The last panel says why.",
                "no result yet",
                size,
                [runbook("ConfigMgrEndpointsUnprobed", "What to do about it")],
            ),
            f"count({by('count', 'pattern', of_site('configmgr_endpoint_unprobed'))})"
            f" or 0 * max({of_site('configmgr_feature_endpoints')})",
            unit="suffix:endpoints",
            none="all are probed",
            lowest=UNKNOWN,
            steps={},
        ),
    ]


def _causes() -> Panel:
    labels = "instance, path, reason, summary, who"
    where = {"instance": cell("instance"), "path": cell("path"), "reason": cell("reason")}
    return listing(
        Question(
            10,
            "What is wrong, and who can fix it?",
            "Everything that fails, by where, on which path and why: usually a few causes behind many symptoms.",
            "No failure is reported.",
            (24, 7),
            [_TRIAGE],
        ),
        [
            distinct(labels, failures()),
            by("count", labels, by("count", f"{labels}, feature", failures())),
            failing_since(labels, failures()),
        ],
        [
            Column("reason", "Reason", 190, links=[runbook(VALUE, "What it means and what to do")]),
            Column("who", "Who can fix it", 170),
            Column("path", "Path", 150),
            Column("instance", "Instance", 200),
            Column("Value #A", "Targets", 90, links=[to("network", "Which targets", **where)]),
            Column("Value #B", "Features hit", 110),
            Column("Value #C", "Since (longest)", 140, unit="dateTimeFromNow"),
            Column("summary", "In words", wrap=True),
        ],
        sort="Targets",
        descending=True,
    )


def _alerts() -> Panel:
    labels = "severity, alertname, instance, team"
    return listing(
        Question(
            9,
            "Which alerts fire?",
            "Alerts that call a person (critical) or are a ticket (warning), whether or not Alertmanager holds them "
            "back because another one says more. Those without an instance are of all together.",
            "None fires, or the rules are not loaded.",
            (24, 7),
            [_TRIAGE],
        ),
        [by("count", labels, FIRING), f"1000 * {by('min', labels, ACTIVE_SINCE)}"],
        [
            Column("severity", "Severity", 110, words=_SEVERITY),
            Column("alertname", "Alert", links=[runbook(VALUE, "What it means and what to do")]),
            Column("instance", "Instance", 260),
            Column("team", "Team", 130),
            Column("Value #A", "How many", 110),
            Column("Value #B", "Since (longest)", 180, unit="dateTimeFromNow"),
        ],
        sort="Severity",
    )


def _places() -> Panel:
    labels = "site, instance"
    verdicts = by("max", f"{labels}, verdict", of_exporter("configmgr_verdict"))
    silent = by("max", labels, f"last_over_time({of_exporter('up')}[1d]) and on (job, instance) ({NOT_HEARD})")
    failing = by("min", f"{labels}, target", of_site("configmgr_endpoint_up"))
    not_ready = by("sum", labels, f"{FEATURE_READY} == bool 0")
    incomplete = of_site("configmgr_feature_verdict", 'verdict="incomplete"')
    partly = by("max", f"{labels}, pattern", of_site("configmgr_endpoint_partly_open"))
    return listing(
        Question(
            15,
            "How is each place?",
            "Every exporter that should be there, by the verdict that it gives itself on everything that it watches; "
            "the numbers are of what is chosen above. INCOMPLETE: nothing needed is down, but not everything could be "
            "checked. Partly open: wildcards of which some hosts are up and some down.",
            "No exporter is known.",
            (24, 8),
            [_TRIAGE],
        ),
        [
            f'{verdicts} or label_replace({silent}, "verdict", "not_heard", "", "")',
            not_ready,
            f"{by('count', labels, incomplete)} or 0 * {not_ready}",
            by("sum", labels, f"{failing} == bool 0"),
            f"{by('count', labels, partly)} or 0 * {not_ready}",
        ],
        [
            Column("site", "Site", 160),
            Column("instance", "Instance", links=[to("network", "What fails there", instance=cell("instance"))]),
            Column("verdict", "Verdict", 200, words=_WHOLE),
            Column("Value #B", "Features not ready", 170),
            Column("Value #C", "Features incomplete", 170),
            Column("Value #D", "Targets failing", 150),
            Column("Value #E", "Partly open", 150),
        ],
        sort="Verdict",
        hidden=["Value #A"],
    )


def _matrix() -> Panel:
    labels = "feature, role"
    ready = by("avg", labels, FEATURE_READY)
    needed = by("max", labels, of_site("configmgr_feature_endpoints"))
    triage = to("network", "Why", feature=ROW, role=COLUMN)
    return (
        matrix(
            Question(
                11,
                "Can each feature work for each role? ${cloud}",
                "ready: everything that the feature needs is usable at every instance; some cannot: not at all "
                "instances; not ready: at none; no result: pending, or nothing is probed for it; blank: the role does "
                "not need it.",
                "No feature is watched: no exporter is scraped, or the choice above leaves nothing.",
                (24, 21),
                [_TRIAGE],
            ),
            f"{ready} or -1 * ({needed} >= bool 0)",
            row="feature",
            column="role",
            cells=Column(words=_SHARE, links=[triage], empty=""),
        )
        .repeat("cloud")
        .repeat_direction("v")
    )


def _not_ready() -> Panel:
    broken = f"{by('min', _LABELS, FEATURE_READY)} == 0"
    everywhere = by("avg", _LABELS, of_all("feature_role_cloud:configmgr_feature_ready:avg"))
    where = {"feature": cell("feature"), "role": cell("role"), "cloud": cell("cloud")}
    down = by("max", _LABELS, of_site("configmgr_feature_endpoints", 'state="down"'))
    return listing(
        Question(
            12,
            "What is not ready, since when, and is it only here?",
            "Features that cannot work. The verdict looks at every instance, whichever are chosen above: what nobody "
            "can is rather a fault of the service or of what all instances share; what only some cannot is a fault of "
            "their site.",
            "No feature is reported as not ready.",
            (24, 9),
            [_TRIAGE],
        ),
        [
            f"{not_ready_since(_LABELS)} and on ({_LABELS}) {broken}",
            f"{everywhere} and on ({_LABELS}) {broken}",
            by("count", _LABELS, f"{FEATURE_READY} == 0"),
            f"{down} and on ({_LABELS}) {broken}",
        ],
        [
            Column("feature", "Feature", links=[to("network", "Which targets, and why", **where)]),
            Column("role", "Role", 300),
            Column("cloud", "Cloud", 200),
            Column("Value #A", "Not ready since", 180, unit="dateTimeFromNow"),
            Column("Value #B", "Verdict", 200, words=_VERDICT),
            Column("Value #C", "Instances that cannot", 180),
            Column("Value #D", "Endpoints down", 150),
        ],
        sort="Not ready since",
        descending=True,
    )


def _by_instance() -> Panel:
    labels = "feature, instance"
    return matrix(
        Question(
            13,
            "Which instance cannot?",
            "The features that are not ready at one instance at least. A column of `not ready` is a site's fault; a "
            "row of them is the feature's.",
            "No feature is reported as not ready.",
            (12, 12),
            [_TRIAGE],
        ),
        f"{by('min', labels, FEATURE_READY)} and on (feature) {by('min', 'feature', FEATURE_READY)} == 0",
        row="feature",
        column="instance",
        cells=Column(words=READY, links=[to("network", "Why", feature=ROW, instance=COLUMN)], empty=""),
    )


def _history() -> Panel:
    worst = by("min", "feature", f"min_over_time({FEATURE_READY}[$__range] @ end())")
    return history(
        Question(
            14,
            "When was it not ready?",
            "Each feature that was not ready for a time of the range above, and all features together. ready: at "
            "every instance.",
            "Nothing was watched in this time.",
            (12, 12),
            [to("network", "What failed at that time")],
        ),
        {
            "all features": f"min({FEATURE_READY})",
            "{{feature}}": f"{by('min', 'feature', FEATURE_READY)} and on (feature) {worst} == 0",
        },
        READY,
    )


def _budget() -> list[Panel]:
    labels = "instance, feature, role, cloud"
    remaining = by("min", labels, of_site(_BUDGET))
    least = f"bottomk(20, {remaining})"
    objective = "max(configmgr:availability_objective:ratio)"
    allowed = f"(1 - scalar({objective}))"
    lately = of_site(_NOT_READY)
    dipped = by("max", "feature", f"max_over_time({lately}[$__range] @ end())")
    return [
        listing(
            Question(
                20,
                "For how long may a feature still be not ready?",
                "The error budget of 30 days, least first: the share of the time in which a feature may be not "
                "ready by the objective, and how much of that is left. What is not known spends nothing. Burning 1 "
                "times uses it up in 30 days, 14 times in two.",
                "No history yet: the recording rules are not loaded, or have just begun.",
                (14, 10),
                [runbook("ConfigMgrErrorBudgetBurn", "What to do when it burns")],
            ),
            [
                least,
                f"1 - (1 - {least}) * {allowed}",
                f"{by('max', labels, lately)} / 3600 / {allowed} and on ({labels}) {least}",
            ],
            [
                Column("feature", "Feature", links=[to("network", "Why", feature=cell("feature"))]),
                Column("role", "Role", 180),
                Column("cloud", "Cloud", 100),
                Column("instance", "Instance", 110),
                Column("Value #A", "Left", 70, "percentunit", 0, steps=(WORST, {0: BAD, 0.25: WARN, 0.5: GOOD})),
                Column("Value #B", "Ready, 30 d", 95, "percentunit", 2),
                Column("Value #C", "Burn rate, 1 h", 105, "none", 1, steps=("transparent", {1: WARN, 14.4: BAD})),
            ],
            sort="Left",
        ),
        lines(
            Question(
                21,
                "Which features were not ready for a time?",
                "The share of the time in which a feature was ready, of the hour before each moment, for features "
                "below 100 %; and the objective.",
                "No history yet: the recording rules are not loaded, or have just begun.",
                (10, 10),
                [to("network", "What failed at that time")],
            ),
            {
                "objective": objective,
                "{{feature}}": f"1 - {by('max', 'feature', lately)} / 3600 and on (feature) {dipped} > 0",
            },
            unit="percentunit",
            colors={"objective": UNKNOWN},
            from_zero=False,
        ),
    ]


def _unprobed() -> Panel:
    labels = "pattern, reason"
    unprobed = of_site("configmgr_endpoint_unprobed")
    return listing(
        Question(
            30,
            "What does nobody check?",
            "Documented endpoints that nothing is probed for. They must be allowed all the same, and a feature counts "
            "as ready without them.",
            "No endpoint is reported as not probed.",
            (24, 8),
            [runbook("ConfigMgrEndpointsUnprobed", "What to do about it")],
        ),
        [by("count", labels, by("count", f"{labels}, feature", unprobed))],
        [
            Column("pattern", "Endpoint", 420),
            Column("Value", "Features", 90),
            Column(
                "reason",
                "Why",
                wrap=True,
                words={why: (words.summary, None) for why, words in all_words().unprobed.items()},
            ),
        ],
        sort="Why",
        descending=False,
    )
