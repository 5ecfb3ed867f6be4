"""Hosts as an allow list writes them: names, addresses, and wildcards that mean any depth and never the apex. Pure."""

from __future__ import annotations

import re
from typing import Final

from exporter.model.patterns import address_of, is_wildcard, matches_wildcard

_NAME: Final = re.compile(r"[a-z0-9_*][a-z0-9_*.-]*")
_ADDRESS: Final = re.compile(r"[0-9a-f:.]+")  # without a zone (%eth0), which may hold anything
# Names that nobody lists one by one, at several depths: what allows all of these allows the wildcard.
_BELOW: Final = ("x7q", "k2.x7q", "a-1.k2.x7q")


def covers(pattern: str, host: str) -> bool:
    """Whether a host lies within a pattern; the host may be a wildcard itself, and then all of it must."""
    return pattern == plain(host) or (is_wildcard(pattern) and matches_wildcard(pattern, host))


def plain(host: str) -> str:
    """The one spelling of a host: lower case, without the root's dot."""
    return host.lower().removesuffix(".")


def can_be_written(host: str) -> bool:
    """Whether a rule may hold it: it is a host or a wildcard, and nothing in it has a sense of its own anywhere."""
    form = _NAME if address_of(host) is None else _ADDRESS
    return form.fullmatch(host) is not None


def begins_with_its_star(host: str) -> bool:
    """Whether a wildcard's only star is its whole first label, which is the only star that some products understand."""
    return host.startswith("*.") and "*" not in host[1:]


def has_whole_labels(host: str) -> bool:
    """Whether each star is a label by itself."""
    return all(label == "*" or "*" not in label for label in host.split("."))


def samples(host: str) -> tuple[str, ...]:
    """Hosts that show whether a host or a wildcard is allowed: itself, or some that lie below."""
    return tuple(host.replace("*", below) for below in _BELOW) if is_wildcard(host) else (host,)
