"""Write what was imported: groups as a group file, ranges as a list of prefixes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import yaml

from exporter.config.documents import MAX_BYTES, Document, DocumentError, raise_errors
from exporter.config.groups import Names, add_contradictions, read_groups
from exporter.model.vocabulary import Endpoint, Group
from exporter.published.content import Unusable
from exporter.published.imported import Endpoints, Imported, Ranges, printable
from exporter.text.printable import encodable


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something was read, without what a URL may keep secret, and when."""

    where: str
    when: datetime  # UTC


def written(imported: Imported, origin: Origin, names: Names) -> str:
    """The text of a file. Raises Unusable where the exporter itself would not take it."""
    match imported:
        case Endpoints(groups, _, summary):
            endpoints = [endpoint for group in groups for endpoint in group.endpoints]
            _check_size(sum(map(_least, endpoints)))  # writing it takes a while
            heading = _heading(origin, f"{summary}, endpoints: {len(endpoints)}, features: {len(groups)}")
            text = f"{heading}\n{_group_file(groups)}"
            _check_size(len(text))
            _check(text, names)
            return text
        case Ranges(prefixes, summary):
            heading = _heading(origin, f"{summary}, prefixes after joining what adjoins: {len(prefixes)}")
            return "\n".join((heading, *map(str, prefixes), ""))


def _heading(origin: Origin, summary: str) -> str:
    where = encodable(printable(origin.where))
    lines = (
        f"Read from {where}",
        f"on {origin.when:%Y-%m-%d at %H:%M} UTC; {summary}",
        "Written by `configmgr-endpoint-exporter catalogue import`, which overwrites what is changed here.",
    )
    return "".join(f"# {line}\n" for line in lines)


def _least(endpoint: Endpoint) -> int:
    """What an endpoint takes in a file at least, in bytes."""
    texts = ("    - pattern: \n", endpoint.pattern, *endpoint.source, endpoint.note or "")
    return sum(map(len, texts))


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise Unusable(f"its groups take {size} bytes, and a group file {MAX_BYTES} at most; choose some, as by --id")


def _check(text: str, names: Names) -> None:
    """Raise Unusable unless the text is a group file that can be loaded."""
    try:
        document = Document(text, "the groups made of it")
        add_contradictions(read_groups(document, (), names))
        raise_errors([document])
    except DocumentError as error:
        raise Unusable(*map(str, error.mistakes)) from None


# ---------------------------------------------------------------- YAML

_WIDTH: Final = 118


class _Flow(list[Any]):
    """A list on one line."""


class _FlowMap(dict[str, Any]):
    """A mapping on one line."""


class _Dumper(yaml.SafeDumper):
    """Writes YAML as people do: the items of a list indented."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, indentless=False)


_Dumper.add_representer(_Flow, lambda dumper, items: dumper.represent_sequence("tag:yaml.org,2002:seq", items, True))
_Dumper.add_representer(_FlowMap, lambda dumper, map_: dumper.represent_mapping("tag:yaml.org,2002:map", map_, True))


def _group_file(groups: Iterable[Group]) -> str:
    return "\n".join(
        # ASCII: a terminal or a pipe with a narrow code page changes nothing in it
        yaml.dump([_group(group)], Dumper=_Dumper, sort_keys=False, allow_unicode=False, width=_WIDTH)
        for group in groups
    )


def _group(group: Group) -> dict[str, Any]:
    return _given(
        feature=group.feature,
        title=group.title,
        roles=_Flow(group.roles),
        clouds=_Flow(group.clouds),
        endpoints=[_endpoint(endpoint) for endpoint in group.endpoints],
    )


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    schemes_implied = "://" in endpoint.pattern or endpoint.schemes == Endpoint(endpoint.pattern).schemes
    return _given(
        pattern=endpoint.pattern,
        schemes=None if schemes_implied else _Flow(endpoint.schemes),
        ports=_Flow(endpoint.ports),
        condition=endpoint.condition,
        extra_ports=[
            _FlowMap(ports=extra.ports, protocol=extra.protocol, when=extra.when) for extra in endpoint.extra_ports
        ],
        source=endpoint.source[0] if len(endpoint.source) == 1 else list(endpoint.source),
        note=endpoint.note,
    )


def _given(**values: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever YAML can hold
    """What there is to say."""
    return {key: value for key, value in values.items() if value}
