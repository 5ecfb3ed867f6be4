"""What changed between two allow lists: (older Rules, newer Rules) -> Difference. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from exporter.allowlist.rules import Rule


@dataclass(frozen=True, slots=True)
class Difference:
    """Rules that came, went, or say something else; each in the order of their keys."""

    added: tuple[Rule, ...]
    removed: tuple[Rule, ...]
    changed: tuple[tuple[Rule, Rule], ...]  # as it was, as it is

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    @property
    def headline(self) -> str:
        """The whole in one line."""
        if not self:
            return "No rule has changed."
        return f"{len(self.added)} added, {len(self.removed)} removed, {len(self.changed)} changed"


def difference(older: Iterable[Rule], newer: Iterable[Rule]) -> Difference:
    """What a firewall team must change, and what else it should know now.

    By which URLs a rule is tested, and how the documents spell it, does not count.
    """
    was = {rule.key: rule for rule in older}
    now = {rule.key: rule for rule in newer}
    return Difference(
        tuple(now[key] for key in sorted(now.keys() - was.keys())),
        tuple(was[key] for key in sorted(was.keys() - now.keys())),
        tuple(
            (was[key], now[key]) for key in sorted(was.keys() & now.keys()) if _matter(was[key]) != _matter(now[key])
        ),
    )


def by_change(found: Difference) -> dict[tuple[str, ...], list[Rule]]:
    """What the changed rules say otherwise now, in words, and which rules do."""
    rules_of: dict[tuple[str, ...], list[Rule]] = {}
    for was, now in found.changed:
        rules_of.setdefault(_changes(was, now), []).append(now)
    return rules_of


def _changes(was: Rule, now: Rule) -> tuple[str, ...]:
    before, after = _reasons(was), _reasons(now)
    facts = (
        ("TLS inspection", was.tls_inspection, now.tls_inspection),
        ("authenticated proxy", was.authenticated_proxy, now.authenticated_proxy),
        ("to do", was.missing, now.missing),
    )
    return (
        *(f"{fact}: {old or 'nothing'}, now {new or 'nothing'}" for fact, old, new in facts if old != new),
        *(f"no longer needed for {reason}" for reason in before if reason not in after),
        *(f"now needed for {reason}" for reason in after if reason not in before),
    )


def _matter(rule: Rule) -> tuple[object, ...]:
    return (rule.tls_inspection, rule.authenticated_proxy, rule.missing, set(_reasons(rule)))


def _reasons(rule: Rule) -> tuple[str, ...]:
    return tuple(
        f"{need.feature} ({need.cloud}, {need.status})"
        + (f", when: {need.condition}" if need.condition else "")
        + (f", see {need.docs}" if need.docs else "")
        for need in rule.needed_for
    )
