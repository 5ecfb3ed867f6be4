"""What a device has to let through, whoever needs it: Rules -> openings, and what a notation cannot say. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from exporter.allowlist.hosts import can_be_written
from exporter.allowlist.rules import WEB, Rule
from exporter.model.patterns import span
from exporter.model.vocabulary import Support
from exporter.text.printable import encodable, one_line


@dataclass(frozen=True, slots=True)
class Opening:
    """Hosts that are let through by one protocol at the same ports."""

    protocol: str
    ports: str
    hosts: tuple[str, ...]  # sorted, no two alike

    @property
    def name(self) -> str:
        """A name for it, of letters, digits and underscores: `https_443`."""
        return f"{self.protocol}_{self.ports}".replace("-", "_")


@dataclass(frozen=True, slots=True)
class Openings:
    """What a notation can say, and what it cannot, each with the reason."""

    written: tuple[Rule, ...]
    left_out: tuple[str, ...]  # in words, on one line of ASCII each, and ending with a bracket

    def by_protocol(self) -> Iterator[Opening]:
        """The openings, by protocol and ports."""
        yield from _grouped((rule.protocol, rule.ports, rule.host) for rule in self.written)

    def by_transport(self) -> Iterator[Opening]:
        """The same for devices that know no protocol above TCP and UDP."""
        yield from _grouped((rule.transport, rule.ports, rule.host) for rule in self.written)


def openings(rules: Iterable[Rule], why_not: Callable[[Rule], str | None]) -> Openings:
    """What can be said by a notation that refuses some rules, for the reason that `why_not` gives.

    A rule whose parameter is missing, or whose host is none, is refused by all.
    """
    written: list[Rule] = []
    left_out: dict[str, None] = {}
    for rule in rules:
        why = rule.missing or (None if can_be_written(rule.host) else "not a host name") or why_not(rule)
        if why:
            left_out[comment(f"{rule.what} ({why})")] = None
        else:
            written.append(rule)
    return Openings(tuple(written), tuple(left_out))


def not_for_a_web_proxy(rule: Rule) -> str | None:
    """Why a web proxy has no use for a rule."""
    return None if rule.protocol in WEB else "a web proxy does not carry it: let it through the firewall"


def heading(title: str, rules: Iterable[Rule], advice: Iterable[str], left_out: Iterable[str]) -> Iterator[str]:
    """What stands at the head of a file for a device: what it is, for whom, how to use it, and what it lacks."""
    needed = tuple(rules)
    yield f"{title}, for Microsoft Configuration Manager."
    yield f"For the roles {_list(rule.role for rule in needed)}; by the paths {_list(rule.path for rule in needed)}."
    yield "A wildcard stands for every name below it, at any depth, and not for the name itself."
    yield from advice
    found = tuple(left_out)
    if found:
        yield f"LEFT OUT ({len(found)}):"
        yield from (f"  {line}" for line in found)


def uninspected(rules: Iterable[Rule]) -> tuple[str, ...]:
    """The hosts whose TLS must not be inspected, by the documents."""
    return tuple(sorted({rule.host for rule in rules if rule.tls_inspection is Support.UNSUPPORTED}))


def comment(text: str) -> str:
    """A text that may stand in any comment that ends with the line: on one line, in ASCII."""
    return encodable(one_line(text))


def _grouped(found: Iterable[tuple[str, str, str]]) -> Iterator[Opening]:
    ordered = sorted(set(found), key=lambda opening: (opening[0], span(opening[1]).start, opening))
    for (protocol, ports), same in groupby(ordered, key=lambda opening: opening[:2]):
        yield Opening(protocol, ports, tuple(host for _, _, host in same))


def _list(words: Iterable[str]) -> str:
    return comment(", ".join(sorted(set(words)))) or "none"
