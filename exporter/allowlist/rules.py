"""What must be let through for a site: (catalogue, groups, site, settings) -> Rules. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from exporter.allowlist.hosts import covers, plain
from exporter.model.patterns import host_of, span
from exporter.model.vocabulary import (
    DEFAULT_PORTS,
    DIRECT,
    Catalogue,
    Endpoint,
    Group,
    Importance,
    Proxy,
    Requirement,
    Settings,
    Site,
    Status,
    Support,
    Target,
    WhyUnprobed,
)
from exporter.plan.checks import bypasses
from exporter.plan.requirements import requirements

WEB: Final = tuple(DEFAULT_PORTS)  # what a web proxy carries
UDP: Final = "udp"

_ANY_PORT: Final = "1-65535"
_MOST_CAUTIOUS_FIRST: Final = (Support.UNSUPPORTED, Support.CONDITIONAL, Support.UNSPECIFIED, Support.SUPPORTED)


@dataclass(frozen=True, slots=True)
class Need:
    """Why something is let through: a documented line, and the feature and the cloud that it stands for."""

    feature: str
    cloud: str
    pattern: str  # as documented
    status: Status = Status.ACTIVE
    docs: str | None = None
    condition: str | None = None  # when the documents ask for it, in words
    importance: Importance = Importance.NORMAL  # of the feature


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that must be let through for one role. Its fields are the keys of the JSON."""

    role: str
    path: str  # `direct`: the firewall's matter; `proxy:NAME`: that proxy's
    host: str  # a name, an address, a wildcard `*.x`; `<...>` stands for what a missing parameter would say
    protocol: str  # http, https, udp, or what the document calls it
    ports: str  # "443", "10124-10139"
    tls_inspection: Support | None  # None: there is no TLS to inspect
    authenticated_proxy: Support | None  # None: no web proxy carries it
    needed_for: tuple[Need, ...]
    targets: tuple[str, ...] = ()  # URLs that are probed for it: a test of the rule
    missing: str | None = None  # what to set before this can be a rule

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """What makes it this rule: two with one key say the same."""
        return (self.path, self.role, self.host, self.protocol, self.ports)

    @property
    def what(self) -> str:
        """Where to, in words: `go.microsoft.com https 443`."""
        return f"{self.host} {self.protocol} {self.ports}"

    @property
    def transport(self) -> str:
        """`udp`, or else `tcp`."""
        return UDP if UDP in self.protocol else "tcp"


def rules(catalogue: Catalogue, groups: Iterable[Group], site: Site, settings: Settings) -> tuple[Rule, ...]:
    """Everything that must be let through for the site: each role's rules, by the path that the role takes.

    Laws: whatever is selected has a rule, probed or not; every target that is probed lies within a rule of its role and
    path; no key twice. A web proxy carries HTTP only: all else is direct.
    """
    found: dict[tuple[str, ...], Rule] = {}
    for line in _lines(catalogue, groups, site):
        if line.why_unprobed is WhyUnprobed.NOT_SUPPORTED:
            continue
        role = line.use.consumer.role
        proxy = settings.proxies.get(settings.via.get(role, ""))
        for rule in _rules_of(line, catalogue.roles[role].authenticated_proxy, proxy):
            found[rule.key] = _merged(found[rule.key], rule) if rule.key in found else rule
    return tuple(sorted(found.values(), key=_order))


def _order(rule: Rule) -> tuple[str, str, str, str, int, str]:
    return (rule.path, rule.role, rule.host, rule.protocol, span(rule.ports).start, rule.ports)


def _lines(catalogue: Catalogue, groups: Iterable[Group], site: Site) -> Iterator[Requirement]:
    """Every line that the site selects, each by itself.

    The probes of two lines with one text are merged, but each line has ports of its own, and each of its templates
    parameters of its own.
    """
    everything = tuple(groups)
    docs_of = {group.feature: group.docs for group in reversed(everything) if group.docs}
    importance_of = {group.feature: group.importance for group in everything if group.importance}
    for group in everything:
        docs, importance = group.docs or docs_of.get(group.feature), importance_of.get(group.feature)
        for endpoint in group.endpoints:
            for alone in [replace(endpoint, probe=(url,)) for url in endpoint.probe] or [endpoint]:
                yield from requirements(
                    catalogue, (replace(group, docs=docs, importance=importance, endpoints=(alone,)),), site
                )


def _rules_of(line: Requirement, authenticated_proxy: Support, proxy: Proxy | None) -> Iterator[Rule]:
    endpoint, consumer = line.endpoint, line.use.consumer
    for opening in _openings(line, proxy):
        web = opening.protocol in WEB
        conditions = "; ".join(filter(None, (endpoint.condition, opening.when, _reference(endpoint))))
        yield Rule(
            role=consumer.role,
            path=_path(opening.host, opening.protocol, proxy),
            host=opening.host,
            protocol=opening.protocol,
            ports=opening.ports,
            tls_inspection=None if opening.protocol in {"http", UDP} else endpoint.tls_inspection,
            authenticated_proxy=(endpoint.authenticated_proxy or authenticated_proxy) if web else None,
            needed_for=(
                Need(
                    consumer.feature,
                    consumer.cloud,
                    endpoint.pattern,
                    endpoint.status,
                    line.docs,
                    conditions or None,
                    line.importance,
                ),
            ),
            targets=tuple(target.url for target in line.targets if opening.includes(target)),
            missing=opening.missing,
        )


def _reference(endpoint: Endpoint) -> str | None:
    return None if endpoint.reference is None else f"reference only: {endpoint.reference}"


def _path(host: str, protocol: str, proxy: Proxy | None) -> str:
    if proxy is None or protocol not in WEB or bypasses(proxy.no_proxy, host):
        return DIRECT
    return f"proxy:{proxy.name}"


@dataclass(frozen=True, slots=True)
class _Opening:
    """What one line asks for, whoever needs it."""

    host: str
    protocol: str
    ports: str
    when: str | None = None
    missing: str | None = None

    def includes(self, target: Target) -> bool:
        return (
            self.missing is None
            and self.protocol == target.scheme
            and target.port in span(self.ports)
            and covers(self.host, target.host)
        )


def _openings(line: Requirement, proxy: Proxy | None) -> Iterator[_Opening]:
    """What the line says, its further ports, and the targets that lie elsewhere than the line says, or by another path.

    A template is what it is filled with; one that cannot be filled stays as it is documented.
    """
    own = tuple(_named(line))
    yield from own
    for host, missing in {opening.host: opening.missing for opening in own}.items():
        for extra in line.endpoint.extra_ports:
            yield _Opening(host, extra.protocol.lower(), extra.ports, extra.when, missing)
    for target in line.targets:
        path = _path(target.host, target.scheme, proxy)
        if not any(opening.includes(target) and _path(opening.host, target.scheme, proxy) == path for opening in own):
            yield _filled(target)


def _named(line: Requirement) -> Iterator[_Opening]:
    endpoint, host = line.endpoint, plain(host_of(line.endpoint.pattern))
    template = "<" in host
    if template and line.targets:
        yield from map(_filled, line.targets)
        return
    missing = line.detail if template else None
    for protocol in endpoint.schemes:
        known = endpoint.ports_of(protocol)
        for port in known:
            yield _Opening(host, protocol, str(port), missing=missing)
        if not known:
            yield _Opening(host, protocol, _ANY_PORT, missing=missing or "give its `ports`")


def _filled(target: Target) -> _Opening:
    return _Opening(plain(target.host), target.scheme, str(target.port))


def _merged(one: Rule, other: Rule) -> Rule:
    """Two rules with one key: what either is needed for, and the more cautious of what the documents allow."""
    return replace(
        one,
        tls_inspection=_more_cautious(one.tls_inspection, other.tls_inspection),
        authenticated_proxy=_more_cautious(one.authenticated_proxy, other.authenticated_proxy),
        needed_for=tuple(sorted({*one.needed_for, *other.needed_for}, key=_order_of_need)),
        targets=tuple(sorted({*one.targets, *other.targets})),
        missing=min(filter(None, (one.missing, other.missing)), default=None),
    )


def _more_cautious(*said: Support | None) -> Support | None:
    return next((support for support in _MOST_CAUTIOUS_FIRST if support in said), None)


def _order_of_need(need: Need) -> tuple[str, ...]:
    return (need.feature, need.cloud, need.pattern, need.status, need.docs or "", need.condition or "")
