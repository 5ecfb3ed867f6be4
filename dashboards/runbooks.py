"""The runbooks: words, commands and the catalogue -> a page for each alert and each reason."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from dashboards.alert_words import ALERTS, EVERY_ROLE, SERVICE_CONNECTION_POINT, TEAM_OF, TEAMS, Alert, Query, link
from exporter.config import catalogue
from exporter.model.vocabulary import Catalogue, Group, Phase, Reason, Requirement, Site, Status, Support, WhyUnprobed
from exporter.plan.requirements import everything, requirements
from exporter.probe.classify import REFUSED
from exporter.report.commands import (
    EXAMPLE_PROXY,
    EXAMPLE_TARGET,
    Command,
    Confirmation,
    all_commands,
    filled,
)
from exporter.report.reasons import Who, Words, all_words
from exporter.web.runbooks import anchor

INDEX: Final = "README.md"
EXPORTER: Final = "configmgr-endpoint-exporter"


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
SHOWN: Final = "What Configuration Manager shows"
_OTHER_LOGS: Final = (
    "Each feature has logs and status messages of its own: "
    f"[table of all features](ConfigMgrFeatureNotReady.md#{anchor(SHOWN)})."
)
_NOT_TO_INSPECT: Final = (
    "Names that must not be inspected: [table of all of them](ConfigMgrTlsInspectionUnsupported.md#what-to-change)."
)
_NOTHING: Final = "Nothing: this is about the exporter, and says nothing of the site."


def pages() -> Mapping[str, str]:
    """Every page by the name of its file: an index, and a page for each alert, reason, and reason not to probe."""
    known = catalogue.load()
    return {
        INDEX: f"{_index()}\n",
        **{f"{name}.md": f"{_of_alert(name, alert, known)}\n" for name, alert in ALERTS.items()},
        **{f"{reason}.md": f"{_of_reason(reason, words, known)}\n" for reason, words in all_words().reasons.items()},
        **{f"{why}.md": f"{_of_unprobed(why, words, known)}\n" for why, words in all_words().unprobed.items()},
    }


@dataclass(frozen=True, slots=True)
class _Page:
    """A page before it is written; every part is Markdown."""

    title: str
    means: str
    confirm: str
    change: str
    who: str
    shown: str
    documents: tuple[Document, ...]
    effect: str | None = None

    def __str__(self) -> str:
        sections = {
            "What it means": self.means,
            "What it does to Configuration Manager": self.effect,
            "How to confirm it": self.confirm,
            "What to change": self.change,
            "Who can change it": self.who,
            SHOWN: self.shown,
            "Documents": "\n".join(map(str, dict.fromkeys(self.documents))),
        }
        there = {heading: text for heading, text in sections.items() if text}
        ways = " · ".join(f"[{heading}](#{anchor(heading)})" for heading in there)
        return _joined(f"# {self.title}", ways, *(f"## {heading}\n\n{text}" for heading, text in there.items()))


def _index() -> str:
    return _joined(
        "# Runbooks",
        "What an alert or a reason means, how to confirm it, what to change, and who can. The exporter serves these "
        "pages under `/runbooks/`, so that they can be read where the internet cannot be reached.",
        "## Alerts",
        *(_alerts_of(team) for team in TEAMS),
        "## Reasons of a failure",
        "The prefix names the phase of the probe that failed: `dns`, `connect`, `proxy`, `tls`, and `http` for what "
        "comes after.",
        _reasons(all_words().reasons),
        "## Reasons not to probe",
        _reasons(all_words().unprobed),
    )


def _alerts_of(team: str) -> str:
    lines = (f"- {link(name)}: {alert.means}" for name, alert in ALERTS.items() if TEAM_OF[name] == team)
    return _joined(f"### For the team `{team}`", "\n".join(lines))


def _reasons(found: Mapping[Reason, Words] | Mapping[WhyUnprobed, Words]) -> str:
    return "\n".join(f"- {link(reason)} ({words.who}): {words.summary}" for reason, words in found.items())


def _of_alert(name: str, alert: Alert, known: Catalogue) -> _Page:
    look = _look_here(alert.look) if alert.at_exporter else _look_away(alert.look, also_by_proxy=True)
    return _Page(
        title=name,
        means=alert.means,
        effect=alert.effect,
        confirm=_joined(_ask(alert.queries, alert.calls), look),
        change=_joined(alert.change, *([_uninspectable(known)] if alert.inspection else ())),
        who=TEAMS[TEAM_OF[name]],
        shown=_joined(*_shown_with(alert, known)),
        documents=tuple(_documents_for(alert)),
    )


def _shown_with(alert: Alert, known: Catalogue) -> Iterator[str]:
    """What the product shows when an alert is raised."""
    if alert.at_exporter:
        yield _NOTHING
        return
    yield alert.messages or _OWN_CHECKS
    if alert.features_of == SERVICE_CONNECTION_POINT:
        yield _reported_by_itself(known)
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
    yield from (PSEXEC, CURL)


def _of_reason(reason: Reason, words: Words, known: Catalogue) -> _Page:
    phase = _PHASES.get(reason.partition("_")[0])
    query = Query(
        f'max by (instance, target) (configmgr_endpoint_failure{{reason="{reason}"}})', "The targets with this reason."
    )
    if phase is None:
        look = _look_here(all_commands().reasons[reason])
    else:
        look = _look_away(all_commands().reasons[reason], also_by_proxy=phase in {Phase.TLS, Phase.PROCESSING})
    return _Page(
        title=reason,
        means=_joined(words.summary, f"The phase that failed is `{phase}`." if phase else "Any phase can fail so."),
        confirm=_joined(_ask((query,), ("explain '{url}'",)), look),
        change=_joined(words.remedy, *([_NOT_TO_INSPECT] if phase is Phase.TLS else ())),
        who=_WHOSE[words.who],
        shown=_joined(*_shown_by(phase, known)),
        documents=(ENDPOINTS, *_TELLING[phase], TENANT_ATTACH, PSEXEC, CURL) if phase else (RULES,),
    )


def _shown_by(phase: Phase | None, known: Catalogue) -> Iterator[str]:
    """What the product shows of a failure in this phase; None: the exporter's own."""
    if phase is None:
        yield _NOTHING
        return
    yield _OWN_CHECKS
    if phase is Phase.TLS:
        yield _UPLOADS
    yield _OTHER_LOGS
    if phase is Phase.PROXY:
        yield _roles(known)


def _of_unprobed(why: WhyUnprobed, words: Words, known: Catalogue) -> _Page:
    concerned = _unprobed(known, why)
    query = Query(f'configmgr_endpoint_unprobed{{reason="{why}"}}', "The endpoints that it concerns.")
    parameters = [_parameters(known)] if why is WhyUnprobed.MISSING_PARAMETER else []
    return _Page(
        title=why,
        means=_joined(words.summary, "Where nothing is configured, it concerns:", _concerned(concerned)),
        confirm=_ask((query,), ("endpoints", f"explain '{concerned[0].use.pattern}'")),
        change=_joined(words.remedy, *parameters),
        who=_WHOSE[words.who],
        shown=_NOTHING,
        documents=(ENDPOINTS,),
    )


# ---------------------------------------------------------------- how to confirm


def _ask(queries: Iterable[Query], calls: Iterable[str]) -> str:
    """What Prometheus and the exporter know."""
    lines = (filled(Command(f"{EXPORTER} {call}")) for call in calls)
    return _joined(
        "### Prometheus",
        *(_joined(_block("promql", query.expr), query.shows) for query in queries),
        "### The exporter's command",
        "On the exporter's machine, with the `--config.file` that the exporter runs by; replace the URL with the one "
        "from the alert.",
        _block("sh", "\n".join(lines)),
    )


def _look_away(look: Confirmation, *, also_by_proxy: bool) -> str:
    """What is seen without the exporter, on the site system and beside it."""
    to_local_system, *its_proxies = all_commands().as_local_system
    return _joined(
        "### PowerShell on the site system",
        f"The commands from here on ask for `{EXAMPLE_TARGET.url}`, and where they name a proxy, through "
        f"`{EXAMPLE_PROXY}`: put in the target and the proxy that it concerns.",
        "Site system roles act as Local System, so test as that account.",
        _powershell([to_local_system]),
        *_seen_when(look),
        _powershell(look.powershell),
        "Which proxy that account would use:",
        _powershell(its_proxies),
        "### curl and OpenSSL",
        "From a Linux machine beside the site system. On Windows the command is `curl.exe`, and `/dev/null` is `NUL`; "
        "it trusts what Windows trusts, so its words and statuses for TLS differ.",
        *_seen_when(look),
        _posix(look.posix),
        *(_through_proxy(look.posix) if also_by_proxy else ()),
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
    return _joined(*(_joined(_block("powershell", filled(command)), _told(command)) for command in commands))


def _posix(commands: Iterable[Command]) -> str:
    return _joined(*(_joined(_block("sh", filled(command)), _told(command)) for command in commands))


def _told(command: Command) -> str:
    """What it shows; first what the laboratory has seen it do."""
    if not command.exits:
        return command.shows
    prints = f" and prints {_either(f'`{text}`' for text in command.prints)}" if command.prints else ""
    lacks = f", but not `{command.lacks}`" if command.lacks else ""
    return f"Ends with status {_either(map(str, command.exits))}{prints}{lacks}. {command.shows}".rstrip()


def _through_proxy(commands: Iterable[Command]) -> Iterator[str]:
    """How to send through a proxy those that do not go by one anyway."""
    lines = [command.line for command in commands if "{proxy" not in command.line]
    ways = [
        f"`{filled(Command(way))}` behind `{program}`"
        for program, way in all_commands().through_proxy.items()
        if any(line.startswith(program) for line in lines)
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
