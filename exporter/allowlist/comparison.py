"""What an existing allow list lacks: (Rules, entries of the list) -> Comparison. Pure, and nothing is probed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from exporter.allowlist.hosts import can_be_written, covers, samples
from exporter.allowlist.rules import Rule
from exporter.model.patterns import span
from exporter.text.numbers import plural


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a list; what it does not say, it does not restrict."""

    host: str
    protocol: str | None = None
    ports: range | None = None

    def allows(self, host: str, protocol: str, port: int) -> bool:
        """Whether it does. A dot at the beginning means the name and all below it."""
        below = covers(f"*{self.host}", host) if self.host.startswith(".") else False
        return (
            (below or covers(self.host.removeprefix("."), host))
            and self.protocol in {None, protocol}
            and (self.ports is None or port in self.ports)
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """The rules that the site needs, by what the list says to them; each in its order."""

    allowed: tuple[Rule, ...]
    missing: tuple[Rule, ...]
    unjudged: tuple[tuple[Rule, str], ...]  # with the reason

    @property
    def headline(self) -> str:
        """The whole in one line, which begins with the verdict."""
        verdict = "NOT COMPLETE" if self.missing else "COMPLETE" if self.allowed else "NO VERDICT"
        counted = f"{len(self.missing)} of {plural(len(self.missing) + len(self.allowed), 'rule')} missing"
        return f"{verdict}: {counted}" + (f"; {len(self.unjudged)} not judged" if self.unjudged else "")


def compare(rules: Iterable[Rule], entries: Iterable[Entry]) -> Comparison:
    """Whether the list lets through what each rule asks for: a wildcard as a whole, not one host of it."""
    needed, listed = tuple(rules), tuple(entries)
    why = {rule.key: rule.missing or (None if can_be_written(rule.host) else "not a host name") for rule in needed}
    judged = [rule for rule in needed if not why[rule.key]]
    through = {rule.key for rule in judged if _is_allowed(rule, listed)}
    return Comparison(
        tuple(rule for rule in judged if rule.key in through),
        tuple(rule for rule in judged if rule.key not in through),
        tuple((rule, reason) for rule in needed if (reason := why[rule.key])),
    )


def _is_allowed(rule: Rule, entries: tuple[Entry, ...]) -> bool:
    """By samples of the hosts, and of the ports where they are many: the ends and the middle."""
    ports = span(rule.ports)
    tried = {ports[0], ports[len(ports) // 2], ports[-1]}
    return all(
        any(entry.allows(host, rule.protocol, port) for entry in entries)
        for host in samples(rule.host)
        for port in tried
    )
