"""The schema of a group of endpoints, the same in the catalogue, in a group file and inline: document -> Groups."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Final, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from exporter.config.documents import Document
from exporter.config.fields import (
    NOT_EMPTY,
    PORTS,
    CloudName,
    Faults,
    Link,
    Named,
    ParameterName,
    RoleName,
    Rule,
    Section,
    Slug,
    Text,
    Version,
    distinct,
    expected,
    found,
    is_host,
    member_of,
    named_in_context,
    one_of,
    unknown,
    url_fault,
    within,
    written,
)
from exporter.model.patterns import (
    address_of,
    fill,
    has_stray_braces,
    host_of,
    is_wildcard,
    matches_wildcard,
    parameters_of,
    span,
)
from exporter.model.vocabulary import (
    DEFAULT_PORTS,
    Endpoint,
    ExtraPorts,
    Group,
    Importance,
    Place,
    Status,
    Support,
    Trust,
    VersionRange,
    WhyReference,
)


@dataclass(frozen=True)
class Names:
    """What a group may refer to."""

    roles: Collection[str]
    clouds: Collection[str]
    sources: Collection[str] | None = None  # None: any citation, as the operator's own groups may give
    parameters: Collection[str] | None = None  # None: any name, as the operator may invent them
    values: Mapping[str, Collection[str]] = field(default_factory=dict)  # of parameters with a closed set of them
    features: Collection[str] = ()
    also: Mapping[Named, Mapping[str, str]] = field(default_factory=dict)  # what else people call them

    def called(self, what: Named) -> Mapping[str, str]:
        """What else people call them, as `plain` writes it, to those words."""
        return self.also.get(what, {})

    def names(self, what: Named) -> Collection[str] | None:
        """The words that may be named; None: any word."""
        return {
            Named.ROLE: self.roles,
            Named.CLOUD: self.clouds,
            Named.FEATURE: self.features,
            Named.SOURCE: self.sources,
        }[what]


@dataclass(frozen=True)
class Located:
    """A group, and where it was written."""

    group: Group
    document: Document
    place: Place


def read_groups(document: Document, place: Place, names: Names) -> list[Located]:
    """The groups listed at a place that are without mistakes; what is wrong with the others is blamed."""
    if document.at(place) is None:
        return []
    places: list[Place] = [(*place, i) for i, _ in enumerate(document.validate(list[Any], place) or ())]
    sections = (document.validate(GroupSection, where, context=names) for where in places)
    return [Located(section.group(), document, here) for here, section in zip(places, sections, strict=True) if section]


def add_contradictions(located: Iterable[Located]) -> None:
    """Blame endpoints that ask one URL in two ways for the same feature and pattern: one series cannot show both."""
    first: dict[tuple[object, ...], tuple[Endpoint, str]] = {}
    for here in located:
        for i, endpoint in enumerate(here.group.endpoints):
            place: Place = (*here.place, "endpoints", i)
            where = f"{here.document.file}:{here.document.line(place)}"
            keys = [(here.group.feature, endpoint.pattern, *asked) for asked in _asked(endpoint)]
            earlier = [first.setdefault(key, (endpoint, where)) for key in keys]
            for other, there in earlier:
                if (other.method, other.accept) != (endpoint.method, endpoint.accept):
                    message = "another `method` or `accept` for what this feature and pattern probe already"
                    here.document.add_error(place, f"{message}; give the same as in {there}")
                    break


def _asked(endpoint: Endpoint) -> Iterator[tuple[object, ...]]:
    """What an endpoint probes, in terms that can be compared."""
    if not endpoint.probe:
        yield (endpoint.schemes, endpoint.ports, endpoint.path)
    for url in endpoint.probe:
        yield _identity(url)


def _identity(url: str) -> tuple[str, ...]:
    """What makes two URLs one target; the port may still be a template."""
    parts = urlsplit(url)
    usual = f":{DEFAULT_PORTS.get(parts.scheme)}"
    return (parts.scheme, parts.netloc.lower().removesuffix(usual), parts.path or "/", parts.query)


# ---------------------------------------------------------------- checks of one field


def checked_pattern(pattern: str) -> str:
    """A documented pattern that is a bare host (with or without a path) or a URL. Raises ValueError for any other."""
    concrete = re.sub(r"<[^<>]*>|\*", "x", pattern)
    if re.search(r"[<>]", concrete):
        raise ValueError("a placeholder lacks its < or >")
    if re.search(r"[{}]", concrete):
        raise ValueError("braces belong in `probe`; write <name> in a pattern")
    if re.search(r"[^!-~]", concrete):
        raise ValueError("a pattern holds no space outside <placeholders>, and nothing beyond ASCII")
    is_url = "://" in concrete
    url = concrete if is_url else f"https://{concrete}"
    if fault := url_fault(url):
        raise ValueError(fault)
    if not is_url and (port := urlsplit(url).port) is not None:
        raise ValueError(f"a bare host carries no port; write `ports: [{port}]` below it, or write a URL")
    return pattern


def _probe_url(url: str, info: ValidationInfo) -> str:
    """A URL or a template of one, whose host lies under the pattern if that is a wildcard."""
    if has_stray_braces(url):
        raise ValueError("braces enclose the name of a parameter, as in {cloud_service_name}")
    if re.search(r"[*<>]", url):
        raise ValueError("a probe is a real URL: name a host for *, and write {name} for <name>")
    if fault := url_fault(_sample(url)):
        raise ValueError(fault)
    known = _names(info).parameters
    for name in parameters_of(url):
        if known is not None and name not in known:
            raise ValueError(f"{{{name}}}: {unknown('parameter', known, name)}")
    pattern, host = info.data.get("pattern", ""), host_of(url)
    if is_wildcard(pattern) and not parameters_of(host) and not matches_wildcard(host_of(pattern), host):
        raise ValueError(f"{host} does not lie under {pattern}; name a host below it, or give it an entry of its own")
    return url


def _sample(template: str) -> str:
    """A template with something in the place of each parameter: a port after a colon, else a letter."""
    with_ports = re.sub(r":\{[a-z0-9_]+\}", ":1", template)
    return fill(with_ports, dict.fromkeys(parameters_of(with_ports), "x"))[0] or ""


def _beside_no_url(schemes: list[str], info: ValidationInfo) -> list[str]:
    if "://" in info.data.get("pattern", ""):
        raise ValueError("the pattern is a URL and names its scheme; remove this key")
    return schemes


def _one_per_scheme(ports: list[int], info: ValidationInfo) -> list[int]:
    schemes = info.data.get("schemes", ())
    if ports and len(schemes) > 1 and len(ports) != len(schemes):
        raise ValueError(f"{len(ports)} for the schemes {', '.join(schemes)}; give one for each, in the same order")
    return ports if len(schemes) > 1 else distinct().check(ports)


def _only_for(values: dict[str, list[str]], info: ValidationInfo) -> dict[str, list[str]]:
    known = _names(info)
    faults: list[tuple[Place, str]] = []
    for name, wanted in values.items():
        if known.parameters is not None and name not in known.parameters:
            faults.append(((name,), unknown("parameter", known.parameters, name)))
        closed = known.values.get(name, wanted)
        strays = [(i, value) for i, value in enumerate(wanted) if value not in closed]
        faults += (((name, i), f"{found(value)}: {unknown('value', closed, value)}") for i, value in strays)
    if faults:
        raise Faults(faults)
    return values


def _names(info: ValidationInfo) -> Names:
    return cast("Names", info.context)


def _path(path: str) -> str:
    if has_stray_braces(path):
        raise ValueError("braces enclose the name of a parameter, as in {cloud_service_name}")
    return path


def _port_range(ports: str) -> str:
    numbers = span(ports)
    if not PORTS.start <= numbers.start < numbers.stop <= PORTS.stop:
        raise ValueError(expected(_PORT_RANGES, ports))
    return ports


def _not_before_first(last: str, info: ValidationInfo) -> str:
    first = info.data.get("first")
    if first and int(last) < int(first):
        raise ValueError(f"version {last} comes before {first}, where the range begins; swap them")
    return last


def _destination(text: str) -> str:
    """A host, or `*.` before a domain, in lower case. Raises ValueError for any other."""
    host = text.removeprefix("*.").lower()
    if "://" in text or "/" in text:
        raise ValueError(f"{found(text)} is no host name; name the host alone, without scheme, port and path")
    if not is_host(host):
        raise ValueError(expected("a host name, an address, or *. before a domain", text))
    if text.startswith("*.") and ("." not in host.removesuffix(".") or address_of(host)):
        raise ValueError(f"{found(text)} stands for too much; name a domain of one party, as in *.sso.example")
    return text.lower().removesuffix(".")


def _beside_decides(because: WhyReference | None, info: ValidationInfo) -> WhyReference | None:
    decides = info.data.get("decides")
    if decides is False and because is None:
        raise ValueError(f"`decides: false` needs a reason; give one of {', '.join(WhyReference)}")
    if decides is True and because is not None:
        raise ValueError("only what does not decide has such a reason; add `decides: false`, or remove this key")
    return because


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


# ---------------------------------------------------------------- the schema

_PORT_RANGES: Final = 'ports such as "443" or "10124-10139"'
_SCHEMES: Final = (*DEFAULT_PORTS, "tcp", "udp")  # these two: documented, and a firewall rule, but never probed

Source = Annotated[Text, named_in_context(Named.SOURCE)]
Sources = Annotated[list[Source], BeforeValidator(_as_list, json_schema_input_type=Source | list[Source])]
StatusWord = Annotated[Status, member_of("status", Status)]
SupportWord = Annotated[Support, member_of("value", Support)]
ReferenceWord = Annotated[WhyReference, member_of("reason", WhyReference)]
ImportanceWord = Annotated[Importance, member_of("importance", Importance)]
TrustWord = Annotated[Trust, member_of("trust", Trust)]
Destination = Annotated[str, Rule(_destination, {"pattern": r"^[^\s/]+$"})]
LeadsTo = Annotated[list[Destination], distinct()]
Port = Annotated[int, within(PORTS.start, PORTS.stop - 1)]
Scheme = Annotated[str, one_of("scheme", _SCHEMES)]


class VersionSection(Section):
    """Which versions need an endpoint."""

    first: Version | None = Field(default=None, alias="from", description="The first version, as YYMM in quotes.")
    last: Annotated[Version, AfterValidator(_not_before_first)] | None = Field(
        default=None, alias="until", description="The last version, as YYMM in quotes."
    )


class ExtraPortsSection(Section):
    """Ports that are open for a firewall's sake."""

    ports: Annotated[str, written(r"[0-9]{1,5}(-[0-9]{1,5})?", _PORT_RANGES), AfterValidator(_port_range)] = Field(
        description="A port or a range of ports, in quotes."
    )
    protocol: Text = Field(description="Such as tcp.")
    when: Text = Field(description="In which case they are needed.")
    source: Source | None = Field(default=None, description="The document that says so.")


class EndpointSection(Section):
    """One documented line."""

    alone = name_key = "pattern"
    instead: ClassVar = dict.fromkeys(("url", "host", "name", "target"), "write `pattern`")

    # The order matters: a field is checked against those above it.
    pattern: Annotated[Text, AfterValidator(checked_pattern)] = Field(
        description="The documented text: a URL, a bare host, a * wildcard or a <name> template."
    )
    schemes: Annotated[list[Scheme], NOT_EMPTY, distinct(), AfterValidator(_beside_no_url)] = Field(
        default=[], description="Of a bare host; left out: https. What is neither http nor https is listed, not probed."
    )
    ports: Annotated[list[Port], AfterValidator(_one_per_scheme)] = Field(
        default=[],
        description="One for each scheme in order, or any number for one scheme; left out: the scheme's own.",
    )
    path: Annotated[str, written(r'/[!"$-~]*', "a path that begins with /"), AfterValidator(_path)] = Field(
        default="/", description="Path that a host is asked for."
    )
    probe: Annotated[
        list[Annotated[str, Rule(_probe_url, {"pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[^*<>#]+$"})]], distinct(_identity)
    ] = Field(default=[], description="URLs that are probed instead; {parameter} is filled from site.parameters.")
    method: Annotated[str, one_of("method", ("GET", "HEAD"))] = Field(default="GET", description="How it is asked.")
    accept: Annotated[list[Annotated[int, within(100, 599)]], NOT_EMPTY, distinct()] = Field(
        default=[], description="Statuses that count as usable; left out: Configuration Manager's rule."
    )
    status: StatusWord | None = Field(default=None, description="Instead of the group's.")
    since: Text | None = Field(default=None, description="When its status began.")
    why: Text | None = Field(default=None, description="Why it has its status.")
    version: VersionSection = VersionSection()
    condition: Text | None = Field(default=None, description="When it is needed, for the reader.")
    only_for: Annotated[
        dict[ParameterName, Annotated[list[Text], NOT_EMPTY, distinct()]], AfterValidator(_only_for)
    ] = Field(
        default={},
        description="Parameter to values: needed only where the parameter has one of them, or is not given.",
    )
    tls_inspection: SupportWord = Field(
        default=Support.UNSPECIFIED, description="Whether the documents support TLS inspection."
    )
    authenticated_proxy: SupportWord | None = Field(
        default=None, description="Whether the documents support a proxy that wants a login; left out: as of the role."
    )
    trust: TrustWord = Field(default=Trust.PUBLIC, description="Whose root its certificate must lead to.")
    extra_ports: list[ExtraPortsSection] = Field(
        default=[], description="Ports that a firewall needs open beside those that are probed."
    )
    leads_to: LeadsTo = Field(
        default=[],
        description="Hosts that it may redirect to, each with all below it, and domains as *.example: beside its own "
        "domain and those of all endpoints.",
    )
    docs: Link | None = Field(default=None, description="Where a person reads about it.")
    decides: bool = Field(
        default=True,
        description="false: for reference only. It is listed, allowed and probed, and its feature is ready without it.",
    )
    # Checked against the field above it.
    because: Annotated[ReferenceWord | None, AfterValidator(_beside_decides)] = Field(
        default=None, validate_default=True, description="Why it does not decide; given exactly where it does not."
    )
    source: Sources = Field(default=[], description="The documents that it was read in.")
    note: Text | None = Field(default=None, description="For the reader.")

    def endpoint(self, status: Status) -> Endpoint:
        """The endpoint, with the group's status where it does not say its own."""
        scheme, is_url, _ = self.pattern.partition("://")
        return Endpoint(
            pattern=self.pattern,
            schemes=tuple(self.schemes) or (scheme.lower() if is_url else "https",),
            ports=tuple(self.ports),
            path=self.path,
            probe=tuple(self.probe),
            method=self.method,
            accept=frozenset(self.accept) or None,
            status=self.status or status,
            since=self.since,
            why=self.why,
            versions=VersionRange(self.version.first, self.version.last),
            condition=self.condition,
            only_for={name: tuple(values) for name, values in self.only_for.items()},
            tls_inspection=self.tls_inspection,
            authenticated_proxy=self.authenticated_proxy,
            trust=self.trust,
            extra_ports=tuple(ExtraPorts(p.ports, p.protocol, p.when, p.source) for p in self.extra_ports),
            leads_to=tuple(self.leads_to),
            docs=self.docs,
            source=tuple(self.source),
            note=self.note,
            reference=self.because,
        )


class GroupSection(Section):
    """What one feature needs, from one or more roles in one or more clouds."""

    name_key = "feature"

    feature: Slug = Field(description="Lower-case words joined by hyphens; a shipped feature's is extended.")
    title: Text | None = Field(default=None, description="The feature in words.")
    docs: Link | None = Field(default=None, description="Where a person reads about it.")
    status: StatusWord = Field(default=Status.ACTIVE, description="Of the endpoints that do not give their own.")
    roles: Annotated[list[RoleName], distinct()] = Field(
        default=[], description="Who needs it; empty: every role of the site."
    )
    clouds: Annotated[list[CloudName], distinct()] = Field(
        default=[], description="Where; empty: every cloud of the site."
    )
    importance: ImportanceWord | None = Field(
        default=None, description="What it means when the feature is not ready; left out: normal."
    )
    endpoints: Annotated[list[EndpointSection], NOT_EMPTY] = Field(description="What is needed, line by line.")
    logs: list[Text] = Field(default=[], description="The product's log files that show the same fault.")
    messages: list[Text] = Field(default=[], description="The product's status messages.")
    troubleshooting: Text | None = Field(default=None, description="Where a person reads how to fix it.")

    def group(self) -> Group:
        """The same as a value of the vocabulary; whose it is, whoever reads the file knows."""
        return Group(
            feature=self.feature,
            title=self.title,
            docs=self.docs,
            status=self.status,
            roles=tuple(self.roles),
            clouds=tuple(self.clouds),
            endpoints=tuple(endpoint.endpoint(self.status) for endpoint in self.endpoints),
            logs=tuple(self.logs),
            messages=tuple(self.messages),
            troubleshooting=self.troubleshooting,
            importance=self.importance,
        )
