"""The runbooks: words, commands and the catalogue -> a page for each alert and each reason."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from dashboards.alert_words import ALERTS, EVERY_ROLE, SERVICE_CONNECTION_POINT, TEAM_OF, TEAMS, Alert, Query, link
from exporter.config import catalogue
from exporter.model.vocabulary import Catalogue, Group, Phase, Reason, Requirement, Site, Status, Support, WhyUnprobed
from exporter.plan.requirements import everything, requirements
from exporter.probe.classify import REFUSED
from exporter.report.commands import EXAMPLE_TARGET, Command, Confirmation, all_commands, by_path, filled
from exporter.report.invocation import Invocation, Shell
from exporter.report.reasons import Who, Words, all_words
from exporter.report.searches import searched
from exporter.web.runbooks import EXAMPLE_FILE, PUT_IN_FILE, PUT_IN_TARGET, PUT_IN_URL, anchor

INDEX: Final = "README.md"
LOCAL_SYSTEM: Final = "LocalSystem"
_LOCAL_SYSTEM_TITLE: Final = "Test as the site system does"
_REVOCATION: Final = "What curl.exe says of revocation"
_EXPLAIN: Final = f"explain '{EXAMPLE_TARGET.url}'"


@dataclass(frozen=True, slots=True)
class Document:
    """A document that the pages link to, and where its address is from: a source of the catalogue, or in words."""

    title: str
    url: str
    source: str

    def __str__(self) -> str:
        return f"- [{self.title}]({self.url})"


_MICROSOFT: Final = "https://learn.microsoft.com/en-us"
ENDPOINTS: Final = Document(
    "Internet access requirements",
    f"{_MICROSOFT}/intune/configmgr/core/plan-design/network/internet-endpoints",
    "IE2026",
)
PROXIES: Final = Document(
    "Proxy server support", f"{_MICROSOFT}/intune/configmgr/core/plan-design/network/proxy-server-support", "PROXY"
)
PORTS: Final = Document("Ports", f"{_MICROSOFT}/intune/configmgr/core/plan-design/hierarchy/ports", "PORTS")
CONNECTION_POINT: Final = Document(
    "About the service connection point",
    f"{_MICROSOFT}/intune/configmgr/core/servers/deploy/configure/about-the-service-connection-point",
    "SCP",
)
TENANT_ATTACH: Final = Document(
    "Troubleshoot tenant attach", f"{_MICROSOFT}/intune/configmgr/tenant-attach/troubleshoot", "TATRB"
)
_SETUP: Final = f"{_MICROSOFT}/troubleshoot/mem/configmgr/setup-migrate-backup-recovery"
ROOTS: Final = Document(
    "Connectivity issues when DigiCert Global Root G2 is not installed",
    f"{_SETUP}/connectivity-issues-digicert-global-root-g2-not-installed",
    "G2KB",
)
CIPHERS: Final = Document(
    "The service connection tool cannot download updates: TLS versions and cipher suites",
    f"{_SETUP}/service-connection-tool-not-download-updates",
    "KB4561945",
)
DIAGNOSTICS: Final = Document(
    "Troubleshoot Endpoint analytics: TLS inspection", f"{_MICROSOFT}/intune/endpoint-analytics/troubleshoot", "EATRB"
)
PSEXEC: Final = Document(
    "PsExec",
    f"{_MICROSOFT}/sysinternals/downloads/psexec",
    "the page of the tool that opens a PowerShell as Local System",
)
CURL: Final = Document(
    "curl's exit statuses", "https://curl.se/libcurl/c/libcurl-errors.html", "what curl itself says of its statuses"
)
RULES: Final = Document(
    "Alerting rules of Prometheus",
    "https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/",
    "the manual of what raises the alerts",
)
DOCUMENTS: Final = (
    *(ENDPOINTS, PROXIES, PORTS, CONNECTION_POINT, TENANT_ATTACH, ROOTS, CIPHERS, DIAGNOSTICS, PSEXEC, CURL, RULES),
)

_PHASES: Final[Mapping[str, Phase]] = MappingProxyType(
    {
        "dns": Phase.RESOLVE,
        "connect": Phase.CONNECT,
        "proxy": Phase.PROXY,
        "tls": Phase.TLS,
        "http": Phase.PROCESSING,
    }
)
_TELLING: Final[Mapping[Phase | None, tuple[Document, ...]]] = MappingProxyType(
    {
        Phase.RESOLVE: (),
        Phase.CONNECT: (PORTS,),
        Phase.PROXY: (PROXIES,),
        Phase.TLS: (ROOTS, CIPHERS, DIAGNOSTICS),
        Phase.PROCESSING: (CONNECTION_POINT,),
        None: (),
    }
)
_WHOSE: Final[Mapping[Who, str]] = MappingProxyType(
    {
        Who.DNS: "Those who run DNS.",
        Who.FIREWALL: "Those who run the firewall, or another device on the way.",
        Who.PROXY: "Those who run the proxy or the web filter.",
        Who.PKI: "Those who issue and distribute certificates, and those who run the inspection of TLS.",
        Who.OPERATOR: "Those who run the exporter.",
        Who.NOBODY: "Not known yet: first find out who answers, or who keeps silent.",
    }
)

# The service connection point's own checks. Source: "About the service connection point", "Troubleshoot tenant attach".
_OWN_CHECKS: Final = (
    "From version 2010 the service connection point checks endpoints itself, for tenant attach: 11410 (all checks "
    "passed), 11411 (failures, none of them critical) and 11412 (critical failures) of `SMS_SERVICE_CONNECTOR`, and "
    "`EndpointConnectivityCheckWorker.log`. A timeout, a failure of TLS, and the statuses "
    f"{', '.join(map(str, REFUSED))} fail such a check; any other status passes. 11488 is critical, from version 2002: "
    "the site could not reach endpoints that a cloud service requires."
)
_UPLOADS: Final = (
    "9605 (`DMP_UPLOADER_UPLOAD_FAILED`) and 9607 (`DMP_UPLOADER_UPLOAD_EXCEPTION`), with `dmpuploader.log`, where the "
    "root DigiCert Global Root G2 is missing or revocation cannot be asked for."
)
_OWN_MESSAGES: Final = re.compile(r"\b(?:11488|1141[012])\b")
SHOWN: Final = "Configuration Manager"
_OTHER_LOGS: Final = (
    f"The logs and status messages of each feature: [table](ConfigMgrFeatureNotReady.md#{anchor(SHOWN)}). What the "
    "service connection point itself reports: "
    f"[its page](ConfigMgrServiceConnectionPointCannotReachCloud.md#{anchor(SHOWN)})."
)
_NOT_TO_INSPECT: Final = (
    "Names that must not be inspected: [table of all of them](ConfigMgrTlsInspectionUnsupported.md#what-to-change)."
)
_PROOF: Final[Mapping[Phase, str]] = MappingProxyType(
    {
        Phase.RESOLVE: "`explain` shows the addresses of the host under `name resolved to`.",
        Phase.CONNECT: "The firewall's log shows the connection as allowed.",
        Phase.PROXY: "The proxy's log shows the request as allowed; Squid calls an open tunnel `TCP_TUNNEL/200`.",
        Phase.TLS: (
            "`explain` shows `leads to  a public root` and, under `inspection`, `none seen`; for a server of your own, "
            "a root of your own."
        ),
        Phase.PROCESSING: "`explain` shows the service's own answer.",
    }
)
_UNPROBED_PROOF: Final[Mapping[WhyUnprobed, str]] = MappingProxyType(
    {
        WhyUnprobed.MISSING_PARAMETER: "`endpoints` shows targets for it, and the query above no longer returns it.",
        WhyUnprobed.NO_REPRESENTATIVE: "`endpoints` shows your targets, and the query above no longer returns it.",
        WhyUnprobed.NOT_HTTP: "By the other means only: the exporter goes on listing it.",
        WhyUnprobed.NOT_SUPPORTED: "`endpoints` no longer lists the feature.",
    }
)
_ENDS: Final = (
    "The page of the target shows it as up after the next probe, by default within 20 seconds; its alerts end some "
    "minutes later."
)


def pages() -> Mapping[str, str]:
    """Every page by the name of its file: an index, one for each alert, reason and reason not to probe, and one more.

    That one says how to test as a site system does.
    """
    known = catalogue.load()
    return {
        INDEX: f"{_index()}\n",
        f"{LOCAL_SYSTEM}.md": f"{_as_local_system()}\n",
        **{f"{name}.md": f"{_of_alert(name, alert, known)}\n" for name, alert in ALERTS.items()},
        **{f"{reason}.md": f"{_of_reason(reason, words, known)}\n" for reason, words in all_words().reasons.items()},
        **{f"{why}.md": f"{_of_unprobed(why, words, known)}\n" for why, words in all_words().unprobed.items()},
    }


@dataclass(frozen=True, slots=True)
class _Page:
    """A page before it is written; every part is Markdown, and what has nothing to say is empty."""

    title: str
    means: str
    who: str
    change: str
    search: str
    confirm: str
    proof: str
    shown: str
    documents: tuple[Document, ...]

    def __str__(self) -> str:
        sections = {
            "What it means": self.means,
            "Whose it is": self.who,
            "What to change": self.change,
            "What to search for in the log": self.search,
            "How to confirm it": self.confirm,
            "How to prove that it is fixed": self.proof,
            SHOWN: self.shown,
            "Documents": "\n".join(map(str, dict.fromkeys(self.documents))),
        }
        there = {heading: text for heading, text in sections.items() if text}
        ways = " · ".join(f"[{heading}](#{anchor(heading)})" for heading in there)
        return _joined(f"# {self.title}", ways, *(f"## {heading}\n\n{text}" for heading, text in there.items()))


def _index() -> str:
    return _joined(
        "# Runbooks",
        "What an alert or a reason means, whose it is, what to change, what to search for in the log, how to confirm "
        "it, and how to prove that it is fixed. The exporter serves these pages under `/runbooks/`, so that they can "
        "be read where the internet cannot be reached.",
        "## Alerts",
        *(_alerts_of(team) for team in TEAMS),
        "## Reasons of a failure",
        "The prefix names the phase of the probe that failed: `dns`, `connect`, `proxy`, `tls`, and `http` for what "
        "comes after.",
        _reasons(all_words().reasons),
        "## Reasons not to probe",
        _reasons(all_words().unprobed),
        "## For all of them",
        f"- [{_LOCAL_SYSTEM_TITLE}]({LOCAL_SYSTEM}.md): which proxy it uses, and how to run commands as its account.",
    )


def _alerts_of(team: str) -> str:
    lines = (f"- {link(name)}: {alert.means}" for name, alert in ALERTS.items() if TEAM_OF[name] == team)
    return _joined(f"### For the team `{team}`", "\n".join(lines))


def _reasons(found: Mapping[Reason, Words] | Mapping[WhyUnprobed, Words]) -> str:
    return "\n".join(f"- {link(reason)} ({words.who}): {words.summary}" for reason, words in found.items())


def _as_local_system() -> str:
    commands = all_commands()
    return _joined(
        f"# {_LOCAL_SYSTEM_TITLE}",
        "Site system roles act as Local System. Another account has another proxy, other credentials, another trust.",
        "## Which proxy it uses",
        "The one that the console shows: *Administration* > *Site Configuration* > *Servers and Site System Roles*, "
        "choose the server, *Site system* > *Properties* > *Proxy*. All roles on the server share it.",
        "What Windows itself fetches, such as lists of revoked certificates and roots, and programs that have no proxy "
        "of their own, go by the settings of Windows:",
        _powershell(commands.its_proxies),
        "## How to run commands as that account",
        _powershell(commands.local_system),
        f"## {_REVOCATION}",
        _powershell(commands.revocation),
        "## Documents",
        "\n".join(map(str, (PROXIES, PSEXEC))),
    )


def _of_alert(name: str, alert: Alert, known: Catalogue) -> _Page:
    look = _look_here(alert.look) if alert.at_exporter else _look_away(alert.look)
    return _Page(
        title=name,
        means=_joined(alert.means, alert.effect),
        who=TEAMS[TEAM_OF[name]],
        change=_joined(alert.change, *([_uninspectable(known)] if alert.inspection else ())),
        search=alert.search,
        confirm=_joined(_ask(alert.calls), look, _prometheus(alert.queries)),
        proof=alert.proof if alert.at_exporter else _joined(alert.proof, _ENDS),
        shown=_joined(*_shown_with(alert, known)),
        documents=tuple(_documents_for(alert)),
    )


def _shown_with(alert: Alert, known: Catalogue) -> Iterator[str]:
    """What the product shows when an alert is raised."""
    if alert.at_exporter or not alert.suffers:
        return
    if alert.features_of == SERVICE_CONNECTION_POINT:
        yield _OWN_CHECKS
        yield _reported_by_itself(known)
    if alert.messages:
        yield alert.messages
    yield _features(known, alert.features_of) if alert.features_of else _OTHER_LOGS
    if alert.proxies:
        yield _roles(known)


def _documents_for(alert: Alert) -> Iterator[Document]:
    if alert.at_exporter:
        yield RULES
        return
    yield from (ENDPOINTS, CONNECTION_POINT, TENANT_ATTACH)
    if alert.proxies:
        yield PROXIES
    if alert.inspection:
        yield DIAGNOSTICS
    if alert.inspection or alert.messages:
        yield ROOTS
    yield CURL


def _of_reason(reason: Reason, words: Words, known: Catalogue) -> _Page:
    phase = _PHASES.get(reason.partition("_")[0])
    query = Query(
        f'max by (instance, target) (configmgr_endpoint_failure{{reason="{reason}"}})', "The targets with this reason."
    )
    found = all_commands().reasons[reason]
    look = _look_away(found) if phase else _look_here(found)
    return _Page(
        title=reason,
        means=words.summary,
        who=_WHOSE[words.who],
        change=_joined(words.remedy, *([_NOT_TO_INSPECT] if phase is Phase.TLS else ())),
        search="\n".join(f"- {text}" for text in searched(reason)),
        confirm=_joined(_ask((_EXPLAIN,)), look, _prometheus((query,))),
        proof=_joined(*_proved(phase)),
        shown=_joined(*_shown_by(reason, phase, known)),
        documents=(ENDPOINTS, *_TELLING[phase], TENANT_ATTACH, CURL) if phase else (RULES,),
    )


def _proved(phase: Phase | None) -> Iterator[str]:
    """What is seen once it is fixed."""
    yield _block("sh", _call(_EXPLAIN))
    yield "It begins with `UP` and ends with status 0."
    if phase:
        fixed, proxy = all_commands().fixed, "corporate" if phase is Phase.PROXY else None
        yield "Without the exporter, on the site system and beside it:"
        yield _powershell(by_path(command, proxy) for command in fixed.powershell)
        yield _posix(by_path(command, proxy) for command in fixed.posix)
        yield _PROOF[phase]
    yield _ENDS


def _shown_by(reason: Reason, phase: Phase | None, known: Catalogue) -> Iterator[str]:
    """What the product shows of a failure in this phase; nothing of the exporter's own."""
    if phase is None:
        return
    if phase is Phase.TLS:
        yield _UPLOADS
    yield _OTHER_LOGS
    if reason is Reason.PROXY_AUTH_REQUIRED:
        yield _roles(known)


def _of_unprobed(why: WhyUnprobed, words: Words, known: Catalogue) -> _Page:
    concerned = _unprobed(known, why)
    query = Query(f'configmgr_endpoint_unprobed{{reason="{why}"}}', "The endpoints that it concerns.")
    parameters = [_parameters(known)] if why is WhyUnprobed.MISSING_PARAMETER else []
    return _Page(
        title=why,
        means=_joined(words.summary, "Where nothing is configured, it concerns:", _concerned(concerned)),
        who=_WHOSE[words.who],
        change=_joined(words.remedy, *parameters),
        search="",
        confirm=_joined(_ask(("endpoints", f"explain '{concerned[0].use.pattern}'")), _prometheus((query,))),
        proof=_UNPROBED_PROOF[why],
        shown="",
        documents=(ENDPOINTS,),
    )


# ---------------------------------------------------------------- how to confirm


def _prometheus(queries: Iterable[Query]) -> str:
    """What Prometheus knows."""
    return _joined("### Prometheus", *(_joined(_block("promql", query.expr), query.shows) for query in queries))


def _ask(calls: Iterable[str]) -> str:
    """What the exporter knows."""
    wanted = tuple(calls)
    ways = [PUT_IN_URL] if any(call.startswith("explain") for call in wanted) else []
    return _joined("### The exporter's command", PUT_IN_FILE, *ways, _block("sh", "\n".join(map(_call, wanted))))


def _call(call: str) -> str:
    """A command of the exporter, with a configuration."""
    return Invocation(config_file=EXAMPLE_FILE).line(*shlex.split(call))


def _look_away(look: Confirmation) -> str:
    """What is seen without the exporter, on the site system and beside it."""
    return _joined(
        "### PowerShell on the site system",
        f"Open it [as Local System]({LOCAL_SYSTEM}.md), and see there which proxy that account uses.",
        *_seen_when(look),
        PUT_IN_TARGET,
        _powershell(look.powershell),
        "### curl and OpenSSL",
        "From a Linux machine beside the site system.",
        _posix(look.posix),
        *_through_proxy(look.posix),
    )


def _seen_when(look: Confirmation) -> Iterator[str]:
    if look == all_commands().walk:
        yield "Where everything works, you will see what is below each command; the first difference shows the fault."
    elif look in all_commands().reasons.values():
        yield "If this is the fault, you will see what is below each command."


def _look_here(look: Confirmation) -> str:
    """What is seen of the exporter itself, on its machine."""
    return _joined("### PowerShell", _powershell(look.powershell), "### Linux", _posix(look.posix))


def _powershell(commands: Iterable[Command]) -> str:
    return _joined(
        *(
            _joined(_block(Shell.POWERSHELL, filled(command, shell=Shell.POWERSHELL)), _shows(command))
            for command in commands
        )
    )


def _posix(commands: Iterable[Command]) -> str:
    return _joined(*(_joined(_block(Shell.POSIX, filled(command)), _shows(command)) for command in commands))


def _shows(command: Command) -> str:
    """What it shows; first what the laboratory has seen it do."""
    scheme = f"For {command.scheme} targets. " if command.scheme else ""
    if not command.exits:
        return f"{scheme}{command.shows}"
    prints = f" and prints {_either(f'`{text}`' for text in command.prints)}" if command.prints else ""
    lacks = f", but not `{command.lacks}`" if command.lacks else ""
    return f"{scheme}Ends with status {_either(map(str, command.exits))}{prints}{lacks}. {command.shows}".rstrip()


def _through_proxy(commands: Iterable[Command]) -> Iterator[str]:
    """How to send through a proxy those that do not go by one anyway."""
    lines = [command.line for command in commands if "{proxy" not in command.line]
    ways = [
        f"`{filled(Command(way))}` behind `{program}`"
        for program, way in all_commands().through_proxy.items()
        if any(line.startswith(f"{program} ") for line in lines)
    ]
    if ways:
        yield f"Through a proxy: {' and '.join(ways)}."


def _either(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


# ---------------------------------------------------------------- what the catalogue knows


def _features(known: Catalogue, role: str) -> str:
    """The features of a role, and where the product shows their faults."""
    groups: dict[str, list[Group]] = {}
    for group in known.groups:
        groups.setdefault(group.feature, []).append(group)
    rows = [_feature(feature, found) for feature, found in groups.items() if role in {EVERY_ROLE, *_roles_of(found)}]
    return _joined(
        "Features in italics are no longer active.",
        _table(("Feature", "Roles", "Logs", "Status messages and components", "Documents"), rows),
    )


def _feature(feature: str, groups: list[Group]) -> tuple[str, ...]:
    first = groups[0]
    active = any(endpoint.status is Status.ACTIVE for group in groups for endpoint in group.endpoints)
    documents = {url: title for title, url in (("help", first.troubleshooting), ("about", first.docs)) if url}
    return (
        f"`{feature}`" if active else f"*`{feature}`*",
        ", ".join(_roles_of(groups)),
        _text("; ".join(first.logs)),
        _text("; ".join(first.messages)),
        ", ".join(f"[{title}]({url})" for url, title in documents.items()),
    )


def _roles_of(groups: Iterable[Group]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(role for group in groups for role in group.roles or (EVERY_ROLE,)))


def _reported_by_itself(known: Catalogue) -> str:
    """The features of which the service connection point itself says that it cannot reach what they need."""
    found = {group.feature for group in known.groups if _OWN_MESSAGES.search(" ".join(group.messages))}
    return f"That concerns: {', '.join(f'`{feature}`' for feature in sorted(found))}."


def _roles(known: Catalogue) -> str:
    """By what kind of proxy each role can go."""
    rows = [(f"`{role.slug}`", role.authenticated_proxy, _text(role.proxy_note or "")) for role in known.roles.values()]
    return _joined(
        "One proxy is configured for each server and shared by all roles on it. By default a server signs in to it "
        "with its computer account, else with the site system proxy server account.",
        _table(("Role", "Proxy that asks for credentials", "Note"), rows),
    )


def _uninspectable(known: Catalogue) -> str:
    """The endpoints that must not be inspected."""
    features: dict[str, dict[str, None]] = {}
    for group in known.groups:
        for endpoint in group.endpoints:
            if endpoint.tls_inspection is Support.UNSUPPORTED:
                features.setdefault(endpoint.pattern, {})[group.feature] = None
    return _joined(
        "Documents that do not support inspection name these:",
        _table(("Endpoint", "Features"), [(f"`{name}`", ", ".join(found)) for name, found in features.items()]),
    )


def _parameters(known: Catalogue) -> str:
    rows = [
        (f"`{parameter.name}`", _text(parameter.meaning), f"`{parameter.default}`" if parameter.default else "")
        for parameter in known.parameters.values()
    ]
    return _table(("Parameter", "Meaning", "Default"), rows)


def _unprobed(known: Catalogue, why: WhyUnprobed) -> tuple[Requirement, ...]:
    """What has no target for this reason where nothing is configured; each pattern once."""
    found = requirements(known, known.groups, everything(known, Site()))
    concerned = {needed.use.pattern: needed for needed in reversed(found) if needed.why_unprobed is why}
    return tuple(reversed(concerned.values()))


def _concerned(needs: Iterable[Requirement]) -> str:
    rows = [(f"`{needed.use.pattern}`", needed.use.consumer.feature, _text(needed.detail or "")) for needed in needs]
    return _table(("Endpoint", "Feature", "Why"), rows)


# ---------------------------------------------------------------- Markdown


def _joined(*blocks: str) -> str:
    """Blocks with an empty line between them."""
    return "\n\n".join(blocks)


def _block(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (header, ("---",) * len(header), *rows)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _text(text: str) -> str:
    """A text of the catalogue as nothing but text."""
    return re.sub(r"([<>|*`\[\]])", r"\\\1", text)
