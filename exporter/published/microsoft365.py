"""The records of Microsoft 365's endpoint web service: content -> groups."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, FailFast, Field

from exporter.config.fields import PORTS, Shape, Text, expected
from exporter.config.groups import checked_pattern
from exporter.model.patterns import span
from exporter.model.vocabulary import DEFAULT_PORTS, Endpoint, ExtraPorts, Group
from exporter.published.content import Content, Json, Unusable, shaped
from exporter.published.imported import Choice, Endpoints, Option, among, printable

FEATURES: Final = "microsoft-365-"  # what a feature begins with; the service area follows
OPTIONAL: Final = "optional"  # what ends the feature of records that are not required, and their condition

_PORT: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


def read(content: Content, choice: Choice) -> Endpoints:
    """A feature for each service area, and another for what is optional in it. Raises Unusable."""
    if not isinstance(content, Json):
        raise Unusable("expected JSON; ask the web service with format=JSON")
    records = _chosen(shaped(Records, content.value), choice)
    records_of: dict[str, list[Record]] = {}
    for record in records:
        if record.urls:
            records_of.setdefault(record.feature, []).append(record)
    if not records_of:
        raise Unusable("no record that is chosen has `urls`; choose others by --service-area or --id")
    groups = tuple(_group(feature, records_of[feature], choice) for feature in sorted(records_of))
    bare = sum(not record.urls for record in records)
    return Endpoints(groups, FEATURES, f"records: {len(records)}, without host names: {bare}")


# ---------------------------------------------------------------- the records


def _slug(area: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", area.lower()).strip("-")


def _area(area: str) -> str:
    if not _slug(area):
        raise ValueError(expected("the name of a service area", area))
    return area


def _ports(text: object) -> tuple[str, ...]:
    """`443, 80` or `3478-3481` as ports and ranges in their order, each once."""
    if not isinstance(text, str):
        raise ValueError(expected(Shape.TEXT, text))  # noqa: TRY004 - pydantic collects ValueError only
    found: set[tuple[int, int]] = set()
    for word in filter(None, map(str.strip, text.split(","))):
        match = _PORT.fullmatch(word)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not PORTS.start <= first <= last < PORTS.stop:
            raise ValueError(expected('ports such as "443,80" or "3478-3481"', text))
        found.add((first, last))
    return tuple(f"{first}" if first == last else f"{first}-{last}" for first, last in sorted(found))


Ports = Annotated[tuple[str, ...], BeforeValidator(_ports)]


class Record(BaseModel):
    """One record; its addresses (`ips`) are left aside."""

    model_config = ConfigDict(strict=True, frozen=True, str_strip_whitespace=True, hide_input_in_errors=True)

    number: int = Field(alias="id")
    area: Annotated[Text, AfterValidator(_area)] = Field(alias="serviceArea")
    area_name: str = Field(default="", alias="serviceAreaDisplayName")
    urls: Annotated[list[Annotated[Text, AfterValidator(checked_pattern)]], FailFast()] = Field(default=[])
    tcp: Ports = Field(default=(), alias="tcpPorts")
    udp: Ports = Field(default=(), alias="udpPorts")
    category: str = ""
    required: bool
    notes: str = ""

    @property
    def feature(self) -> str:
        """The feature that needs it."""
        feature = FEATURES + _slug(self.area)
        return feature if self.required else f"{feature}-{OPTIONAL}"


Records = Annotated[list[Record], FailFast()]


def _chosen(records: Sequence[Record], choice: Choice) -> list[Record]:
    known = {_slug(record.area) for record in records}
    areas = among(known, Option.SERVICE_AREA, tuple(map(_slug, choice.service_areas)))
    ids = among({str(record.number) for record in records}, Option.ID, choice.ids)
    return [
        record
        for record in records
        if (not areas or _slug(record.area) in areas) and (not ids or str(record.number) in ids)
    ]


# ---------------------------------------------------------------- the endpoints


def _group(feature: str, records: Sequence[Record], choice: Choice) -> Group:
    """The group of one feature: each pattern once, whatever records it stands in."""
    records_with: dict[str, list[Record]] = {}
    for record in records:
        for pattern in dict.fromkeys(record.urls):
            records_with.setdefault(pattern, []).append(record)
    first = min(records, key=lambda record: record.number)
    title = printable(first.area_name) or f"Microsoft 365 {printable(first.area)}"
    return Group(
        feature=feature,
        title=title if first.required else f"{title} ({OPTIONAL})",
        roles=choice.roles,
        clouds=choice.clouds,
        endpoints=tuple(_endpoint(pattern, records_with[pattern]) for pattern in sorted(records_with)),
    )


def _endpoint(pattern: str, records: Iterable[Record]) -> Endpoint:
    """What records ask for a pattern. Ports that are not HTTP's are documented, not probed."""
    found = sorted(records, key=lambda record: record.number)
    tcp, udp = _united(record.tcp for record in found), _united(record.udp for record in found)
    schemes = _schemes(pattern, tcp, udp)
    ports = () if schemes[0] in DEFAULT_PORTS else _single(tcp or udp)
    named = {str(port) for port in ports} or {str(DEFAULT_PORTS[scheme]) for scheme in schemes}
    main = "udp" if schemes == ("udp",) else "tcp"
    further = [
        (name, port) for name, of in (("tcp", tcp), ("udp", udp)) for port in of if name != main or port not in named
    ]
    return Endpoint(
        pattern=pattern,
        schemes=schemes,
        ports=ports,
        condition=None if found[0].required else OPTIONAL,
        extra_ports=tuple(ExtraPorts(port, protocol, "always") for protocol, port in further),
        source=tuple(dict.fromkeys(f"Microsoft 365 endpoints, id {record.number}" for record in found)),
        note="; ".join(dict.fromkeys(note for record in found for note in _notes(record))) or None,
    )


def _united(ports: Iterable[tuple[str, ...]]) -> list[str]:
    """Ports and ranges in their order."""
    return sorted({port for some in ports for port in some}, key=lambda port: (span(port).start, span(port).stop))


def _schemes(pattern: str, tcp: Sequence[str], udp: Sequence[str]) -> tuple[str, ...]:
    """HTTP where one of its ports is named, or none at all; else the protocol as it is."""
    scheme, is_url, _ = pattern.partition("://")
    if is_url:
        return (scheme.lower(),)
    web = tuple(name for name in ("https", "http") if str(DEFAULT_PORTS[name]) in tcp)
    return web or (("tcp",) if tcp else ("udp",) if udp else ("https",))


def _single(ports: Sequence[str]) -> tuple[int, ...]:
    """The single ports, or where there are only ranges, the first port of them."""
    return tuple(int(port) for port in ports if "-" not in port) or (span(ports[0]).start,)


def _notes(record: Record) -> Iterator[str]:
    """What a reader may want to know of a record."""
    if category := printable(record.category):
        yield f"category {category}"
    if notes := printable(record.notes):
        yield notes
