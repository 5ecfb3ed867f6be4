"""What each alert means, what it does, and what to change: the words of the alerts' runbooks, by the alert's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from exporter.model.vocabulary import Reason, WhyUnprobed
from exporter.probe.net.required_roots import ANCHORS
from exporter.report.commands import Command, Confirmation, all_commands

_COMMANDS: Final = all_commands()

TEAMS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "network": "Those who run the network: DNS, firewall, proxy, and the inspection of TLS.",
        "configmgr": "Those who run Configuration Manager. Where a reason says so, those who run the network.",
        "sre": "Those who run the exporter and Prometheus.",
    }
)

EVERY_ROLE: Final = "every role"
SERVICE_CONNECTION_POINT: Final = "service-connection-point"


@dataclass(frozen=True, slots=True)
class Query:
    """What to ask Prometheus, and what the answer tells."""

    expr: str
    shows: str


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert for people. `change` is Markdown."""

    team: str
    means: str
    effect: str  # on Configuration Manager
    queries: tuple[Query, ...]
    calls: tuple[str, ...]  # of the exporter's command
    look: Confirmation
    change: str
    features_of: str | None = None  # the role whose features, with logs and status messages, belong on the page
    proxies: bool = False  # what kind of proxy each role can use belongs on it
    inspection: bool = False  # what must not be inspected belongs on it
    messages: str = ""  # what else Configuration Manager shows, in Markdown
    at_exporter: bool = False  # the commands are for the exporter's machine


# ---------------------------------------------------------------- parts


def link(name: str) -> str:
    """A link to another page."""
    return f"[{name}]({name}.md)"


def _links(*names: str) -> str:
    return ", ".join(map(link, names))


def _all_of(*found: Confirmation) -> Confirmation:
    return Confirmation(
        tuple(dict.fromkeys(command for one in found for command in one.powershell)),
        tuple(dict.fromkeys(command for one in found for command in one.posix)),
    )


def _page(path: str, shows: str, method: str = "GET") -> Confirmation:
    """A page of the exporter, asked for on its own machine."""
    url = f"http://localhost:10965{path}"
    powershell, curl = ("", "") if method == "GET" else (f" -Method {method.title()}", f" -X {method}")
    return Confirmation(
        (Command(f"Invoke-WebRequest -UseBasicParsing{powershell} {url}", shows),),
        (Command(f"curl -sS{curl} {url}", shows),),
    )


_HEALTHY: Final = _page("/-/healthy", "On the exporter's machine: `healthy`.")
_STATUS: Final = _page("/api/v1/status", "Every target with its last result, and when that was (`last_probe`).")
_REACHABLE: Final = Confirmation(
    (
        Command(
            "Test-NetConnection -ComputerName exporter.corp.example -Port 10965",
            "From the machine of Prometheus (put in the exporter's name): `TcpTestSucceeded : True`.",
        ),
        Command(
            "Get-NetTCPConnection -LocalPort 10965 -State Listen",
            "On the exporter's machine: on which addresses it listens. `127.0.0.1` is not reached from elsewhere.",
        ),
    ),
    (Command("ss -ltn 'sport = :10965'", "The same on Linux."),),
)
_CHECK: Final = (
    "check --feature tenant-attach --role service-connection-point",
    "explain 'https://aka.ms/configmgrgateway'",
)
_EXPLAIN: Final = ("explain 'https://go.microsoft.com/'",)

_WHY: Final = Query(
    "max by (instance, feature, role, cloud, target, reason) (configmgr_endpoint_failure)",
    "Which targets are down, and the reason of each. Add the labels of the alert in braces behind the name.",
)
_WORDS: Final = Query(
    "max by (reason, summary, who) (configmgr_failure_reason_info)\n"
    "  * on (reason) group_left () count by (reason) (configmgr_endpoint_failure)",
    "The reasons that occur now, in words, with how often, and who can change it.",
)
_PATHS: Final = Query("configmgr_path_up == 0", "A path that is down explains all that goes by it: begin there.")
_BY_PATH: Final = Query(
    "count by (instance, path, reason) (\n"
    "  max by (instance, path, target, reason) (\n"
    "    configmgr_endpoint_failure\n"
    "      * on (instance, feature, role, cloud, pattern, target) group_left (path)\n"
    "    configmgr_endpoint_path_info\n"
    "  )\n"
    ")",
    "How many targets fail by each path, and with which reason.",
)
_INSPECTED: Final = Query(
    "max by (instance, target) (configmgr_endpoint_tls_intercepted == 1)",
    "The targets whose certificate somebody other than the service issued.",
)
_BROKEN: Final = Query(
    "configmgr_endpoint_tls_intercepted == 1\n"
    "  and on (instance, feature, role, cloud, pattern) configmgr_endpoint_tls_inspection_unsupported",
    "Inspected targets of endpoints for which the documents do not support inspection.",
)
_EXPIRY: Final = Query(
    "sort((\n"
    "  min by (instance, target) (configmgr_endpoint_tls_certificate_expiry_timestamp_seconds) - time()\n"
    ") / 86400)",
    "Days that are left to each target, the fewest first; less than 0: expired.",
)

_CHANGE_BY_REASON: Final = (
    "The reason of each target leads on; its page says what to change and who can: "
    f"{_links(*Reason)}.\n\n"
    f"If a path is down, begin there: {link('ConfigMgrPathDown')}. Where most targets have one reason, it is one cause."
)
_CHANGE_CERTIFICATE: Final = (
    "The first question is whose certificate it is; `explain` shows the chain.\n\n"
    "- **Your own**, as that of a cloud management gateway, of a server of the intranet, or of the device that "
    "inspects TLS: renew it there.\n"
    "- **That of a public service**: its owner renews it before it ends. If only you see the old one, something on the "
    "way presents it: look for an inspecting device or a cache, and compare with another place.\n\n"
    "An authority in the middle of the chain may be what ends, too: the date is the earliest of the chain."
)
_NONE_BUT_UNSEEN: Final = "None by itself: the exporter only looks. "

# ---------------------------------------------------------------- the exporter

_EXPORTER: Final = {
    "ConfigMgrExporterDown": Alert(
        team="sre",
        means="Prometheus cannot scrape an exporter that it knows.",
        effect=f"{_NONE_BUT_UNSEEN}But nobody watches that place now, and what breaks there is first noticed by users.",
        queries=(
            Query('up{job="configmgr"} == 0', "The exporters that do not answer."),
            Query(
                'scrape_duration_seconds{job="configmgr"}',
                "How long scrapes take: one as long as the scrape's time-out was cut off.",
            ),
        ),
        calls=("validate",),
        look=_all_of(_HEALTHY, _REACHABLE),
        at_exporter=True,
        change=(
            "- **It does not run**: start it. The end of its log says why it ended. With a bad configuration it ends "
            "with status 2 and names file, line and key, as `validate` does.\n"
            "- **It runs, and Prometheus does not reach it**: open its port (10965, if not configured otherwise) from "
            "Prometheus, let it listen on an address that Prometheus can reach (`--web.listen-address`), and check the "
            "target in Prometheus' configuration.\n"
            "- **Scrapes are cut off**: raise `scrape_timeout`, or give the machine more CPU."
        ),
    ),
    "ConfigMgrExporterAbsent": Alert(
        team="sre",
        means="Prometheus has no target of the job `configmgr` at all.",
        effect=f"{_NONE_BUT_UNSEEN}But nobody watches any place now.",
        queries=(
            Query('absent(up{job="configmgr"})', "1 while there is no target."),
            Query("count by (job) (up)", "The jobs that there are: is it there under another name?"),
        ),
        calls=("validate",),
        look=_all_of(_HEALTHY, _REACHABLE),
        at_exporter=True,
        change=(
            "Look at the page `/targets` of Prometheus. If the job is missing, put the scrape job back, under the name "
            "`configmgr`, which all rules ask for. If it is there and empty, mend what finds its targets: the file, or "
            "the service discovery. `promtool check config` names mistakes; then reload Prometheus."
        ),
    ),
    "ConfigMgrReloadFailed": Alert(
        team="sre",
        means="The last attempt of the exporter to read its configuration again failed; the old one is still in force.",
        effect=(
            f"{_NONE_BUT_UNSEEN}But what was changed since (endpoints, proxies, passwords) is not probed as you meant "
            "it, and a restart would fail."
        ),
        queries=(
            Query("configmgr_exporter_config_last_reload_successful == 0", "The exporters that it concerns."),
            Query(
                "time() - configmgr_exporter_config_last_reload_success_timestamp_seconds",
                "How old the configuration in force is, in seconds.",
            ),
        ),
        calls=("validate --config.file config/exporter.yaml",),
        look=_page("/-/reload", "Tries again: `reloaded`, or every mistake with file, line and key.", "POST"),
        at_exporter=True,
        change="Mend what `validate` names, then reload. The mistakes stand in the exporter's log as well.",
    ),
    "ConfigMgrProbesStale": Alert(
        team="sre",
        means="The exporter answers, but some of its targets were last probed more than three intervals ago.",
        effect=f"{_NONE_BUT_UNSEEN}But what it shows of these targets is old: a fault, or its end, is not seen.",
        queries=(
            Query(
                "time() - configmgr_endpoint_last_probe_timestamp_seconds\n"
                "  > on (job, instance) group_left () 3 * configmgr_exporter_probe_interval_seconds",
                "The targets, and how long ago they were probed, in seconds.",
            ),
            Query("configmgr_exporter_probes_in_flight", "Probes under way: does it stand still at its limit?"),
            Query(
                "histogram_quantile(0.9, sum by (instance, le) "
                "(rate(configmgr_exporter_probe_lag_seconds_bucket[10m])))",
                "How late nine of ten probes start at most, in seconds.",
            ),
        ),
        calls=_EXPLAIN,
        look=_all_of(_STATUS, _HEALTHY),
        at_exporter=True,
        change=(
            "- A machine that was suspended, or whose clock jumped: it recovers within an interval. Check its clock; a "
            "clock that differs from that of Prometheus looks the same.\n"
            f"- A machine or a limit that is overloaded: see {link('ConfigMgrSlotsMissed')}.\n"
            "- Neither: restart the exporter, and report a defect, with its log at level `debug`."
        ),
    ),
    "ConfigMgrSlotsMissed": Alert(
        team="sre",
        means="Probes are left out again and again: when one was due, the one before was still under way or waiting.",
        effect=f"{_NONE_BUT_UNSEEN}But faults are seen later than the interval promises, and short ones not at all.",
        queries=(
            Query("increase(configmgr_exporter_missed_slots_total[10m])", "How many were left out."),
            Query("configmgr_exporter_probes_in_flight", "Probes under way: are they at `probe.concurrency`?"),
            Query('rate(process_cpu_seconds_total{job="configmgr"}[10m])', "CPUs in use (on Linux)."),
            Query(
                "count by (instance, reason) (max by (instance, target, reason) (configmgr_endpoint_failure))",
                "Are there many time-outs? Probes that hang fill all places.",
            ),
        ),
        calls=("validate --config.file config/exporter.yaml",),
        look=_STATUS,
        at_exporter=True,
        change=(
            "- Many targets time out: mend that first, since a probe that hangs keeps its place for all its attempts.\n"
            "- `probe.concurrency` is reached: raise it, lower `probe.timeout` or `probe.attempts`, or raise "
            "`probe.interval`.\n"
            "- The CPU is busy: give the machine more of it."
        ),
    ),
}

# ---------------------------------------------------------------- the network

_NETWORK: Final = {
    "ConfigMgrPathDown": Alert(
        team="network",
        means=(
            "Nothing works that goes by this path, and every failure points at it: `dns` is the resolver of the "
            "exporter's machine, `direct` the way out without a proxy, `proxy:NAME` the proxy of that name in the "
            "exporter's configuration."
        ),
        effect=(
            "Whatever goes by this path stands still: for `dns`, all that goes direct, and every proxy whose name must "
            "be found; for `direct`, every role without a proxy; for a proxy, every role that is led through it."
        ),
        queries=(_PATHS, _BY_PATH, _WORDS),
        calls=_EXPLAIN,
        look=_COMMANDS.walk,
        change=(
            f"- `dns`: {_links(Reason.DNS_TIMEOUT, Reason.DNS_ERROR, Reason.DNS_NOT_FOUND)}\n"
            f"- `direct`: {_links(Reason.CONNECT_TIMEOUT, Reason.CONNECT_REFUSED, Reason.CONNECT_UNREACHABLE)}\n"
            f"- `proxy:NAME`: {_links(Reason.PROXY_UNREACHABLE, Reason.PROXY_AUTH_REQUIRED)}\n\n"
            "Mend the path; do not look at single endpoints before it is up."
        ),
        proxies=True,
    ),
    "ConfigMgrPathFailing": Alert(
        team="network",
        means=(
            "The path works, but at least half of its targets, five at least, fail with one and the same reason: the "
            "label `reason` names it. That is one cause and not many."
        ),
        effect="The features of these targets cannot work for the roles that go by this path.",
        queries=(_BY_PATH, _WORDS),
        calls=_EXPLAIN,
        look=_COMMANDS.walk,
        change=(
            "The page of the reason says what to change. The most likely causes are a proxy that denies all "
            f"({link(Reason.PROXY_DENIED)}), a firewall that drops all ({link(Reason.CONNECT_TIMEOUT)}), a device that "
            f"inspects TLS and that this machine does not trust ({link(Reason.TLS_UNTRUSTED)}), a web filter or a "
            f"portal ({link(Reason.HTTP_BLOCKED)}), or a clock that is wrong ({link(Reason.TLS_EXPIRED)})."
        ),
    ),
    "ConfigMgrProxyAuthenticationRequired": Alert(
        team="network",
        means="The proxy of this path asks for credentials, and was given none or does not accept those it was given.",
        effect="Every role that is led through this proxy stands still, if the proxy treats it like the exporter.",
        queries=(
            Query(
                'max by (instance, target) (configmgr_endpoint_failure{reason="proxy_auth_required"})',
                "The targets that it concerns.",
            ),
            _BY_PATH,
        ),
        calls=_EXPLAIN,
        look=_COMMANDS.reasons[Reason.PROXY_AUTH_REQUIRED],
        change=(
            f"See {link(Reason.PROXY_AUTH_REQUIRED)}. First find out whom it concerns: if the site system itself still "
            "gets through, it is the exporter's account (its password may have been changed, or it is locked); if not, "
            "it is the computer account of the site system, or the site system proxy server account."
        ),
        proxies=True,
    ),
    "ConfigMgrTlsInspectionUnsupported": Alert(
        team="network",
        means=(
            "A device or a proxy on this path inspects TLS: what it shows is not the service's own certificate. For "
            "these endpoints Microsoft's documents say that this does not work."
        ),
        effect=(
            "What uses these endpoints fails, or will: also where the machine trusts the device, so that the probe "
            "itself is well. Some services accept no certificate but their own."
        ),
        queries=(_BROKEN, _INSPECTED),
        calls=_EXPLAIN,
        look=_COMMANDS.certificate,
        change=(
            "Exempt these names from inspection, on every proxy and firewall of the path. If the chain ends in an "
            f"authority that this machine does not trust, the targets are down as well: {link(Reason.TLS_UNTRUSTED)}."
        ),
        inspection=True,
    ),
    "ConfigMgrTlsIntercepted": Alert(
        team="network",
        means=(
            "A device or a proxy on this path inspects TLS, for endpoints of which the documents do not say that it "
            "breaks them. An authority of your own counts as such a device."
        ),
        effect=(
            "None, as long as each site system trusts the device's authority. A renewed or replaced one must reach "
            "them all in time."
        ),
        queries=(_INSPECTED, _BROKEN, _EXPIRY),
        calls=_EXPLAIN,
        look=_COMMANDS.certificate,
        change=(
            "Nothing, if it is meant to be so. Where it is not, find the device by the issuer of the certificate and "
            f"exempt the names. What must never be inspected has an alert: {link('ConfigMgrTlsInspectionUnsupported')}."
        ),
    ),
    "ConfigMgrEndpointDown": Alert(
        team="network",
        means="One target is not usable from here.",
        effect=(
            "What the documented endpoint is needed for fails: `feature` and `role` tell. The feature as a whole is "
            "not ready, unless the endpoint is a wildcard of which another target works."
        ),
        queries=(
            _WHY,
            _WORDS,
            Query(
                "configmgr_endpoint_phase_duration_seconds",
                "How far the probe came: the phases that were reached, and how long each took.",
            ),
        ),
        calls=_EXPLAIN,
        look=_COMMANDS.walk,
        change=_CHANGE_BY_REASON,
    ),
    "ConfigMgrSlow": Alert(
        team="network",
        means=(
            "Probes of this feature take more than twice as long as in the last 30 days, and as at this time of day "
            "yesterday or a week ago; by a quarter of a second at least."
        ),
        effect=(
            "None yet. What is slow today may time out tomorrow, and what Configuration Manager downloads or uploads "
            "by this way takes longer."
        ),
        queries=(
            Query(
                "instance_feature_role_cloud:configmgr_probe_duration_seconds:mean_rate30m\n"
                "  / instance_feature_role_cloud:configmgr_probe_duration_seconds:mean_rate30d",
                "How many times longer than in the last 30 days.",
            ),
            Query(
                "sum by (instance, feature, phase) (rate(configmgr_probe_phase_duration_seconds_sum[30m]))\n"
                "  / sum by (instance, feature, phase) (rate(configmgr_probe_phase_duration_seconds_count[30m]) > 0)",
                "In which phase the time goes: `resolve` is DNS, `connect` the way, `proxy` the proxy, `tls` the "
                "proxy, an inspecting device or the service, `processing` the service or what reads the request.",
            ),
            Query(
                "topk(10, max by (instance, target) (sum without (phase) (configmgr_endpoint_phase_duration_seconds)))",
                "The slowest targets.",
            ),
        ),
        calls=_EXPLAIN,
        look=_COMMANDS.walk,
        change=(
            "The phase tells where to look.\n\n"
            "- `resolve`: DNS servers that are slow, or the first of them does not answer.\n"
            "- `connect`: the way is longer, or packets get lost: a second or three are a lost packet.\n"
            "- `proxy`: the proxy is busy, or waits for its own DNS.\n"
            "- `tls`, `processing`: a device that inspects, or the service itself; compare with another place.\n\n"
            "If all features became slow at once, it is what they share: the path, or the exporter's own machine "
            f"({link('ConfigMgrSlotsMissed')})."
        ),
    ),
}

# ---------------------------------------------------------------- Configuration Manager

_G2: Final = "DigiCert Global Root G2"
_READINESS: Final = (
    Query("configmgr_feature_ready == 0", "The features that are not ready, by role and cloud."),
    _WHY,
    _WORDS,
    _PATHS,
)

_CONFIGMGR: Final = {
    "ConfigMgrFeatureNotReady": Alert(
        team="configmgr",
        means="Something that the feature needs for this role in this cloud is not usable from here.",
        effect=(
            "The feature cannot work, or not fully, from this place. The table below names the logs and status "
            "messages in which Configuration Manager shows it."
        ),
        queries=_READINESS,
        calls=_CHECK,
        look=_COMMANDS.walk,
        change=_CHANGE_BY_REASON,
        features_of=EVERY_ROLE,
    ),
    "ConfigMgrServiceConnectionPointCannotReachCloud": Alert(
        team="configmgr",
        means="The service connection point cannot reach something that a cloud service needs.",
        effect=(
            "The service connection point itself reports it: the status messages are below. Until it is mended, the "
            "feature works not at all, or only in part."
        ),
        queries=(
            Query('configmgr_feature_ready{role="service-connection-point"} == 0', "The features that are not ready."),
            *_READINESS[1:],
        ),
        calls=_CHECK,
        look=_COMMANDS.walk,
        change=_CHANGE_BY_REASON,
        features_of=SERVICE_CONNECTION_POINT,
    ),
    "ConfigMgrFeatureNotReadyAnywhere": Alert(
        team="configmgr",
        means="No exporter that watches this feature, of two at least, finds it ready: nobody can, not just one place.",
        effect="The feature cannot work anywhere for this role in this cloud.",
        queries=(
            Query("feature_role_cloud:configmgr_feature_ready:avg == 0", "The share of places from which it is ready."),
            Query(
                "count by (feature, role, cloud, target, reason) (configmgr_endpoint_failure)",
                "From how many places each target fails, and with which reason. One reason everywhere is one cause.",
            ),
            _WORDS,
            _PATHS,
        ),
        calls=_CHECK,
        look=_COMMANDS.walk,
        change=(
            "Look for what all places share: a central proxy or firewall, a rule that was changed, a device that "
            "inspects, the DNS of the company. If nothing is shared, the service itself may be disturbed: compare with "
            f"a way that is not yours.\n\n{_CHANGE_BY_REASON}"
        ),
        features_of=EVERY_ROLE,
    ),
    "ConfigMgrErrorBudgetBurn": Alert(
        team="configmgr",
        means=(
            "Probes of this feature fail so often that the objective for 30 days (99.9 %, recorded as "
            "`configmgr:availability_objective:ratio`) will be missed if it goes on. `long` and `short` are the "
            "windows in which it was seen: the shorter they are, the faster the budget is spent."
        ),
        effect=(
            "The feature works at times and at times not: Configuration Manager tries again, and succeeds late or "
            "never."
        ),
        queries=(
            Query(
                "instance_feature_role_cloud:configmgr_error_budget_remaining:ratio30d",
                "What is left of the budget: 1 is untouched, 0 is spent.",
            ),
            Query(
                "1 - instance_feature_role_cloud:configmgr_availability:ratio_rate1h",
                "The share of probes that failed in the last hour.",
            ),
            Query(
                "sum by (instance, feature, role, cloud, reason) (increase(configmgr_probe_failures_total[6h])) > 0",
                "The reasons, and how often each was seen in six hours.",
            ),
            _PATHS,
        ),
        calls=_CHECK,
        look=_COMMANDS.walk,
        change=(
            f"{_CHANGE_BY_REASON}\n\nA fault that comes and goes is often one of several: one of many addresses, of "
            "two proxies, of two DNS servers. Repeat a command until it fails, and note the address that it was "
            "connected to."
        ),
        features_of=EVERY_ROLE,
    ),
    "ConfigMgrTrustAnchorMissing": Alert(
        team="configmgr",
        means=(f"A root certificate that Microsoft's documents name, {_G2}, is not trusted by the exporter's machine."),
        effect=(
            "Certificates that end in this root do not verify. On the service connection point, its uploads to the "
            "cloud fail."
        ),
        queries=(
            Query("configmgr_trust_anchor_present == 0", "The roots that are missing, by machine."),
            Query(
                'max by (instance, target) (configmgr_endpoint_failure{reason="tls_untrusted"})',
                "The targets that already fail.",
            ),
        ),
        calls=_EXPLAIN,
        look=Confirmation(
            (
                Command(
                    r"Get-ChildItem Cert:\LocalMachine\Root | Where-Object Thumbprint -eq "
                    f"'{ANCHORS[_G2].upper()}'",
                    f"{_G2}, if the machine trusts it; nothing, if it does not.",
                ),
                Command(
                    "Test-NetConnection -ComputerName ctldl.windowsupdate.com -Port 80",
                    "From there Windows fetches roots that it lacks: `TcpTestSucceeded : True`.",
                ),
            ),
            (
                Command(
                    "openssl storeutl -noout -text -certs /etc/ssl/certs/ca-certificates.crt |\n"
                    f"  grep 'Subject:.*{_G2}'",
                    "The same on Linux; the path is Debian's.",
                ),
            ),
        ),
        change=(
            f"On Windows, bring {_G2} into the store *Trusted Root Certification Authorities* of the computer: by "
            "group policy, or by letting the machine reach `http://ctldl.windowsupdate.com`, from where Windows "
            "fetches it. On Linux, update the package of the certificates (`ca-certificates`), or give the root as "
            "`tls.ca_file`. Then restart the exporter or reload it.\n\n"
            "The root *Baltimore CyberTrust Root*, which old documents name, has expired: it need not be there, and "
            f"this alert never speaks of it. For targets that fail see {link(Reason.TLS_UNTRUSTED)}."
        ),
        messages=(
            "9605 (`DMP_UPLOADER_UPLOAD_FAILED`) and 9607 (`DMP_UPLOADER_UPLOAD_EXCEPTION`), and `dmpuploader.log` of "
            "the service connection point."
        ),
    ),
    "ConfigMgrCertificateExpiresSoon": Alert(
        team="configmgr",
        means=(
            "A certificate of your own, as that of a cloud management gateway, ends within three weeks; or one of a "
            "public service, seen on the way to a target, within a week. What an inspecting device issues does not "
            "count."
        ),
        effect="None yet. From that moment on it is refused, and what needs the target fails.",
        queries=(_EXPIRY,),
        calls=_EXPLAIN,
        look=_COMMANDS.certificate,
        change=_CHANGE_CERTIFICATE,
    ),
    "ConfigMgrCertificateExpiresVerySoon": Alert(
        team="configmgr",
        means="A certificate of your own, as that of a cloud management gateway, ends within a week.",
        effect="None yet. From that moment on it is refused, and what needs the target fails.",
        queries=(_EXPIRY,),
        calls=_EXPLAIN,
        look=_COMMANDS.certificate,
        change=_CHANGE_CERTIFICATE,
    ),
    "ConfigMgrCertificateExpired": Alert(
        team="configmgr",
        means="A certificate that was seen on the way to a target has expired; an inspecting device's does not count.",
        effect="It is refused, and what needs the target fails.",
        queries=(_EXPIRY, _WHY),
        calls=_EXPLAIN,
        look=_COMMANDS.certificate,
        change=f"{_CHANGE_CERTIFICATE}\n\nCheck the clock first: {link(Reason.TLS_EXPIRED)}.",
    ),
    "ConfigMgrEndpointsUnprobed": Alert(
        team="configmgr",
        means="Some documented endpoints of what you selected have nothing that could be probed; `reason` says why.",
        effect="None. But nobody knows whether these endpoints can be reached; a feature may be ready without them.",
        queries=(
            Query("configmgr_endpoint_unprobed", "The endpoints, and why."),
            Query(
                "count by (reason) (group by (pattern, reason) (configmgr_endpoint_unprobed))", "How many, by reason."
            ),
        ),
        calls=("endpoints",),
        look=_STATUS,
        at_exporter=True,
        change=(
            f"{link(WhyUnprobed.MISSING_PARAMETER)} can be mended: give the parameter. For "
            f"{_links(WhyUnprobed.NO_REPRESENTATIVE, WhyUnprobed.NOT_HTTP)}, allow the endpoint and test it by other "
            "means."
        ),
    ),
}

ALERTS: Final[Mapping[str, Alert]] = MappingProxyType({**_CONFIGMGR, **_NETWORK, **_EXPORTER})
