"""The allow list as an external dynamic list: Rules -> one pattern a line. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from exporter.allowlist.hosts import begins_with_its_star, has_whole_labels
from exporter.allowlist.openings import openings
from exporter.allowlist.rules import Rule
from exporter.model.patterns import address_of, is_wildcard


def edl(rules: Iterable[Rule]) -> tuple[str, tuple[str, ...]]:
    """The list, and what it cannot say or lacks: of comments in such a list no vendor's document speaks for all.

    A star is a whole label, as PAN-OS wants it: "must be the only character within a token".
    """
    chosen = openings(rules, _why_not)
    hosts = sorted({rule.host for rule in chosen.written})
    unusual = [host for host in hosts if is_wildcard(host) and not begins_with_its_star(host)]
    notes = (
        "the list says nothing of ports and protocols: restrict these in the firewall rule that uses it",
        *(f"left out: {line}" for line in chosen.left_out),
        *(f"{host}: some products take a star only as the whole first label" for host in unusual),
    )
    return "\n".join(hosts), notes


def _why_not(rule: Rule) -> str | None:
    if address_of(rule.host):
        return "an address: such a list is of names"
    return None if has_whole_labels(rule.host) else "a star within a label: devices take it only as a whole label"
