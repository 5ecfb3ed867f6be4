"""What an import would add to what is known already: (imported, groups, prefixes) -> Comparison."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

from exporter.model.addresses import AddressRanges
from exporter.model.patterns import host_of, is_wildcard, matches_wildcard, span
from exporter.model.vocabulary import Endpoint, Group, Prefix, Status
from exporter.published.imported import Endpoints, Imported, Ranges


@dataclass(frozen=True, slots=True, order=True)
class Opening:
    """What has to be open: a host or a wildcard, `tcp` or `udp`, the first and the last port."""

    host: str
    protocol: str
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.host} {self.protocol} {self.first}" + (f"-{self.last}" if self.last > self.first else "")


@dataclass(frozen=True, slots=True)
class Comparison:
    """A line for each thing, in order. Of prefixes those that are covered are only counted."""

    new: tuple[str, ...]
    gone: tuple[str, ...]
    covered: tuple[str, ...]
    counted: int = 0

    def __str__(self) -> str:
        by_state = (("new", self.new), ("gone", self.gone), ("covered", self.covered))
        lines = [f"{state:8} {line}" for state, of_state in by_state for line in of_state]
        total = len(self.covered) + self.counted
        return "\n".join((*lines, f"{len(self.new)} new, {len(self.gone)} gone, {total} covered"))


def compared(
    imported: Imported, catalogue: Iterable[Group], own: Iterable[Group], prefixes: Iterable[Prefix]
) -> Comparison:
    """What was imported, against the catalogue's groups, the site's own groups and its address ranges.

    An opening is covered if another contains it, for whichever role or cloud. Gone is what the site's own groups of the
    same features, or its ranges, hold and the source does not.
    """
    match imported:
        case Endpoints(groups, features):
            own = tuple(own)
            earlier = tuple(group for group in own if group.feature.startswith(features))
            return _compared(_Known(groups), _Known(earlier), _Known((*catalogue, *own)))
        case Ranges(found):
            given, before = AddressRanges(found), AddressRanges(prefixes)
            new = tuple(str(prefix) for prefix in given.prefixes if not before.covers(prefix))
            gone = tuple(str(prefix) for prefix in before.prefixes if not given.covers(prefix))
            return Comparison(new, gone, (), len(given.prefixes) - len(new))


class _Known:
    """Openings, and for which features they are."""

    def __init__(self, groups: Iterable[Group]) -> None:
        self.features_of: dict[Opening, set[str]] = {}
        self._at: dict[str, list[Opening]] = {}
        for group in groups:
            for opening in chain.from_iterable(map(_openings, group.endpoints)):
                self.features_of.setdefault(opening, set()).add(group.feature)
        for opening in self.features_of:
            self._at.setdefault(opening.host, []).append(opening)
        self._wildcards = [host for host in self._at if is_wildcard(host)]

    def covering(self, wanted: Opening) -> set[str]:
        """The features for which something is open that contains what is wanted."""
        hosts = {wanted.host, *(host for host in self._wildcards if matches_wildcard(host, wanted.host))}
        return {
            feature
            for host in hosts
            for opening in self._at.get(host, ())
            if opening.protocol == wanted.protocol and opening.first <= wanted.first and wanted.last <= opening.last
            for feature in self.features_of[opening]
        }


def _compared(source: _Known, earlier: _Known, known: _Known) -> Comparison:
    covering = {opening: sorted(known.covering(opening)) for opening in sorted(source.features_of)}
    return Comparison(
        new=tuple(str(opening) for opening, features in covering.items() if not features),
        gone=tuple(
            f"{opening} ({', '.join(sorted(features))})"
            for opening, features in sorted(earlier.features_of.items())
            if not source.covering(opening)
        ),
        covered=tuple(f"{opening} ({', '.join(features)})" for opening, features in covering.items() if features),
    )


def _openings(endpoint: Endpoint) -> Iterator[Opening]:
    """What an endpoint that Microsoft stands by has open; nothing for a template, whose host is not known here."""
    host = host_of(endpoint.pattern).removesuffix(".")
    if endpoint.status is not Status.ACTIVE or "<" in host:
        return
    for scheme in endpoint.schemes:
        for port in endpoint.ports_of(scheme):
            yield Opening(host, "udp" if scheme == "udp" else "tcp", port, port)
    for extra in endpoint.extra_ports:
        ports = span(extra.ports)
        yield Opening(host, "udp" if "udp" in extra.protocol.lower() else "tcp", ports[0], ports[-1])
