"""What an existing allow list lacks: (Rules, what it lets through) -> Comparison. Pure, and nothing is probed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from exporter.allowlist.allowed import Allowed
from exporter.allowlist.hosts import can_be_written, samples
from exporter.allowlist.openings import not_for_a_web_proxy
from exporter.allowlist.rules import Rule, span
from exporter.report.findings import plural


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


def compare(rules: Iterable[Rule], allowed: Allowed) -> Comparison:
    """Whether the list lets through what each rule asks for: a wildcard as a whole, not one host of it."""
    needed = tuple(rules)
    why = {rule.key: _why_unjudged(rule, allowed) for rule in needed}
    judged = [rule for rule in needed if not why[rule.key]]
    through = {rule.key for rule in judged if _is_allowed(rule, allowed)}
    return Comparison(
        tuple(rule for rule in judged if rule.key in through),
        tuple(rule for rule in judged if rule.key not in through),
        tuple((rule, reason) for rule in needed if (reason := why[rule.key])),
    )


def _why_unjudged(rule: Rule, allowed: Allowed) -> str | None:
    if rule.missing or not can_be_written(rule.host):
        return rule.missing or "not a host name"
    return not_for_a_web_proxy(rule) if allowed.web_only else None


def _is_allowed(rule: Rule, allowed: Allowed) -> bool:
    """By samples of the hosts, and of the ports where they are many: the ends and the middle."""
    ports = span(rule.ports)
    tried = {ports[0], ports[len(ports) // 2], ports[-1]}
    return all(allowed.allows(host, rule.protocol, port) for host in samples(rule.host) for port in tried)
