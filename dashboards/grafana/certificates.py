"""Certificates and inspection: what expires, what is intercepted where that breaks it, and which roots are missing."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.grafana import board
from dashboards.grafana.board import TARGET, cell, runbook, to
from dashboards.grafana.panels import (
    BAD,
    GOOD,
    UNKNOWN,
    WARN,
    WORST,
    Column,
    Panel,
    Question,
    Words,
    lines,
    listing,
    matrix,
    number,
)
from dashboards.grafana.promql import (
    PROBE_LABELS,
    USE_LABELS,
    by,
    chosen,
    distinct,
    of_exporter,
    of_probes,
    of_site,
    on,
    path_of,
    with_host,
)

_DAY: Final = 86400
_CHOSEN: Final = chosen("target")
_EXPIRY: Final = of_probes("configmgr_endpoint_tls_certificate_expiry_timestamp_seconds", *_CHOSEN)
_INTERCEPTED: Final = of_probes("configmgr_endpoint_tls_intercepted", *_CHOSEN)
_BY_USE: Final = (  # the same for each feature, role, cloud and pattern, with the path
    f"{path_of(*_CHOSEN)} {on(PROBE_LABELS)} {of_exporter('configmgr_endpoint_tls_intercepted', *_CHOSEN)}"
)
_UNSUPPORTED: Final = of_site("configmgr_endpoint_tls_inspection_unsupported")
_EXPIRED_ROOT: Final = "Baltimore CyberTrust Root"  # ended on 2025-05-12: it is right that it is missing

_CHAIN: Final[Words] = {
    0: ("the service's own", GOOD),
    1: ("inspected on the way", WARN),
    2: ("of your own authority", UNKNOWN),
}
_INSPECTED: Final[Words] = {1: ("inspected", WARN), 2: ("inspected, and that breaks it", BAD)}
_EXEMPT: Final[Words] = {
    0: ("no connection seen", UNKNOWN),
    1: ("not inspected", GOOD),
    2: ("inspected: exempt it", BAD),
}
_ANCHOR: Final[Words] = {
    0: ("missing", BAD),
    1: ("trusted", GOOD),
    2: ("missing, as it should", GOOD),
    3: ("trusted, though it has ended", UNKNOWN),
}


def dashboard() -> Dashboard:
    """The dashboard, from what is urgent down to what is trusted."""
    return board.dashboard(
        "certificates",
        "Which certificates expire, which connections are inspected though the documents say that this breaks them, "
        "and which roots are not trusted?",
        [*board.site(), TARGET],
        [*_numbers(), _expiry(), _inspected(), _exemptions(), _anchors(), _failures()],
    )


def _numbers() -> list[Panel]:
    size = (6, 4)
    left = f"{by('min', 'job, instance, target', _EXPIRY)} - time()"
    inspected = by("max", "job, instance, target", _INTERCEPTED)
    broken = f"{_BY_USE} == 1 and on ({', '.join(USE_LABELS)}) {_UNSUPPORTED}"
    anchors = of_exporter("configmgr_trust_anchor_present", f'anchor!="{_EXPIRED_ROOT}"')
    none_seen = "no certificate seen"
    return [
        number(
            Question(
                1,
                "Certificates",
                "Targets whose certificate, or one above it that the server sent, expires within three weeks or has "
                "expired.",
                none_seen,
                size,
                [runbook("ConfigMgrCertificateExpiresSoon", "What to do before a certificate expires")],
            ),
            f"sum({left} < bool {21 * _DAY})",
            unit="suffix:expire soon",
            none="none expires soon",
            steps={1: BAD},
        ),
        number(
            Question(
                2,
                "Inspection",
                "Targets whose TLS is intercepted: the chain ends in an authority that is neither public nor the "
                "service's.",
                none_seen,
                size,
                [runbook("ConfigMgrTlsIntercepted", "What inspection means here")],
            ),
            f"sum({inspected})",
            unit="suffix:inspected",
            none="nothing inspected",
            steps={1: WARN},
        ),
        number(
            Question(
                3,
                "Inspection that breaks",
                "Targets whose TLS is intercepted though the documents say that this breaks them.",
                none_seen,
                size,
                [runbook("ConfigMgrTlsInspectionUnsupported", "What to exempt from inspection")],
            ),
            f"{distinct('', broken)} or 0 * sum({inspected})",
            unit="suffix:will break",
            none="none",
            steps={1: WORST},
        ),
        number(
            Question(
                4,
                "Trusted roots",
                "Roots that the documents name and that probes do not trust. The root that has expired does not count.",
                "no result yet",
                size,
                [runbook("ConfigMgrTrustAnchorMissing", "How to add a root")],
            ),
            f"sum({anchors} == bool 0)",
            unit="suffix:missing",
            none="all trusted",
            steps={1: BAD},
        ),
    ]


def _expiry() -> Panel:
    expiry = by("min", "target", _EXPIRY)
    first = f"bottomk(50, {expiry})"
    issuer = f"{by('max', 'target', _INTERCEPTED)} or 0 * {expiry} + 2"
    instances = by("count", "target", by("count", "target, job, instance", _EXPIRY))
    return listing(
        Question(
            10,
            "Which certificate expires first?",
            "The earliest end in the chain that each server sent, the first fifty. Public services renew in time by "
            "themselves; what you must renew is your own: a cloud management gateway, a server of the intranet, an "
            "inspecting device.",
            "No certificate has been seen: nothing is probed over HTTPS, or no handshake came so far.",
            (24, 11),
            [runbook("ConfigMgrCertificateExpiresSoon", "What to do before a certificate expires")],
        ),
        [
            f"1000 * {first}",
            f"({first} - time()) / {_DAY}",
            f"({issuer}) and on (target) {first}",
            f"{instances} and on (target) {first}",
        ],
        [
            Column("target", "Target", links=[to("network", "What fails here", target=cell("target"))]),
            Column("Value #A", "Ends", 200, "dateTimeAsLocal"),
            Column(
                "Value #B",
                "Left",
                120,
                "d",
                0,
                words={(-1e9, 0): ("expired", WORST)},
                steps=(WORST, {0: BAD, 7: WARN, 21: GOOD}),
            ),
            Column("Value #C", "Chain", 200, words=_CHAIN),
            Column("Value #D", "Seen by instances", 140),
        ],
        sort="Left",
    )


def _inspected() -> Panel:
    labels = "instance, path, target, host"
    inspected = f"({_BY_USE} == 1)"
    judged = f"{inspected} + on ({', '.join(USE_LABELS)}) group_left () {_UNSUPPORTED} or {inspected}"
    return listing(
        Question(
            11,
            "What is inspected?",
            "Each target behind a device that intercepts TLS, by the path it was asked by, and whether the documents "
            "allow it.",
            "No inspection is reported.",
            (14, 10),
            [runbook("ConfigMgrTlsInspectionUnsupported", "What to exempt from inspection")],
        ),
        [by("max", labels, with_host(judged))],
        [
            Column("target", "Target", links=[to("network", "What fails here", target=cell("target"))]),
            Column("host", "Documented as", 200),
            Column("path", "Path", 130),
            Column("instance", "Instance", 110),
            Column("Value", "Verdict", 210, words=_INSPECTED),
        ],
        sort="Verdict",
        descending=True,
    )


def _exemptions() -> Panel:
    seen = f"1 + {_BY_USE} and on ({', '.join(USE_LABELS)}) {_UNSUPPORTED}"
    return listing(
        Question(
            12,
            "What must not be inspected?",
            "The documented endpoints that TLS inspection breaks: the list of exemptions for firewall and proxy, "
            "whether or not one inspects today.",
            "None of the chosen features has such an endpoint.",
            (10, 10),
            [runbook("ConfigMgrTlsInspectionUnsupported", "What to exempt from inspection")],
        ),
        [f"{by('max', 'host', with_host(seen))} or 0 * {by('max', 'host', with_host(_UNSUPPORTED))}"],
        [
            Column("host", "Documented as", links=[to("network", "What fails now")]),
            Column("Value", "Now", 190, words=_EXEMPT),
        ],
        sort="Now",
        descending=True,
    )


def _anchors() -> Panel:
    present = of_exporter("configmgr_trust_anchor_present", f'anchor!="{_EXPIRED_ROOT}"')
    expired = of_exporter("configmgr_trust_anchor_present", f'anchor="{_EXPIRED_ROOT}"')
    labels = "anchor, instance"
    return matrix(
        Question(
            13,
            "Which roots are trusted?",
            "The roots that the documents name, and whether probes trust them at each instance.",
            "No result yet.",
            (12, 8),
            [runbook("ConfigMgrTrustAnchorMissing", "How to add a root")],
        ),
        by("min", labels, f"{present} or 2 + {expired}"),
        row="anchor",
        column="instance",
        width=330,
        cells=Column(words=_ANCHOR, links=[runbook("ConfigMgrTrustAnchorMissing", "How to add a root")], empty=""),
    )


def _failures() -> Panel:
    failing = of_site("configmgr_endpoint_failure", 'reason=~"tls_.+"', *_CHOSEN)
    return lines(
        Question(
            14,
            "When did TLS fail, and why?",
            "Targets whose TLS handshake or certificate failed at each moment, each counted once for every instance.",
            "No failure was reported in this time.",
            (12, 8),
            [to("network", "Which targets")],
        ),
        {"{{reason}}": distinct("reason", failing)},
        unit="short",
        stacked=True,
    )
