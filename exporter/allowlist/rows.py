"""The allow list as people read it: Rules -> rows, those that the same roles need for the same together. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from exporter.allowlist.rules import Need, Rule
from exporter.model.vocabulary import DIRECT, Importance, Support


@dataclass(frozen=True, slots=True)
class Row:
    """A host, and everything that is let through to it for the same reasons."""

    host: str
    opened: tuple[str, ...]  # "http 80", "https 443"
    tls_inspection: Support | None
    authenticated_proxy: Support | None
    needed_for: tuple[Need, ...]
    missing: str | None

    @property
    def features(self) -> tuple[str, ...]:
        """Which features need it."""
        return tuple(dict.fromkeys(need.feature for need in self.needed_for))


@dataclass(frozen=True, slots=True)
class Block:
    """Rows that have all but the host in common."""

    roles: tuple[str, ...]
    features: tuple[str, ...]
    authenticated_proxy: Support | None
    rows: tuple[Row, ...]

    @property
    def importance(self) -> Importance:
        """That of the most important feature that needs them."""
        return min((need.importance for row in self.rows for need in row.needed_for), key=list(Importance).index)


def by_path(rules: Iterable[Rule]) -> dict[str, tuple[Block, ...]]:
    """The blocks of each path."""
    ordered = sorted(rules, key=attrgetter("path"))
    return {path: tuple(_blocks(same)) for path, same in groupby(ordered, key=attrgetter("path"))}


def whose(path: str) -> str:
    """Whose matter the rules of a path are."""
    if path == DIRECT:
        return f"{DIRECT}: rules for the firewall"
    return f"{path}: rules for that proxy, and from there for the firewall"


def documents(rules: Iterable[Rule]) -> dict[str, tuple[str, ...]]:
    """The documents behind the rules, by feature."""
    found: dict[str, set[str]] = {}
    for rule in rules:
        for need in rule.needed_for:
            found.setdefault(need.feature, set()).update([need.docs] if need.docs else [])
    return {feature: tuple(sorted(docs)) for feature, docs in sorted(found.items())}


def _blocks(rules: Iterable[Rule]) -> Iterable[Block]:
    roles_of: dict[Row, list[str]] = {}
    for role, same in groupby(sorted(rules, key=attrgetter("key")), key=attrgetter("role")):
        for row in _rows(same):
            roles_of.setdefault(row, []).append(role)
    blocks: dict[tuple[tuple[str, ...], tuple[str, ...], Support | None], list[Row]] = {}
    for row, roles in roles_of.items():
        blocks.setdefault((tuple(roles), row.features, row.authenticated_proxy), []).append(row)
    for head in sorted(blocks, key=lambda head: (*head[:2], head[2] or "")):
        yield Block(*head, tuple(sorted(blocks[head], key=attrgetter("host", "opened"))))


def _rows(rules: Iterable[Rule]) -> Iterable[Row]:
    """One row for the rules of one role that differ in protocol and ports alone."""
    found: dict[tuple[object, ...], list[Rule]] = {}
    for rule in rules:
        found.setdefault((rule.host, rule.authenticated_proxy, rule.needed_for, rule.missing), []).append(rule)
    for alike in found.values():
        first = alike[0]
        yield Row(
            first.host,
            tuple(f"{rule.protocol} {rule.ports}" for rule in alike),
            next((rule.tls_inspection for rule in alike if rule.tls_inspection), None),
            first.authenticated_proxy,
            first.needed_for,
            first.missing,
        )
